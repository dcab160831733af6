"""What the page shows of a folding's room on the chip, and of the same network in other precisions."""

from typing import Any

from hwbnn.cost import Quantity, technology
from hwbnn.cost.comparison import compare
from hwbnn.cost.gating import LayerRest, resting_of_layers
from hwbnn.cost.roofline import Roofline, roofline
from hwbnn.report.charts import roofs
from hwbnn.report.results import Results
from hwbnn.report.text import count, figure, nominal, percent

__all__ = ["chart", "found", "note", "precisions", "rests", "rows"]


def found(results: Results) -> Roofline:
    """Limits of every layer on the board's chip."""
    return roofline(results.plan, technology(results.board.technology))


def rows(roof: Roofline) -> list[dict[str, str]]:
    """One row per layer with products."""
    return [{"layer": row.stage, "lanes": count(row.lanes), "attained": f"{row.attained:,.3g}",
             "memory": _limit(row.memory_limit), "luts": _limit(row.lut_limit),
             "bound": row.bound.replace("look-up tables", "LUTs"), "share": percent(row.share, 2)} for row in roof.rows]


def chart(roof: Roofline) -> dict[str, Any]:
    """The roofline: products per cycle against products per bit of memory traffic."""
    return roofs([(row.stage, row.intensity, row.attained, row.lanes, row.lut_limit) for row in roof.rows],
                 bandwidth=roof.bits_per_cycle)


def note(roof: Roofline) -> str:
    """How far the folding is from the chip's limit."""
    told = (f"The block memories give {count(roof.bits_per_cycle)} bits per cycle at their widest. A layer's limit by "
            "look-up tables is what the whole chip would make at that layer's own price per product.")
    if roof.distance is None or roof.least_interval is None:
        return told
    return (f"{told} With all of the chip at work in every cycle a frame would take {roof.least_interval:,.0f} cycles; "
            f"it takes {count(roof.interval)}, {roof.distance:,.1f} times as many.")


def _limit(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}"


def precisions(results: Results) -> list[dict[str, str]]:
    """The network as float32, int8, ternary and binary."""
    return [{"name": row.name, "what": row.what, "products": count(row.products),
             "live": percent(row.live / row.products, 1), "weights": count(row.weight_bits),
             "moved": count(row.moved_bits), "arithmetic": nominal(row.arithmetic), "movement": nominal(row.movement),
             "energy": nominal(row.energy),
             "luts": count(row.luts.nominal) if isinstance(row.luts, Quantity) else figure(row.luts)}
            for row in compare(results.plan, technology(results.board.technology))]


def rests(results: Results) -> list[LayerRest]:
    """Layers in which products rest because of zero weights."""
    return [row for row in resting_of_layers(results.network) if row.weight_zero]
