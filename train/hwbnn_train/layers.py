"""Layers that quantize their input and their weights, and then do what the plain layer does."""

import functools
import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwbnn_train.quantizers import Quantizer
from hwbnn_train.quantizers.binary import substitute

__all__ = ["QuantConv2d", "QuantLinear", "Quantized", "glorot"]


def glorot(fan_in: int, fan_out: int) -> float:
    """Return ``c = sqrt(1.5 / (fan_in + fan_out))``, the coefficient that scales learning rates by ``1 / c``.

    From Glorot and Bengio (2010) as BinaryConnect uses it (arXiv:1511.00363, and the authors'
    ``binary_connect.py``).
    """
    return math.sqrt(1.5 / (fan_in + fan_out))


@functools.cache
def _has_bfloat16() -> bool:
    """Tell whether this processor takes products of bfloat16, which it does twice as fast as those of float32."""
    has = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older versions of torch
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


class _OnGradient(torch.autograd.Function):
    """The value itself forward, and a module applied to its gradient backward."""

    @staticmethod
    def forward(ctx, x, module):
        ctx.module = module
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.module(grad), None


class _WeightsFrom(torch.autograd.Function):
    """A layer's product, the gradient of whose weights is taken from another input."""

    @staticmethod
    def forward(ctx, layer, x, other, weights, bias):
        ctx.layer = layer
        ctx.save_for_backward(x, other, weights)
        return layer.product(x, weights, bias)

    @staticmethod
    def backward(ctx, grad):
        x, other, weights = ctx.saved_tensors
        with torch.autocast(grad.device.type, grad.dtype, enabled=grad.dtype != torch.float32):  # as forward had it
            by_x, by_weights = ctx.layer.gradients(grad, x, other, weights, ctx.needs_input_grad[1])
        by_bias = None
        if ctx.needs_input_grad[4]:
            by_bias = grad.sum(dim=[axis for axis in range(-grad.ndim, 0) if axis != ctx.layer.channel_axis])
        return None, by_x, None, by_weights, by_bias


class Quantized(nn.Module):
    """What layers with quantized weights share; a subclass names the plain layer beside it and says :meth:`product`.

    The real weights ``w`` are what the optimizer moves. They start uniform in ``-spread .. spread``, are kept in
    ``-limit .. limit`` by the optimizer (:func:`hwbnn_train.optimizers.prepare`), and their learning rate is
    multiplied by ``lr_scale``. The first axis of the weights is the output.

    In evaluation mode the product is taken with the integers of the weights and the scale multiplied in
    afterwards, as hardware and the exported graph do, so that sums of integers stay exact.

    Parameters
    ----------
    weight : :class:`~hwbnn_train.quantizers.Quantizer`
        Applied to the weights.
    input : :class:`~hwbnn_train.quantizers.Quantizer` or None
        Applied to the input; None where it has its values already.
    gradient : Module or None
        Applied to the (quantized) input where the gradient of the weights multiplies by it; None: nothing is.
    error : Module or None
        Applied to the gradient that arrives at the output, before anything is made of it; None: nothing is.
    bias : :class:`bool`
        Whether there is one. None is needed before batch normalization.
    quantize_bias : :class:`~hwbnn_train.quantizers.Quantizer` or None
        Applied to the bias; None: it is real.
    limit : :class:`float`
        Bound of the real weights.
    spread : :class:`float` or None
        Bound of the initial weights, which may be more than ``limit`` until the first step; None: ``limit``.
    lr_scale : :class:`float` or None
        Factor on the learning rate; None: ``limit /`` :func:`glorot` of the layer.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    channel_axis: ClassVar[int]
    """Of the output."""

    def __init__(self, *sizes, weight: Quantizer, input: Quantizer | None = None,
                 gradient: nn.Module | None = None, error: nn.Module | None = None, bias: bool = False,
                 quantize_bias: Quantizer | None = None, limit: float = 1.0, spread: float | None = None,
                 lr_scale: float | None = None, **options):
        kind = type(self).__name__
        if not limit > 0:
            raise ValueError(f"{kind} limit must be positive, not {limit!r}")
        if spread is not None and not spread > 0:
            raise ValueError(f"{kind} spread must be positive, not {spread!r}")
        self.limit = limit
        self.spread = limit if spread is None else spread
        super().__init__(*sizes, bias=bias, **options)
        self.lr_scale = limit / glorot(*self.fans) if lr_scale is None else lr_scale
        self.quantize_input = input
        self.quantize_weight = weight
        self.quantize_gradient = gradient
        self.quantize_bias = quantize_bias
        self.quantize_error = error
        with torch.no_grad():
            weight.initialize(self.weight)

    @property
    def fans(self) -> tuple[int, int]:
        """Inputs of one output, and outputs of one input."""
        taps = self.weight[0, 0].numel()
        return self.weight.shape[1] * taps, self.weight.shape[0] * taps

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, -self.spread, self.spread)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def offset(self) -> Tensor | None:
        """Return the bias as it is added, quantized where it is to be; None where there is none."""
        return self.bias if self.bias is None or self.quantize_bias is None else self.quantize_bias(self.bias)

    def product(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        """Do what the plain layer does."""
        raise NotImplementedError  # every subclass defines it

    def gradients(self, grad: Tensor, x: Tensor, other: Tensor, weights: Tensor, by_x: bool
                  ) -> tuple[Tensor | None, Tensor]:
        """Return the gradients by ``x``, if ``by_x``, and by the weights, the latter as though ``x`` were ``other``."""
        raise NotImplementedError  # every subclass defines it

    def forward(self, x: Tensor) -> Tensor:
        if self.quantize_input is not None:
            x = self.quantize_input(x)
        bias = self.offset()
        if self.training:
            y = self._in_training(x, self.quantize_weight.for_product(self.weight), bias)
            return y if self.quantize_error is None else _OnGradient.apply(y, self.quantize_error)
        grid = self.quantize_weight.grid(self.weight)
        weights = self.quantize_weight(self.weight) / grid.scale
        if grid.levels is not None:  # integers, up to the rounding of the division
            weights = substitute(weights, weights.detach().round())
        y = self.product(x, weights, None) * self.along_channels(grid.scale)
        return y if bias is None else y + self.along_channels(bias)

    def _in_training(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        if self.quantize_gradient is None:
            return self.product(x, weights, bias)
        return _WeightsFrom.apply(self, x, self.quantize_gradient(x.detach()), weights, bias)

    @classmethod
    def along_channels(cls, values: Tensor) -> Tensor:
        """Return one value, or one per output, shaped to broadcast against the output."""
        return values.reshape(-1, *[1] * (-1 - cls.channel_axis)) if values.ndim else values


class QuantLinear(Quantized, nn.Linear):
    """``y = q_input(x) @ q_weight(w).T + bias``; ``QuantLinear(in_features, out_features, weight=...)``.

    Weights are ``out_features x in_features``. The other parameters are those of :class:`Quantized`.
    """

    channel_axis = -1

    def product(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weights, bias)

    def gradients(self, grad, x, other, weights, by_x):
        return grad @ weights if by_x else None, grad.flatten(0, -2).T @ other.flatten(0, -2)


class QuantConv2d(Quantized, nn.Conv2d):
    """A convolution; ``QuantConv2d(in_channels, out_channels, kernel_size, weight=..., stride=..., padding=...)``.

    Weights are ``out_channels x in_channels/groups x ky x kx``. Padding adds zeros *behind* the input's quantizer, so
    that a bipolar input has a third value at its border, as in BinaryNet's networks; golden and hardware do the
    same. The other parameters are those of :class:`Quantized` and of :class:`torch.nn.Conv2d`.

    In training on a CPU with instructions for bfloat16, products of weights and inputs that it holds without loss are
    taken in it (sums in float32), and results and gradients rounded to it; evaluation is in float32.
    """

    channel_axis = -3

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        if self.padding_mode != "zeros":
            raise ValueError(f"QuantConv2d padding_mode must be zeros, not {self.padding_mode}")

    def product(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        how = (self.stride, self.padding, self.dilation, self.groups)
        if x.device.type == "cpu" and self.is_narrow and x.ndim == 4 and not x.requires_grad:
            return self._as_matrices(x, weights, bias)
        if x.device.type == "cpu" and self.training and self._is_short and x.dtype == torch.float32 and _has_bfloat16():
            y = functional.conv2d(x.bfloat16(), weights.bfloat16(), None, *how).float()
            return y if bias is None else y + self.along_channels(bias)
        return functional.conv2d(x, weights, bias, *how)

    @property
    def _is_short(self) -> bool:
        """Whether bfloat16 holds all factors, so that only results and gradients are rounded."""
        return (self.quantize_weight.short and self.quantize_input is not None and self.quantize_input.short
                and self.quantize_gradient is None and self.quantize_error is None)

    @property
    def is_narrow(self) -> bool:
        """Whether an output has so few inputs that a CPU is several times faster with a product of matrices."""
        return (self.weight[0].numel() <= 32 and self.groups == 1 and self.dilation == (1, 1)
                and not isinstance(self.padding, str))

    def _as_matrices(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        above, left = (int(zeros) for zeros in self.padding)
        down, right = self.stride
        padded = functional.pad(x, (left, left, above, above))
        windows = padded.unfold(2, weights.shape[2], down).unfold(3, weights.shape[3], right)  # N x C x y x x x ky x kx
        images, _, height, width = windows.shape[:4]
        rows = windows.permute(1, 4, 5, 0, 2, 3).reshape(-1, images * height * width)
        y = rows.T @ weights.flatten(1).T.contiguous()  # so laid out, its gradient is fast, too
        y = y if bias is None else y + bias
        return y.view(images, height, width, -1).permute(0, 3, 1, 2)

    def gradients(self, grad, x, other, weights, by_x):
        how = (self.stride, self.padding, self.dilation, self.groups)
        x, other, weights = (tensor.to(grad.dtype) for tensor in (x, other, weights))
        return (nn.grad.conv2d_input(x.shape, weights, grad, *how) if by_x else None,
                nn.grad.conv2d_weight(other, weights.shape, grad, *how))
