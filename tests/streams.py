"""Drive and watch streams in the Amaranth simulator. Payloads are plain integers, whatever their layout."""

from contextlib import nullcontext
from itertools import chain, repeat

from amaranth import Cat, Value
from amaranth.sim import Simulator

CLOCK_PERIOD = 1e-6


def raw(stream):
    """The payload's bits as one unsigned value."""
    return Value.cast(stream.payload).as_unsigned()


async def put(ctx, stream, payload):
    """Offer one payload and wait until it is accepted."""
    ctx.set(raw(stream), payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


async def get(ctx, stream):
    """Accept one payload."""
    ctx.set(stream.ready, 1)
    await ctx.tick().until(stream.valid)
    ctx.set(stream.ready, 0)


async def idle(ctx, cycles):
    """Wait for ``cycles`` clock edges; zero is allowed."""
    for _ in range(cycles):
        await ctx.tick()


def watcher(stream, transfers):
    """Make a testbench that records every transfer as ``(cycle, payload)`` and checks the stream rules.

    A stalled payload may neither be withdrawn nor change.
    """
    async def testbench(ctx):
        cycle, stalled = 0, None
        async for _clk, _rst, valid, ready, payload in ctx.tick().sample(stream.valid, stream.ready, raw(stream)):
            if stalled is not None:
                assert valid, f"valid fell while stalled, cycle {cycle}"
                assert payload == stalled, f"payload changed while stalled, cycle {cycle}"
            if valid and ready:
                transfers.append((cycle, payload))
            stalled = payload if valid and not ready else None
            cycle += 1
    return testbench


def transfer(dut, payloads, outputs, *, i_gaps=(), o_gaps=(), timeout=2_000, i=None, o=None, patience=0, watch=None,
             before=None, vcd=None):
    """Send every payload through ``dut.i`` until ``outputs`` payloads left ``dut.o``; return both as watched.

    Parameters
    ----------
    i_gaps, o_gaps : iterable of :class:`int`
        Idle cycles before each put and each get, zero once they run out.
    i, o : stream
        In place of ``dut.i`` and ``dut.o``.
    watch : testbench
        Runs in the background.
    patience : :class:`int`
        Cycles to watch on after the last output, with ready high, for outputs that should not be there.
    before : testbench
        Runs before the first put.
    vcd : file
        Where the waveform goes.
    """
    i, o = i if i is not None else dut.i, o if o is not None else dut.o
    seen_i, seen_o = [], []

    async def put_all(ctx):
        if before is not None:
            await before(ctx)
        for payload, gap in zip(payloads, chain(i_gaps, repeat(0)), strict=False):
            await idle(ctx, gap)
            await put(ctx, i, payload)

    async def get_all(ctx):
        for _, gap in zip(range(outputs), chain(o_gaps, repeat(0)), strict=False):
            await idle(ctx, gap)
            await get(ctx, o)
        if patience:
            ctx.set(o.ready, 1)
            await idle(ctx, patience)

    async def expire(ctx):
        await ctx.delay(timeout * CLOCK_PERIOD)
        raise TimeoutError(f"no end after {timeout} cycles; {len(seen_o)} of {outputs} payloads came out")

    sim = Simulator(dut)
    sim.add_clock(CLOCK_PERIOD)
    sim.add_testbench(watcher(i, seen_i), background=True)
    sim.add_testbench(watcher(o, seen_o), background=True)
    sim.add_testbench(expire, background=True)
    if watch is not None:
        sim.add_testbench(watch, background=True)
    sim.add_testbench(put_all)
    sim.add_testbench(get_all)
    with sim.write_vcd(vcd) if vcd is not None else nullcontext():
        sim.run()
    return seen_i, seen_o


def exchange(dut, puts, gets, *, timeout=2_000, patience=5):
    """Send payloads into several streams and take them from several, each at its own pace.

    Parameters
    ----------
    puts : list of (stream, payloads, gaps)
    gets : list of (stream, number of payloads, gaps)
        Gaps are iterables of idle cycles before each transfer, zero once they run out.

    Returns
    -------
    list of lists of (cycle, payload), for each of ``puts`` and each of ``gets``
    """
    seen = [[] for _ in (*puts, *gets)]

    async def expire(ctx):
        await ctx.delay(timeout * CLOCK_PERIOD)
        raise TimeoutError(f"no end after {timeout} cycles; transfers: {[len(one) for one in seen]}")

    def producer(stream, payloads, gaps):
        async def testbench(ctx):
            for payload, gap in zip(payloads, chain(gaps, repeat(0)), strict=False):
                await idle(ctx, gap)
                await put(ctx, stream, payload)
        return testbench

    def consumer(stream, count, gaps):
        async def testbench(ctx):
            for _, gap in zip(range(count), chain(gaps, repeat(0)), strict=False):
                await idle(ctx, gap)
                await get(ctx, stream)
            ctx.set(stream.ready, 1)
            await idle(ctx, patience)
        return testbench

    sim = Simulator(dut)
    sim.add_clock(CLOCK_PERIOD)
    for (stream, _, _), transfers in zip((*puts, *gets), seen, strict=True):
        sim.add_testbench(watcher(stream, transfers), background=True)
    sim.add_testbench(expire, background=True)
    for one in puts:
        sim.add_testbench(producer(*one))
    for one in gets:
        sim.add_testbench(consumer(*one))
    sim.run()
    return seen


class AxiPort:
    """The four signals of one AXI4-Stream port of ``dut`` as a stream; tlast is the payload's highest bit."""

    def __init__(self, dut, name):
        self.data = getattr(dut, f"{name}_tdata")
        self.payload = Cat(self.data, getattr(dut, f"{name}_tlast"))
        self.valid = getattr(dut, f"{name}_tvalid")
        self.ready = getattr(dut, f"{name}_tready")

    def join(self, words, beats):
        """Payloads of packets of ``beats`` beats."""
        return [word | (n % beats == beats - 1) << len(self.data) for n, word in enumerate(words)]

    def split(self, payload):
        """The data and the last flag of a payload."""
        return payload & ((1 << len(self.data)) - 1), payload >> len(self.data)
