"""Images, texts and labels by name: ``load("digits", "test")``, ``images("mnist:test:0:100")``, ``images("x.npy")``.

======================= ============================ =================== ============================================
set                     images                       train/validation/test where from
======================= ============================ =================== ============================================
``digits``              float32 N x 64, 0..16        1077 / 360 / 360    scikit-learn (8 x 8 handwritten digits)
``mnist``               uint8 N x 1 x 28 x 28        55000 / 5000 / 10000  ``mnist/*-ubyte[.gz]`` or OpenML
``fashion-mnist``       uint8 N x 1 x 28 x 28        55000 / 5000 / 10000  ``fashion-mnist/*-ubyte[.gz]`` or OpenML
``cifar10``             uint8 N x 3 x 32 x 32        45000 / 5000 / 10000  ``cifar10/*.bin[.xz]`` or OpenML
``cifar10-batch1``      uint8 N x 3 x 32 x 32        9000 / 1000 / 10000   the first training file only, no OpenML
``svhn``                uint8 N x 3 x 32 x 32        67257 / 6000 / 26032  ``svhn/{train,test}_32x32.mat``
``svhn-extra``          uint8 N x 3 x 32 x 32        598388 / 6000 / 26032 those and ``svhn/extra_32x32.mat``
======================= ============================ =================== ============================================

Texts are sequences of tokens, numbers from 0, and their labels the tokens that follow, both N x 100:

======================= ============================ ================================================================
set                     tokens                       where from
======================= ============================ ================================================================
``tinyshakespeare``     65 characters                ``text/tinyshakespeare.txt``: the last tenth is held out
``ptb-characters``      characters                   ``ptb/ptb.char.{train,valid,test}.txt``
``ptb-words``           words                        ``ptb/ptb.{train,valid,test}.txt``
======================= ============================ ================================================================

Files are sought in the folder ``data_root``, else in the one that the variable ``HWBNN_DATA`` names, else the set is
fetched from OpenML, where it is offered there. The validation split is the end of the published training set
(``digits`` and ``tinyshakespeare`` are published in one piece). Labels are int64.
"""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.datasets.digits import digits
from hwbnn.datasets.files import Labelled
from hwbnn.datasets.pictures import cifar10, cifar10_batch1, idx, svhn
from hwbnn.datasets.text import TEXTS, text, vocabulary_of
from hwbnn.errors import UserError

__all__ = ["SPLITS", "Selection", "classes", "images", "is_text", "load", "names", "parse", "pixel_bits", "vocabulary"]

SPLITS = ("train", "validation", "test")

@dataclass(frozen=True)
class Selection:
    """Images of one split: ``start`` up to, and not including, ``stop`` (None: to the end)."""

    name: str
    split: str
    start: int = 0
    stop: int | None = None


def names() -> list[str]:
    """Return the names of the sets."""
    return list(_SETS)


def classes(name: str, data_root: str | os.PathLike | None = None) -> int:
    """Return how many classes the set ``name`` has: of a text, how many different tokens."""
    _check_name(name)
    return len(vocabulary(name, data_root)) if is_text(name) else 10


def is_text(name: str) -> bool:
    """Tell whether the set ``name`` holds sequences of tokens, and not images."""
    _check_name(name)
    return name in TEXTS


def vocabulary(name: str, data_root: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Return the tokens of the text ``name``, in the order of their numbers."""
    if not is_text(name):
        raise UserError(f"Data set must be a text, one of {', '.join(TEXTS)}, not {name!r}")
    return vocabulary_of(name, _root(data_root))


def parse(spec: str) -> Selection:
    """Read ``set:split[:start:stop]``, such as ``digits:test`` or ``digits:test:0:100``."""
    form = f"Images must be given as SET:SPLIT, SET:SPLIT:START:STOP or a .npy file, not {spec!r}"
    parts = spec.split(":")
    if len(parts) not in (2, 4):
        raise UserError(form)
    _check_name(parts[0])
    _check_split(parts[1])
    if len(parts) == 2:
        return Selection(parts[0], parts[1])
    try:
        start, stop = int(parts[2] or 0), int(parts[3]) if parts[3] else None
    except ValueError:
        raise UserError(form) from None
    if start < 0 or (stop is not None and stop <= start):
        raise UserError(f"Image range must be START:STOP with 0 <= START < STOP, not {parts[2]}:{parts[3]}")
    return Selection(parts[0], parts[1], start, stop)


def images(spec: str, data_root: str | os.PathLike | None = None) -> tuple[NDArray, NDArray[np.int64] | None]:
    """Return the images that ``spec`` names, and their labels where they are known.

    Parameters
    ----------
    spec : :class:`str`
        ``set:split``, ``set:split:start:stop``, or the path of a ``.npy`` file with images in the form that
        the graph takes (N x ...).
    data_root : path or None
        See the head of this module.
    """
    if spec.endswith(".npy"):
        return _read_npy(Path(spec)), None
    chosen = parse(spec)
    x, y = load(chosen.name, chosen.split, data_root)
    stop = len(x) if chosen.stop is None else chosen.stop
    if stop > len(x) or chosen.start >= len(x):
        raise UserError(f"Image range must lie in 0:{len(x)}, the size of {chosen.name}:{chosen.split}, "
                        f"not {chosen.start}:{stop}")
    return x[chosen.start:stop], y[chosen.start:stop]


def pixel_bits(name: str) -> int:
    """Return how many bits a pixel of the images has (of the digits' 0..16, all but the brightest level)."""
    _check_name(name)
    return 4 if name == "digits" else 8


def load(name: str, split: str, data_root: str | os.PathLike | None = None) -> Labelled:
    """Return images and labels of one split, in the forms that the head of this module lists."""
    _check_name(name)
    _check_split(split)
    return _SETS[name](split, _root(data_root))


def _root(data_root: str | os.PathLike | None) -> Path | None:
    if data_root is None:
        data_root = os.environ.get("HWBNN_DATA") or None
    return None if data_root is None else Path(data_root)


def _check_name(name: str) -> None:
    if name not in _SETS:
        near = difflib.get_close_matches(name, _SETS, n=1)
        raise UserError(f"Data set must be one of {', '.join(_SETS)}, not {name!r}"
                        + (f"; did you mean {near[0]!r}?" if near else ""))


def _check_split(split: str) -> None:
    if split not in SPLITS:
        near = difflib.get_close_matches(split, SPLITS, n=1, cutoff=0.3)
        raise UserError(f"Split must be one of {', '.join(SPLITS)}, not {split!r}"
                        + (f"; did you mean {near[0]!r}?" if near else ""))


def _read_npy(path: Path) -> NDArray:
    try:
        x = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"Image file {path} must exist") from None
    except OSError as error:
        raise UserError(f"Image file {path} must be readable: {error.strerror or error}") from None
    except (ValueError, EOFError):
        raise UserError(f"Image file {path} must be a .npy file of plain numbers, and it is not") from None
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise UserError(f"Image file {path} must hold numbers of shape N x ..., not {x.dtype} of shape {x.shape}")
    return x


_SETS: dict[str, Callable[[str, Path | None], Labelled]] = {
    "digits": digits,
    "mnist": partial(idx, "mnist"),
    "fashion-mnist": partial(idx, "fashion-mnist"),
    "cifar10": cifar10,
    "cifar10-batch1": cifar10_batch1,
    "svhn": partial(svhn, False),
    "svhn-extra": partial(svhn, True),
    **{name: partial(text, name) for name in TEXTS},
}
