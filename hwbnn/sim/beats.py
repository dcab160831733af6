"""Integers to the beats of a stream and back, for whole sets of frames at once."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import pack
from hwbnn.plan import Stream

__all__ = ["beats_of", "values_of", "width"]


def width(stream: Stream) -> int:
    """Bytes that hold a beat of ``stream``."""
    return -(-stream.bits // 8)


def beats_of(values: ArrayLike, stream: Stream) -> NDArray[np.uint8]:
    """Return the beats of each frame, least significant byte first.

    Parameters
    ----------
    values : int array (frames, ...)
        Integers in stream order: row by row, channels fastest. Lanes that are left over in a frame are 0 bits.

    Returns
    -------
    uint8 array (frames, stream.beats, bytes per beat)
    """
    array = np.asarray(values, np.int64)
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    bits = pack.bits_of(pack.codes(flat, stream.levels), stream.levels.bits).astype(np.uint8)
    room = stream.beats * stream.lanes
    assert flat.shape[1] <= room, f"{flat.shape[1]} values do not fit {stream}"
    padded = np.zeros((len(flat), room, stream.levels.bits), np.uint8)
    padded[:, :flat.shape[1]] = bits
    return np.packbits(padded.reshape(len(flat), stream.beats, stream.bits), axis=-1, bitorder="little")


def values_of(beats: NDArray[np.uint8], stream: Stream, count: int) -> NDArray[np.int64]:
    """Return the first ``count`` integers of each frame: the inverse of :func:`beats_of`.

    Codes that stand for no level of the stream, which only faulty hardware sends, count as the integers that
    the encoding would give them.
    """
    bits = np.unpackbits(beats, axis=-1, count=stream.bits, bitorder="little")
    bits = bits.reshape(len(beats), stream.beats * stream.lanes, stream.levels.bits)[:, :count]
    weights = np.int64(1) << np.arange(stream.levels.bits, dtype=np.int64)
    return pack.levels_of(bits.astype(np.int64) @ weights, stream.levels)
