"""Simulate the emitted Verilog of a build directory on images, and hold it to golden and to the plan."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir
from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.sim.amaranth_engine import AmaranthEngine
from hwbnn.sim.beats import values_of
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.locate import first_difference, taps
from hwbnn.sim.result import Measured, Mismatch, SimulationResult
from hwbnn.sim.traffic import Record, Traffic

__all__ = ["ENGINES", "simulate"]

ENGINES = ("compiled", "cocotb", "amaranth")
"""What simulates, fastest first."""

Engine = AmaranthEngine | CocotbEngine | CompiledEngine
Progress = Callable[[int, int], object]


def simulate(directory: BuildDirectory, x: ArrayLike, *, engine: str = "cocotb", simulator: str = "verilator",
             stalls: bool = True, seed: int = 1, jobs: int = 1, progress: Progress | None = None) -> SimulationResult:
    """Run the images ``x`` through the emitted Verilog and compare every output with golden.

    A first phase without stalls measures the latency of the first frame and the interval between frames, which
    must be the plan's. A second phase, after a reset in the middle of a frame, sends every image while both sides
    pause at random; there only values and order are claimed. Where an output differs, the phase is run again
    with every stream between stages recorded, and the first layer, frame and channel that differ are named.
    The result is also written to ``sim/result.json``, once it is complete.

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
    stalls : :class:`bool`
        Whether to run the second phase; without it every image goes through the first.
    seed : :class:`int`
        Seed of the stalls.
    jobs : :class:`int`
        For the engine ``compiled``: threads that the images are shared out to.
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
    design = Design.of(directory)
    q = design.encode(x)
    machine = _engine(engine, simulator, jobs, design, directory)
    start = time.monotonic()
    build_seconds = time.monotonic() - start if machine.build() else 0.0

    steady = np.arange(max(design.steady_frames, 0 if stalls else len(q))) % len(q)
    order = {"steady": steady} | ({"stalled": np.arange(len(q))} if stalls else {})
    phases = {name: design.traffic(q[frames], stalls=name == "stalled", seed=seed) for name, frames in order.items()}
    start = time.monotonic()
    records = machine.run(phases, _counter(phases, progress))
    seconds = time.monotonic() - start

    expected = design.expected(q)
    wrong = {name: _wrong(design, records[name], expected[frames]) for name, frames in order.items()}
    mismatch = _locate(machine, design, q, order, phases, records, wrong)
    last = list(order)[-1]
    outputs = values_of(records[last].beats, design.plan.output, expected[0].size)
    outputs = outputs.reshape(len(outputs), *expected.shape[1:])[:len(q)]
    result = SimulationResult(
        engine=machine.name, simulator=machine.simulator, versions=machine.versions, frames=len(q),
        mismatches=len(set().union(*(order[name][frames].tolist() for name, frames in wrong.items()))),
        first_mismatch=mismatch,
        faults=tuple(f"{fault} ({name} phase)" for name, record in records.items() for fault in record.faults),
        measured=_measured(records["steady"]), predicted=design.predicted, stalls=stalls, seed=seed,
        cycles=sum(record.cycles for record in records.values()), seconds=round(seconds, 3),
        build_seconds=round(build_seconds, 3), network=directory.manifest.network, outputs=outputs,
        classes=_classes(design.network, outputs))
    directory.write_json("sim/result.json", result.to_json())
    return result


def _engine(name: str, simulator: str, jobs: int, design: Design, directory: BuildDirectory) -> Engine:
    if jobs != 1 and name != "compiled":
        raise UserError(f"Jobs must be 1 for the engine {name}, not {jobs}")
    if name == "compiled":
        if simulator != "verilator":
            raise UserError(f"Simulator must be verilator for the engine compiled, not {simulator}")
        return CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/compiled", jobs=jobs)
    if name == "cocotb":
        return CocotbEngine(simulator, design.verilog, toplevel=TOPLEVEL, directory=directory / f"sim/{simulator}")
    if name == "amaranth":
        return AmaranthEngine(design.plan)
    raise UserError(f"Engine must be one of {', '.join(ENGINES)}, not {name}")


def _counter(phases: dict[str, Traffic], progress: Progress | None) -> Callable[[str, int], object]:
    """Turn frames of one phase into frames of all phases."""
    if progress is None:
        return lambda phase, frames: None
    before, total = {}, 0
    for name, phase in phases.items():
        before[name] = total
        total += phase.frames
    progress(0, total)
    return lambda phase, frames: progress(before[phase] + frames, total)


def _wrong(design: Design, record: Record, expected: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of frames whose output differs or did not come."""
    count = expected[0].size
    seen = values_of(record.beats, design.plan.output, count)
    different = np.any(seen != expected[:len(seen)].reshape(len(seen), count), axis=1)
    return np.concatenate([np.flatnonzero(different), np.arange(len(seen), len(expected))])


def _measured(record: Record) -> Measured | None:
    """First latency, and the interval of the second half of the frames: the greatest, should they differ."""
    if len(record.ends) < 2:
        return None
    intervals = np.diff(record.ends)
    return Measured(int(record.ends[0] - record.starts[0]), int(intervals[len(intervals) // 2:].max()))


def _locate(engine: Engine, design: Design, q, order, phases, records, wrong) -> Mismatch | None:
    """Repeat the first phase that went wrong, up to its first wrong frame, with every stream recorded."""
    for name, phase in phases.items():
        if not len(wrong[name]) and not records[name].faults:
            continue
        count = int(wrong[name][0]) + 1 if len(wrong[name]) else phase.frames
        frames = order[name][:count]
        again = replace(phase, stimulus=phase.stimulus[:count], taps=taps(design))
        record = engine.run({name: again})[name]
        return first_difference(design, q[frames], record, phase=name, frames=frames.tolist())
    return None


def _classes(network: ir.Network, outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    flat = outputs.reshape(len(outputs), math.prod(outputs.shape[1:]))
    return flat[:, 0] if isinstance(network.producer(network.outputs[0].tensor), ir.TopK) else flat.argmax(axis=1)
