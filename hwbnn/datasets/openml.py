"""Sets fetched from OpenML through scikit-learn, which keeps them in its own data folder."""

import warnings

import numpy as np

from hwbnn.datasets.files import FOLDERS, OPENML, Labelled, labels
from hwbnn.errors import UserError

__all__ = ["fetch"]

def fetch(name: str, shape: tuple[int, ...], training: int) -> tuple[Labelled, Labelled]:
    """Fetch a set from OpenML, where training images come first; scikit-learn keeps it in its own data folder."""
    folder = FOLDERS[name][0]
    place = f"put its files in the folder {folder} of --data-root or HWBNN_DATA"
    try:
        from sklearn.datasets import fetch_openml  # lazy: the core does not need scikit-learn
    except ImportError:
        raise UserError(f"Data set {name} must come from files or, through scikit-learn, from OpenML; {place}, or "
                        f"install scikit-learn with `pip install hwbnn[data]`") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns before each new try; the error below says it once
            x, y = fetch_openml(data_id=OPENML[name], as_frame=False, parser="liac-arff", return_X_y=True)
    except (OSError, ValueError) as error:
        raise UserError(f"Data set {name} must be on disk or come from OpenML, which cannot be reached "
                        f"({type(error).__name__}); {place}") from None
    x, y = np.asarray(x, np.uint8).reshape(-1, *shape), labels(np.asarray(y).astype(np.int64), name)
    return (x[:training], y[:training]), (x[training:], y[training:])
