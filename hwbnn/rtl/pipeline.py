"""Shift registers beside a pipeline."""

from amaranth import Cat, Module, Signal, Value

__all__ = ["delayed", "flags"]


def flags(m: Module, source: Value, cycles: int, *, name: str) -> list[Value]:
    """Return ``source`` delayed by 0, 1, ... ``cycles`` cycles; the registers reset to 0."""
    if not cycles:
        return [source]
    line = Signal(cycles, name=name)
    m.d.sync += line.eq(Cat(source, line[:-1]))
    return [source, *line]


def delayed(m: Module, source: Value, cycles: int, *, name: str) -> Value:
    """Return ``source`` delayed by ``cycles`` cycles, through registers without reset."""
    for n in range(cycles):
        stage = Signal(source.shape(), name=f"{name}_{n}", reset_less=True)
        m.d.sync += stage.eq(source)
        source = stage
    return source
