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
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
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


def classes(name: str, data_root: str | os.PathLike | None = None) -> int:
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
    x, y = (np.asarray(array) for array in load_digits(return_X_y=True))
    x, y = x.astype(np.float32), y.astype(np.int64)
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


# files -------------------------------------------------------------------------------------------------------

_FOLDERS = {"mnist": ("mnist", "MNIST/raw"), "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
            "cifar10": ("cifar10", "cifar-10-batches-bin")}
_OPENML = {"mnist": 554, "fashion-mnist": 40996, "cifar10": 40927}

# sha256 of what the published files hold once unpacked, so that a file that was packed again is still recognised.
# None: not known to us, only size and labels are checked.
_SHA256: dict[tuple[str, str], str | None] = {
    ("mnist", "train-images-idx3-ubyte"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("mnist", "train-labels-idx1-ubyte"): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("mnist", "t10k-images-idx3-ubyte"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("mnist", "t10k-labels-idx1-ubyte"): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ("fashion-mnist", "train-images-idx3-ubyte"): "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ("fashion-mnist", "train-labels-idx1-ubyte"): "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ("fashion-mnist", "t10k-images-idx3-ubyte"): "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ("fashion-mnist", "t10k-labels-idx1-ubyte"): "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ("cifar10", "data_batch_1.bin"): "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    **{("cifar10", f"data_batch_{n}.bin"): None for n in range(2, 6)},
    ("cifar10", "test_batch.bin"): "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def _read(name: str, file: str, root: Path) -> bytes:
    """Return the verified contents of one file of the set ``name``, plain or packed."""
    for folder in _FOLDERS[name]:
        for ending, opener in _OPENERS.items():
            path = root / folder / f"{file}{ending}"
            if not path.is_file():
                continue
            try:
                with opener(path, "rb") as stream:
                    content = stream.read()
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise UserError(f"Data file {path} must be readable: {error}") from None
            digest, expected = hashlib.sha256(content).hexdigest(), _SHA256[name, file]
            if expected is not None and digest != expected:
                raise UserError(f"Data file {path} must be the published one, with sha256 {expected[:16]}... when "
                                f"unpacked, not {digest[:16]}...; download it again")
            return content
    raise UserError(f"Data set {name} must have the file {root / _FOLDERS[name][0] / file} (plain, .gz or .xz); put it "
                    f"there, or leave out --data-root and HWBNN_DATA to fetch the set from OpenML")


def _labels(y: NDArray, of: str) -> NDArray[np.int64]:
    if y.size and y.max() > 9:
        raise UserError(f"Labels of {of} must lie in 0..9, not reach {y.max()}")
    return y.astype(np.int64)


def _idx(name: str, part: str, root: Path) -> Labelled:
    """Read the images and labels of ``part`` (train or t10k) in MNIST's idx format: headers of 16 and 8 bytes."""
    pixels = _read(name, f"{part}-images-idx3-ubyte", root)
    labels = _read(name, f"{part}-labels-idx1-ubyte", root)
    x = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy()
    return x, _labels(np.frombuffer(labels, np.uint8, offset=8), name)


def _cifar10_batch(file: str, root: Path) -> Labelled:
    """Read one file of CIFAR-10's binary version: a label byte, then 1024 red, 1024 green and 1024 blue bytes."""
    content = _read("cifar10", file, root)
    if len(content) != 10_000 * 3073:
        raise UserError(f"Data file {file} must hold 10000 images of 3073 bytes, not {len(content)} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32).copy(), _labels(rows[:, 0], f"cifar10/{file}")


def _openml(name: str, shape: tuple[int, ...], training: int) -> tuple[Labelled, Labelled]:
    """Fetch a set from OpenML, where training images come first; scikit-learn keeps it in its own data folder."""
    folder = _FOLDERS[name][0]
    place = f"put its files in the folder {folder} of --data-root or HWBNN_DATA"
    try:
        from sklearn.datasets import fetch_openml  # lazy: the core does not need scikit-learn
    except ImportError:
        raise UserError(f"Data set {name} must come from files or, through scikit-learn, from OpenML; {place}, or "
                        f"install scikit-learn with `pip install hwbnn[data]`") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns before each new try; the error below says it once
            x, y = fetch_openml(data_id=_OPENML[name], as_frame=False, parser="liac-arff", return_X_y=True)
    except (OSError, ValueError) as error:
        raise UserError(f"Data set {name} must be on disk or come from OpenML, which cannot be reached "
                        f"({type(error).__name__}); {place}") from None
    x, y = np.asarray(x, np.uint8).reshape(-1, *shape), _labels(np.asarray(y).astype(np.int64), name)
    return (x[:training], y[:training]), (x[training:], y[training:])


def _split(split: str, training: Callable[[], Labelled], test: Callable[[], Labelled], held_out: int) -> Labelled:
    """Choose a split, the last ``held_out`` training images being the validation split; reads only what it needs."""
    if split == "test":
        return test()
    x, y = training()
    return (x[:-held_out], y[:-held_out]) if split == "train" else (x[-held_out:], y[-held_out:])


def _idx_set(name: str, split: str, root: Path | None) -> Labelled:
    if root is None:
        training, test = _openml(name, (1, 28, 28), 60_000)
        return _split(split, lambda: training, lambda: test, 5000)
    return _split(split, lambda: _idx(name, "train", root), lambda: _idx(name, "t10k", root), 5000)


def _cifar10(split: str, root: Path | None) -> Labelled:
    if root is None:
        training, test = _openml("cifar10", (3, 32, 32), 50_000)
        return _split(split, lambda: training, lambda: test, 5000)

    def batches() -> Labelled:
        parts = [_cifar10_batch(f"data_batch_{n}.bin", root) for n in range(1, 6)]
        x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return x, y

    return _split(split, batches, lambda: _cifar10_batch("test_batch.bin", root), 5000)


def _cifar10_batch1(split: str, root: Path | None) -> Labelled:
    if root is None:
        raise UserError("Data set cifar10-batch1 must be read from files; put data_batch_1.bin and test_batch.bin "
                        "in the folder cifar10 of --data-root or HWBNN_DATA")
    return _split(split, lambda: _cifar10_batch("data_batch_1.bin", root),
                  lambda: _cifar10_batch("test_batch.bin", root), 1000)


_SETS: dict[str, Callable[[str, Path | None], Labelled]] = {
    "digits": _digits,
    "mnist": partial(_idx_set, "mnist"),
    "fashion-mnist": partial(_idx_set, "fashion-mnist"),
    "cifar10": _cifar10,
    "cifar10-batch1": _cifar10_batch1,
}
