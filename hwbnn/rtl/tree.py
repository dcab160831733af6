"""Adding many terms in a registered tree."""

from collections.abc import Sequence

from amaranth import Cat, Module, Signal, Value

from hwbnn.plan import Planes, Tree
from hwbnn.rtl.cells import Cells, Lane, Plain

__all__ = ["add_planes", "add_up"]


def add_up(m: Module, tree: Tree, terms: Sequence[Value], *, lanes: Sequence[Sequence[Lane]] | None = None,
           made_of: Cells | None = None, name: str = "sum") -> Value:
    """Return the sum of ``terms``, ``tree.latency`` cycles later.

    Parameters
    ----------
    lanes : sequence
        The terms' bits, where each is two bits XOR, which an adder may take as they are.
    made_of : :class:`Cells`
        What adders on carry chains are made of.
    """
    if len(terms) != tree.count:
        raise ValueError(f"Terms must be {tree.count}, not {len(terms)}")
    made_of = made_of or Plain()
    values: list[Value] = list(terms)
    bits: list[Sequence[Value | Lane]] = [list(value) for value in values] if lanes is None else list(lanes)
    for level, sizes in enumerate(tree.levels):
        registered = tree.registered(level)
        pairs = list(zip(range(0, len(values) - 1, 2), range(1, len(values), 2), strict=True))
        if tree.is_chained:
            added = [Cat(made) for made in made_of.add(m, [(bits[a], bits[b], None) for a, b in pairs])]
        else:
            added = [values[a] + values[b] for a, b in pairs]
        sums = []
        for n, (size, value) in enumerate(zip(sizes, [*added, *values[2 * len(pairs):]], strict=True)):
            low, high = size * tree.low, size * tree.high
            total = Signal(range(low, high + 1), name=f"{name}_{level}_{n}", reset_less=True)
            (m.d.sync if registered else m.d.comb).__iadd__(total.eq(value))
            sums.append(total)
        values, bits = sums, [list(total) for total in sums]
    return values[0]


def add_planes(m: Module, planes: Planes, numbers: Sequence[Value], *, name: str = "planes") -> Value:
    """Return the sum of ``numbers``, each times its factor, ``planes.latency`` cycles later."""
    if len(numbers) != len(planes.factors):
        raise ValueError(f"Numbers must be {len(planes.factors)}, not {len(numbers)}")
    values = list(zip(planes.factors, numbers, strict=True))
    for level, groups in enumerate(planes.levels):
        sums = []
        for n, group in enumerate(groups):
            low, high = planes.span(group)
            total = Signal(range(low, high + 1), name=f"{name}_{level}_{n}", reset_less=True)
            unit, pair = min(map(abs, group)), values[2 * n:2 * n + 2]
            parts = [(factor, part << (abs(factor) // unit).bit_length() - 1) for factor, part in pair]
            parts.sort(key=lambda part: part[0] < 0)  # a difference is one adder, of two negatives three
            (_, value), *rest = parts
            value = value if parts[0][0] > 0 else -value
            for factor, part in rest:
                value = value + part if factor > 0 else value - part
            (m.d.sync if planes.registered(level) else m.d.comb).__iadd__(total.eq(value))
            sums.append((unit, total))
        values = sums
    (factor, number), = values
    return number if factor > 0 else -number
