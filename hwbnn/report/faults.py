"""What the page shows of flipped bits: accuracy against their number, and what single ones in registers do."""

from collections.abc import Mapping
from typing import Any

from hwbnn.report.charts import Bar, bars, decay

__all__ = ["EFFECTS", "accuracy_chart", "effect_chart", "part_rows", "rows"]

EFFECTS: Mapping[str, str] = {
    "masked": "every output as without it", "logits": "outputs differ, classes do not", "class": "classes differ",
    "count": "more or fewer results than images, or tlast in the wrong place", "hang": "takes no more images",
}
"""What a flip does, in words."""

Record = Mapping[str, Any]


def rows(record: Record) -> list[dict[str, Any]]:
    """The points of a campaign, each with where it was."""
    return [{**point, "where": _where(point)} for point in _points(record)]


def _points(record: Record) -> list[Record]:
    return [*record["points"], *record["layers"], *record.get("kinds", ())]


def _where(point: Record) -> str:
    return point["layer"] or (f"{point['kind']} registers" if point.get("kind") else "anywhere")


def accuracy_chart(record: Record) -> dict[str, Any]:
    """Images that keep their class, or their right one where labels are known, against flipped bits."""
    known = record["faultless"] is not None
    return decay([(point["flips"], *point["accuracy" if known else "same"]) for point in record["points"]],
                 x="flipped bits", y="accuracy, %" if known else "same class, %")


def effect_chart(record: Record) -> dict[str, Any]:
    """What single flips in registers do, as shares of the trials, by layer and by kind of register."""
    single = [point for point in _points(record) if point["flips"] == 1]
    chart = bars({name: [Bar(_where(point), 100 * point["effects"][name][0]) for point in single] for name in EFFECTS},
                 unit="% of single flips", stacked=True)
    chart["layout"]["legend"]["traceorder"] = "normal"  # as they are stacked
    return chart


def part_rows(record: Record) -> list[dict[str, Any]]:
    """Parts of the stages in which single flips were tried, those first that lose most."""
    tried = [part for part in record["parts"] if part["effects"] is not None]
    return sorted(tried, key=lambda part: part["effects"]["masked"][0])
