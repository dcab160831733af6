"""The compiled engine: the emitted Verilog as native code in this process, by Verilator without cocotb."""

import ctypes
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError
from hwbnn.sim import process, toolchain
from hwbnn.sim.registers import reachable
from hwbnn.sim.taps import Tapped
from hwbnn.sim.traffic import Record, Traffic, framing

__all__ = ["WAVES", "CompiledEngine"]

WAVES = ("vcd", "fst", "saif")
"""Formats of waveforms; SAIF holds how often each net toggles, and not when."""

_HARNESS = Path(__file__).with_name("harness.cpp")
_FLAGS = ["--cc", "-O3", "--prefix", "Vtop", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
          "--no-timing", "-Wno-fatal", "-Wno-lint", "-CFLAGS", "-fPIC"]
_PUBLIC = """`verilator_config
public_flat_rd -module "*" -var "o_*"
public_flat_rd -module "*fifo" -var "level"
"""  # what taps read; costs about a seventh of the speed, so that one build serves all
_FAULTS = {1: "m_axis must hold a beat until it is taken, and it changed in cycle {}",
           2: "m_axis_tvalid must stay high until the beat is taken, and it fell in cycle {}"}
_MADE = re.compile(r"\\\$(\S+) ")
_DOTTED = re.compile(r"^ *(?:input|output|wire|reg) (?:\[[^]]*\] )?\\(\S*\.\S*) ", re.MULTILINE)
_POLL = 0.1  # seconds between looks at a run's progress

_bytes_p, _int64_p = ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_int64)


class Job(ctypes.Structure):
    """A run, field for field as in ``harness.cpp``."""

    _fields_ = (
        ("stimulus", _bytes_p),
        *((name, ctypes.c_int64) for name in ("frames", "beats_in", "bytes_in", "beats_out", "bytes_out")),
        ("gaps", _bytes_p), ("gaps_length", ctypes.c_int64),
        ("pauses", _bytes_p), ("pauses_length", ctypes.c_int64),
        ("patience", ctypes.c_int64), ("counted_from", ctypes.c_int64), ("counted_to", ctypes.c_int64),
        ("reset_after", ctypes.c_int64), ("reset_taken", ctypes.c_int64),
        ("config", _bytes_p), ("config_length", ctypes.c_int64), ("linger", ctypes.c_int64),
        ("beats", _bytes_p), ("lasts", _bytes_p), ("in_cycles", _int64_p), ("out_cycles", _int64_p),
        ("wave", ctypes.c_char_p),
        ("sent", ctypes.c_int64), ("received", ctypes.c_int64), ("cycles", ctypes.c_int64),
        ("cancel", ctypes.c_int32), ("fault", ctypes.c_int32), ("fault_cycle", ctypes.c_int64),
        ("surplus", ctypes.c_int64),
    )


def _pointer(array: NDArray):
    """The address of an array, of the type that :class:`Job` wants."""
    return array.ctypes.data_as(_bytes_p if array.dtype == np.uint8 else _int64_p)


class CompiledEngine:
    """Builds a shared library once per Verilog and runs phases of traffic on it, frames shared out to threads.

    Parameters
    ----------
    verilog, toplevel, directory
        As for :class:`hwbnn.sim.cocotb_engine.CocotbEngine`.
    jobs : :class:`int`
        Threads; each simulates a share of the frames on a design of its own.
    wave : :class:`~pathlib.Path` or None
        Where to write the waveform of the last phase of a run, a ``.vcd``, ``.fst`` or ``.saif`` file; then ``jobs``
        is 1.
        Its simulator is another one, built beside.
    flips : :class:`bool`
        Whether bits of registers can be flipped; its simulator is another one, too.
    """

    name = "compiled"
    simulator = "verilator"

    def __init__(self, verilog: Path, *, toplevel: str, directory: Path, jobs: int = 1, wave: Path | None = None,
                 flips: bool = False):
        if not isinstance(jobs, int) or jobs < 1:
            raise UserError(f"Jobs must be an integer of at least 1, not {jobs}")
        self.verilog, self.toplevel, self.jobs, self.wave = verilog, toplevel, jobs, wave
        self.directory, self.trace, self.flips = directory.absolute(), "", flips
        if flips:
            self.directory = self.directory.with_name(f"{self.directory.name}-flips")
        if wave is not None:
            self.trace = wave.suffix.removeprefix(".")
            if self.trace not in WAVES:
                raise UserError(f"Waveform must be a .vcd, .fst or .saif file, not {wave}")
            if jobs != 1:
                raise UserError(f"Jobs must be 1 for a waveform, not {jobs}")
            if self.trace == "fst":
                toolchain.require_headers({"zlib.h": "zlib1g-dev", "lz4.h": "liblz4-dev"}, "FST waveforms")
            self.directory = self.directory.with_name(f"{self.directory.name}-{self.trace}")
        self.tools = toolchain.find("verilator", optimize="-O1")
        self.versions = {"verilator": self.tools.version}
        self._library: ctypes.CDLL | None = None

    def build(self) -> bool:
        """Build the library unless it is there; return whether it had to be built."""
        digest = hashlib.sha256(self.verilog.read_bytes())
        digest.update(_HARNESS.read_bytes())
        digest.update(json.dumps([self.versions, self.toplevel, _FLAGS, _PUBLIC, self.trace, self.flips]).encode())
        key, self._library = self.directory / "key", None
        if key.exists() and key.read_text() == digest.hexdigest():
            return False
        if self.directory.exists():
            shutil.rmtree(self.directory)
        objects = self.directory / "objects"
        objects.mkdir(parents=True)
        control = self.directory / "public.vlt"
        control.write_text(_PUBLIC)
        source = self.verilog.absolute()
        if self.trace:  # names that the generator made up, as \$12, stay out of the waveform: a leading _ hides them
            source = self.directory / "design.v"
            source.write_text(_named(self.verilog.read_text(), flat=self.trace == "saif"))
        if self.flips:
            source = self.directory / "design.v"
            source.write_text(reachable(self.verilog.read_text()))
        include = Path(self.tools.environment["VERILATOR_ROOT"]) / "include"
        flags, libraries = ["-DTRACE=0"], ["-pthread"]
        if self.trace:
            writer = f"Verilated{self.trace.capitalize()}C"
            flags = ["-DTRACE=1", f'-DTRACE_HEADER="verilated_{self.trace}_c.h"', f"-DTRACE_CLASS={writer}"]
            libraries += ["-lz", "-llz4"] if self.trace == "fst" else []
        tracing = [f"--trace-{self.trace}"] if self.trace else []
        tracing += ["--trace-underscore"] if self.trace == "saif" else []  # to energy a net is a net
        flags.append(f"-DLOADABLE={int('s_axis_cfg_tdata' in source.read_text())}")
        steps = {
            "verilator": ["verilator", *_FLAGS, *tracing, "--Mdir",
                          str(objects), "--top-module", self.toplevel, str(control), str(source)],
            "make": ["make", "-j", str(os.cpu_count() or 1), "-C", str(objects), "-f", "Vtop.mk", "libVtop",
                     "OPT_FAST=-O2"],
            "g++": ["g++", "-std=c++20", "-O2", "-fPIC", "-shared", *flags, f"-I{objects}", f"-I{include}",
                    f"-I{include}/vltstd", str(_HARNESS), str(objects / "libVtop.a"),
                    str(objects / "libverilated.a"), *libraries, "-o", str(self._library_path(digest.hexdigest()))],
        }
        for name, command in steps.items():
            log = self.directory / f"{name}.log"
            if process.run(command, environment=self.tools.environment, cwd=self.directory, log=log):
                raise UserError(f"Verilog {self.verilog} must build with {name}, and it does not: "
                                f"{process.tail(log)} (see {log})")
        shutil.rmtree(objects)
        write_atomic(key, digest.hexdigest())
        return True

    def _library_path(self, key: str) -> Path:
        """Where the library is; named for what it was built from, as a process loads a path only once."""
        return self.directory / f"simulator-{key[:16]}.so"

    @property
    def library(self) -> ctypes.CDLL:
        if self._library is None:
            library = ctypes.CDLL(str(self._library_path((self.directory / "key").read_text())))
            library.simulation_new.restype = ctypes.c_void_p
            library.simulation_delete.argtypes = [ctypes.c_void_p]
            library.simulation_run.argtypes = [ctypes.c_void_p, ctypes.POINTER(Job)]
            library.simulation_run.restype = None
            library.simulation_tap.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
            library.simulation_flip.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64,
                                                ctypes.c_int64]
            library.simulation_tap_counts.argtypes = [ctypes.c_void_p, ctypes.c_int, _int64_p]
            library.simulation_tap_transfers.argtypes = [ctypes.c_void_p, ctypes.c_int, _int64_p, _bytes_p]
            self._library = library
        return self._library

    def run(self, phases: Mapping[str, Traffic], report: Callable[[str, int], object] = lambda phase, frames: None
            ) -> dict[str, Record]:
        """Run ``phases`` and return what each saw, as the cocotb engine does.

        The first of the shares of a phase's frames is simulated as with one job; each of the others starts from
        a reset.
        """
        self.build()
        if self.wave is None:
            return {name: self._phase(name, traffic, report) for name, traffic in phases.items()}
        *_, last = phases
        draft = self.wave.with_name(f".{self.wave.name}.draft")
        try:
            records = {name: self._phase(name, traffic, report, draft if name == last else None)
                       for name, traffic in phases.items()}
            os.replace(draft, self.wave)
        finally:
            draft.unlink(missing_ok=True)
        return records

    def _phase(self, name: str, traffic: Traffic, report: Callable[[str, int], object], wave: Path | None = None
               ) -> Record:
        jobs = 1 if traffic.counted[1] else self.jobs  # the steady state is one design's
        runs = [_Run(self.library, self.toplevel, share, wave) for share in _shares(traffic, jobs)]
        with ThreadPoolExecutor(len(runs)) as pool:
            futures = [pool.submit(run.go) for run in runs]
            try:
                while wait(futures, _POLL).not_done:
                    report(name, sum(run.job.received // traffic.beats_out for run in runs))
            finally:
                for run in runs:  # after an interrupt they end within a cycle
                    run.job.cancel = 1
            records = [future.result() for future in futures]
        report(name, sum(len(record.beats) for record in records))
        return _joined(records)


class _Run:
    """One share of the frames on one design."""

    def __init__(self, library: ctypes.CDLL, toplevel: str, traffic: Traffic, wave: Path | None):
        self.library, self.toplevel, self.traffic = library, toplevel, traffic
        self.stimulus, self.config = np.ascontiguousarray(traffic.stimulus), np.ascontiguousarray(traffic.config)
        frames, beats_in, bytes_in = self.stimulus.shape
        self.beats = np.zeros((frames, traffic.beats_out, traffic.bytes_out), np.uint8)
        self.lasts = np.zeros(frames * traffic.beats_out, np.uint8)
        self.starts, self.ends = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
        self.job = Job(stimulus=_pointer(self.stimulus), frames=frames, beats_in=beats_in, bytes_in=bytes_in,
                       beats_out=traffic.beats_out, bytes_out=traffic.bytes_out, patience=traffic.patience,
                       counted_from=traffic.counted[0], counted_to=traffic.counted[1],
                       reset_after=traffic.reset_after, reset_taken=traffic.taken_before_reset,
                       config=_pointer(self.config), config_length=len(self.config), linger=traffic.linger,
                       beats=_pointer(self.beats), lasts=_pointer(self.lasts),
                       in_cycles=_pointer(self.starts), out_cycles=_pointer(self.ends),
                       wave=None if wave is None else os.fsencode(wave))
        if traffic.stalls != "none":
            self.gaps, self.pauses = (np.ascontiguousarray(traffic.pauses(side)) for side in range(2))
            self.job.gaps, self.job.gaps_length = _pointer(self.gaps), len(self.gaps)
            self.job.pauses, self.job.pauses_length = _pointer(self.pauses), len(self.pauses)

    def go(self) -> Record:
        simulation = self.library.simulation_new()
        try:
            for tap in self.traffic.taps:
                scope = ".".join((self.toplevel, *tap.scope))
                if not self.library.simulation_tap(simulation, scope.encode(), tap.port.encode(), tap.fifo):
                    raise UserError(f"Stream must be in the design to be recorded, and {self.toplevel}.{tap} is not")
            for flip in self.traffic.flips:
                scope = ".".join((self.toplevel, *flip.scope))
                if not self.library.simulation_flip(simulation, scope.encode(), flip.name.encode(), flip.bit,
                                                    flip.cycle):
                    raise UserError(f"Register must be in the design to be flipped, and {scope}.{flip.name} is not, or "
                                    f"has no bit {flip.bit}")
            self.library.simulation_run(simulation, ctypes.byref(self.job))
            taps = tuple(self._tapped(simulation, k) for k in range(len(self.traffic.taps)))
        finally:
            self.library.simulation_delete(simulation)
        job, traffic = self.job, self.traffic
        frames = job.received // traffic.beats_out
        faults = [_FAULTS[job.fault].format(job.fault_cycle)] if job.fault else []
        faults += framing(traffic, job.sent, self.lasts[:job.received].astype(bool).tolist(), job.cycles)
        begun = -(-job.sent // traffic.beats_in)  # less than what came out of faulty hardware, perhaps
        return Record(self.beats[:frames], self.starts[:min(frames, begun)], self.ends[:frames], job.cycles,
                      faults, taps, job.sent, job.surplus)

    def _tapped(self, simulation, k: int) -> Tapped:
        numbers = np.zeros(7, np.int64)
        self.library.simulation_tap_counts(simulation, k, _pointer(numbers))
        count, size, waiting, transferred, stalled, starved, occupancy = numbers.tolist()
        cycles, payloads = np.zeros(count, np.int64), np.zeros((count, size), np.uint8)
        self.library.simulation_tap_transfers(simulation, k, _pointer(cycles), _pointer(payloads))
        return Tapped(cycles, payloads, bool(waiting), transferred, stalled, starved,
                      None if occupancy < 0 else occupancy)


def _named(verilog: str, *, flat: bool) -> str:
    """Verilog with names that a waveform shows well, and ``flat`` without dots in them, which make a level each."""
    text = _MADE.sub(lambda name: "\\_made_" + re.sub(r"\W", "_", name[1]) + " ", verilog)
    nets = set(_DOTTED.findall(text)) if flat else set()
    return re.sub(r"\\(\S*\.\S*) ", lambda name: name[0].replace(".", ":") if name[1] in nets else name[0], text)


def _shares(traffic: Traffic, jobs: int) -> list[Traffic]:
    return [replace(traffic, stimulus=part, seed=traffic.seed + n)
            for n, part in enumerate(np.array_split(traffic.stimulus, min(jobs, traffic.frames)))]


def _joined(records: Sequence[Record]) -> Record:
    if len(records) == 1:
        return records[0]
    return Record(np.concatenate([r.beats for r in records]), np.concatenate([r.starts for r in records]),
                  np.concatenate([r.ends for r in records]), sum(r.cycles for r in records),
                  [fault for r in records for fault in r.faults],
                  tuple(_joined_taps(taps) for taps in zip(*(r.taps for r in records), strict=True)),
                  sum(r.sent for r in records), sum(r.surplus for r in records))


def _joined_taps(shares: Sequence[Tapped]) -> Tapped:
    """One stream over all shares; cycles count from each share's own reset."""
    levels = [share.occupancy for share in shares if share.occupancy is not None]
    return Tapped(np.concatenate([share.cycles for share in shares]),
                  np.concatenate([share.payloads for share in shares]), any(share.waiting for share in shares),
                  sum(share.transferred for share in shares), sum(share.stalled for share in shares),
                  sum(share.starved for share in shares), max(levels, default=None))
