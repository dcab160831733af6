"""Cycles turned into time: latency, interval and rate at a clock. The cycles themselves are the plan's, exact."""

from dataclasses import dataclass

from hwbnn.cost.quantity import Quantity
from hwbnn.errors import UserError
from hwbnn.plan import Plan

__all__ = ["Timing", "timing"]


@dataclass(frozen=True)
class Timing:
    """How long a frame takes at ``clock_hz``, without stalls from outside.

    ``latency`` and ``interval`` are seconds: of the first frame from its first input transfer through its last
    output transfer, and between frames in the steady state.
    """

    clock_hz: int
    first_cycles: int
    interval_cycles: int

    @property
    def latency(self) -> Quantity:
        return Quantity.exact((self.first_cycles + 1) / self.clock_hz, "s", method="cycle model")

    @property
    def interval(self) -> Quantity:
        return Quantity.exact(self.interval_cycles / self.clock_hz, "s", method="cycle model")

    @property
    def rate(self) -> Quantity:
        """Frames per second in the steady state."""
        return Quantity.exact(self.clock_hz / self.interval_cycles, "frame/s", method="cycle model")


def timing(plan: Plan, clock_hz: int) -> Timing:
    """Return the timing of ``plan`` at ``clock_hz``."""
    if isinstance(clock_hz, bool) or not isinstance(clock_hz, int) or clock_hz < 1:
        raise UserError(f"Clock must be a whole number of hertz, at least 1, not {clock_hz!r}")
    return Timing(clock_hz, plan.cycles.first, plan.cycles.interval)
