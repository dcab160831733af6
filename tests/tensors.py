"""Weights as Hypothesis draws them, and gradients of quantizers."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

__all__ = ["gradient", "weights"]

weights = hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-1, 1, width=32))


def gradient(quantizer, x):
    x = torch.tensor(x, requires_grad=True)
    quantizer(x).sum().backward()
    return x.grad
