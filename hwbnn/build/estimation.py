"""Estimates of a network on a chip without a board: any compiled network, or a network file with a folding."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

from hwbnn import ir
from hwbnn.build.facade import Build
from hwbnn.build.models import load
from hwbnn.calibrate import WHOLE, Row, measure
from hwbnn.calibrate.fit import packed_luts
from hwbnn.classify import classifier
from hwbnn.cost import Estimate, Measured, Quantity, Unknown, estimate, pace
from hwbnn.cost import technology as find_technology
from hwbnn.cost.resources import Resources
from hwbnn.errors import UserError
from hwbnn.fold import Goal, solve
from hwbnn.plan import Pace, Plan, lower
from hwbnn.rtl.accelerator import Core
from hwbnn.synth.reports import cells

__all__ = ["CLOCK_HZ", "Target", "on_target", "synthesized"]

CLOCK_HZ = 25_000_000
"""Of a target without a board, where none is given."""


@dataclass(frozen=True)
class Target:
    """A network folded for a chip, and what is estimated of it."""

    plan: Plan
    estimate: Estimate


def on_target(source: str | os.PathLike | ir.Network, target: str, *, clock_hz: int | None = None,
              folds: Mapping[str, Any] | str | os.PathLike | None = None, output: str = "class",
              **goals: Any) -> Target:
    """Estimate a network on a chip without a board.

    Parameters
    ----------
    source : path or :class:`ir.Network`
        A build directory, whose folding is kept where no other is asked for, or a network file.
    target : :class:`str`
        Name of a technology.
    clock_hz : :class:`int`
        :data:`CLOCK_HZ`, or the build's, where it is not given.
    folds, goals
        As for :func:`hwbnn.compile`: ``target_fps``, ``max_luts``, ``max_latency``, ``fit`` or ``folds``.
    output : :class:`str`
        What the accelerator of a network file sends, ``class`` or ``logits``.

    Raises
    ------
    UserError
        No folding is given for a network file; the chip is unknown or has no room; the clock is certainly out of
        reach.
    """
    tech = find_technology(target)
    asked = {name: value for name, value in {"folds": folds, **goals}.items() if value}
    command = f"hwbnn estimate {source.name if isinstance(source, ir.Network) else source} --target {target}"
    if not isinstance(source, ir.Network) and Path(source).is_dir():
        build = Build(source)
        network, clock = build.network, clock_hz or build.manifest.clock_hz
        if not asked:
            registers = pace(tech, clock, deep=Pace.of(build.manifest.pace).rows == 1)
            return _checked(lower(network, build.folds, pace=registers), target, clock,
                            given=clock_hz is not None, command=command)
    else:
        network, clock = load(source) if not isinstance(source, ir.Network) else source, clock_hz or CLOCK_HZ
        network = classifier(network) if output == "class" else network
        if not asked:
            raise UserError(f"Folding must be given for a network file, and none was; estimate it with --target-fps, "
                            f"--max-luts, --max-latency, --folds, --fold, or the fastest that fits with `{command} "
                            "--fit`")
    folding = solve(network, Goal.of(**asked), clock_hz=clock, technology=target, pace=pace(tech, clock))
    plan = folding.plan
    return _checked(plan, target, clock, given=clock_hz is not None, command=f"{command} {_option(asked, plan)}")


def synthesized(target: Target, *, place: bool = True) -> Target:
    """Return the same with the counts of Yosys, and of nextpnr where there is one, for the accelerator by itself.

    The median of three placements is the frequency. Raises :class:`UserError` where a tool is missing or fails.
    """
    tech = find_technology(target.estimate.technology)
    found = measure(lambda: Core(target.plan), tech, place=place)
    row = Row(0, WHOLE, "Core", "", bool(found.fmax), found)
    counted = cells(found.cells, luts_per_memory=0 if tech.lut_memory is None else int(tech.lut_memory.luts.value))
    tool = "nextpnr" if tech.counts == "nextpnr" else "Yosys"
    model = target.estimate.resources

    def exact(value: float, unit: str, method: str = "Yosys") -> Quantity:
        return Quantity.exact(value, unit, method=method)

    whole = Resources(exact(packed_luts(row, tech), tech.lut, tool), exact(counted.lut, tech.mapped_lut),
                      model.flip_flops, exact(counted.ff, "FF"), model.memory_bits,
                      exact(counted.block_memory, tech.block_memory.name), exact(counted.dsp, tech.dsp.unit),
                      exact(counted.large_memory, model.spram.unit))
    seen = [1e6 * hertz for hertz in found.fmax if hertz is not None]
    fmax = Quantity(min(seen), median(seen), max(seen), "Hz", "nextpnr, three seeds") if seen else Unknown(
        "Hz", f"frequency of {tech.title}: no open placer for this chip" if not found.fmax else
        f"frequency of {tech.title}: no placement of three succeeded")
    return Target(target.plan, estimate(target.plan, tech.name, target.estimate.timing.clock_hz,
                                        measured=Measured("synth", whole=whole, fmax=fmax)))


def _option(asked: Mapping[str, Any], plan: Plan) -> str:
    """The goal of a folding as the command line has it."""
    (name, value), *_ = asked.items()
    if isinstance(value, Mapping):
        return " ".join(f"--fold {layer}={fold.pe}x{fold.simd}" for layer, fold in plan.folds.items())
    return f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")


def _checked(plan: Plan, target: str, clock_hz: int, *, given: bool, command: str) -> Target:
    result = estimate(plan, target, clock_hz)
    if given and result.reaches == "no" and isinstance(result.fmax, Quantity):
        slowest = result.slowest
        raise UserError(f"Clock must be at most the {result.fmax.high / 1e6:.1f} MHz that the design may reach on "
                        f"{result.title}, not {clock_hz / 1e6:g} MHz; the slowest path is in {slowest.name} "
                        f"({slowest.path}); ask for what it reaches with `{command} --clock "
                        f"{floor(result.fmax.low / 1e4) / 100:g}`")
    return Target(plan, result)
