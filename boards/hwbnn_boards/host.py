"""The host's end of the link: send images, get results, over pyserial or anything that behaves like it."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import serial
from cobs import cobs

from hwbnn.errors import UserError
from hwbnn_boards.protocol import CRC_BYTES, HEADER_BYTES, VERSION, Command, Identity, Status

__all__ = ["Link", "Port", "Progress", "decode_frame", "encode_frame", "open_port"]

Progress = Callable[[int, int], None]

_MAX_FRAME = 1 << 24  # bytes without a zero before they are taken for noise


class Port(Protocol):
    """What the link needs of a serial port: the part of :class:`serial.Serial` that it uses."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        ...

    def read(self, size: int = 1, /) -> bytes:
        """Return up to ``size`` bytes, fewer when the port's timeout is over."""
        ...

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


def encode_frame(body: bytes) -> bytes:
    """Return the bytes on the wire for a frame of that body: CRC-32, COBS, zero."""
    return cobs.encode(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")) + b"\0"


def decode_frame(encoded: bytes) -> bytes | None:
    """Return the body of a frame (its zero taken off), or None where it is damaged."""
    try:
        content = cobs.decode(encoded)
    except cobs.DecodeError:
        return None
    body, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if len(body) < HEADER_BYTES or zlib.crc32(body) != int.from_bytes(crc, "little"):
        return None
    return body


def open_port(name: str, baud: int, *, timeout: float = 0.1) -> serial.SerialBase:
    """Open a serial port by device name or pyserial URL (``socket://host:port``, ``loop://``).

    Raises
    ------
    UserError
        Where there is no such port or it cannot be used.
    """
    try:
        return serial.serial_for_url(name, baudrate=baud, timeout=timeout, write_timeout=10)
    except (serial.SerialException, OSError) as error:
        raise UserError(f"Port must be a serial port that can be opened, not {name}: {_reason(error)}") from None
    except ValueError as error:  # pyserial's word for a rate or URL it cannot do
        raise UserError(f"Port must be a device or a URL that pyserial knows, not {name}: {error}") from None


def _reason(error: OSError) -> str:
    return {2: "there is none; is the board connected?", 13: "not permitted; add yourself to the group dialout",
            16: "in use"}.get(error.errno or 0, str(error))


class Link:
    """A board behind a port.

    Requests are sent ahead, as many as the board can hold, so that the line never waits for the host. A request whose
    answer is missing, damaged or overtaken is sent again under a new sequence number; running an image twice does no
    harm.

    Parameters
    ----------
    port : :class:`Port`
        An open port, with a read timeout that is short against ``timeout``.
    timeout : :class:`float`
        Seconds without a valid answer before everything outstanding is sent again.
    retries : :class:`int`
        Times that one request is sent again before giving up.
    """

    def __init__(self, port: Port, *, timeout: float = 1.0, retries: int = 4):
        if timeout <= 0:
            raise ValueError(f"Link timeout must be positive, not {timeout}")
        if retries < 0:
            raise ValueError(f"Link retries must be at least 0, not {retries}")
        self._port = port
        self._timeout = timeout
        self._retries = retries
        self._sequence = 0
        self._received = bytearray()
        self._identity: Identity | None = None
        #: Requests that were sent again, so far.
        self.resent = 0

    @property
    def timeout(self) -> float:
        """Seconds without a valid answer before everything outstanding is sent again."""
        return self._timeout

    @property
    def retries(self) -> int:
        """Times that one request is sent again before giving up."""
        return self._retries

    def identify(self, expected: bytes | None = None) -> Identity:
        """Ask the board what it is.

        Parameters
        ----------
        expected : :class:`bytes`
            Fingerprint that the board must have.

        Raises
        ------
        UserError
            Where nothing answers, or something else than expected.
        """
        self._port.write(b"\0")  # ends whatever frame the line may be in
        (content,) = self._exchange([(Command.IDENTIFY, b"")], 1, None)
        if len(content) != Identity.size() or content[0] != VERSION:
            raise UserError(f"Board must speak protocol version {VERSION}, not {content[0] if content else 'none'}; "
                            "load a bitstream that this version of hwbnn made")
        self._identity = identity = Identity.parse(content)
        if expected is not None and identity.fingerprint != expected:
            raise UserError(f"Board must run the network {expected.hex()}, not {identity.fingerprint.hex()}; "
                            "load the bitstream of this build")
        return identity

    def run(self, images: Sequence[bytes], *, progress: Progress | None = None) -> list[bytes]:
        """Return the result of each image, in order.

        Parameters
        ----------
        images : sequence of :class:`bytes`
            As many bytes each as the board's identity says.
        progress : callable
            Called with the number of results so far and the number of images.
        """
        identity = self._identity or self.identify()
        for image in images:
            if len(image) != identity.image_bytes:
                raise ValueError(f"Image must have {identity.image_bytes} bytes, not {len(image)}")
        results = self._exchange([(Command.RUN, image) for image in images], identity.window, progress)
        for result in results:
            if len(result) != identity.result_bytes:
                raise UserError(f"Board must answer with {identity.result_bytes} bytes, not {len(result)}; "
                                "load the bitstream again")
        return results

    def load(self, payloads: Sequence[bytes], *, progress: Progress | None = None) -> None:
        """Write weights: the payloads of :func:`hwbnn_boards.protocol.load_payloads`. Writing twice does no harm.

        Parameters
        ----------
        progress : callable
            Called with the number of payloads so far and their number.
        """
        identity = self._identity or self.identify()
        self._exchange([(Command.LOAD, payload) for payload in payloads], identity.window, progress)

    def _exchange(self, requests: list[tuple[Command, bytes]], window: int, progress: Progress | None) -> list[bytes]:
        results: dict[int, bytes] = {}
        waiting = deque((number, 0) for number in range(len(requests)))  # request number, times it was sent
        outstanding: deque[tuple[int, int, int]] = deque()               # sequence number, and the same

        def again(count: int) -> None:
            """Send the oldest ``count`` outstanding requests again."""
            for _, number, sent in [outstanding.popleft() for _ in range(count)][::-1]:
                if sent > self._retries:
                    raise UserError(f"Board must answer, and it left {sent} requests unanswered; check port, baud rate "
                                    "and that the bitstream of this build is loaded")
                self.resent += 1
                waiting.appendleft((number, sent))

        while len(results) < len(requests):
            while waiting and len(outstanding) < window:
                number, sent = waiting.popleft()
                outstanding.append((self._send(*requests[number]), number, sent + 1))
            body = self._receive()
            if body is None:
                self._port.write(b"\0")
                again(len(outstanding))
                continue
            position = next((n for n, entry in enumerate(outstanding) if entry[0] == body[0]), None)
            if body[1] == Status.DAMAGED:
                # Answers keep the order of requests, so what arrived broken was the oldest.
                again(1 if outstanding else 0)
            elif position is not None:
                again(position)
                _, number, _ = outstanding.popleft()
                if body[1] != Status.OK:
                    raise UserError(f"Board must accept the request {requests[number][0].name}, and it answered with "
                                    f"status {body[1]}; load the bitstream of this build")
                results[number] = body[HEADER_BYTES:]
                if progress is not None:
                    progress(len(results), len(requests))
        return [results[number] for number in range(len(requests))]

    def _send(self, command: Command, payload: bytes) -> int:
        self._sequence = (self._sequence + 1) % 256
        self._port.write(encode_frame(bytes([self._sequence, command]) + payload))
        return self._sequence

    def _receive(self) -> bytes | None:
        """Return the body of the next frame, as a ``DAMAGED`` answer where it was broken on the way here."""
        deadline = time.monotonic() + self._timeout
        while True:
            encoded, delimiter, rest = self._received.partition(b"\0")
            if delimiter:
                self._received = rest
                if encoded:
                    return decode_frame(bytes(encoded)) or bytes([0, Status.DAMAGED])
                continue
            if time.monotonic() > deadline or len(self._received) > _MAX_FRAME:
                self._received.clear()
                return None
            try:
                self._received += self._port.read(max(1, self._port.in_waiting))
            except (serial.SerialException, OSError) as error:
                raise UserError(f"Port must stay connected, and it was lost: {error}") from None
