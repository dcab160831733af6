"""cocotb bench of an accelerator's AXI4-Stream ports; runs inside the simulator's process.

It drives and records; whether the results are right is decided outside, where the network is. What the stream
rules ask is asserted here. Everything is driven just after the falling edge and sampled in the read-only phase
that follows, so the outcome does not depend on how a simulator orders events at the rising edge.
"""

import os
from itertools import chain, repeat
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.handle import Deposit
from cocotb.triggers import FallingEdge, ReadOnly
from cocotb.types import Logic, LogicArray

from hwbnn.sim.registers import Flip
from hwbnn.sim.taps import Tap, Watch
from hwbnn.sim.traffic import RESET_CYCLES, Record, Traffic, stall_pattern


class Probe:
    """Samples one stream inside the design."""

    def __init__(self, dut, tap: Tap):
        for name in tap.scope:
            dut = dut[name]
        self.valid, self.ready, self.payload = (dut[f"{tap.port}__{name}"] for name in ("valid", "ready", "payload"))
        self.level = getattr(getattr(dut, "fifo", None), "level", None) if tap.fifo else None
        self.watch = Watch()

    def sample(self, cycle: int, counted: bool):
        if self.watch.sample(cycle, self.valid.value == 1, self.ready.value == 1, counted=counted):
            self.watch.payloads.append(int(self.payload.value))
        if self.level is not None:
            self.watch.hold(int(self.level.value))

    def result(self):
        return self.watch.result(len(self.payload))


class Bench:
    """One phase of traffic through the design."""

    def __init__(self, dut, phase: str):
        directory = Path(os.environ["HWBNN_TRAFFIC"])
        self.traffic = Traffic.load(directory / f"{phase}.npz")
        self.output = directory / f"{phase}.record.npz"
        self.progress = (directory / "progress").open("a")
        self.phase = phase
        self.dut = dut
        self.probes = [Probe(dut, tap) for tap in self.traffic.taps]

    async def reset(self):
        dut = self.dut
        dut.s_axis_tvalid.value = dut.s_axis_tlast.value = dut.s_axis_tdata.value = dut.m_axis_tready.value = 0
        if len(self.traffic.config):
            dut.s_axis_cfg_tvalid.value = dut.s_axis_cfg_tlast.value = dut.s_axis_cfg_tdata.value = 0
        dut.aresetn.value = 0
        for _ in range(RESET_CYCLES):
            await FallingEdge(dut.aclk)
        dut.aresetn.value = 1

    async def configure(self):
        """Load the weights, a byte each cycle."""
        dut, falling = self.dut, FallingEdge(self.dut.aclk)
        dut.s_axis_cfg_tvalid.value = 1
        for byte, last in self.traffic.config.tolist():
            dut.s_axis_cfg_tdata.value, dut.s_axis_cfg_tlast.value = byte, last
            await falling
        dut.s_axis_cfg_tvalid.value = 0
        for _ in range(2):
            await falling

    async def interrupted_frame(self):
        """Send as many beats as are to be wiped out, as far as the design takes them, then reset."""
        dut, traffic, words = self.dut, self.traffic, self.traffic.words()
        dut.m_axis_tready.value = traffic.taken_before_reset
        dut.s_axis_tvalid.value = 1
        sent = 0
        for _ in range(traffic.patience):
            dut.s_axis_tdata.value = words[sent % len(words)]
            dut.s_axis_tlast.value = sent % traffic.beats_in == traffic.beats_in - 1
            await ReadOnly()
            sent += dut.s_axis_tready.value == 1
            await FallingEdge(dut.aclk)
            if sent == traffic.reset_after:
                break
        await self.reset()

    async def run(self):
        """Send every frame and receive as many, then write the record; fail where the stream rules are broken."""
        traffic, dut = self.traffic, self.dut
        tvalid, tready, tdata, tlast = dut.s_axis_tvalid, dut.s_axis_tready, dut.s_axis_tdata, dut.s_axis_tlast
        m_tvalid, m_tready, m_tdata, m_tlast = dut.m_axis_tvalid, dut.m_axis_tready, dut.m_axis_tdata, dut.m_axis_tlast
        falling, read_only = FallingEdge(dut.aclk), ReadOnly()
        words, last_beats = traffic.words(), traffic.beats_in - 1
        lasts = list(chain(repeat(0, last_beats), (1,))) * traffic.frames
        sent, total = 0, len(words)
        wanted = traffic.frames * traffic.beats_out
        gaps, pauses = (stall_pattern(traffic, side) for side in range(2))
        first, last = (frames * traffic.beats_out for frames in traffic.counted)
        received: list[int] = []
        received_last: list[bool] = []
        out_cycles: list[int] = []
        in_cycles: list[int] = []
        faults: list[str] = []
        offering = False
        held = None
        ready = -1
        cycle = moved = surplus = 0
        flips = sorted(traffic.flips, key=lambda flip: -flip.cycle)
        while len(received) < wanted and cycle - moved <= traffic.patience:
            if not offering and sent < total and not next(gaps):
                tdata.value, tlast.value, tvalid.value = words[sent], lasts[sent], 1
                offering = True
            while flips and flips[-1].cycle == cycle:
                self.flip(flips.pop())
            taking = not next(pauses)
            if taking != ready:
                m_tready.value = ready = taking
            await read_only
            accepted = offering and tready.value == 1
            if accepted:
                in_cycles.append(cycle)
            if m_tvalid.value == 1:
                beat = (int(m_tdata.value), m_tlast.value == 1)
                if held not in (None, beat):
                    faults.append(f"m_axis must hold a beat until it is taken, and it changed in cycle {cycle}")
                held = beat
                if taking:
                    received.append(beat[0])
                    received_last.append(beat[1])
                    out_cycles.append(cycle)
                    held, moved = None, cycle
                    if len(received) % traffic.beats_out == 0:
                        self.report(len(received) // traffic.beats_out)
            elif held is not None:
                faults.append(f"m_axis_tvalid must stay high until the beat is taken, and it fell in cycle {cycle}")
                held = None
            for probe in self.probes:
                probe.sample(cycle, first <= len(received) < last)
            await falling
            cycle += 1
            if accepted:
                sent, offering, moved = sent + 1, False, cycle
                if sent == total or traffic.stalls != "none":
                    tvalid.value = 0
        m_tready.value = 1
        for _ in range(traffic.linger):
            await read_only
            surplus += m_tvalid.value == 1
            await falling
        record = Record.of(traffic, in_cycles, received, received_last, out_cycles, cycles=cycle, faults=faults,
                           taps=[probe.result() for probe in self.probes], surplus=surplus)
        record.save(self.output)
        assert not record.faults, record.faults[0]

    def flip(self, flip: Flip):
        handle = self.dut
        for name in flip.scope:
            handle = handle[name]
        register = handle[flip.name] if flip.name.isidentifier() else handle._id(f"\\{flip.name} ", extended=False)
        bits = list(str(register.value))  # an unknown one stays so
        bits[-1 - flip.bit] = {"0": "1", "1": "0"}.get(bits[-1 - flip.bit], "X")
        register.value = Deposit(LogicArray("".join(bits)) if len(bits) > 1 else Logic(bits[0]))

    def report(self, frames: int):
        self.progress.write(f"{self.phase} {frames}\n")
        self.progress.flush()


async def run(dut, phase: str):
    bench = Bench(dut, phase)
    Clock(dut.aclk, 10, unit="ns").start()
    await bench.reset()
    if len(bench.traffic.config):
        await bench.configure()
    if bench.traffic.reset_after:
        await bench.interrupted_frame()
    await bench.run()


@cocotb.test()
async def steady(dut):
    """A few frames without stalls on either side, to measure."""
    await run(dut, "steady")


@cocotb.test()
async def unstalled(dut):
    """All frames without stalls on either side."""
    await run(dut, "unstalled")


@cocotb.test()
async def stalled(dut):
    """All frames under stalls of some kind."""
    await run(dut, "stalled")
