"""Attention over the taps of a kernel, which in the end leaves one of them."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from hwbnn.ir import TERNARY
from hwbnn_train.quantizers.base import Grid, Quantizer

__all__ = ["OneTap"]


class OneTap(Quantizer):
    """Kernels of one tap: an attention over the taps of each, times the weights as another quantizer gives them.

    Forward in training: ``p(w) q(w)`` with ``p = softmax(T A / std(A))`` over the taps of each kernel (a pair of output
    and input channel), ``std`` being the unbiased one and ``q`` the inner quantizer. In evaluation ``p`` is 1 at the
    greatest ``A`` of the kernel and 0 elsewhere. Backward: that of the product. ``A`` starts uniform in 0..1; ``T``,
    :attr:`temperature`, grows while training goes on. Shift attention layers (Hacene et al., arXiv:1905.12300; the
    authors' code, which rounds ``p`` and so leaves no tap at all where none exceeds one half).

    Hardware moves a pixel instead of multiplying by zeros: a convolution with at most one tap in each kernel.

    Parameters
    ----------
    shape : sequence of :class:`int`
        Of the weights: outputs, inputs, and the axes of a kernel.
    inner : Quantizer
        Of the weights.
    temperature : :class:`float`
        The inverse temperature ``T`` to begin with.
    lr_scale : :class:`float`
        Factor on the learning rate of ``A``.
    """

    temperature: Tensor

    def __init__(self, shape: tuple[int, ...], inner: Quantizer, *, temperature: float = 1.0, lr_scale: float = 1.0):
        if math.prod(shape[2:]) < 2:
            raise ValueError(f"OneTap shape must have kernels of at least 2 taps, not {tuple(shape)}")
        if not 0 < temperature < math.inf:
            raise ValueError(f"OneTap temperature must be positive and finite, not {temperature!r}")
        super().__init__()
        self.inner, self.lr_scale = inner, lr_scale
        self.attention = nn.Parameter(torch.rand(*shape[:2], math.prod(shape[2:])))
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def attended(self) -> Tensor:
        """Return ``p``, outputs x inputs x taps."""
        if self.training:
            scaled = self.attention / self.attention.std(dim=-1, keepdim=True).clamp(min=1e-6)
            return torch.softmax(self.temperature * scaled, dim=-1)
        return nn.functional.one_hot(self.attention.argmax(dim=-1), self.attention.shape[-1]).to(self.attention.dtype)

    def forward(self, w: Tensor) -> Tensor:
        return self.attended().reshape(w.shape) * self.inner(w)

    def grid(self, x: Tensor) -> Grid:
        inner = self.inner.grid(x)
        return Grid(TERNARY, inner.scale) if inner.levels is not None and inner.levels.is_bipolar else inner

    def initialize(self, x: Tensor) -> None:
        self.inner.initialize(x)

    def group(self) -> dict[str, Any]:
        return self.inner.group()

    def penalty(self, x: Tensor) -> Tensor | None:
        return self.inner.penalty(x)

    def stored(self, w: Tensor) -> tuple[int, int]:
        """One weight for each kernel, and which tap it is at."""
        count, bits = self.inner.stored(w)
        taps = self.attention.shape[-1]
        return count // taps, bits + (taps - 1).bit_length()

    def extra_repr(self) -> str:
        return f"temperature={float(self.temperature):.3g}, lr_scale={self.lr_scale}"
