"""Counting lanes in registered trees of a family's cells (:mod:`hwbnn.plan.count` says which)."""

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Signal, Value

from hwbnn import plan
from hwbnn.rtl.cells import Bits, Cells, GatedLane, Lane

__all__ = ["count_gated", "count_up"]

_ZERO = Const(0, 1)

Sum = tuple[Bits, Value | None]  # bits, and the one that is left over


def count_up(m: Module, cells: Cells, count: plan.Count, lanes: Sequence[Lane], *, name: str = "count") -> Sum:
    """Return in how many of ``lanes`` both bits differ, ``count.latency`` cycles later."""
    if len(lanes) != count.lanes:
        raise ValueError(f"Lanes must be {count.lanes}, not {len(lanes)}")
    groups, start = [], 0
    for size in count.groups:
        groups.append(lanes[start:start + size])
        start += size
    sums, carries = cells.count(m, groups), [a ^ b for a, b in lanes[start:]]
    for level, highs in enumerate(count.levels):
        if level:
            even = len(sums) // 2 * 2
            added = cells.add(m, [(sums[n], sums[n + 1], carries[n // 2]) for n in range(0, even, 2)])
            carries, sums = carries[even // 2:], added + sums[even:]
        sums = [bits[:high.bit_length()] for bits, high in zip(sums, highs, strict=True)]
        if count.registered(level):
            sums, carries = _registered(m, sums, carries, name=f"{name}_{level}")
    return sums[0], carries[0] if count.has_spare else None


def count_gated(m: Module, cells: Cells, count: plan.GatedCount, lanes: Sequence[GatedLane]) -> Sum:
    """Return the sum of 1 - x·w over ``lanes``, ``count.latency`` cycles later."""
    if len(lanes) != count.lanes:
        raise ValueError(f"Lanes must be {count.lanes}, not {len(lanes)}")
    groups, start = [], 0
    for size in count.groups:
        groups.append(lanes[start:start + size])
        start += size
    made = cells.gate(m, groups)
    if count.lanes == 1:
        (one, twos), = made
        return [one, *twos], None
    bits = [[one for one, _ in made], [two for _, twos in made for two in twos]]
    if count.is_registered:
        bits, _ = _registered(m, bits, [], name="gated")
    ones, spare = count_up(m, cells, count.ones, [(bit, _ZERO) for bit in bits[0]], name="ones")
    twos, carry = count_up(m, cells, count.twos, [(bit, _ZERO) for bit in bits[1]], name="twos")
    spares = [] if spare is None else [spare]
    for n in range(count.waiting):
        (ones,), spares = _registered(m, [ones], spares, name=f"waiting_{n}")
    total = [*ones, *twos]
    if count.joins:
        above, = cells.add(m, [(twos, ones[1:], carry)])
        (total,), spares = _registered(m, [[ones[0], *above[:count.lanes.bit_length()]]], spares, name="joined")
    return total, spares[0] if spares else None


def _registered(m: Module, sums: Sequence[Bits], carries: Sequence[Value], *, name: str) -> tuple[list[Bits], Bits]:
    """The same a cycle later."""
    now = Cat(*(Cat(bits) for bits in sums), *carries)
    register = Signal(len(now), name=name, reset_less=True)
    m.d.sync += register.eq(now)
    later, start = [], 0
    for bits in sums:
        later.append(list(register[start:start + len(bits)]))
        start += len(bits)
    return later, list(register[start:])
