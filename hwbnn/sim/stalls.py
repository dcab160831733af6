"""When the producer and the consumer pause: the kinds of stalls that a bench puts on both sides of a design."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["STALLS", "pattern"]

STALLS = ("random", "worst", "gaps", "none")
"""Bursts and pauses at random on both sides; everything filled up, run dry and held at the slower side's pace;
pauses between frames only; frames back to back."""

_RATES = (0.0, 0.0, 0.1, 0.3, 0.5, 0.9, 1.0)  # chance of a pause per cycle; 0: a burst at full rate
_SEGMENTS = 300
_GAPS = 64  # pauses between frames before they repeat
_LONGEST = 2**22  # cycles of a pattern of gaps, more or less


@lru_cache(maxsize=16)
def pattern(kind: str, side: int, *, seed: int, pause: int, beats: int) -> NDArray[np.uint8]:
    """Cycles (1) in which a side pauses; engines repeat them for ever, so the same seed stalls the same everywhere.

    A producer's pattern stands still while it offers a beat; a consumer's goes on in every cycle.

    Parameters
    ----------
    kind : :class:`str`
        One of :data:`STALLS`.
    side : :class:`int`
        0 for the producer, 1 for the consumer.
    seed : :class:`int`
        Of what is random; of ``worst``, where in the pattern it begins.
    pause : :class:`int`
        About the longest pause, in cycles: that of a few frames, so that everything before a consumer that pauses
        fills up and everything behind a producer that pauses runs dry.
    beats : :class:`int`
        Beats of a frame on this side.
    """
    if kind == "random":
        return _random(seed, side, pause)
    if kind == "worst":
        return np.roll(_worst(side, pause, beats), -131 * (seed - 1))
    if kind == "gaps" and side == 0:
        return _gaps(seed, pause, beats)
    return np.zeros(1, np.uint8)


def _random(seed: int, side: int, pause: int) -> NDArray[np.uint8]:
    """Bursts at full rate, sparse traffic and long pauses; the two sides' lengths have no common factor."""
    rng = np.random.default_rng((seed, side))
    parts, last = [], 0.0
    for _ in range(_SEGMENTS):
        rate = rng.choice(_RATES)
        if rate == last == 1.0:
            rate = 0.0
        last = rate
        parts.append(rng.random(int(rng.integers(1, pause + 1))) < rate)
    pauses = np.concatenate(parts)
    length = _SEGMENTS * pause // 4 + side  # about half of what is there; neighbours have no common factor
    return pauses[:length].astype(np.uint8)


def _worst(side: int, pause: int, beats: int) -> NDArray[np.uint8]:
    """Stop and go in turns: shut for long, open, open every other cycle, one beat at a time.

    One beat at a time takes ``pause`` cycles for a frame, more than the design's own interval: the design is full
    all the while where the consumer does it, and empty where the producer does. The consumer is open, and lets single
    beats through, each for longer than all of the producer's turns take together, so that each meets all of those.
    """
    shut, single = np.ones(pause, np.uint8), np.ones(max(2, pause // beats), np.uint8)
    single[-1] = 0
    every_other = np.arange(pause, dtype=np.uint8) % 2
    if side == 0:
        open_ = np.zeros(min(pause, 8 * beats), np.uint8)
        return np.concatenate([open_, shut, every_other[:4 * beats], np.tile(single, 2 * beats)])
    return np.concatenate([shut, np.zeros(8 * pause, np.uint8), np.tile(single, 8 * beats), every_other])


def _gaps(seed: int, pause: int, beats: int) -> NDArray[np.uint8]:
    """Whole frames at full rate, between them nothing for up to ``pause`` cycles, sometimes for none."""
    rng = np.random.default_rng((seed, 2))
    count = max(4, min(_GAPS, _LONGEST // (beats + pause)))
    lengths = [1, 0, pause, *rng.integers(0, pause + 1, count - 3).tolist()]
    return np.concatenate([np.repeat(np.array([0, 1], np.uint8), (beats, length)) for length in lengths])
