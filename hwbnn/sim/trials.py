"""Campaigns of trials: shares with confidence intervals, kept while they go on so that an interrupt loses nothing."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError

__all__ = ["CONFIDENCE", "Campaign", "Group", "Point", "carry_out", "digest", "interval", "proportion", "require"]

CONFIDENCE = 0.95

_KEEP = 1.0  # seconds after which what is done is kept, besides at an interrupt

Share = tuple[float, float, float]
"""A share with its confidence interval."""


@dataclass(frozen=True)
class Group:
    """Trials of one kind: ``flips`` flipped bits each, among ``bits``.

    These are of ``layer`` and of ``kind``; empty: of all. ``whole`` says that each single bit is tried once, so that
    there is nothing to be estimated.
    """

    layer: str
    bits: int
    flips: int
    trials: int
    whole: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Point:
    """``trials`` networks, each with ``flips`` flipped bits at random places.

    Parameters
    ----------
    layer : :class:`str`
        The node or stage that was hit; empty: all that can be.
    bits : :class:`int`
        Bits among which the places were drawn.
    same : triple of :class:`float`
        Share of images with the class of the faultless network: mean over the trials, and its confidence interval.
    accuracy : triple of :class:`float` or None
        The same for the share of images with the right class; None where the labels are unknown.
    worst : :class:`float`
        The least share of images with the class of the faultless network in any trial.
    kind : :class:`str`
        Of registers, ``control`` or ``data``; empty: both.
    effects : mapping of triples
        Of registers, the share of trials with each of :data:`hwbnn.sim.upsets.EFFECTS`, with its interval; else empty.
    """

    layer: str
    bits: int
    flips: int
    trials: int
    same: Share
    accuracy: Share | None
    worst: float
    kind: str = ""
    effects: Mapping[str, Share] = field(default_factory=dict)

    @classmethod
    def of(cls, group: Group, outcomes: Sequence[Sequence[Any]], effects: Sequence[str] = ()) -> "Point":
        """Sum up what :func:`carry_out` found for a group: shares of both kinds, and the effect where there is one."""
        same, right = [one[0] for one in outcomes], [one[1] for one in outcomes]
        accuracy = None if None in right else interval(right, whole=group.whole)
        seen = [one[2] for one in outcomes] if effects else []
        return cls(group.layer, group.bits, group.flips, len(outcomes), interval(same, whole=group.whole), accuracy,
                   min(same), group.kind,
                   {name: proportion(seen.count(name), len(seen)) for name in effects})


@dataclass(frozen=True)
class Campaign:
    """Shares of images against flips over the whole network, and for each layer alone.

    For registers there is more: ``kinds`` has the points of control and of data alone, ``parts`` the effects of all
    single flips by the part of the stage that they hit, ``cycles`` the cycles of a run, in any of which a flip may be,
    and ``trials`` the bits that each trial flipped, with what they did.
    """

    target: str
    images: int
    faultless: float | None
    seed: int
    confidence: float
    points: tuple[Point, ...]
    layers: tuple[Point, ...]
    kinds: tuple[Point, ...] = ()
    parts: tuple[Mapping[str, Any], ...] = ()
    cycles: int | None = None
    trials: tuple[Mapping[str, Any], ...] = ()

    @property
    def most_sensitive(self) -> str:
        """The layer that loses most images to the same number of flips."""
        return min(self.layers, key=lambda point: point.same[0]).layer

    def to_json(self) -> dict[str, Any]:
        """The record, for ``faults/<target>.json``."""
        return asdict(self) | {"most_sensitive": self.most_sensitive}


def require(flips: Sequence[int], trials: int, seed: int, *, total: int, target: str) -> list[int]:
    """Return ``flips`` in order; raise :class:`UserError` where an option of a campaign cannot be."""
    flips = sorted(set(flips))
    if not flips or flips[0] < 1 or flips[-1] > total:
        raise UserError(f"Flips must be numbers of bits from 1 to the {total} that the {target} have, not "
                        f"{', '.join(map(str, flips)) or 'none'}")
    if trials < 1:
        raise UserError(f"Trials must be at least 1, not {trials}")
    if seed < 0:
        raise UserError(f"Seed must be an integer of at least 0, not {seed}")
    return flips


def interval(values: Sequence[float], *, whole: bool = False) -> Share:
    """Mean of the trials and its 95 % interval by Student's t, within 0 and 1; no width where all cases were tried.

    Where all trials agree, that knows no width: then as many may be unlike them as :func:`proportion` has above none.
    """
    mean = fmean(values)
    if whole:
        return mean, mean, mean
    if len(values) < 2:
        return mean, 0.0, 1.0
    if min(values) == max(values):
        unlike = proportion(0, len(values))[2]
        return mean, mean * (1 - unlike), mean + (1 - mean) * unlike
    half = _student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def proportion(count: int, total: int) -> Share:
    """The share ``count`` of ``total`` trials and its 95 % interval (Wilson, 1927), which no count of 0 makes empty."""
    z, share = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2), count / total
    middle, scale = share + z * z / (2 * total), 1 + z * z / total
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return share, max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t: exact for 1 and 2, else by its expansion (Abramowitz, 26.7.5)."""
    if freedom <= 2:
        return (12.7062, 4.3027)[freedom - 1]
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96,
             (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
             (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return sum(term / freedom**n for n, term in enumerate(terms))


def digest(*parts: Any) -> str:
    """What a campaign is made of, as one word: JSON values and bytes."""
    return hashlib.sha256(json.dumps([hashlib.sha256(part).hexdigest() if isinstance(part, bytes) else part
                                      for part in parts]).encode()).hexdigest()


def carry_out(groups: Sequence[Group], trial: Callable[[int, int], list], *, made_of: str, jobs: int = 1,
              kept: str | os.PathLike | None = None, resume: bool = False,
              progress: Callable[[int, int], object] = lambda done, total: None) -> list[list[list]]:
    """Carry out all trials and return what each found, by group.

    Parameters
    ----------
    trial : callable
        Called with the number of the group and of the trial in it, by which it is seeded: the outcome does not depend
        on interrupts. It returns JSON values, and runs in several threads at a time where ``jobs`` says so.
    made_of : :class:`str`
        Of :func:`digest`: what is gone on with must have been begun with the same.
    kept : path, optional
        A file that holds what is done until all is; with ``resume`` it is gone on with.
    """
    done = _read(kept, made_of) if resume else {}
    total = sum(group.trials for group in groups)
    finished = sum(len(found) for found in done.values())
    written = time.monotonic()

    def keep():
        if kept is not None:
            write_atomic(kept, json.dumps({"made_of": made_of, "done": done}))

    with ThreadPoolExecutor(jobs) as pool:
        for number, group in enumerate(groups):
            found = done.setdefault(str(number), [])
            waiting = [pool.submit(trial, number, n) for n in range(len(found), group.trials)]
            try:
                for future in waiting:
                    found.append(future.result())
                    finished += 1
                    if time.monotonic() - written > _KEEP:
                        keep()
                        written = time.monotonic()
                    progress(finished, total)
            except BaseException:
                for future in waiting:
                    future.cancel()
                keep()
                raise
    if kept is not None:
        Path(kept).unlink(missing_ok=True)
    return [done[str(number)] for number in range(len(groups))]


def _read(kept: str | os.PathLike | None, made_of: str) -> dict[str, list]:
    try:
        record = json.loads(Path(kept or "").read_text())
    except (OSError, ValueError):
        raise UserError("Campaign must have been interrupted to be resumed, and none was; "
                        "run it without --resume") from None
    if record["made_of"] != made_of:
        raise UserError("Campaign must be resumed as it was begun, with the same build, images and options; "
                        "run it without --resume to begin anew")
    return record["done"]
