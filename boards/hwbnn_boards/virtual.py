"""Boards without hardware: the byte interface of a serial port, served by a simulation or by a function."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from amaranth import Signal
from amaranth.sim import Simulator

from hwbnn_boards.host import decode_frame, encode_frame
from hwbnn_boards.protocol import HEADER_BYTES, LENGTH_BYTES, Command, Identity, Status

__all__ = ["ModelBoard", "VirtualBoard"]

_PERIOD = 1e-6


class SerialDesign(Protocol):
    """An Amaranth component on a serial line."""

    rx: Signal
    tx: Signal

    @property
    def divisor(self) -> int:
        """Clock cycles per bit."""
        ...

    def elaborate(self, platform: Any) -> Any:
        """Make the hardware."""
        ...


class VirtualBoard:
    """A :class:`~hwbnn_boards.host.Port` on a design in Amaranth's simulator, bit by bit over its serial line.

    Time passes only while something is read. Reading gives up after ``patience`` clock cycles without a byte.

    Parameters
    ----------
    design : :class:`SerialDesign`
        What is simulated.
    patience : :class:`int`
        Clock cycles that :meth:`read` waits for a byte.
    """

    def __init__(self, design: SerialDesign, *, patience: int = 100_000):
        self._design = design
        self._patience = patience
        self._to_send: deque[int] = deque()
        self._received = bytearray()
        self._elapsed = 0  # bit times
        self._simulator = Simulator(design)
        self._simulator.add_clock(_PERIOD)
        self._simulator.add_testbench(self._transmit, background=True)
        self._simulator.add_testbench(self._receive)

    async def _transmit(self, ctx):
        bit = self._design.divisor * _PERIOD
        while True:
            byte = self._to_send.popleft() if self._to_send else 0x1FF  # an idle line looks like ten stop bits
            for level in _levels(byte):
                ctx.set(self._design.rx, level)
                await ctx.delay(bit)

    async def _receive(self, ctx):
        bit = self._design.divisor * _PERIOD
        await ctx.delay(_PERIOD / 4)  # away from clock edges
        while True:
            while ctx.get(self._design.tx):
                await ctx.delay(_PERIOD)
                self._elapsed += _PERIOD
            await ctx.delay(bit / 2)
            byte = 0
            for n in range(8):
                await ctx.delay(bit)
                byte |= ctx.get(self._design.tx) << n
            await ctx.delay(bit)
            if ctx.get(self._design.tx):
                self._received.append(byte)
            self._elapsed = 0

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read without simulating."""
        return len(self._received)

    def read(self, size: int = 1) -> bytes:
        """Return up to ``size`` bytes, simulating until they are there or patience is over."""
        self._elapsed = 0
        while len(self._received) < size and self._elapsed < self._patience * _PERIOD:
            self._simulator.advance()
        content = bytes(self._received[:size])
        del self._received[:size]
        return content

    def write(self, data: bytes) -> int:
        """Queue bytes for the line."""
        self._to_send.extend(data)
        return len(data)

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def _levels(byte: int) -> Iterator[int]:
    if byte == 0x1FF:
        return iter([1] * 10)
    return iter((0, *((byte >> n) & 1 for n in range(8)), 1))


class ModelBoard:
    """A :class:`~hwbnn_boards.host.Port` that does what the gateware does, with a function for the accelerator.

    Parameters
    ----------
    identity : :class:`~hwbnn_boards.protocol.Identity`
        What it answers to ``IDENTIFY``.
    compute : callable
        From the bytes of an image to those of its result.
    load : callable
        Takes a packet of the configuration stream. None where the accelerator has no such stream.
    """

    def __init__(self, identity: Identity, compute: Callable[[bytes], bytes], *,
                 load: Callable[[bytes], None] | None = None):
        self.identity = identity
        self._compute = compute
        self._load = load
        self._request = bytearray()
        self._answers = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes of requests; answers to the whole ones are ready at once."""
        for byte in data:
            if byte:
                self._request.append(byte)
            elif self._request:
                self._answers += encode_frame(self._answer(bytes(self._request)))
                self._request.clear()
        return len(data)

    def _answer(self, encoded: bytes) -> bytes:
        body = decode_frame(encoded)
        if body is None:
            return bytes([0, Status.DAMAGED])
        sequence, command, payload = body[0], body[1], body[HEADER_BYTES:]
        if command not in list(Command) or (command == Command.LOAD and self._load is None):
            return bytes([sequence, Status.UNKNOWN_COMMAND])
        if command == Command.LOAD and self._load is not None:
            packet = payload[LENGTH_BYTES:]
            if not packet or len(packet) != int.from_bytes(payload[:LENGTH_BYTES], "little"):
                return bytes([sequence, Status.WRONG_LENGTH])
            self._load(packet)
            return bytes([sequence, Status.OK])
        if len(payload) != (self.identity.image_bytes if command == Command.RUN else 0):
            return bytes([sequence, Status.WRONG_LENGTH])
        content = self._compute(payload) if command == Command.RUN else bytes(self.identity)
        return bytes([sequence, Status.OK]) + content

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read."""
        return len(self._answers)

    def read(self, size: int = 1) -> bytes:
        """Return up to ``size`` bytes."""
        content = bytes(self._answers[:size])
        del self._answers[:size]
        return content

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
