"""Simulate the emitted Verilog of a build directory on images, and hold it to golden and to the plan."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir
from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.errors import UserError
from hwbnn.sim.amaranth_engine import AmaranthEngine
from hwbnn.sim.beats import values_of
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.profile import profile, timeline_svg
from hwbnn.sim.result import Measured, SimulationResult
from hwbnn.sim.streams import taps
from hwbnn.sim.traffic import Record
from hwbnn.sim.verdict import Phase, judge
from hwbnn.sim.wave import write_signal_lists

__all__ = ["CHECKS", "ENGINES", "simulate"]

ENGINES = ("compiled", "cocotb", "amaranth")
"""What simulates, fastest first."""

CHECKS = ("outputs", "layers")
"""What is compared with golden."""

Engine = AmaranthEngine | CocotbEngine | CompiledEngine
Progress = Callable[[int, int], object]


def simulate(directory: BuildDirectory, x: ArrayLike, *, engine: str = "cocotb", simulator: str = "verilator",
             check: str = "outputs", frames: tuple[int, int] | None = None, stalls: bool = True, seed: int = 1,
             jobs: int = 1, wave: str | os.PathLike | None = None, progress: Progress | None = None
             ) -> SimulationResult:
    """Run the images ``x`` through the emitted Verilog and compare every output with golden.

    A first phase of a few frames without stalls measures the latency of the first frame and the interval between
    frames, which must be the plan's. In a second phase, after a reset in the middle of a frame, every image is
    sent while both sides pause at random; there only values and order are claimed. Where an output differs, the
    phase is run again with every stream between stages recorded, and the first layer, frame and channel that
    differ are named. The result is also written to ``sim/result.json``, once it is complete.

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
        ``outputs``, or ``layers``: also compare every stream between stages with golden's tensors, in every phase.
    frames : pair of :class:`int`
        Simulate these of the images only, from the first number up to and without the second; then no file but the
        waveform is written.
    stalls : :class:`bool`
        Whether both sides pause in the second phase.
    seed : :class:`int`
        Seed of the stalls.
    jobs : :class:`int`
        For the engine ``compiled``: threads that the images are shared out to.
    wave : path
        For the engine ``compiled``: write the waveform of the second phase there, a ``.vcd`` or ``.fst`` file,
        and beside it lists of signals for GTKWave (``.gtkw``) and Surfer (``.sucl``); or a ``.saif`` file, which
        :func:`hwbnn.sim.activity.read_saif` reads.
    progress : callable
        Told the frames received and the frames in all, a few times a second.

    Raises
    ------
    UserError
        Images that do not fit, a build directory that is not complete, tools that are not installed, or a
        simulator that breaks off.
    """
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"Seed must be an integer of at least 0, not {seed}")
    if check not in CHECKS:
        raise UserError(f"Check must be {' or '.join(CHECKS)}, not {check}")
    design = Design.of(directory)
    q = design.encode(x)
    first, last = _range(frames, len(q))
    q = q[first:last]
    wave = None if wave is None else _writable(wave)
    machine = _engine(engine, simulator, jobs, design, directory, wave)
    start = time.monotonic()
    build_seconds = time.monotonic() - start if machine.build() else 0.0

    phases = _phases(design, q, stalls=stalls, seed=seed, layers=check == "layers",
                     profiled=check == "layers" or engine == "compiled")
    start = time.monotonic()
    records = machine.run({phase.name: phase.traffic for phase in phases}, _counter(phases, progress))
    seconds = time.monotonic() - start

    alone = _engine(engine, simulator, 1, design, directory)
    verdict = judge(design, q, phases, records, alone.run)
    steady, every = phases
    complete = bool(steady.traffic.taps) and not records[steady.name].faults
    found = profile(design, steady.traffic, records[steady.name]) if complete else None
    outputs = _outputs(design, records[every.name])
    mismatch = None if verdict.first is None else replace(verdict.first, frame=verdict.first.frame + first)
    result = SimulationResult(
        engine=machine.name, simulator=machine.simulator, versions=machine.versions, check=check, frames=len(q),
        mismatches=verdict.mismatches, first_mismatch=mismatch, faults=verdict.faults,
        measured=_measured(records[steady.name]), predicted=design.predicted, profile=found, stalls=stalls, seed=seed,
        cycles=sum(record.cycles for record in records.values()), seconds=round(seconds, 3),
        build_seconds=round(build_seconds, 3), network=directory.manifest.network, outputs=outputs,
        classes=_classes(design.network, outputs))
    if wave is not None and wave.suffix != ".saif":
        write_signal_lists(design, wave)
    if frames is None:
        _keep(directory, result)
    return result


def _keep(directory: BuildDirectory, result: SimulationResult):
    timeline = directory / "sim/timeline.svg"
    if result.profile is None:
        timeline.unlink(missing_ok=True)
    else:
        write_atomic(timeline, timeline_svg(result.profile.stages))
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


def _engine(name: str, simulator: str, jobs: int, design: Design, directory: BuildDirectory,
            wave: Path | None = None) -> Engine:
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


def _phases(design: Design, q: NDArray[np.int64], *, stalls: bool, seed: int, layers: bool, profiled: bool
            ) -> tuple[Phase, Phase]:
    """A few frames to measure with, as often as needed the same; then all."""
    few = np.arange(design.steady_frames) % len(q)
    steady = replace(design.traffic(q[few], stalls=False, seed=seed), counted=design.counted)
    if profiled:
        steady = replace(steady, taps=taps(design))
    every = design.traffic(q, stalls=stalls, seed=seed)
    if layers:
        every = replace(every, taps=taps(design))
    return Phase("steady", few, steady), Phase("stalled" if stalls else "unstalled", np.arange(len(q)), every)


def _counter(phases: tuple[Phase, ...], progress: Progress | None) -> Callable[[str, int], object]:
    """Turn frames of one phase into frames of all phases."""
    if progress is None:
        return lambda name, frames: None
    before, total = {}, 0
    for phase in phases:
        before[phase.name] = total
        total += phase.traffic.frames
    progress(0, total)
    return lambda name, frames: progress(before[name] + frames, total)


def _measured(record: Record) -> Measured | None:
    """First latency, and the interval of the second half of the frames: the greatest, should they differ."""
    if len(record.ends) < 2:
        return None
    intervals = np.diff(record.ends)
    return Measured(int(record.ends[0] - record.starts[0]), int(intervals[len(intervals) // 2:].max()))


def _outputs(design: Design, record: Record) -> NDArray[np.int64]:
    tensor = design.network.tensors[design.network.outputs[0].tensor]
    flat = values_of(record.beats, design.plan.output, math.prod(tensor.shape))
    return flat.reshape(len(flat), *tensor.shape)


def _classes(network: ir.Network, outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    flat = outputs.reshape(len(outputs), math.prod(outputs.shape[1:]))
    return flat[:, 0] if isinstance(network.producer(network.outputs[0].tensor), ir.TopK) else flat.argmax(axis=1)
