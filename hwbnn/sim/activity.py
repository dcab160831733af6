"""How often each net toggles: SAIF files, read and summed up per instance."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from hwbnn.errors import UserError

__all__ = ["CLOCK", "Activity", "InstanceActivity", "read_saif"]

CLOCK = "TOP.aclk"
"""The accelerator's clock in a SAIF file of the compiled engine."""

_TOKEN = re.compile(r'"[^"]*"|[()]|[^\s()"]+')


@dataclass(frozen=True)
class InstanceActivity:
    """The nets named in one instance, those of the instances in it not counted.

    Parameters
    ----------
    instance : :class:`str`
        Hierarchical name.
    bits : :class:`int`
        Bits of all its nets; a connection counts in every instance that has a name for it.
    toggles : :class:`int`
        Changes of all of them.
    """

    instance: str
    bits: int
    toggles: int


@dataclass(frozen=True)
class Activity:
    """Toggles of a simulation of ``cycles`` clock cycles.

    ``nets`` has the toggles of every bit by hierarchical name, such as ``TOP.accelerator.core.fc0.sum[3]``.
    """

    cycles: int
    instances: tuple[InstanceActivity, ...]
    nets: dict[str, int]


def read_saif(path: str | os.PathLike, *, clock: str) -> Activity:
    """Read a SAIF 2.0 file, such as ``simulate(..., wave="run.saif")`` writes.

    Parameters
    ----------
    clock : :class:`str`
        Hierarchical name of the clock, whose toggles tell the cycles.

    Raises
    ------
    UserError
        It is no SAIF file, or it has no such clock.
    """
    try:
        text = re.sub(r"//.*", "", Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"SAIF file {path} must be readable, and it is not: {error}") from None
    nets: dict[str, int] = {}
    scope: list[str | None] = []  # an entry per open parenthesis: the instance it opens, if it does
    head: list[str] = []  # the atoms since the last parenthesis
    name = ""
    for token in _TOKEN.findall(text):
        if token == "(":
            if head[:1] == ["INSTANCE"]:
                scope[-1] = head[-1]
            elif head and scope and head[0] not in ("NET", "SAIFILE"):
                name = head[0]
            scope.append(None)
            head = []
        elif token == ")":
            if head[:1] == ["TC"]:
                bit = name.replace("\\", "")
                nets[".".join([*(one for one in scope if one), bit])] = int(head[1])
            if not scope:
                raise UserError(f"SAIF file {path} must have balanced parentheses")
            scope.pop()
            head = []
        else:
            head.append(token)
    if scope or not nets:
        raise UserError(f"SAIF file {path} must be SAIF 2.0 with at least one net, and it is not")
    if clock not in nets:
        raise UserError(f"SAIF file {path} must have the clock {clock}, and it has not")
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for net, toggles in nets.items():
        total = sums[net.rpartition(".")[0]]
        total[0] += 1
        total[1] += toggles
    return Activity((nets[clock] + 1) // 2, tuple(InstanceActivity(name, *total) for name, total in sums.items()), nets)
