"""Keeping the memory that a training step frees, for the next one to take."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_... of glibc's malloc.h
_LARGEST = 32 * 2**20  # that glibc takes for the second one


def keep_freed_memory() -> bool:
    """Have the process keep up to 1 GiB that it frees, and tell whether the C library can be told so (glibc).

    A step allocates the quantized weights and the gradients anew. glibc gives megabytes back to the system when they
    are freed, and every page of them is then zeroed again when it is first written: 0.4 to 0.7 ms of a 10 ms step of a
    784-3x512-10 network. It holds for the rest of the process.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, _LARGEST) == mallopt(_TRIM_THRESHOLD, 2**30) == 1
