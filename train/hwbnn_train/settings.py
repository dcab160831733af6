"""Fields of a recipe given as text, such as a command line brings them."""

import dataclasses
import difflib
import math
from collections.abc import Sequence
from types import NoneType
from typing import Any, get_args, get_origin

from hwbnn.errors import UserError
from hwbnn_train.recipe import Recipe

__all__ = ["with_settings"]

_WORDS = {"true": True, "false": False}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word",
          tuple: "whole numbers such as 512,512, or none"}


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return ``recipe`` with other values of some fields, each given as ``FIELD=VALUE``; of equal fields the last.

    Values are read as the field's type: whole numbers, numbers, ``true`` and ``false``, words, whole numbers with
    commas between; ``none`` is None, or no numbers. The name of a recipe stays.

    Raises
    ------
    UserError
        An unknown field, a value of another type, or one that the recipe refuses.
    """
    fields = {field.name: field.type for field in dataclasses.fields(recipe) if field.name != "name"}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"Setting must be FIELD=VALUE, such as epochs=5, not {setting!r}")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            raise UserError(f"Setting of recipe {recipe.name} must be one of {', '.join(fields)}, not {name!r}"
                            + (f"; did you mean {near[0]!r}?" if near else ""))
        changes[name] = _read(name, fields[name], text)
    try:
        return dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise UserError(str(error)) from None


def _read(name: str, kind: Any, text: str) -> Any:
    """Return the value that ``text`` is, as the type ``kind``."""
    plain = next((option for option in get_args(kind) if option is not NoneType), kind)
    plain = tuple if get_origin(kind) is tuple else plain
    optional = NoneType in get_args(kind)
    if optional and text == "none":
        return None
    try:
        return _PARSERS[plain](text)
    except (ValueError, KeyError):
        raise UserError(f"Setting {name} must be {_KINDS[plain]}{' or none' * optional}, not {text!r}") from None


def _number(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise ValueError(text)
    return value


def _numbers(text: str) -> tuple[int, ...]:
    return () if text in ("", "none") else tuple(int(part) for part in text.split(","))


_PARSERS = {int: int, float: _number, bool: _WORDS.__getitem__, str: str, tuple: _numbers}
