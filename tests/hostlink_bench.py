"""Drive the parts of the host link in the Amaranth simulator."""

import zlib
from itertools import chain, repeat

from amaranth.sim import Simulator
from cobs import cobs
from hypothesis import settings

PERIOD = 1e-6

#: For examples that take tens of milliseconds each.
few = settings(max_examples=max(1, settings.default.max_examples // 4))


def frame(body, *, crc=None):
    """Return the bytes of a frame on the wire; ``crc`` replaces the right checksum."""
    crc = zlib.crc32(body) if crc is None else crc
    return cobs.encode(bytes(body) + crc.to_bytes(4, "little")) + b"\0"


def bodies(wire):
    """Return the bodies of the frames on the wire, each with its checksum checked and taken off."""
    result = []
    for encoded in wire.split(b"\0"):
        if encoded:
            decoded = cobs.decode(encoded)
            assert zlib.crc32(decoded[:-4]) == int.from_bytes(decoded[-4:], "little")
            result.append(decoded[:-4])
    return result


def simulate(dut, *benches, cycles):
    """Run benches (async functions, or pairs of one and "background") until all have ended; fail after ``cycles``."""
    async def expire(ctx):
        await ctx.delay(cycles * PERIOD)
        raise TimeoutError(f"still waiting after {cycles} cycles")

    sim = Simulator(dut)
    sim.add_clock(PERIOD)
    sim.add_testbench(expire, background=True)
    for bench in benches:
        background = isinstance(bench, tuple)
        sim.add_testbench(bench[0] if background else bench, background=background)
    sim.run()


def source(stream, payloads, gaps=()):
    """Make a bench that offers each payload after that many idle cycles (0 once ``gaps`` run out)."""
    async def bench(ctx):
        for payload, gap in zip(payloads, chain(gaps, repeat(0)), strict=False):
            for _ in range(gap):
                await ctx.tick()
            ctx.set(stream.payload, payload)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)
    return bench


def sink(stream, count, collected, gaps=()):
    """Make a bench that takes ``count`` payloads after that many idle cycles each."""
    async def bench(ctx):
        for _, gap in zip(range(count), chain(gaps, repeat(0)), strict=False):
            for _ in range(gap):
                await ctx.tick()
            ctx.set(stream.ready, 1)
            (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
            ctx.set(stream.ready, 0)
            collected.append(payload)
    return bench


def watch(stream, collected=None):
    """Make a background bench that checks the stream rules and collects the payloads transferred."""
    async def bench(ctx):
        stalled = None
        async for _clk, _rst, valid, ready, payload in ctx.tick().sample(stream.valid, stream.ready, stream.payload):
            if stalled is not None:
                assert valid, "valid fell while stalled"
                assert payload == stalled, "payload changed while stalled"
            if valid and ready and collected is not None:
                collected.append(payload)
            stalled = payload if valid and not ready else None
    return bench, "background"


def idle(cycles):
    """Make a bench that only waits, so that background benches see that much more."""
    async def bench(ctx):
        await ctx.delay(cycles * PERIOD)
    return bench
