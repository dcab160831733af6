"""Streams inside the design: which to watch, and what was seen on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tap", "Tapped", "Watch"]


@dataclass(frozen=True)
class Tap:
    """A stream inside the design.

    Parameters
    ----------
    scope : :class:`tuple` of :class:`str`
        Instance names from below the top module down.
    port : :class:`str`
        Name of the stream, without ``__valid``.
    fifo : :class:`bool`
        Whether the instance may hold a FIFO ``fifo`` with a signal ``level`` behind the stream.
    """

    scope: tuple[str, ...]
    port: str = "o"
    fifo: bool = False

    def __str__(self) -> str:
        return ".".join((*self.scope, self.port))


@dataclass(frozen=True)
class Tapped:
    """What crossed a stream.

    Parameters
    ----------
    cycles : int64 array (transfers,)
        Cycle of each transfer.
    payloads : uint8 array (transfers, bytes)
        What was transferred, least significant byte first.
    waiting : :class:`bool`
        Whether the stream offered, in the last cycle, a payload that was not taken.
    transferred, stalled, starved : :class:`int`
        Cycles with a transfer, with an offer that was not taken, with a taker and no offer, while frames were counted
        (:attr:`hwbnn.sim.traffic.Traffic.counted`).
    occupancy : :class:`int` or None
        The most entries that the FIFO behind the stream held; None where there is none, or it cannot be seen.
    """

    cycles: NDArray[np.int64]
    payloads: NDArray[np.uint8]
    waiting: bool
    transferred: int
    stalled: int
    starved: int
    occupancy: int | None


class Watch:
    """Collects a :class:`Tapped` cycle by cycle."""

    def __init__(self):
        self.cycles: list[int] = []
        self.payloads: list[int] = []
        self.waiting = False
        self.stalled = self.starved = self.transferred = 0
        self.occupancy: int | None = None

    def sample(self, cycle: int, valid: bool, ready: bool, *, counted: bool):
        """Note the handshake of a cycle; return whether there is a payload to :meth:`take`."""
        self.waiting = valid and not ready
        if counted:
            self.transferred += valid and ready
            self.stalled += self.waiting
            self.starved += ready and not valid
        if valid and ready:
            self.cycles.append(cycle)
            return True
        return False

    def hold(self, level: int):
        """Note the entries in the FIFO."""
        self.occupancy = max(level, self.occupancy or 0)

    def result(self, bits: int) -> Tapped:
        """What was seen; payloads are ``bits`` wide."""
        size = -(-bits // 8)
        data = b"".join(payload.to_bytes(size, "little") for payload in self.payloads)
        return Tapped(np.array(self.cycles, np.int64), np.frombuffer(data, np.uint8).reshape(len(self.payloads), size),
                      self.waiting, self.transferred, self.stalled, self.starved, self.occupancy)
