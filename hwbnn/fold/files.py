"""Foldings as users write them: ``NAME=PExSIMD``, a mapping, or a file ``fold.json``."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.fold.layers import Layer, divisors, layers, parallel
from hwbnn.plan import Fold, UnitOptions

if TYPE_CHECKING:
    from hwbnn.fold.solve import Folding

__all__ = ["FORMAT", "option_words", "parse", "read", "record", "words"]

FORMAT = 1  # of fold.json


def words(pairs: Iterable[str]) -> dict[str, dict[str, int]]:
    """Read ``NAME=PExSIMD`` words into what :func:`parse` checks."""
    result: dict[str, dict[str, int]] = {}
    for word in pairs:
        match = re.fullmatch(r"(.+)=(\d+)[x×](\d+)", word)
        if match is None:
            raise UserError(f"Folding must be NAME=PExSIMD, such as fc1=8x16, not {word}")
        if match[1] in result:
            raise UserError(f"Folding of {match[1]} must be given once, and it is given twice")
        result[match[1]] = {"pe": int(match[2]), "simd": int(match[3])}
    return result


def option_words(network: ir.Network, asked: Mapping[str, Iterable[str]]) -> dict[str, UnitOptions]:
    """Read ``NAME=VALUE`` words, by option, into options by layer; ``all`` names every layer that none else does.

    A word without ``=`` means true. Raises :class:`UserError` where a layer, an option or a value is unknown.
    """
    names = [node.name for node in layers(network)]
    made: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option, pairs in asked.items():
        values: dict[str, Any] = {}
        for word in pairs:
            name, _, value = word.rpartition("=") if "=" in word else (word, "", True)
            if name not in (*names, "all"):
                near = get_close_matches(name, names, n=1)
                raise UserError(f"Option --{option} must name a layer among {', '.join(names)} or all, not {name}"
                                + (f"; did you mean {near[0]}?" if near else ""))
            if name in values:
                raise UserError(f"Option --{option} of {name} must be given once, and it is given twice")
            values[name] = value
        for name in names:
            if name in values or "all" in values:
                made[name][option] = values.get(name, values.get("all"))
    try:
        return {name: UnitOptions.of(record) for name, record in made.items() if record}
    except ValueError as error:
        raise UserError(str(error)) from None


def parse(network: ir.Network, record: Any, *, where: str = "Folding") -> dict[str, Fold]:
    """Check a folding as users write it, ``{"fc0": {"pe": 8, "simd": 16}, ...}``, against ``network``.

    Beside them may stand the options of :class:`~hwbnn.plan.UnitOptions`. A layer's value may also be a
    :class:`Fold` or a pair (PE, SIMD). Raises :class:`UserError` that names the
    layer, with the divisors it could take.
    """
    nodes = {node.name: node for node in layers(network)}
    if not isinstance(record, Mapping):
        raise UserError(f'{where} must be an object such as {{"{next(iter(nodes), "fc0")}": {{"pe": 1, "simd": 1}}}}, '
                        f"not {type(record).__name__}")
    for name in record:
        if name not in nodes:
            near = get_close_matches(str(name), nodes, n=1)
            raise UserError(f"{where} must name layers among {', '.join(nodes)}, not {name}"
                            + (f"; did you mean {near[0]}?" if near else ""))
    missing = [name for name in nodes if name not in record]
    if missing:
        raise UserError(f"{where} must be given for every layer, and {missing[0]} has none")
    return {name: _fold(node, record[name], where) for name, node in nodes.items()}


def record(network: ir.Network, folding: "Folding") -> dict[str, Any]:
    """Return what ``fold.json`` holds: the folding, to be edited, and why it is so, to be read."""
    return {"format": FORMAT, "network_name": network.name, "network": ir.digest(network),
            "goal": str(folding.goal),
            "folds": {name: fold.record for name, fold in folding.folds.items()},
            "reasons": {row.layer: f"{row.cycles:,} cycles: {row.reason}" for row in folding.choices}}


def read(network: ir.Network, path: str | os.PathLike) -> dict[str, Fold]:
    """Read a folding from a JSON file: a ``fold.json``, a ``build.json``, or the bare mapping of :func:`parse`.

    Raises :class:`UserError` where the file has the digest of another network.
    """
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"Folding file {path} must be readable: {error.strerror}") from None
    except ValueError:
        raise UserError(f"Folding file {path} must be JSON, and it is not") from None
    if isinstance(content, dict) and isinstance(content.get("folds"), dict):
        if content.get("format", FORMAT) != FORMAT:
            raise UserError(f"Folding file {path} must have format {FORMAT}, not {content['format']}")
        if content.get("network", ir.digest(network)) != ir.digest(network):
            raise UserError(f"Folding file {path} must be of the network {network.name} with these weights and this "
                            "output, and it is of another; to use it all the same, remove its entry network")
        content = content["folds"]
    return parse(network, content, where=f"Folding file {path}")


def _fold(node: Layer, entry: Any, where: str) -> Fold:
    if isinstance(entry, Fold):
        entry = entry.record
    elif isinstance(entry, tuple) and len(entry) == 2:
        entry = {"pe": entry[0], "simd": entry[1]}
    if not isinstance(entry, Mapping) or not {"pe", "simd"} <= set(entry):
        raise UserError(f"{where} of {node.name} must have pe and simd, not {entry!r}")
    most = parallel(node)
    for key, size, what in (("pe", most.pe, "rows"), ("simd", most.simd, "columns")):
        value = entry[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or size % value:
            raise UserError(f"{where} of {node.name}: {key} must divide its {size} {what} "
                            f"({', '.join(map(str, divisors(size)))}), not {value!r}")
    try:
        return Fold.of(entry)
    except ValueError as error:
        raise UserError(f"{where} of {node.name}: {error}") from None
