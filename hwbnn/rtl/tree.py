"""Adding many terms in a registered tree."""

from collections.abc import Sequence

from amaranth import Module, Signal, Value

from hwbnn.plan import Tree

__all__ = ["add_up"]


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
