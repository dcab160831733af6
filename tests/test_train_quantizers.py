"""Quantizers: values, gradients, and the grid that the export writes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.quant import quant

from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.quantizers import Grid, Quantizer, Sign, Uniform, sign
from hwbnn_train.quantizers.base import draws, integers, noise, passing, uniform

reals = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-40, 40, width=32))
uniforms = st.builds(
    lambda bits, signed, narrow, exponent: Uniform(bits + signed, signed=signed, narrow=narrow and signed,
                                                   scale=2.0**exponent),
    st.integers(1, 8), st.booleans(), st.booleans(), st.integers(-4, 4))


def gradient(quantizer, x, upstream=None):
    x = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    y = quantizer(x)
    y.backward(torch.ones_like(y) if upstream is None else torch.tensor(upstream))
    return x.grad.tolist()


def test_sign_of_both_zeros_is_plus_one():
    assert sign(torch.tensor([0.0, -0.0, 1e-38, -1e-38])).tolist() == [1, 1, 1, -1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_sign_keeps_the_type(dtype):
    assert sign(torch.zeros(2, dtype=dtype)).dtype == dtype


@given(reals)
def test_sign_is_qonnx_bipolar_quant(x):
    assert np.array_equal(Sign()(torch.tensor(x)).numpy(), binary_quant(x, 1.0))


def test_sign_gradient_passes_within_the_window():
    x = [-1.001, -1.0, -0.5, 0.0, 0.5, 1.0, 1.001]
    assert gradient(Sign(window=1.0), x) == [0, 1, 1, 1, 1, 1, 0]
    assert gradient(Sign(window=0.5), x) == [0, 0, 1, 1, 1, 0, 0]


def test_weight_sign_gradient_is_the_identity():
    assert gradient(Sign(), [-100.0, 0.0, 3.0], [2.0, -1.0, 0.5]) == [2.0, -1.0, 0.5]


@given(reals, uniforms)
def test_uniform_is_qonnx_quant(x, quantizer):
    expected = quant(x, np.float32(quantizer.scale), np.float32(0), np.float32(quantizer.bits),
                     float(quantizer.signed), float(quantizer.narrow), "ROUND")
    assert np.array_equal(quantizer(torch.tensor(x)).numpy(), expected)


@given(reals, uniforms)
def test_values_lie_on_the_grid_and_stay_there(x, quantizer):
    y = quantizer(torch.tensor(x))
    grid = quantizer.grid(torch.tensor(x))
    assert grid.levels.holds((y / grid.scale).numpy())
    assert torch.equal(quantizer(y), y)


@given(reals, uniforms)
def test_uniform_is_the_nearest_level(x, quantizer):
    levels = np.arange(quantizer.levels.low, quantizer.levels.high + 1) * quantizer.scale
    distance = np.abs(quantizer(torch.tensor(x)).numpy().astype(np.float64) - x)
    assert np.array_equal(distance, np.abs(x.astype(np.float64)[..., None] - levels).min(axis=-1))


def test_uniform_gradient_passes_within_the_range():
    assert gradient(Uniform(2), [-0.1, 0.0, 1.3, 3.0, 3.1]) == [0, 1, 1, 1, 0]
    assert gradient(Uniform(2, signed=True, scale=0.5), [-1.1, -1.0, 0.5, 0.6]) == [0, 1, 1, 0]


def test_digits_pixel_16_becomes_15():
    assert Uniform(4)(torch.tensor([0.0, 15.0, 16.0])).tolist() == [0, 15, 15]


def test_grids():
    x = torch.zeros(3)
    assert Sign().grid(x).levels == BIPOLAR
    assert Uniform(4).grid(x).levels == Levels(0, 15)
    assert Uniform(3, signed=True).grid(x).levels == Levels(-4, 3)
    assert Uniform(3, signed=True, narrow=True, scale=0.5).grid(x) == Grid(Levels(-3, 3), torch.tensor(0.5))


def test_representations_rebuild():
    assert repr(Sign(window=2.0)) == "Sign(window=2.0)"
    assert repr(Uniform(4)) == "Uniform(bits=4, scale=1.0, signed=False, narrow=False, window=None)"


def test_quantizer_without_grid():
    with pytest.raises(NotImplementedError):
        Quantizer().grid(torch.zeros(1))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Sign(window=0), r"^Sign window must be positive, not 0$"),
    (lambda: Sign(window=math.nan), r"^Sign window must be positive, not nan$"),
    (lambda: Uniform(0), r"^Uniform bits must be an integer from 1 to 16, not 0$"),
    (lambda: Uniform(17), r"^Uniform bits must be an integer from 1 to 16, not 17$"),
    (lambda: Uniform(1, signed=True), r"^Uniform bits must be an integer from 2 to 16, not 1$"),
    (lambda: Uniform(4, scale=0.0), r"^Uniform scale must be positive and finite, not 0.0$"),
    (lambda: Uniform(4, scale=math.inf), r"^Uniform scale must be positive and finite, not inf$"),
    (lambda: Uniform(4, narrow=True), r"^Uniform narrow must go with signed, and the levels are unsigned$"),
    (lambda: Grid(BIPOLAR, torch.tensor([1.0, 0.0])), r"^Grid scale must be positive and finite, not \[1.0, 0.0\]$"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_drawn_integers_are_even_and_independent_in_pairs(dtype):
    torch.manual_seed(0)
    x = torch.empty(2, 3, 1)
    # of many small layers: the cells of a row, of a column, and of neither, in quarters of the range
    drawn = torch.stack([integers(x, *draws(x, dtype)) for _ in range(4000)]).flatten(1).double()
    assert drawn.shape == (4000, 6)
    quarters = ((drawn / 2.0**torch.iinfo(dtype).bits + 0.5) * 4).floor().long()
    for first, second in ((0, 1), (0, 3), (0, 4), (2, 3)):
        counts = torch.bincount(4 * quarters[:, first] + quarters[:, second], minlength=16)
        assert len(counts) == 16 and (counts - 250).abs().max() < 80  # 5 standard deviations


def test_noise_fills_its_range():
    torch.manual_seed(0)
    x = torch.empty(300, 400)
    found = uniform(x, *noise(x, center=-1.0, half=0.5), 0.5)
    assert -1.5 <= found.min() < -1.499 and -0.501 < found.max() <= -0.5
    assert abs(float(found.mean()) + 1) < 0.01 and abs(float(found.var()) - 1 / 12) < 0.005


@pytest.mark.parametrize("low", [-1.0, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_passing_takes_both_ends(low, dtype):
    above = torch.nextafter(torch.tensor(1.0, dtype=dtype), torch.tensor(2.0, dtype=dtype))
    x = torch.stack([-above, torch.tensor(-1.0, dtype=dtype), torch.zeros((), dtype=dtype), 2 - above, above])
    expected = [5.0 * (low <= value <= 1.0) for value in x.tolist()]
    assert passing(torch.full_like(x, 5.0), x, low, 1.0).tolist() == expected
