"""Asynchronous serial: bytes on one wire, eight data bits, no parity, one stop bit."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["RECEIVED", "UartReceiver", "UartTransmitter", "divisor"]

#: A received byte, and whether its stop bit was missing.
RECEIVED = data.StructLayout({"data": 8, "error": 1})

_TOLERANCE = 0.02  # of a bit time; ten bits at 2 % still sample within the middle half of the last bit


def divisor(clock_hz: int, baud: int) -> int:
    """Return the clock cycles per bit, at least 4, that come within 2 % of ``baud``."""
    cycles = max(1, (2 * clock_hz + baud) // (2 * baud))
    if cycles < 4:
        raise ValueError(f"Baud rate must be at most a quarter of the {clock_hz} Hz clock, not {baud}")
    if abs(clock_hz / cycles - baud) > _TOLERANCE * baud:
        raise ValueError(f"Baud rate must be within 2 % of a whole fraction of the {clock_hz} Hz clock, "
                         f"and {baud} is not: the nearest is {clock_hz // cycles}")
    return cycles


def _check_divisor(cycles: int) -> None:
    if not isinstance(cycles, int):
        raise TypeError(f"UART divisor must be an integer, not {cycles!r}")
    if cycles < 4:
        raise ValueError(f"UART divisor must be at least 4, not {cycles}")


class UartReceiver(wiring.Component):
    """Turn the level of a wire into bytes.

    Each bit is sampled once, in its middle. A start bit that is gone by its middle is taken for a glitch. A byte
    appears on ``o``, for one cycle, in the middle of its stop bit; where that is low, ``error`` is set and nothing is
    received until the wire is high again. The consumer cannot stall.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles per bit. At least 4.

    Members
    -------
    rx : :py:`In(1)`
        The wire, asynchronous; idle high.
    o : :py:`Out(stream.Signature(RECEIVED, always_ready=True))`
        Received bytes.
    """

    rx: Signal
    o: stream.Interface

    def __init__(self, divisor: int):
        _check_divisor(divisor)
        self._divisor = divisor
        super().__init__({
            "rx": In(1, init=1),
            "o": Out(stream.Signature(RECEIVED, always_ready=True)),
        })

    @property
    def divisor(self) -> int:
        """Clock cycles per bit."""
        return self._divisor

    def elaborate(self, platform):
        m = Module()

        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)

        timer = Signal(range(self.divisor))
        bits = Signal(range(8))
        elapsed = timer == 0

        with m.If(elapsed):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.Else():
            m.d.sync += timer.eq(timer - 1)

        m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("idle"):
                with m.If(~rx):
                    m.d.sync += timer.eq(self.divisor // 2 - 1)
                    m.next = "start"
            with m.State("start"):
                with m.If(elapsed):
                    m.d.sync += bits.eq(0)
                    with m.If(rx):
                        m.next = "idle"
                    with m.Else():
                        m.next = "data"
            with m.State("data"):
                with m.If(elapsed):
                    m.d.sync += [
                        self.o.payload.data.eq(Cat(self.o.payload.data[1:], rx)),
                        bits.eq(bits + 1),
                    ]
                    with m.If(bits == 7):
                        m.next = "stop"
            with m.State("stop"):
                with m.If(elapsed):
                    m.d.sync += [
                        self.o.payload.error.eq(~rx),
                        self.o.valid.eq(1),
                    ]
                    with m.If(rx):
                        m.next = "idle"
                    with m.Else():
                        m.next = "break"
            with m.State("break"):
                with m.If(rx):
                    m.next = "idle"

        return m


class UartTransmitter(wiring.Component):
    """Put bytes on a wire; II is ten bit times.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles per bit. At least 4.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes to send.
    tx : :py:`Out(1)`
        The wire, a register; idle high.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor: int):
        _check_divisor(divisor)
        self._divisor = divisor
        super().__init__({
            "i": In(stream.Signature(8)),
            "tx": Out(1, init=1),
        })

    @property
    def divisor(self) -> int:
        """Clock cycles per bit."""
        return self._divisor

    def elaborate(self, platform):
        m = Module()

        timer = Signal(range(self.divisor))
        rest = Signal(9)  # what follows the bit on the wire, stop bit last
        bits = Signal(range(10))  # how much of it
        elapsed = timer == 0

        m.d.comb += self.i.ready.eq((bits == 0) & elapsed)
        with m.If(~elapsed):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(bits != 0):
            m.d.sync += [
                Cat(self.tx, rest).eq(Cat(rest, 1)),
                bits.eq(bits - 1),
                timer.eq(self.divisor - 1),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += [
                Cat(self.tx, rest).eq(Cat(0, self.i.payload, 1)),
                bits.eq(9),
                timer.eq(self.divisor - 1),
            ]

        return m
