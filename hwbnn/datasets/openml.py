"""Sets fetched from OpenML through scikit-learn, which keeps them in its own data folder."""

import functools
import warnings

import numpy as np

from hwbnn.datasets.files import OPENML, Labelled, labels, put
from hwbnn.errors import UserError

__all__ = ["fetch", "parsed"]


def fetch(name: str, shape: tuple[int, ...], training: int) -> tuple[Labelled, Labelled]:
    """Fetch a set from OpenML, where training images come first; scikit-learn keeps it in its own data folder."""
    x, y = (array.copy() for array in parsed(name))  # which the caller may write to
    x = x.reshape(-1, *shape)
    return (x[:training], y[:training]), (x[training:], y[training:])


@functools.lru_cache(maxsize=1)  # reading the text takes minutes, and a training asks for three splits
def parsed(name: str) -> Labelled:
    """Return all images, a row each, and labels of a set."""
    try:
        from sklearn.datasets import fetch_openml  # lazy: the core does not need scikit-learn
    except ImportError:
        raise UserError(f"Data set {name} must come from files or, through scikit-learn, from OpenML; {put(name)}, "
                        f"or install scikit-learn with `pip install hwbnn[data]`") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns before each new try; the error below says it once
            x, y = fetch_openml(data_id=OPENML[name], as_frame=False, parser="liac-arff", return_X_y=True)
    except (OSError, ValueError) as error:
        raise UserError(f"Data set {name} must be on disk or come from OpenML, which cannot be reached "
                        f"({type(error).__name__}); {put(name)}") from None
    return np.asarray(x, np.uint8), labels(np.asarray(y).astype(np.int64), name)
