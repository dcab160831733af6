"""What host and board say to each other, as constants and records that both sides are built from.

A frame is a body and its CRC-32 (ISO-HDLC, as :func:`zlib.crc32`, little-endian), COBS-encoded and ended by a
zero byte; zero bytes between frames are ignored. See ``docs/boards.md``.

- request body: sequence number, :class:`Command`, payload (for ``RUN`` the bytes of one image; for ``LOAD`` the length
  of a packet of the configuration stream, in two bytes, and the packet);
- response body: the request's sequence number, :class:`Status`, payload (``RUN``: the bytes of the result;
  ``IDENTIFY``: :class:`Identity`; ``LOAD``: none).

Responses come in the order of the requests. The board keeps up to ``window`` requests; it drops, and counts, what
exceeds that. A damaged frame is answered with ``DAMAGED`` and never reaches the accelerator.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import IntEnum

from hwbnn import ir
from hwbnn.plan import Plan, Stream, loader

__all__ = [
    "CRC_BYTES", "HEADER_BYTES", "LENGTH_BYTES", "VERSION", "Beats", "Command", "Identity", "Status", "beats_of",
    "fingerprint", "identity", "image_beats", "load_bytes", "load_payloads", "result_beats", "window",
]

VERSION = 1
HEADER_BYTES = 2
CRC_BYTES = 4
LENGTH_BYTES = 2  # of the packet in a LOAD request
_BUFFER_BYTES = 512  # one block RAM of the smallest family holds several small images
_MAX_WINDOW = 16
_LOAD_BYTES = 64  # payload of LOAD at least, so that headers do not dominate


class Command(IntEnum):
    """Second byte of a request."""

    IDENTIFY = 0
    RUN = 1
    LOAD = 2  # unknown to boards without loadable layers


class Status(IntEnum):
    """Second byte of a response."""

    OK = 0
    DAMAGED = 1          # CRC, COBS or a stop bit was wrong; the sequence number may be, too
    UNKNOWN_COMMAND = 2
    WRONG_LENGTH = 3     # the payload is not one image, or not as long as it says


@dataclass(frozen=True)
class Beats:
    """One frame of an AXI4-Stream: ``count`` beats of ``width`` bytes, sent lowest byte first."""

    count: int
    width: int

    def __post_init__(self):
        for name in ("count", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"Beats {name} must be at least 1, not {getattr(self, name)}")

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.count * self.width

    def join(self, words: list[int]) -> bytes:
        """Return the bytes of the frame whose beats are ``words``."""
        return b"".join(word.to_bytes(self.width, "little") for word in words)

    def split(self, content: bytes) -> list[int]:
        """Return the beats of a frame: the inverse of :meth:`join`."""
        return [int.from_bytes(content[n:n + self.width], "little") for n in range(0, len(content), self.width)]


@dataclass(frozen=True)
class Identity:
    """What a board says of itself.

    Parameters
    ----------
    version : :class:`int`
        Of this protocol.
    fingerprint : :class:`bytes`
        Eight bytes, see :func:`fingerprint`.
    image_bytes, result_bytes : :class:`int`
        Payload of a ``RUN`` request and of its response.
    window : :class:`int`
        Requests that the board can hold.
    damaged, overruns, framing_errors : :class:`int`
        Frames refused, frames dropped because the window was exceeded, and the accelerator's count of images with
        a misplaced end, since power-up; each stops at 65535.
    """

    version: int
    fingerprint: bytes
    image_bytes: int
    result_bytes: int
    window: int
    damaged: int = 0
    overruns: int = 0
    framing_errors: int = 0

    _FORMAT = struct.Struct("<B8sIIBHHH")

    def __bytes__(self) -> bytes:
        return self._FORMAT.pack(*astuple(self))

    @classmethod
    def size(cls) -> int:
        """Bytes of a record."""
        return cls._FORMAT.size

    @classmethod
    def parse(cls, content: bytes) -> "Identity":
        """Read what :func:`bytes` made of an identity."""
        if len(content) != cls.size():
            raise ValueError(f"Identity must have {cls.size()} bytes, not {len(content)}")
        return cls(*cls._FORMAT.unpack(content))


def window(payload_bytes: int) -> int:
    """Return how many requests a board buffers with payloads of up to that size: 2 to 16."""
    return max(2, min(_MAX_WINDOW, _BUFFER_BYTES // (payload_bytes + HEADER_BYTES)))


def load_bytes(plan: Plan) -> int:
    """Return the longest payload of ``LOAD``: an image's, if that has room for a word; 0 where nothing is loadable."""
    if plan.loader is None:
        return 0
    least = LENGTH_BYTES + loader.HEADER_BYTES + plan.loader.word_bytes
    return max(_LOAD_BYTES, least, image_beats(plan).size)


def load_payloads(plan: Plan, banks: Sequence[bytes]) -> list[bytes]:
    """Return the payloads of ``LOAD`` that write ``banks`` (:func:`hwbnn.plan.loader.contents`)."""
    if plan.loader is None:
        return []
    packets = loader.packets(plan.loader, banks, limit=load_bytes(plan) - LENGTH_BYTES)
    return [len(packet).to_bytes(LENGTH_BYTES, "little") + packet for packet in packets]


def image_beats(plan: Plan) -> Beats:
    """Return what one image is made of."""
    return beats_of(plan.input)


def result_beats(plan: Plan) -> Beats:
    """Return what one result is made of."""
    return beats_of(plan.output)


def beats_of(stream: Stream) -> Beats:
    """Return what one frame of ``stream`` is made of, padded to bytes."""
    return Beats(stream.beats, -(-stream.bits // 8))


def fingerprint(plan: Plan) -> bytes:
    """Return eight bytes that differ where the network or the packing of its images and results differs.

    Another folding of the same network has the same fingerprint where its beats are the same.
    """
    content = f"{VERSION} {ir.digest(plan.network)} {plan.input} {plan.output}"
    return hashlib.sha256(content.encode()).digest()[:8]


def identity(plan: Plan) -> Identity:
    """Return what a board with this accelerator says of itself, its counters 0."""
    image, result = image_beats(plan), result_beats(plan)
    return Identity(VERSION, fingerprint(plan), image.size, result.size, window(max(image.size, load_bytes(plan))))
