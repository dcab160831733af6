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
    if count.registered(0):
        sums, carries = _registered(m, sums, carries, name=f"{name}_0")
    return _added(m, cells, count, sums, carries, name=name)


def _added(m: Module, cells: Cells, count: plan.Count, sums: list[Bits], carries: Bits, *, name: str) -> Sum:
    """Add up the sums of a count's groups."""
    for level, highs in enumerate(count.levels[1:], 1):
        even = len(sums) // 2 * 2
        added = cells.add(m, [(sums[n], sums[n + 1], carries[n // 2]) for n in range(0, even, 2)])
        carries, sums = carries[even // 2:], added + sums[even:]
        sums = [bits[:high.bit_length()] for bits, high in zip(sums, highs, strict=True)]
        if count.registered(level):
            sums, carries = _registered(m, sums, carries, name=f"{name}_{level}")
    return sums[0], carries[0] if count.has_spare else None


def count_gated(m: Module, cells: Cells, count: plan.GatedCount, lanes: Sequence[GatedLane]) -> Sum:
    """Return the sum of 1 - x·w, of masks and signs, over ``lanes``, ``count.latency`` cycles later."""
    if len(lanes) != count.lanes:
        raise ValueError(f"Lanes must be {count.lanes}, not {len(lanes)}")
    groups, start = [], 0
    for size, beside in count.groups:
        groups.append((lanes[start:start + size], lanes[start + size:start + size + beside]))
        start += size + beside
    made = cells.gate(m, groups)
    if count.lanes == 1:
        (one, twos, _), = made
        return [one, *twos], None
    sums, bits = _registered(m, [twos for _, twos, _ in made],
                             [carry for _, _, beside in made for carry in beside] + [one for one, _, _ in made],
                             name="gated")
    carries, ones = bits[:-len(made)], bits[-len(made):]
    ones, spare = count_up(m, cells, count.ones, [(bit, _ZERO) for bit in ones], name="ones")
    twos, carry = _added(m, cells, count.twos, sums, carries, name="twos")
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
