"""Images and labels by name: ``load("digits", "test")``, ``images("mnist:test:0:100")``, ``images("x.npy")``.

======================= ============================ =================== ============================================
set                     images                       train/validation/test where from
======================= ============================ =================== ============================================
``digits``              float32 N x 64, 0..16        1077 / 360 / 360    scikit-learn (8 x 8 handwritten digits)
``mnist``               uint8 N x 1 x 28 x 28        55000 / 5000 / 10000  ``mnist/*-ubyte[.gz]`` or OpenML
``fashion-mnist``       uint8 N x 1 x 28 x 28        55000 / 5000 / 10000  ``fashion-mnist/*-ubyte[.gz]`` or OpenML
``cifar10``             uint8 N x 3 x 32 x 32        45000 / 5000 / 10000  ``cifar10/*.bin[.xz]`` or OpenML
``cifar10-batch1``      uint8 N x 3 x 32 x 32        9000 / 1000 / 10000   the first training file only, no OpenML
======================= ============================ =================== ============================================

Files are sought in the folder ``data_root``, else in the one that the variable ``HWBNN_DATA`` names, else the set is
fetched from OpenML. The validation split is the end of the published training set (``digits``, which is
published in one piece, is split by :func:`_digits`). Labels are int64.
"""

import difflib
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.errors import UserError

__all__ = ["SPLITS", "Selection", "classes", "images", "load", "names", "parse"]

SPLITS = ("train", "validation", "test")

Labelled = tuple[NDArray, NDArray[np.int64]]


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


def classes(name: str) -> int:
    """Return how many classes the set ``name`` has."""
    _check_name(name)
    return 10


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


def load(name: str, split: str, data_root: str | os.PathLike | None = None) -> Labelled:
    """Return images and labels of one split, in the forms that the head of this module lists."""
    _check_name(name)
    _check_split(split)
    if data_root is None:
        data_root = os.environ.get("HWBNN_DATA") or None
    return _SETS[name](split, None if data_root is None else Path(data_root))


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


# digits ------------------------------------------------------------------------------------------------------

@lru_cache(maxsize=1)
def _digits_parts() -> dict[str, Labelled]:
    try:
        from sklearn.datasets import load_digits  # lazy: the core does not need scikit-learn
    except ImportError:
        raise UserError("Data set digits must come from scikit-learn, and it is not installed; "
                        "install it with `pip install hwbnn[data]`") from None
    bunch = load_digits()
    x, y = bunch.data.astype(np.float32), bunch.target.astype(np.int64)
    order = np.random.Generator(np.random.PCG64(2024)).permutation(len(y))
    rank = np.empty(len(y), np.int64)  # where an image stands among those of its class, in the drawn order
    for digit in range(10):
        members = order[y[order] == digit]
        rank[members] = (2 * np.arange(len(members)) + 1) * len(y) // (2 * len(members))
    order = order[np.argsort(rank[order], kind="stable")]
    parts = {"test": order[:360], "validation": order[360:720], "train": order[720:]}
    return {split: (x[np.sort(index)], y[np.sort(index)]) for split, index in parts.items()}


def _digits(split: str, root: Path | None) -> Labelled:
    """Split by a seeded permutation, class by class in proportion: 1077 train, 360 validation, 360 test.

    The images of each class are drawn in random order and spread evenly over 0..1; the first fifth of all
    is the test split, the second the validation split. Within a split they keep the published order.
    """
    x, y = _digits_parts()[split]
    return x.copy(), y.copy()


# files of MNIST and Fashion-MNIST ----------------------------------------------------------------------------

# sha256 of the files' contents, so that a file that was packed again is still recognised.
_IDX = {
    "mnist": {
        "train-images-idx3-ubyte": "",
        "train-labels-idx1-ubyte": "",
        "t10k-images-idx3-ubyte": "",
        "t10k-labels-idx1-ubyte": "",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "",
        "train-labels-idx1-ubyte": "",
        "t10k-images-idx3-ubyte": "",
        "t10k-labels-idx1-ubyte": "",
    },
}
_OPENML = {"mnist": 554, "fashion-mnist": 40996, "cifar10": 40927}
_FOLDERS = {"mnist": ("mnist", "MNIST/raw"), "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
            "cifar10": ("cifar10", "cifar-10-batches-bin")}

_SETS: dict[str, Callable[[str, Path | None], Labelled]] = {"digits": _digits}
