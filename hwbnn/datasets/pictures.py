"""Pictures with labels, from the files in which they were published or from OpenML."""

import io
import zlib
from pathlib import Path

import numpy as np

from hwbnn.datasets.files import Labelled, labels, needed, put, read, split_of
from hwbnn.datasets.openml import fetch
from hwbnn.errors import UserError

__all__ = ["cifar10", "cifar10_batch1", "idx", "svhn"]


def _idx(name: str, part: str, root: Path) -> Labelled:
    """Read the images and labels of ``part`` (train or t10k) in MNIST's idx format: headers of 16 and 8 bytes."""
    pixels = read(name, f"{part}-images-idx3-ubyte", root)
    y = read(name, f"{part}-labels-idx1-ubyte", root)
    x = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy()
    return x, labels(np.frombuffer(y, np.uint8, offset=8), name)


def _cifar10_batch(file: str, root: Path) -> Labelled:
    """Read one file of CIFAR-10's binary version: a label byte, then 1024 red, 1024 green and 1024 blue bytes."""
    content = read("cifar10", file, root)
    if len(content) != 10_000 * 3073:
        raise UserError(f"Data file {file} must hold 10000 images of 3073 bytes, not {len(content)} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32).copy(), labels(rows[:, 0], f"cifar10/{file}")


def idx(name: str, split: str, root: Path | None) -> Labelled:
    """Load MNIST or Fashion-MNIST."""
    if root is None:
        training, test = fetch(name, (1, 28, 28), 60_000)
        return split_of(split, lambda: training, lambda: test, 5000)
    return split_of(split, lambda: _idx(name, "train", root), lambda: _idx(name, "t10k", root), 5000)


def cifar10(split: str, root: Path | None) -> Labelled:
    """Load CIFAR-10."""
    if root is None:
        training, test = fetch("cifar10", (3, 32, 32), 50_000)
        return split_of(split, lambda: training, lambda: test, 5000)

    def batches() -> Labelled:
        parts = [_cifar10_batch(f"data_batch_{n}.bin", root) for n in range(1, 6)]
        x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return x, y

    return split_of(split, batches, lambda: _cifar10_batch("test_batch.bin", root), 5000)


def cifar10_batch1(split: str, root: Path | None) -> Labelled:
    """Load the first of CIFAR-10's five training files, and its test file."""
    if root is None:
        raise UserError(f"Data set cifar10-batch1 must be read from files; "
                        f"{put('cifar10', 'data_batch_1.bin', 'test_batch.bin')}")
    return split_of(split, lambda: _cifar10_batch("data_batch_1.bin", root),
                    lambda: _cifar10_batch("test_batch.bin", root), 1000)


def _svhn_part(part: str, root: Path) -> Labelled:
    """Read a file of SVHN's cropped digits: ``X`` of 32 x 32 x 3 x N bytes, ``y`` with 10 for the digit 0."""
    file = f"{part}_32x32.mat"
    content = read("svhn", file, root)
    try:
        # lazy: the core does not need scipy, which comes with scikit-learn
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise UserError("Data set svhn must be read with scipy, and it is not installed; install it with "
                        "`pip install hwbnn[data]`") from None
    try:
        found = loadmat(io.BytesIO(content), variable_names=("X", "y"))
        x, y = found["X"], found["y"].ravel()
        if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not np.array_equal(y, np.rint(y)):
            raise ValueError
    except (KeyError, ValueError, TypeError, IndexError, OSError, zlib.error,  # what scipy raises depends on the byte
            MatReadError, NotImplementedError):  # empty files, and those of MATLAB 7.3
        raise UserError(f"Data file {file} must hold X, 32 x 32 x 3 x N bytes, and N labels y") from None
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), labels(np.where(y == 10, 0, y), f"svhn/{file}")


def svhn(extra: bool, split: str, root: Path | None) -> Labelled:
    """Load SVHN's cropped digits; with the ``extra`` ones they are 8 times as many, and 1.9 GB in memory."""
    folder = needed("svhn-extra" if extra else "svhn", root, "svhn")

    def training() -> Labelled:
        parts = [_svhn_part(part, folder) for part in (("extra", "train") if extra else ("train",))]
        x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return x, y

    return split_of(split, training, lambda: _svhn_part("test", folder), 6000)
