"""How many windows an axis has."""

__all__ = ["window", "windows"]


def window(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Number of window positions along one axis of ``size`` pixels."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def windows(node, height: int, width: int, kernel, dilation=(1, 1)) -> tuple[int, int]:
    top, left, bottom, right = node.padding
    size = (window(height, kernel[0], node.stride[0], dilation[0], top, bottom),
            window(width, kernel[1], node.stride[1], dilation[1], left, right))
    if min(size) < 1:
        node._fail(f"kernel {tuple(kernel)} must fit the padded {height} x {width} feature map")
    return size
