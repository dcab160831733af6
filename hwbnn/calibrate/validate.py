"""A sample of the corpus measured again and held against what is estimated now."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hwbnn.calibrate.corpus import WHOLE, Sample, samples
from hwbnn.calibrate.fit import flip_flops, packed_luts
from hwbnn.calibrate.measure import Measured, digest, measure
from hwbnn.calibrate.table import Row, of_sample, stages_of
from hwbnn.cost.depth import fmax
from hwbnn.cost.quantity import Figure, Quantity
from hwbnn.cost.resources import of_stages
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError

__all__ = ["Check", "validate"]


@dataclass(frozen=True)
class Check:
    """One figure of one part: estimated and measured."""

    part: str
    figure: str
    estimated: Figure
    measured: float

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds what was measured; None where nothing is estimated."""
        return self.estimated.contains(self.measured) if isinstance(self.estimated, Quantity) else None

    @property
    def error(self) -> float | None:
        """Relative error of the nominal value."""
        if not isinstance(self.estimated, Quantity) or not self.measured:
            return None
        return self.estimated.nominal / self.measured - 1


def validate(tech: Technology, *, count: int = 4, seed: int = 1, place: bool = True,
             progress: Callable[[str, int, int], object] = lambda what, done, total: None,
             run: Callable[..., Measured] = measure) -> list[Check]:
    """Measure ``count`` stages of the corpus again, drawn by ``seed``, and compare them with the estimate.

    Parameters
    ----------
    place : :class:`bool`
        Whether frequencies are compared, too, which takes a placement with each of three seeds.
    run : callable
        What measures, :func:`~hwbnn.calibrate.measure.measure`.
    """
    corpus = [sample for sample in samples(tech.name) if sample.name != WHOLE]
    if not 1 <= count <= len(corpus):
        raise UserError(f"Sample must be 1 to {len(corpus)} parts of the corpus, not {count}")
    chosen = [corpus[n] for n in sorted(np.random.default_rng(seed).choice(len(corpus), count, replace=False))]
    checks: list[Check] = []
    for number, sample in enumerate(chosen):
        progress(f"network {sample.network}, {sample.name}", number, count)
        checks += _compared(sample, run(lambda sample=sample: of_sample(sample, tech), tech, place=place), tech)
    return checks


def _compared(sample: Sample, measured: Measured, tech: Technology) -> Iterator[Check]:
    row = Row(sample.network, sample.name, type(sample.stage).__name__, digest(of_sample(sample, tech), tech.family),
              bool(measured.fmax), measured)
    name, used = f"network {sample.network}, {sample.name}", of_stages(stages_of(row, tech), tech)
    yield Check(name, tech.lut, used.luts, packed_luts(row, tech))
    yield Check(name, "FF", used.mapped_flip_flops, flip_flops(row, tech))
    known = [f for f in measured.fmax if f is not None]
    if known:
        yield Check(name, "Hz", fmax(stages_of(row, tech), tech), 1e6 * float(np.median(known)))
