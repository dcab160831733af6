"""Fault injection: bits of registers flipped while the hardware runs, and what becomes of the results."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import golden, ir
from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.rtl import instance_name
from hwbnn.sim.beats import values_of
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.registers import Flip, Register, registers_of
from hwbnn.sim.traffic import Record
from hwbnn.sim.trials import CONFIDENCE, Campaign, Group, Point, carry_out, digest, proportion, require

__all__ = ["EFFECTS", "Outcome", "Upsets", "register_campaign"]

EFFECTS = ("masked", "logits", "class", "count", "hang")
"""What flips do, the worst last: every output as without them; outputs differ, and no class; classes differ; there are
more or fewer results than images, or a rule of the output stream is broken; the design stops taking images."""


@dataclass(frozen=True)
class Outcome:
    """A run with flipped bits.

    Parameters
    ----------
    effect : :class:`str`
        One of :data:`EFFECTS`.
    same : bool array (images,)
        Which have the class that they have without flips; a missing result has none.
    right : bool array (images,) or None
        Which have the right one, where that is known.
    exact : bool array (images,)
        Which have all outputs as without flips.
    """

    effect: str
    same: NDArray[np.bool_]
    right: NDArray[np.bool_] | None
    exact: NDArray[np.bool_]


class Upsets:
    """The emitted Verilog on one set of images, back to back and without stalls, with registers that flip.

    Parameters
    ----------
    directory : :class:`BuildDirectory`
        A compiled network. Its simulator is built beside that of ``hwbnn simulate``.
    x : array (N, *graph shape)
        Images, at least one.
    labels : int array (N,), optional

    Raises
    ------
    UserError
        Images that do not fit, a build directory that is not complete, no compiler, or hardware that is wrong without
        flips already.
    """

    def __init__(self, directory: BuildDirectory, x: ArrayLike, labels: ArrayLike | None = None):
        self.design = Design.of(directory)
        self.registers = registers_of(self.design.verilog.read_text())
        self.labels = None if labels is None else np.asarray(labels)
        self.q = self.design.encode(x)
        cycles = self.design.predicted
        wait = 2 * (cycles.first + cycles.interval) + 50  # nothing stands still for so long without stalls
        self.traffic = replace(self.design.traffic(self.q), patience=wait, linger=cycles.first + cycles.interval)
        self.engine = CompiledEngine(self.design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/compiled",
                                     flips=True)
        self.expected = self.design.expected(self.q).reshape(len(self.q), -1)
        clean = self._run(())
        seen, wrong = self._values(clean), len(self.q)
        if seen.shape == self.expected.shape:
            wrong = int(np.any(seen != self.expected, axis=1).sum())
        if wrong or clean.faults or clean.surplus:
            raise UserError(f"Hardware must give golden's results before its bits are flipped, and {wrong} of "
                            f"{len(self.q)} differ; see `hwbnn simulate {directory.path}`")
        self.cycles = clean.cycles
        self.classes = self._classes(self.expected)

    @property
    def bits(self) -> int:
        """Flip-flops that can be hit."""
        return sum(register.bits for register in self.registers)

    def run(self, flips: Sequence[Flip]) -> Outcome:
        """Run all images with ``flips``, in cycles below :attr:`cycles`. Hardware that stops is ended."""
        record = self._run(flips)
        seen = self._values(record)
        count = len(seen)
        missing = np.zeros(len(self.q) - count, bool)
        exact = np.concatenate([np.all(seen == self.expected[:count], axis=1), missing])
        classes = self._classes(seen)
        same = np.concatenate([classes == self.classes[:count], missing])
        right = None if self.labels is None else np.concatenate([classes == self.labels[:count], missing])
        if count < len(self.q) and record.sent < len(self.q) * self.traffic.beats_in:
            effect = "hang"
        elif record.faults or record.surplus:
            effect = "count"
        else:
            effect = "masked" if exact.all() else "logits" if same.all() else "class"
        return Outcome(effect, same, right, exact)

    def _run(self, flips: Sequence[Flip]) -> Record:
        return self.engine.run({"unstalled": replace(self.traffic, flips=tuple(flips))})["unstalled"]

    def _values(self, record: Record) -> NDArray[np.int64]:
        return values_of(record.beats, self.design.plan.output, self.expected.shape[1])

    def _classes(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """As the graph decides; a code that no level has, which only faulty hardware gives, counts as the nearest."""
        net = self.design.network
        name = net.outputs[0].tensor
        if isinstance(net.producer(name), ir.TopK):
            return values[:, 0]
        shape, levels = net.tensors[name].shape, net.tensors[name].levels
        inside = np.clip(values, levels.low, levels.high).reshape(len(values), *shape)
        return golden.decide(net, golden.decode(net, {name: inside}))


def register_campaign(directory: BuildDirectory, x: ArrayLike, labels: ArrayLike | None = None, *,
                      flips: Sequence[int] = (1, 2, 4, 8, 16, 32), trials: int = 20, seed: int = 1, jobs: int = 1,
                      kept: str | os.PathLike | None = None, resume: bool = False,
                      progress: Callable[[int, int], object] = lambda done, total: None) -> Campaign:
    """Flip bits of registers, each at random in place and cycle, while all images ``x`` pass.

    Parameters
    ----------
    flips : sequence of :class:`int`
        How many in a run. Single ones are also tried in each stage, and in the registers of each kind, alone.
    trials : :class:`int`
        Runs for each.
    seed : :class:`int`
        Of places and cycles; every trial has its own, so that the outcome depends on neither interrupts nor ``jobs``.
    jobs : :class:`int`
        Runs at a time.
    kept, resume, progress
        As for :func:`hwbnn.sim.faults.campaign`.
    """
    upsets = Upsets(directory, x, labels)
    flips = require(flips, trials, seed, total=upsets.bits, target="registers")
    if jobs < 1:
        raise UserError(f"Jobs must be an integer of at least 1, not {jobs}")
    stages = {instance_name(stage): stage.name for stage in upsets.design.plan.stages}
    pools = [("", "")] * len(flips)
    pools += [(name, "") for name in dict.fromkeys(register.stage for register in upsets.registers)]
    pools += [("", kind) for kind in ("control", "data")]
    members = [[register for register in upsets.registers
                if layer in ("", register.stage) and kind in ("", register.kind)] for layer, kind in pools]
    counts = [*flips, *[1] * (len(pools) - len(flips))]
    groups = [Group(stages.get(layer, layer), sum(one.bits for one in inside), count, trials, kind=kind)
              for (layer, kind), inside, count in zip(pools, members, counts, strict=True) if inside]
    members = [inside for inside in members if inside]

    def outcome(number: int, trial: int) -> list:
        chosen = _drawn(members[number], upsets.cycles, groups[number].flips, (seed, number, trial))
        found = upsets.run(chosen)
        return [float(found.same.mean()), None if found.right is None else float(found.right.mean()), found.effect,
                int(np.sum(~found.exact)), [spelled(upsets.registers, flip) for flip in chosen]]

    made_of = digest(upsets.design.verilog.read_bytes(), upsets.q.tobytes(), "registers", flips, trials, seed)
    found = carry_out(groups, outcome, made_of=made_of, jobs=jobs, kept=kept, resume=resume, progress=progress)
    points = [Point.of(group, outcomes, EFFECTS) for group, outcomes in zip(groups, found, strict=True)]
    kinds = [point for point in points if point.kind]
    single = [one for group, outcomes in zip(groups, found, strict=True) if group.flips == 1 for one in outcomes]
    return Campaign(
        "registers", len(upsets.q), None if upsets.labels is None else float(np.mean(upsets.classes == upsets.labels)),
        seed, CONFIDENCE, tuple(points[:len(flips)]), tuple(points[len(flips):len(points) - len(kinds)]), tuple(kinds),
        tuple(_parts(upsets.registers, single, stages)), upsets.cycles,
        tuple({"bits": one[4], "effect": one[2], "images": one[3]} for outcomes in found for one in outcomes))


def spelled(registers: Sequence[Register], flip: Flip) -> str:
    """A flip as the command line takes it."""
    register = next(one for one in registers if (one.scope, one.name) == (flip.scope, flip.name))
    return f"{register}.{flip.bit}@{flip.cycle}"


def _drawn(registers: Sequence[Register], cycles: int, count: int, seed: tuple[int, ...]) -> list[Flip]:
    """Bits and cycles, each pair as likely as any other."""
    ends = np.cumsum([register.bits for register in registers])
    flips = []
    for place in np.random.default_rng(seed).choice(int(ends[-1]) * cycles, count, replace=False, shuffle=False):
        bit, cycle = divmod(int(place), cycles)
        number = int(np.searchsorted(ends, bit, side="right"))
        register = registers[number]
        flips.append(Flip(register.scope, register.name, bit - int(ends[number]) + register.bits, cycle))
    return flips


def _parts(registers: Sequence[Register], single: Sequence[Sequence[Any]], stages: Mapping[str, str]
           ) -> list[dict[str, Any]]:
    """What the single flips did, by the part of the stage that they hit and its kind of registers."""
    sizes: dict[tuple[str, str, str], int] = defaultdict(int)
    where = {}
    for register in registers:
        key = (stages.get(register.stage, register.stage), register.component, register.kind)
        sizes[key] += register.bits
        where[str(register)] = key
    effects = defaultdict(list)
    for one in single:
        effects[where[one[4][0].rpartition("@")[0].rpartition(".")[0]]].append(one[2])
    return [{"layer": key[0], "part": key[1], "kind": key[2], "bits": size, "trials": len(effects[key]),
             "effects": {name: proportion(effects[key].count(name), len(effects[key])) for name in EFFECTS}
             if effects[key] else None} for key, size in sizes.items()]
