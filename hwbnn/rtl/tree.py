"""Adding many terms in a registered tree."""

from collections.abc import Sequence

from amaranth import Module, Signal, Value

from hwbnn.plan import Planes, Tree

__all__ = ["add_planes", "add_up"]


def add_up(m: Module, tree: Tree, terms: Sequence[Value], *, name: str = "sum") -> Value:
    """Return the sum of ``terms``, ``tree.latency`` cycles later."""
    if len(terms) != tree.count:
        raise ValueError(f"Terms must be {tree.count}, not {len(terms)}")
    values = list(terms)
    for level, sizes in enumerate(tree.levels):
        registered = tree.registered(level)
        sums = []
        for n, size in enumerate(sizes):
            low, high = size * tree.low, size * tree.high
            total = Signal(range(low, high + 1), name=f"{name}_{level}_{n}", reset_less=True)
            pair = values[2 * n:2 * n + 2]
            value = pair[0] + pair[1] if len(pair) == 2 else pair[0]
            (m.d.sync if registered else m.d.comb).__iadd__(total.eq(value))
            sums.append(total)
        values = sums
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
