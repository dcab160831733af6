"""scikit-learn's 8 x 8 handwritten digits, and how they are split."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from hwbnn.datasets.files import Labelled
from hwbnn.errors import UserError

__all__ = ["digits"]


@lru_cache(maxsize=1)
def parts() -> dict[str, Labelled]:
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


def digits(split: str, root: Path | None) -> Labelled:
    """Split by a seeded permutation, class by class in proportion: 1077 train, 360 validation, 360 test.

    The images of each class are drawn in random order and spread evenly over 0..1; the first fifth of all
    is the test split, the second the validation split. Within a split they keep the published order.
    """
    x, y = parts()[split]
    return x.copy(), y.copy()
