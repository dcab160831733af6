"""Lanes of two integers of several bits: planes of one operand's bits, products of look-up tables, or multipliers."""

from hwbnn.ir import Levels
from hwbnn.plan.lanes import Lane, PlainLane
from hwbnn.plan.records import span_bits

__all__ = ["MaskLane", "MultiplierLane", "PlanesLane", "ProductLane"]


def _are_integers(x: Levels, w: Levels) -> bool:
    return not any(one.is_bipolar or one.is_ternary for one in (x, w))


class _IntegerLane(Lane):
    """A product of which zeros add nothing, but for activations that are counted from their least."""

    @property
    def idle_weight(self):
        return 0

    @property
    def idle_activation(self):
        return None if self.half else 0


class PlanesLane(_IntegerLane):
    """k bits times m bits by the bits of the narrower: for each of them a plane of the other operand, or of zeros.

    With u = x + h, h as in :class:`ConditionalLane`, dot = sum over planes of 2^j · (sum of u where bit j of the weight
    is set), the sign bit of the weights counting negative, less h · (sum of weights). Where activations are the
    narrower operand, the planes are theirs, and hold weights. Each plane has an adder tree; what the planes count for
    is applied to the sums.
    """

    requirement = "k-bit integers times k-bit integers"

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w)

    @property
    def splits_weights(self) -> bool:
        """Whether the planes are of the weights' bits."""
        return self.w.bits <= self.x.bits

    @property
    def planes(self):
        if not self.splits_weights:
            return tuple(1 << i for i in range(self.x.bits))
        top = self.w.bits - 1
        return (*(1 << j for j in range(top)), -(1 << top) if self.w.is_signed else 1 << top)

    @property
    def bounds(self):
        if self.splits_weights:
            return 0, 2**self.x.bits - 1
        return min(0, self.w.low), max(0, self.w.high)

    def offsets(self, weights):
        return -self.half * weights.sum(axis=1)


class MaskLane(PlanesLane):
    """Binary times k bits or k bits times binary: a single plane."""

    requirement = "binary levels times k-bit integers"

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w) and min(x.bits, w.bits) == 1


class ProductLane(PlainLane):
    """Any integers: the term is the product itself, in a register, made of look-up tables."""

    latency = 1

    @property
    def bounds(self):
        corners = [x * w for x in (self.x.low, self.x.high) for w in (self.w.low, self.w.high)]
        return min(corners), max(corners)

    def flip_flops(self, count):
        return count * span_bits(*self.bounds)


class MultiplierLane(_IntegerLane):
    """k bits times m bits in the chip's multipliers, two products at a time where they are small.

    With u and h as in :class:`ConditionalLane` a term is u w, or of two neighbours (u1 2^s + u0) (w0 2^s + w1), in
    the middle of which stands u0 w0 + u1 w1; where the part below is negative it has borrowed 1. dot = S - h · (sum
    of weights).
    """

    requirement = "k-bit integers times k-bit integers, of 2 bits and more"
    operand_bits = 16  # of the narrowest signed multiplier among the families, SB_MAC16

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w) and min(x.bits, w.bits) > 1

    @property
    def shift(self) -> int:
        """From one product to the next within a multiplier, so that the sum of two fits."""
        return self.x.bits + self.w.bits + 1

    @property
    def operands(self) -> tuple[int, int]:
        """Bits of the multiplier's operands, both signed."""
        if self.products > 1:
            return self.shift + self.x.bits + 1, self.shift + self.w.bits + 1
        return self.x.bits + 1, self.w.bits + (not self.w.is_signed)

    @property
    def products(self):
        return 2 if self.shift + max(self.x.bits, self.w.bits) + 1 <= self.operand_bits else 1

    @property
    def latency(self):
        return self.products

    @property
    def bounds(self):
        most = 2**self.x.bits - 1
        return min(0, most * self.w.low), max(0, most * self.w.high)

    @property
    def term_bits(self) -> int:
        """Width of a term."""
        return span_bits(*(self.products * bound for bound in self.bounds))

    @property
    def product_bits(self) -> int:
        """Bits of a multiplier's product that are used."""
        return self.term_bits + (self.shift if self.products > 1 else 0)

    def flip_flops(self, count):
        terms = -(-count // self.products)
        if self.products == 1:
            return terms * self.term_bits
        return terms * (2 * self.term_bits + 1)  # with the bit below, then the sum of both

    def offsets(self, weights):
        return -self.half * weights.sum(axis=1)
