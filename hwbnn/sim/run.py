"""Simulate the emitted Verilog of a build directory on images, and hold it to golden and to the plan."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir
from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.errors import UserError
from hwbnn.plan import FrameOutputStage, WeightImage
from hwbnn.sim.amaranth_engine import AmaranthEngine
from hwbnn.sim.beats import values_of, width
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.netlist import NETLISTS, cells_of, has_stream, line_of, netlist_of
from hwbnn.sim.partial import Outcome, Partial
from hwbnn.sim.placed import LineEngine, driven
from hwbnn.sim.profile import profile
from hwbnn.sim.result import Measured, SimulationResult, measured
from hwbnn.sim.stalls import STALLS
from hwbnn.sim.streams import stage_streams, taps
from hwbnn.sim.timeline import timeline_svg
from hwbnn.sim.traffic import Record
from hwbnn.sim.verdict import Phase, Verdict, judge
from hwbnn.sim.wave import write_signal_lists
from hwbnn.version import __version__
from hwbnn_boards import board as find_board

__all__ = ["CHECKS", "ENGINES", "simulate"]

ENGINES = ("compiled", "cocotb", "amaranth")
"""What simulates, fastest first."""

CHECKS = ("outputs", "layers")
"""What is compared with golden."""

_PART = {"compiled": 2_000_000, "cocotb": 400_000, "amaranth": 40_000}
"""Cycles without stalls after which what is done is kept: some seconds' work."""

_LOOKS = 300_000  # at streams in the steady phase, for a profile by an engine to which each costs microseconds

Machine = AmaranthEngine | CocotbEngine | CompiledEngine
Engine = Machine | LineEngine
Progress = Callable[[int, int], object]


def simulate(directory: BuildDirectory, x: ArrayLike, *, engine: str = "cocotb", simulator: str = "verilator",
             check: str = "outputs", frames: tuple[int, int] | None = None, stalls: str = "random",
             reset_after: int | None = None, seed: int = 1, jobs: int = 1, wave: str | os.PathLike | None = None,
             netlist: str = "rtl", resume: bool = False, weights: WeightImage | None = None,
             progress: Progress | None = None) -> SimulationResult:
    """Run the images ``x`` through the emitted Verilog and compare every output with golden.

    A first phase of a few frames without stalls measures the latency of the first frame and the interval between
    frames, which must be the plan's. In a second phase, after a reset in the middle of a frame, every image is
    sent while both sides pause; there only values and order are claimed. Where an output differs, the
    phase is run again with every stream between stages recorded, and the first layer, frame and channel that
    differ are named. The result is also written to ``sim/result.json``, once it is complete; until then the parts
    of a large set that are done are kept in ``sim/partial``.

    Parameters
    ----------
    directory : :class:`BuildDirectory`
        A compiled network.
    x : array (N, *graph shape)
        Images in the form that the ONNX graph takes, at least one.
    engine : :class:`str`
        ``compiled`` runs the Verilog as native code, some hundred times as fast as ``cocotb``, whose bench runs on
        a simulator. ``amaranth`` simulates what the Verilog was made from, and needs neither simulator nor
        compiler. All of them see the same traffic in the same cycles.
    simulator : :class:`str`
        For the engine ``cocotb``: ``verilator`` or ``icarus``.
    check : :class:`str`
        ``outputs``, or ``layers``: also compare every stream between stages with golden's tensors, in every phase. Of a
        netlist those that synthesis left; the result names the others.
    frames : pair of :class:`int`
        Simulate these of the images only, from the first number up to and without the second; then no file but the
        waveform is written.
    stalls : :class:`str`
        How both sides pause in the second phase, one of :data:`hwbnn.sim.STALLS`.
    reset_after : :class:`int`, optional
        Beats that are sent before the second phase, for a reset to wipe them out; 0: no such reset. Half a frame where
        it is left out, and none without stalls.
    seed : :class:`int`
        Seed of the stalls.
    jobs : :class:`int`
        For the engine ``compiled``: threads that the images are shared out to.
    wave : path
        For the engine ``compiled``: write the waveform of the second phase there, a ``.vcd`` or ``.fst`` file,
        and beside it lists of signals for GTKWave (``.gtkw``) and Surfer (``.sucl``); or a ``.saif`` file, which
        :func:`hwbnn.sim.activity.read_saif` reads.
    netlist : :class:`str`
        ``rtl`` runs the emitted Verilog in its behavioural form; ``cells`` as it is synthesized, of its family's cells;
        ``synth`` what Yosys made of it, with its ports and stages; ``placed`` the whole design for the board after
        nextpnr, images and results going over its serial line. The last two are what ``hwbnn synth`` left. Netlists run
        on the engines ``compiled`` and ``cocotb``, and all about them is kept below ``netlist/`` instead of here. A
        serial line has neither stalls nor latencies to compare.
    resume : :class:`bool`
        Go on with a simulation that was interrupted: of the same images, with the same options.
    weights : :class:`~hwbnn.plan.WeightImage`
        To be loaded before the first frame, in place of the build's own where its layers are loadable; golden is then
        that of their network, and no file is written.
    progress : callable
        Told the frames received and the frames in all, a few times a second.

    Raises
    ------
    UserError
        Images that do not fit, a build directory that is not complete, tools that are not installed, a
        simulator that breaks off, or something else to resume than was interrupted.
    """
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"Seed must be an integer of at least 0, not {seed}")
    if check not in CHECKS:
        raise UserError(f"Check must be {' or '.join(CHECKS)}, not {check}")
    if stalls not in STALLS:
        raise UserError(f"Stalls must be one of {', '.join(STALLS)}, not {stalls}")
    if resume and (frames is not None or wave is not None):
        raise UserError("Simulation must be of all images and without a waveform to be resumed")
    if resume and weights is not None:
        raise UserError("Simulation must be of the build's own weights to be resumed")
    design, home = _design(directory, netlist, weights)
    if design.blind and check != "outputs":
        raise UserError(f"Check must be outputs for a netlist without streams between stages, not {check}")
    if netlist == "placed":
        stalls, reset_after = "none", 0
    if netlist != "rtl" and engine == "amaranth":
        raise UserError("Engine must be compiled or cocotb for a netlist, not amaranth")
    q = design.encode(x)
    first, last = _range(frames, len(q))
    q = q[first:last]
    beats = design.plan.input.beats
    if reset_after is None:
        reset_after = 0 if stalls == "none" else (beats + 1) // 2
    if not isinstance(reset_after, int) or reset_after < 0:
        raise UserError(f"Beats before the reset must be an integer of at least 0, not {reset_after}")
    wave = None if wave is None else _writable(wave)

    def engine_of(jobs: int, wave: Path | None = None) -> Engine:
        machine = _engine(engine, simulator, jobs, design, home, wave)
        return LineEngine(machine, line_of(directory)) if netlist == "placed" else machine

    machine = engine_of(jobs, wave)
    partial = Partial(home, _made_of(directory, design, q, machine, check=check, stalls=stalls,
                                     reset_after=reset_after, seed=seed, jobs=jobs))
    done = partial.resume() if resume else {}
    start = time.monotonic()
    build_seconds = time.monotonic() - start if machine.build() else 0.0

    whole = frames is not None or wave is not None or weights is not None
    size = len(q) if whole else max(jobs, jobs * _PART[engine] // design.predicted.interval)
    looks = len(taps(design)) * design.steady_frames * design.predicted.interval
    steady = _steady(design, q, profiled=check == "layers" or engine == "compiled" or looks <= _LOOKS)
    parts = _parts(design, q, size, stalls=stalls, reset_after=reset_after, seed=seed, jobs=jobs,
                   layers=check == "layers")
    told = _Progress(progress, steady, parts, done)
    if not whole and not resume:
        partial.begin()
    alone = engine_of(1)
    start = time.monotonic()
    verdicts: list[Verdict] = []

    def judged(phase: Phase, record: Record) -> Verdict:
        verdicts.append(judge(design, q, phase, record, alone.run, layers=check == "layers",
                              locate=not any(verdict.first for verdict in verdicts)))
        return verdicts[-1]

    left = [n for n in range(len(parts)) if n not in done]
    try:
        both = [steady, *(parts[n] for n in left[:1])]  # starting a simulator takes a second
        records = machine.run({phase.name: phase.traffic for phase in both}, told.of(both))
        measuring = records[steady.name]
        judged(steady, measuring)
        measuring_seconds = time.monotonic() - start
        for n in left:
            start = time.monotonic()
            phase = parts[n]
            if n != left[0]:
                records = machine.run({phase.name: phase.traffic}, told.of([phase]))
            record = records[phase.name]
            done[n] = Outcome(record.beats, judged(phase, record), record.cycles, time.monotonic() - start)
            if not whole:
                partial.keep(n, done[n])
            if len(record.beats) < phase.traffic.frames:  # it stopped for good
                break
    except KeyboardInterrupt:
        count = sum(len(parts[n].frames) for n in done)
        if whole or not count:
            raise
        raise KeyboardInterrupt(f"Interrupted; {count} of {len(q)} images are simulated and kept: go on with "
                                "--resume") from None

    every = [done[n] for n in sorted(done)]
    missing = {n for k, phase in enumerate(parts) if k not in done for n in phase.frames.tolist()}
    verdicts = [verdicts[0], *(outcome.verdict for outcome in every)]
    mismatch = next((verdict.first for verdict in verdicts if verdict.first is not None), None)
    complete = bool(steady.traffic.taps) and not measuring.faults
    outputs = _outputs(design, np.concatenate([outcome.beats for outcome in every]))
    result = SimulationResult(
        engine=machine.name, simulator=machine.simulator, versions=machine.versions, check=check, frames=len(q),
        mismatches=len(missing.union(*(verdict.images for verdict in verdicts))),
        first_mismatch=None if mismatch is None else replace(mismatch, frame=mismatch.frame + first),
        faults=tuple(fault for what in ("faults", "waits") for verdict in verdicts for fault in getattr(verdict, what)),
        measured=_measured(measuring), predicted=design.predicted_for(q[steady.frames]),
        profile=profile(design, steady.traffic, measuring) if complete else None, stalls=stalls,
        reset_after=reset_after, seed=seed, cycles=measuring.cycles + sum(outcome.cycles for outcome in every),
        seconds=round(measuring_seconds + sum(outcome.seconds for outcome in every), 3),
        build_seconds=round(build_seconds, 3), network=directory.manifest.network, outputs=outputs,
        classes=_classes(design.network, outputs), netlist=netlist,
        unseen=_not_compared(design) if check == "layers" else ())
    if wave is not None and wave.suffix != ".saif" and netlist != "placed":
        write_signal_lists(design, wave)
    if frames is None and weights is None:
        _keep(home, result)
    if not whole:
        partial.clear()
    return result


def _not_compared(design: Design) -> tuple[str, ...]:
    """Streams that cannot be seen, but for that of the output, which its port shows."""
    return tuple(stream.name for stream in stage_streams(replace(design, unseen=frozenset()))
                 if stream.name in design.unseen and not isinstance(stream.stage, FrameOutputStage))


def _made_of(directory: BuildDirectory, design: Design, q: NDArray[np.int64], machine: Engine, **options: Any
             ) -> dict[str, Any]:
    """What decides the outcome of a simulation."""
    return {"build": hashlib.sha256(design.verilog.read_bytes() + directory.manifest.network.encode()).hexdigest(),
            "images": hashlib.sha256(repr(q.shape).encode() + q.tobytes()).hexdigest(), "engine": machine.name,
            "simulator": machine.simulator, **machine.versions, "hwbnn": __version__,
            **{name.replace("_", " "): value for name, value in options.items()}}


def _keep(directory: BuildDirectory, result: SimulationResult):
    timeline = directory / "sim/timeline.svg"
    if result.profile is None:
        timeline.unlink(missing_ok=True)
    else:
        write_atomic(timeline, timeline_svg(result.profile.stages, bottleneck=result.profile.bottleneck))
    directory.write_json("sim/result.json", result.to_json())


def _range(frames: tuple[int, int] | None, count: int) -> tuple[int, int]:
    first, last = (0, count) if frames is None else frames
    if not 0 <= first < last <= count:
        raise UserError(f"Frames must be a range within 0:{count}, not {first}:{last}")
    return first, last


def _writable(wave: str | os.PathLike) -> Path:
    path = Path(wave)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"Waveform must be written to a folder that exists, and {path.parent} does not or is not "
                        "writable")
    return path


def _design(directory: BuildDirectory, netlist: str, weights: WeightImage | None) -> tuple[Design, BuildDirectory]:
    """What is simulated, and where all about it is kept."""
    design = Design.of(directory, weights)
    if netlist == "rtl":
        return design, directory
    if netlist not in NETLISTS:
        raise UserError(f"Netlist must be one of rtl, {', '.join(NETLISTS)}, not {netlist}")
    home = BuildDirectory(directory / "netlist" / netlist)
    if netlist == "cells":
        return replace(design, verilog=cells_of(directory, home / "design.v")), home
    if netlist == "synth":
        file = netlist_of(directory, netlist, home / "design.v")
        streams = stage_streams(design)
        unseen = frozenset(stream.name for stream in streams if not has_stream(file, stream.tap))
        return replace(design, verilog=file, blind=len(unseen) == len(streams), unseen=unseen), home
    if design.plan.loader is not None:
        raise UserError("Netlist must be rtl or synth where layers are loadable, not placed: the bench of a serial "
                        "line loads no weights")
    if find_board(directory.manifest.board).at(directory.manifest.clock_hz).pll is not None:
        raise UserError("Netlist must be rtl or synth where a PLL makes the clock, not placed: there is no model of it")
    stimulus, result = design.plan.input, design.plan.output
    verilog = driven(directory, home / "design.v", image_bytes=stimulus.beats * width(stimulus),
                     result_bytes=result.beats * width(result))
    return replace(design, verilog=verilog, sealed=True, blind=True), home


def _engine(name: str, simulator: str, jobs: int, design: Design, directory: BuildDirectory,
            wave: Path | None = None) -> Machine:
    if wave is not None and name != "compiled":
        raise UserError(f"Waveform must come from the engine compiled, not {name}")
    if jobs != 1 and name != "compiled":
        raise UserError(f"Jobs must be 1 for the engine {name}, not {jobs}")
    if name == "compiled":
        if simulator != "verilator":
            raise UserError(f"Simulator must be verilator for the engine compiled, not {simulator}")
        return CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/compiled", jobs=jobs,
                              wave=wave)
    if name == "cocotb":
        return CocotbEngine(simulator, design.verilog, toplevel=TOPLEVEL, directory=directory / f"sim/{simulator}")
    if name == "amaranth":
        return AmaranthEngine(design.plan)
    raise UserError(f"Engine must be one of {', '.join(ENGINES)}, not {name}")


def _steady(design: Design, q: NDArray[np.int64], *, profiled: bool) -> Phase:
    """A few frames to measure with, as often as needed the same."""
    few = np.arange(design.steady_frames) % len(q)
    traffic = replace(design.traffic(q[few]), counted=design.counted)
    return Phase("steady", few, replace(traffic, taps=taps(design)) if profiled else traffic)


def _parts(design: Design, q: NDArray[np.int64], size: int, *, stalls: str, reset_after: int, seed: int, jobs: int,
           layers: bool) -> list[Phase]:
    """All frames, in equal parts of at most ``size``; each starts from a reset, and has stalls of its own."""
    parts = []
    for n, numbers in enumerate(np.array_split(np.arange(len(q)), -(-len(q) // size))):
        traffic = design.traffic(q[numbers], stalls=stalls, seed=seed + n * jobs, reset_after=reset_after)
        if layers:
            traffic = replace(traffic, taps=taps(design))
        parts.append(Phase("unstalled" if stalls == "none" else "stalled", numbers, traffic, part=size < len(q)))
    return parts


class _Progress:
    """Turns frames of a run into frames of all phases."""

    def __init__(self, told: Progress | None, steady: Phase, parts: Sequence[Phase], done: Container[int]):
        self.told = told
        self.total = steady.traffic.frames + sum(part.traffic.frames for part in parts)
        self.before = sum(part.traffic.frames for n, part in enumerate(parts) if n in done)
        if told is not None:
            told(self.before, self.total)

    def of(self, phases: Sequence[Phase]) -> Callable[[str, int], object]:
        """What an engine that runs ``phases`` is to report to."""
        before = {}
        for phase in phases:
            before[phase.name] = self.before
            self.before += phase.traffic.frames
        if self.told is None:
            return lambda name, frames: None
        told, total = self.told, self.total
        return lambda name, frames: told(before[name] + frames, total)


def _measured(record: Record) -> Measured | None:
    return measured(record.starts, record.ends) if len(record.ends) > 1 else None


def _outputs(design: Design, beats: NDArray[np.uint8]) -> NDArray[np.int64]:
    tensor = design.network.tensors[design.network.outputs[0].tensor]
    flat = values_of(beats, design.plan.output, math.prod(tensor.shape))
    return flat.reshape(len(flat), *tensor.shape)


def _classes(network: ir.Network, outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    flat = outputs.reshape(len(outputs), math.prod(outputs.shape[1:]))
    return flat[:, 0] if isinstance(network.producer(network.outputs[0].tensor), ir.TopK) else flat.argmax(axis=1)
