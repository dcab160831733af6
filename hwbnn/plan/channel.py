"""The beats between two stages of a schedule: when each was offered, and when it was transferred."""

from collections.abc import Callable, Generator

__all__ = ["UNLIMITED", "Channel", "freed", "taken"]

UNLIMITED = 2**62  # depth of a FIFO that never fills


class Channel:
    """Time stamps in place of data.

    Stages read and write it through :meth:`offer`, :meth:`visible` and :meth:`take`; ``wake`` is called after
    either moved on, since the stage at the other end may wait for that.
    """

    def __init__(self, wake: Callable[["Channel"], None] = lambda _: None):
        self.offered: list[int] = []
        self.moved: list[int] = []
        self._wake = wake

    def offer(self, cycle: int):
        """Offer the next beat in ``cycle``, or as soon as the one before it has moved."""
        self.offered.append(cycle)
        self._wake(self)

    def ready(self) -> bool:
        """Whether the next beat's offer is known."""
        return len(self.moved) < len(self.offered)

    def visible(self) -> int:
        """When the next beat is seen at the head."""
        j = len(self.moved)
        return max(self.offered[j], self.moved[-1] + 1) if j else self.offered[0]

    def take(self, cycle: int):
        """Transfer the next beat in ``cycle``."""
        self.moved.append(cycle)
        self._wake(self)


def freed(output: Channel, beat: int, earliest: int) -> Generator[Channel, None, int]:
    """Wait until ``beat`` has left a FIFO that was full; return when the next may enter, not before ``earliest``."""
    while len(output.moved) <= beat:
        yield output
    return max(earliest, output.moved[beat] + 1)


def taken(entry: Channel, earliest: int) -> Generator[Channel, None, int]:
    """Wait for the next beat and take it, not before ``earliest``; return when."""
    while not entry.ready():
        yield entry
    now = max(earliest, entry.visible())
    entry.take(now)
    return now
