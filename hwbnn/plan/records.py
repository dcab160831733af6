"""The vocabulary of a plan: folding, streams, memories, and what every stage of the hardware states."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import Levels
from hwbnn.plan.channel import Channel, freed
from hwbnn.plan.options import UnitOptions
from hwbnn.plan.pace import Pace

if TYPE_CHECKING:  # which imports this module
    from hwbnn.plan.bank import Loaded

__all__ = ["Fold", "Memory", "PipelineStage", "Stage", "Stream", "Style", "ceil_div", "span_bits"]

Style = Literal["block", "distributed", "logic", "spram"]
_BLOCK = re.compile(r"\.\d+_\d+$")
STYLES = ("block", "distributed", "logic", "spram")


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def span_bits(low: int, high: int) -> int:
    """Bits that hold every integer of low..high: unsigned, or two's complement where low is negative."""
    if low >= 0:
        return high.bit_length()
    return max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0) + 1


def index_bits(count: int) -> int:
    """Bits of a counter with ``count`` states; none for a single state."""
    return (count - 1).bit_length()


@dataclass(frozen=True)
class Fold:
    """How one matrix becomes hardware: ``pe`` rows and ``simd`` columns are computed in a cycle, and how."""

    pe: int
    simd: int
    options: UnitOptions = field(default_factory=UnitOptions)

    def __post_init__(self):
        for name in ("pe", "simd"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"Fold {name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"Fold {name} must be at least 1, not {value}")

    def check(self, rows: int, columns: int):
        """Raise ``ValueError`` unless PE divides ``rows`` and SIMD divides ``columns``."""
        if rows % self.pe:
            raise ValueError(f"PE must divide the {rows} rows of the matrix, not be {self.pe}")
        if columns % self.simd:
            raise ValueError(f"SIMD must divide the {columns} columns of the matrix, not be {self.simd}")

    @property
    def lanes(self) -> int:
        """Products per cycle."""
        return self.pe * self.simd

    @property
    def record(self) -> dict[str, Any]:
        """As it stands in JSON: ``pe``, ``simd``, and the options that were asked for."""
        return {"pe": self.pe, "simd": self.simd, **self.options.asked}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Fold":
        """The inverse of :attr:`record`. Raises ``ValueError`` or ``TypeError`` where it is none."""
        for name in ("pe", "simd"):
            if name not in record:
                raise ValueError(f"Fold must have {name}")
        return cls(record["pe"], record["simd"],
                   UnitOptions.of({name: value for name, value in record.items() if name not in ("pe", "simd")}))


@dataclass(frozen=True)
class Stream:
    """What crosses a connection: ``lanes`` values per beat, ``beats`` beats per frame.

    Lane c of a beat is at bits ``c · levels.bits`` and up, in the code of :mod:`hwbnn.pack`.
    """

    levels: Levels
    lanes: int
    beats: int

    def __post_init__(self):
        if self.lanes < 1 or self.beats < 1:
            raise ValueError(f"Stream must have at least 1 lane and 1 beat, not {self.lanes} and {self.beats}")

    @property
    def bits(self) -> int:
        """Width of one beat."""
        return self.lanes * self.levels.bits


@dataclass(frozen=True)
class Memory:
    """One memory of the hardware: ``depth`` words of ``width`` bits.

    ``style`` is what it is to be made of: "block" (read through a register inside the memory),
    "distributed" (LUT RAM, or flip-flops where the family has none), "logic" (constants in LUTs) or "spram" (a block
    of UP5K's single-port RAM, which cannot be initialised). ``written`` tells memories from constants: their words
    cannot share a block side by side.
    """

    name: str
    width: int
    depth: int
    style: Style
    written: bool = field(default=False, compare=False)

    def __post_init__(self):
        if self.style not in STYLES:
            raise ValueError(f"Memory {self.name} style must be one of {', '.join(STYLES)}, not {self.style}")
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"Memory {self.name} must have at least 1 bit and 1 word, not {self.width} and "
                             f"{self.depth}")

    @property
    def bits(self) -> int:
        return self.width * self.depth

    @property
    def bank(self) -> str:
        """Name of the bank that it is a block of, ``bank.row_column``; its own where it is no part of one."""
        return _BLOCK.sub("", self.name)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One component of the accelerator, and the closed forms that its hardware is held to.

    Parameters
    ----------
    name : :class:`str`
        Name of the component in the hierarchy, unique in a plan.
    nodes : tuple of :class:`str`
        The IR nodes it computes; empty for plumbing.
    i, o : :class:`Stream`
        What enters and what leaves; where there are several ports, what crosses the first of them.
    """

    name: str
    nodes: tuple[str, ...]
    i: Stream
    o: Stream

    @property
    def inputs(self) -> Mapping[str, Stream]:
        """Its input ports by name."""
        return {"i": self.i}

    @property
    def outputs(self) -> Mapping[str, Stream]:
        """Its output ports by name."""
        return {"o": self.o}

    @property
    def is_combinational(self) -> bool:
        """Whether an input's ready follows another port in the same cycle; two such stages never meet."""
        return False

    def moves(self, inputs: Sequence[Channel], outputs: Sequence[Channel], begun: list[int],
              depth: int) -> Iterator[Channel | tuple[Channel, ...]]:
        """Move beats from ``inputs`` to ``outputs`` for ever, in exactly the cycles that the hardware takes.

        Parameters
        ----------
        inputs, outputs : sequence of :class:`Channel`
            In the order of the ports.
        begun : :class:`list`
            To be extended by the cycle in which each output's place in the FIFO is first claimed.
        depth : :class:`int`
            Of the output FIFO, in place of the stage's own.

        Yields
        ------
        The channel without which it cannot go on; several where any of them lets it do something.
        """
        raise TypeError(f"Stage must have a schedule, and {type(self).__name__} has none")

    @property
    def memory(self) -> int:
        """Frames back that the cycles of a frame may depend on."""
        return 1

    @property
    def latency(self) -> int:
        """Cycles from the first input transfer of a frame to the first output transfer, without stalls."""
        raise NotImplementedError(type(self).__name__)

    @property
    def ii(self) -> int:
        """Cycles between frames when this stage alone limits."""
        raise NotImplementedError(type(self).__name__)

    @property
    def flip_flops(self) -> int:
        """Bits of the ``$dff`` cells in the emitted RTL, exactly; registers inside block memories not counted."""
        raise NotImplementedError(type(self).__name__)

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Every memory in the emitted RTL, exactly."""
        return ()

    @property
    def banks(self) -> Mapping[str, "Loaded"]:
        """What can be written at run time, by the name of its port without ``load_``; in the order of the image."""
        return {}

    def at(self, pace: Pace) -> "Stage":
        """The same stage with registers as ``pace`` says, and its FIFO at the least depth."""
        return self

    def rearranged(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what leaves a stage that computes no node, (frames, values), for what enters it."""
        return values


@dataclass(frozen=True, eq=False, kw_only=True)
class PipelineStage(Stage):
    """A stage that runs free: an output is paid for with a credit when its last beat is issued.

    A frame has ``o.beats`` outputs ("groups"). Each takes ``group_beats`` issued beats, one per cycle; those
    of every ``period``-th group are input transfers, the others repeat stored inputs. ``delay`` cycles after
    its last beat was issued the output stands in a FIFO of ``fifo_depth`` entries; credits never let more
    outputs be under way than fit. ``fifo_depth`` 0 means :attr:`least_fifo_depth`. Where there are several
    inputs, a beat is taken from all of them in the same cycle.
    """

    fifo_depth: int = 0

    def __post_init__(self):
        if not isinstance(self.fifo_depth, int) or isinstance(self.fifo_depth, bool):
            raise TypeError(f"{self.name} fifo_depth must be an integer, not {self.fifo_depth!r}")
        if self.fifo_depth < 0:
            raise ValueError(f"{self.name} fifo_depth must be at least 1, not {self.fifo_depth}")
        if not self.fifo_depth:
            object.__setattr__(self, "fifo_depth", self.least_fifo_depth)

    @property
    def group_beats(self) -> int:
        """Beats that are issued for one output."""
        return 1

    @property
    def period(self) -> int:
        """Every how many groups new inputs are taken."""
        return 1

    def repeated(self, group: int) -> int:
        """Beats that are issued for group number ``group`` of a run, one that repeats stored inputs."""
        return self.group_beats

    @property
    def memory(self) -> int:
        return 1 + ceil_div(self.fifo_depth, self.o.beats)

    @property
    def delay(self) -> int:
        """Cycles from issuing the last beat of a group to offering its output."""
        raise NotImplementedError(type(self).__name__)

    @property
    def least_fifo_depth(self) -> int:
        """The depth below which the pipeline itself would wait for credits."""
        return ceil_div(self.delay, self.group_beats) + 1

    @property
    def latency(self) -> int:
        return self.group_beats - 1 + self.delay

    @property
    def ii(self) -> int:
        return self.o.beats * self.group_beats

    def moves(self, inputs, outputs, begun, depth):
        (o,) = outputs
        beats, period, delay, repeated = self.group_beats, self.period, self.delay, self.repeated
        group, now = 0, -1
        while True:
            earliest = now + 1
            if group >= depth:
                earliest = yield from freed(o, group - depth, earliest)
            if group % period == 0:
                for beat in range(beats):
                    for i in inputs:
                        while not i.ready():
                            yield i
                    now = max(earliest, *(i.visible() for i in inputs))
                    for i in inputs:
                        i.take(now)
                    if beat == 0:
                        begun.append(now)
                    earliest = now + 1
            else:
                begun.append(earliest)
                now = earliest + repeated(group) - 1
            o.offer(now + delay)
            group += 1

    @property
    def fifo(self) -> Memory:
        """The output FIFO's storage."""
        return Memory(f"{self.name}.fifo", self.o.bits, self.fifo_depth, "distributed")

    @property
    def fifo_memories(self) -> tuple[Memory, ...]:
        """The output FIFO's storage, unless it is a register, for a single entry."""
        return (self.fifo,) if self.fifo_depth > 1 else ()

    @property
    def fifo_flip_flops(self) -> int:
        """Pointers and level of the output FIFO, credits, and the flags that it has something and that it has room.

        Of a single entry the register and two flags.
        """
        if self.fifo_depth == 1:
            return self.o.bits + 2
        return 2 * index_bits(self.fifo_depth) + 2 * self.fifo_depth.bit_length() + 2
