"""The table of a target's calibration: a row for everything that was measured, as JSON, written row by row."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwbnn.builddir import write_atomic
from hwbnn.calibrate.corpus import NETWORKS, WHOLE, Sample, plan, samples
from hwbnn.calibrate.measure import Measured, digest, measure, versions
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError
from hwbnn.plan import Stage
from hwbnn.rtl.accelerator import Core, component

__all__ = ["FORMAT", "Row", "Table", "extend", "of_sample", "stages_of"]

FORMAT = 2


@dataclass(frozen=True)
class Row:
    """What was measured of one :class:`Sample`.

    Parameters
    ----------
    network, stage : of the sample; ``stage`` is :data:`~hwbnn.calibrate.corpus.WHOLE` for a whole accelerator.
    component : name of the stage's record.
    digest : of the hardware that was measured; empty where that is not known.
    placed : whether it was placed, so that its frequency is known.
    """

    network: int
    stage: str
    component: str
    digest: str
    placed: bool
    measured: Measured

    @property
    def key(self) -> tuple[int, str]:
        return self.network, self.stage

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Row":
        measured = record.pop("measured")
        return cls(**record, measured=Measured(dict(measured["cells"]), dict(measured["packed"]),
                                               tuple(measured["fmax"])))


@dataclass(frozen=True)
class Table:
    """All rows of a target, with the versions of the tools that made them."""

    target: str
    tools: dict[str, str]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read a table. Raises :class:`UserError` where there is none that can be read; what there is stays."""
        again = f"hwbnn calibrate --target {path.stem} --tables {shlex.quote(str(path.parent))}"
        aside = f"{shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.old')))}"
        try:
            content = json.loads(path.read_text())
            if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
                raise UserError(f"Calibration table {path} must have format {FORMAT}, not {content['format']}; put it "
                                f"aside and measure again with `mv {aside} && {again}`")
            return cls(content["target"], content["tools"], tuple(Row.of(row) for row in content["rows"]))
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(f"Calibration table {path} must exist, and it does not; make it with `{again}`") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"Calibration table {path} must be what `hwbnn calibrate` writes, and it is damaged; put "
                            f"it aside and measure again with `mv {aside} && {again}`") from None

    def write(self, path: Path) -> None:
        """Write the table, a row on a line."""
        rows = ",\n".join("  " + json.dumps(asdict(row)) for row in self.rows)
        head = json.dumps({"format": FORMAT, "target": self.target, "tools": self.tools}, indent=1)
        write_atomic(path, f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')


def of_sample(sample: Sample, tech: Technology) -> Any:
    """The hardware of a sample on a technology, a new component."""
    return Core(plan(sample.network, tech.name)) if sample.stage is None else component(sample.stage)


def stages_of(row: Row, tech: Technology) -> tuple[Stage, ...]:
    """The stages that a row measures; several for a whole accelerator."""
    whole = plan(row.network, tech.name)
    return whole.parts if row.stage == WHOLE else (whole.stage(row.stage),)


def extend(path: Path, tech: Technology, *, networks: range = range(NETWORKS), place: bool = True,
           progress: Callable[[str, int, int], object] = lambda what, done, total: None) -> Table:
    """Measure whatever of the corpus has no row yet, or one of other hardware, and write the table after each.

    An interrupt loses the row under way, and the next call goes on there.

    Parameters
    ----------
    place : :class:`bool`
        Whether to place and route, for the frequency; rows that were not placed are made again when it is asked.
    progress : callable
        Called with the name of a sample, its number and how many there are.
    """
    tools = versions(tech)
    known = {row.key: row for row in Table.read(path).rows} if path.exists() else {}
    wanted = list(samples(tech.name, networks))
    for number, sample in enumerate(wanted):
        name = "Core" if sample.stage is None else type(sample.stage).__name__
        progress(f"network {sample.network}, {sample.name}", number, len(wanted))
        mark = digest(of_sample(sample, tech), tech.family)
        old = known.get((sample.network, sample.name))
        if old is not None and old.digest == mark and (old.placed or not place):
            continue
        measured = measure(lambda sample=sample: of_sample(sample, tech), tech, place=place)
        known[sample.network, sample.name] = Row(sample.network, sample.name, name, mark, bool(measured.fmax), measured)
        Table(tech.name, tools, _ordered(known.values(), tech)).write(path)
    return Table(tech.name, tools, _ordered(known.values(), tech))


def _ordered(rows: Iterable[Row], tech: Technology) -> tuple[Row, ...]:
    """Rows in the order of the corpus; what is no longer in it is left out."""
    known = {row.key: row for row in rows}

    def kept() -> Iterator[Row]:
        for sample in samples(tech.name):
            row = known.get((sample.network, sample.name))
            if row is not None:
                yield row

    return tuple(kept())
