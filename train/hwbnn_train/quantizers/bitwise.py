"""Bitwise neural networks: squashed real numbers in a first round of training, bits in a second one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn_train.quantizers.base import Grid, Quantizer, sign
from hwbnn_train.quantizers.binary import sign_window, substitute

__all__ = ["BitwiseActivation", "BitwiseWeights", "Cuts"]


class BitwiseWeights(Quantizer):
    """Weights or biases -1 and +1, and 0 where they are deactivated, times a fixed scale.

    Round 1, weight compression (``noisy`` is false). Forward in training: ``q(w) = scale tanh(w)``. Backward: its
    derivative, ``dq/dw = scale (1 - tanh(w)^2)``.

    Round 2, noisy back propagation (``noisy`` is true), and evaluation in both rounds. Forward:
    ``q(w) = scale * (+1 if w > beta, -1 if w < -beta, else 0)``, ``beta`` being the quantile ``sparsity`` of ``|w|``;
    with a sparsity of 0 the sign of ``w``. Backward: ``dq/dw = 1``: errors are found with the bits and move the real
    weights.

    Kim and Smaragdis, "Bitwise Neural Networks" (arXiv:1601.06071). The paper has no scale. As a power of
    two that all weights and the bias of a layer share it changes no bit of the network, and lets the sums of a layer
    fit the hyperbolic tangent, the window of the sign and the softmax behind it.

    Parameters
    ----------
    scale : :class:`float`
        The magnitude.
    sparsity : :class:`float`
        Share of the weights that are 0, the paper's lambda.
    """

    def __init__(self, scale: float = 1.0, *, sparsity: float = 0.0):
        if not 0 < scale < math.inf:
            raise ValueError(f"BitwiseWeights scale must be positive and finite, not {scale!r}")
        if not 0 <= sparsity < 1:
            raise ValueError(f"BitwiseWeights sparsity must be at least 0 and below 1, not {sparsity!r}")
        super().__init__()
        self.scale, self.sparsity, self.noisy = scale, sparsity, False

    def forward(self, w: Tensor) -> Tensor:
        if self.training and not self.noisy:
            return torch.tanh(w) * self.scale
        value = sign(w).mul_(self.scale)
        zeros = int(self.sparsity * w.numel())
        if zeros:
            magnitude = w.detach().abs()
            value.mul_(magnitude > magnitude.flatten().kthvalue(zeros).values)
        return substitute(w, value)

    def grid(self, w: Tensor) -> Grid:
        return Grid(TERNARY if self.sparsity else BIPOLAR, torch.tensor(self.scale, dtype=w.dtype))

    def extra_repr(self) -> str:
        return f"scale={self.scale}, sparsity={self.sparsity}"


class BitwiseActivation(Quantizer):
    """One bit: the hyperbolic tangent in round 1 of the training, the sign in round 2 and in evaluation.

    Round 1 (``noisy`` is false). Forward in training: ``q(x) = tanh(x)``. Backward: ``dq/dx = 1 - tanh(x)^2``. Round 2:
    the sign, whose gradient passes where ``|x| <= window``. Kim and Smaragdis (arXiv:1601.06071), where it
    passes everywhere.

    Parameters
    ----------
    window : :class:`float`
        Half-width of the range in which the gradient passes in round 2.
    """

    def __init__(self, window: float = math.inf):
        if not window > 0:
            raise ValueError(f"BitwiseActivation window must be positive, not {window!r}")
        super().__init__()
        self.window, self.noisy = window, False

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) if self.training and not self.noisy else sign_window(x, self.window)

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.ones((), dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"window={self.window}"


class Cuts(Quantizer):
    """Real numbers, such as pixels, sorted into levels by fixed thresholds.

    Forward: ``q(x) = scale * (low + step #{k : x >= t_k})``. Backward: none; it is for the input of a network. The
    inputs of bitwise networks (Kim and Smaragdis, arXiv:1601.06071) are bipolar, 0 and 1, or of two bits.

    Parameters
    ----------
    thresholds : sequence of :class:`float`
        Ascending; one less than there are levels.
    levels : :class:`hwbnn.ir.Levels`
        The integers.
    scale : :class:`float`
        Their unit.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Sequence[float], levels: Levels, *, scale: float = 1.0):
        if list(thresholds) != sorted(set(thresholds)) or len(thresholds) != len(levels) - 1:
            raise ValueError(f"Cuts thresholds must be {len(levels) - 1} that ascend, not {list(thresholds)}")
        if not 0 < scale < math.inf:
            raise ValueError(f"Cuts scale must be positive and finite, not {scale!r}")
        super().__init__()
        self.levels, self.scale = levels, scale
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        count = torch.bucketize(x, self.thresholds, right=True).to(x.dtype)
        return count.mul_(self.levels.step).add_(self.levels.low).mul_(self.scale)

    def grid(self, x: Tensor) -> Grid:
        return Grid(self.levels, torch.tensor(self.scale), self.thresholds)

    def extra_repr(self) -> str:
        return f"thresholds={self.thresholds.tolist()}, levels={self.levels}, scale={self.scale}"
