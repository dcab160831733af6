"""How a layer is built beyond PE and SIMD: its datapath, its weight memory, what it does about zeros."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["UnitOptions"]

_CHOICES = {
    "datapath": ("auto", "lanes", "planes", "multipliers", "parallel"),
    "weights": ("auto", "block", "distributed", "logic", "spram"),
    "storage": ("auto", "block"),
    "zeros": ("auto", "none", "static", "dynamic", "isolate"),
    "loadable": (False, True),
}


@dataclass(frozen=True)
class UnitOptions:
    """What a user may ask of one layer's unit; ``auto`` leaves it to the cost model.

    Parameters
    ----------
    datapath : :class:`str`
        What makes the products: ``lanes`` (look-up tables, one term per product), ``planes`` (bit planes of
        both operands), ``multipliers`` (the chip's); ``parallel`` has neither folding nor products: constant weights
        become the wiring of adders.
    weights : :class:`str`
        What the weight memory is made of; ``spram`` only where the chip has it, and the weights are loadable.
    storage : :class:`str`
        ``block``: whatever else the layer keeps, and what follows it up to the next layer, stands in block memory
        where that spares look-up tables: windows, thresholds, inputs, which are then replayed out of a buffer for two
        vectors. ``auto``: where it is large.
    zeros : :class:`str`
        ``none``: they cost as much as other values. ``static``: words of zero weights are neither stored nor given a
        cycle. ``dynamic``: words of zero activations are given no cycle, so that the interval depends on the data.
        ``isolate``: every cycle is as with ``none``, and what a zero does not change keeps still.
        docs/events.md says it in full.
    loadable : :class:`bool`
        Whether weights and thresholds can be written at run time, over the configuration stream.
    """

    datapath: str = "auto"
    weights: str = "auto"
    storage: str = "auto"
    zeros: str = "auto"
    loadable: bool = False

    def __post_init__(self):
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
                raise ValueError(f"Option {name} must be one of {', '.join(map(_word, choices))}, not {_word(value)}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What can be asked for."""
        return tuple(field.name for field in fields(cls))

    @property
    def asked(self) -> dict[str, Any]:
        """The options that differ from their defaults, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)
                if getattr(self, field.name) != field.default}

    def __or__(self, other: "UnitOptions") -> "UnitOptions":
        """These options, but for those that ``other`` asks for."""
        return UnitOptions(**{**self.asked, **other.asked})

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "UnitOptions":
        """Read options by name. Raises ``ValueError`` where a name or a value is unknown."""
        for name in record:
            if name not in cls.names():
                raise ValueError(f"Options must be among {', '.join(cls.names())}, not {name}")
        return cls(**record)


def _word(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
