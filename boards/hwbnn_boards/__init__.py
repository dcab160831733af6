"""Boards: clock, pins, host link, host driver, and a virtual board that simulates all of it.

Importing this package gives the records; gateware and host are in modules of their own, because they need
Amaranth, pyserial or cobs.
"""

from difflib import get_close_matches

from hwbnn.errors import UserError
from hwbnn_boards import icebreaker, ulx3s_85f
from hwbnn_boards.board import Board

__all__ = ["Board", "board", "names"]

_BOARDS = {module.BOARD.name: module.BOARD for module in (icebreaker, ulx3s_85f)}


def names() -> list[str]:
    """Return the names of all boards, sorted."""
    return sorted(_BOARDS)


def board(name: str) -> Board:
    """Return the board of that name. Raises :class:`~hwbnn.errors.UserError` with the nearest name otherwise."""
    if name in _BOARDS:
        return _BOARDS[name]
    near = get_close_matches(name.lower().replace("_", "-"), names(), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"Board must be one of {', '.join(names())}, not {name!r}{hint}")
