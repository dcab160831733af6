# amaranth: UnusedElaboratable=no

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from hostlink_bench import PERIOD, idle, simulate, source, watch
from hypothesis import given
from hypothesis import strategies as st

from hwbnn_boards.uart import UartReceiver, UartTransmitter, divisor


class Loop(wiring.Component):
    """A transmitter and a receiver on one wire."""

    def __init__(self, cycles):
        self.transmitter, self.receiver = UartTransmitter(cycles), UartReceiver(cycles)
        super().__init__({"o": Out(self.receiver.o.signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = self.transmitter
        m.submodules.receiver = self.receiver
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        return m


def receive(levels, cycles):
    """Return (data, error) of what a receiver makes of a wire with these (level, clock cycles)."""
    dut, seen = UartReceiver(cycles), []

    async def wire(ctx):
        for level, length in levels:
            ctx.set(dut.rx, level)
            await ctx.delay(length * PERIOD)
        ctx.set(dut.rx, 1)

    simulate(dut, wire, idle(sum(length for _, length in levels) + 3 * cycles), watch(dut.o, seen),
             cycles=10_000)
    return [(byte.data, byte.error) for byte in seen]


def levels(byte, length, stop=1):
    return [(bit, length) for bit in (0, *((byte >> n) & 1 for n in range(8)), stop)]


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 30)), min_size=1, max_size=5), st.integers(4, 9))
def test_loop(sent, cycles):
    dut, seen = Loop(cycles), []
    payloads, gaps = zip(*sent, strict=True)
    simulate(dut, source(dut.transmitter.i, payloads, gaps), idle(sum(gaps) + (10 * len(sent) + 2) * cycles + 4),
             watch(dut.receiver.o, seen), cycles=5_000)
    assert [(byte.data, byte.error) for byte in seen] == [(byte, 0) for byte in payloads]


@pytest.mark.parametrize("cycles", [4, 5])
def test_transmitter_takes_ten_bit_times(cycles):
    dut, taken = UartTransmitter(cycles), []
    wire = []

    async def record(ctx):
        async for _clk, _rst, ready, valid, tx in ctx.tick().sample(dut.i.ready, dut.i.valid, dut.tx):
            taken.append(ready and valid)
            wire.append(tx)

    simulate(dut, source(dut.i, [0xA5, 0x0F, 0]), (record, "background"), idle(40 * cycles), cycles=1000)
    first, second, third = [n for n, took in enumerate(taken) if took]
    assert (second - first, third - second) == (10 * cycles, 10 * cycles)
    bits = wire[first + 1:first + 1 + 20 * cycles]
    assert bits[::cycles] == bits[cycles - 1::cycles] == [0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1]
    assert wire[first] == 1


@pytest.mark.parametrize("length", [0.96, 1, 1.04])
def test_receiver_bears_a_wrong_clock(length):
    cycles = 12
    sent = [0x00, 0x55, 0xFF, 0x80]
    assert receive([(1, 20)] + [level for byte in sent for level in levels(byte, cycles * length)],
                   cycles) == [(byte, 0) for byte in sent]


def test_receiver_ignores_a_glitch():
    assert receive([(1, 20), (0, 3), (1, 30), *levels(0x3C, 12)], 12) == [(0x3C, 0)]


def test_receiver_reports_a_missing_stop_bit_once():
    # A break holds the line low for long; nothing is received until it is high again.
    assert receive([(1, 5), *levels(0x3C, 12, stop=0), (0, 400), (1, 20), *levels(0xC3, 12)], 12) == \
        [(0x3C, 1), (0xC3, 0)]


@pytest.mark.parametrize(("clock", "baud", "cycles"), [
    (25_000_000, 1_000_000, 25), (12_000_000, 1_000_000, 12), (12_000_000, 115_200, 104), (25_000_000, 115_200, 217),
])
def test_divisor(clock, baud, cycles):
    assert divisor(clock, baud) == cycles


@pytest.mark.parametrize(("clock", "baud", "message"), [
    (12_000_000, 4_000_000, "^Baud rate must be at most a quarter of the 12000000 Hz clock, not 4000000$"),
    (12_000_000, 2_200_000, ("^Baud rate must be within 2 % of a whole fraction of the 12000000 Hz clock, and "
                             "2200000 is not: the nearest is 2400000$")),
])
def test_bad_baud(clock, baud, message):
    with pytest.raises(ValueError, match=message):
        divisor(clock, baud)


@pytest.mark.parametrize("component", [UartReceiver, UartTransmitter])
def test_bad_divisor(component):
    with pytest.raises(ValueError, match=r"^UART divisor must be at least 4, not 3$"):
        component(3)
    with pytest.raises(TypeError, match=r"^UART divisor must be an integer, not 4\.5$"):
        component(4.5)
