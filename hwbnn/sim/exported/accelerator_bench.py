"""cocotb bench of the accelerator's AXI4-Stream ports: every golden vector, exact and in order.

Written by `hwbnn sim export`; it needs cocotb 2 and cocotbext-axi, and nothing of hwbnn.
"""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
FRAMES = [([int(word, 16) for word in frame["s_axis"]], [int(word, 16) for word in frame["m_axis"]])
          for frame in VECTORS["frames"]]
PERIOD = 10  # ns


class Bench:
    """A source on s_axis, a sink on m_axis, a clock and a reset."""

    def __init__(self, dut):
        self.dut = dut
        Clock(dut.aclk, PERIOD, unit="ns").start()
        options = {"reset": dut.aresetn, "reset_active_level": False, "byte_lanes": 1}  # a number per beat
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **options)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **options)

    async def reset(self):
        self.dut.aresetn.value = 0
        for _ in range(4):
            await FallingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await FallingEdge(self.dut.aclk)

    async def check_all(self):
        for beats, _ in FRAMES:
            await self.source.send(AxiStreamFrame(beats))  # pyright: ignore[reportArgumentType]  # words, not bytes
        for number, (_, expected) in enumerate(FRAMES):
            frame = await with_timeout(self.sink.recv(), VECTORS["patience"] * PERIOD, "ns")
            seen = list(frame.tdata)
            assert seen == expected, f"Frame {number} must give {expected}, not {seen}"
        assert self.sink.empty(), "Nothing may come after the last frame"


def at_random(seed, share):
    """Pauses in that share of the cycles, in runs."""
    rng = random.Random(seed)
    while True:
        pause = rng.random() < share
        yield from [pause] * rng.randint(1, 20)


@cocotb.test()
async def back_to_back(dut):
    bench = Bench(dut)
    await bench.reset()
    await bench.check_all()


@cocotb.test()
async def pauses_on_both_sides(dut):
    bench = Bench(dut)
    bench.source.set_pause_generator(at_random(1, 0.4))
    bench.sink.set_pause_generator(at_random(2, 0.4))
    await bench.reset()
    await bench.check_all()


@cocotb.test()
async def reset_in_the_middle_of_a_frame(dut):
    bench = Bench(dut)
    await bench.reset()
    beats, _ = FRAMES[0]
    await bench.source.send(AxiStreamFrame(beats))  # pyright: ignore[reportArgumentType]  # words, not bytes
    for _ in range((len(beats) + 1) // 2 + 1):
        await FallingEdge(dut.aclk)
    bench.source.clear()
    await bench.reset()
    bench.sink.clear()
    await bench.check_all()
