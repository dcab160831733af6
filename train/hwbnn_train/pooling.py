"""Max pooling, as torch has it but in passes of our own where they are faster, by itself and behind a convolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwbnn_train.fused import LEAST, fits, fits_any_size
from hwbnn_train.layers import QuantConv2d

__all__ = ["MaxPool2d", "is_one_pass", "pooled_convolution"]


class _LargestOfFour(torch.autograd.Function):
    """The largest of each 2 x 2 pixels; channels are innermost."""

    @staticmethod
    def forward(ctx, x):
        from hwbnn_train.fused import pooling  # lazy: brings numba

        y, where = pooling.largest_of_four(x)
        ctx.save_for_backward(where)
        ctx.size = x.shape[1:3]
        return y

    @staticmethod
    def backward(ctx, grad):
        from hwbnn_train.fused import pooling

        (where,) = ctx.saved_tensors
        return pooling.to_the_largest(grad.contiguous(), where, *ctx.size)


class MaxPool2d(nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d`; on a CPU a training's 2 x 2 pooling takes half the time.

    Torch fills the gradient with zeros and then adds to one pixel in four; here all four are written at once, from a
    byte that tells which of them was the largest. Values and gradients are the same, bit for bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.is_by_two and input.ndim == 4:
            innermost = input.permute(0, 2, 3, 1)
            if fits(innermost):
                return _LargestOfFour.apply(innermost).permute(0, 3, 1, 2)
        return super().forward(input)

    @property
    def is_by_two(self) -> bool:
        """Whether it takes the largest of each 2 x 2 pixels."""
        return ((self.kernel_size, self.stride, self.padding, self.dilation) == (2, 2, 0, 1)
                and not self.ceil_mode and not self.return_indices)


class _PooledConvolution(torch.autograd.Function):
    """A convolution of padded images, and the largest of each 2 x 2 of its pixels; channels are innermost."""

    @staticmethod
    def forward(ctx, x, weights):
        from hwbnn_train.fused import pooling

        y, where = pooling.convolved(x, weights)
        ctx.save_for_backward(x, weights, where)
        return y

    @staticmethod
    def backward(ctx, grad):
        from hwbnn_train.fused import pooling

        x, weights, where = ctx.saved_tensors
        return None, pooling.convolved_gradient(grad.contiguous(), where, x, weights)


def is_one_pass(convolution: nn.Module, pool: nn.Module, x: Tensor) -> bool:
    """Tell whether :func:`pooled_convolution` can take the place of the two modules, for the input ``x``.

    It can in training on a CPU, for a convolution of images (no gradient goes to them) with few inputs for each output,
    and where nobody watches what is between the two.
    """
    return (isinstance(convolution, QuantConv2d) and isinstance(pool, MaxPool2d) and pool.is_by_two
            and convolution.training and convolution.is_narrow and convolution.stride == (1, 1)
            and convolution.bias is None and convolution.quantize_gradient is None
            and convolution.quantize_error is None and x.ndim == 4 and not x.requires_grad
            and x.numel() * len(convolution.weight) >= LEAST and fits_any_size(x)
            and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in (convolution, pool)))


def pooled_convolution(convolution: QuantConv2d, x: Tensor) -> Tensor:
    """Return the output of a convolution behind 2 x 2 max pooling, which is never written without it.

    On images of one channel the output of the first convolution is the largest tensor of a training step, and most of
    the step's time goes to moving it. Sums are taken in the order of the taps: the same as torch's, bit for bit, where
    images and weights are integers times a power of two.
    """
    if convolution.quantize_input is not None:
        x = convolution.quantize_input(x)
    weights = convolution.quantize_weight.for_product(convolution.weight)
    above, left = (int(zeros) for zeros in convolution.padding)
    padded = functional.pad(x, (left, left, above, above)).contiguous()
    return _PooledConvolution.apply(padded, weights).permute(0, 3, 1, 2)
