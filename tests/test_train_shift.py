"""Powers of two, shift-based batch normalization and shift-based AdaMax, against their formulas."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwbnn_train.evaluation import recalibrate
from hwbnn_train.shift import ShiftAdaMax, ShiftBatchNorm, ap2


@given(st.floats(-2.0**100, 2.0**100, width=32).filter(lambda v: v == 0 or abs(v) > 2.0**-100))
def test_ap2(x):
    got = float(ap2(torch.tensor(x)))
    if x == 0:
        assert got == 0
    else:
        log = math.log2(abs(x))
        assert abs(math.log2(abs(got)) - log) <= 0.5 + 1e-6 and math.log2(abs(got)).is_integer()
        assert (got > 0) == (x > 0)


@given(st.floats(-2.0**100, 2.0**100, width=32).filter(lambda v: v == 0 or abs(v) > 2.0**-100))
def test_ap2_is_the_same_in_both_precisions(x):
    single, double = (torch.tensor([x], dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert ap2(single).item() == ap2(double).item()


def test_ap2_around_the_middle():
    middle = torch.tensor(2**0.5)
    assert ap2(middle) == 1 and ap2(torch.nextafter(middle, torch.tensor(2.0))) == 2


def test_ap2_of_powers_of_two_is_themselves():
    powers = torch.tensor([2.0**k for k in range(-20, 20)])
    assert torch.equal(ap2(powers), powers) and torch.equal(ap2(-powers), -powers)


def reference(x, gamma, beta, upstream):
    """The formulas, in NumPy and double precision: outputs and the three gradients."""
    def power(v):
        return np.where(v == 0, 0, np.sign(v) * 2.0**np.rint(np.log2(np.where(v == 0, 1, np.abs(v)))))

    c = x - x.mean(axis=0)
    s = power(1 / np.sqrt((c * power(c)).mean(axis=0) + 1e-5))
    y = power(gamma) * c * s + beta
    correction = power(c) * s**2 * (power(c) * upstream).mean(axis=0)
    dx = power(gamma) * s * (upstream - upstream.mean(axis=0) - correction)
    return y, dx, (power(c * s) * upstream).sum(axis=0), upstream.sum(axis=0)


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_shift_batch_norm(axes):
    generator = torch.Generator().manual_seed(axes)
    shape = (12, 3, *[4] * axes)
    x = torch.randn(shape, generator=generator) * 5 + 2
    upstream = torch.randn(shape, generator=generator)
    layer = ShiftBatchNorm(3)
    layer.weight.data = torch.tensor([0.3, 1.4, -3.0])
    layer.bias.data = torch.tensor([0.5, 0.0, -1.0])
    x.requires_grad_()
    y = layer(x)
    y.backward(upstream)

    def rows(t):
        return t.detach().movedim(1, -1).reshape(-1, 3).double().numpy()

    y_, dx, dgamma, dbeta = reference(rows(x), layer.weight.detach().double().numpy(),
                                      layer.bias.detach().double().numpy(), rows(upstream))
    assert np.allclose(rows(y), y_, atol=1e-4) and np.allclose(rows(x.grad), dx, atol=1e-4)
    assert np.allclose(layer.weight.grad, dgamma, rtol=1e-4) and np.allclose(layer.bias.grad, dbeta, rtol=1e-4)


def test_running_statistics_and_evaluation():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.1]) + 3
    layer = ShiftBatchNorm(3)
    for _ in range(100):
        layer(x)
    assert torch.allclose(layer.running_mean, x.mean(dim=0), rtol=1e-3)
    trained = layer(x)
    assert torch.allclose(layer.eval()(x), trained, atol=1e-3)
    scales = (trained[0] - trained[1]) / (x[0] - x[1])
    assert torch.allclose(scales, ap2(scales))


def test_recalibration():
    layer = ShiftBatchNorm(2)
    x = torch.arange(4000).reshape(2000, 2)
    recalibrate(layer, x)
    assert torch.allclose(layer.running_mean, x.float().mean(dim=0)) and layer.momentum == 0.125


def test_shift_adamax():
    """Against the formulas, step by step."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(5, generator=generator).requires_grad_()
    optimizer = ShiftAdaMax([w], lr=0.01, betas=(0.9, 0.99))
    m = v = np.zeros(5)
    expected = w.detach().double().numpy().copy()
    for t in range(1, 6):
        w.grad = torch.randn(5, generator=generator)
        g = w.grad.double().numpy()
        m, v = 0.9 * m + 0.1 * g, np.maximum(0.99 * v, np.abs(g))
        rate = 2.0**np.rint(np.log2(0.01 / (1 - 0.9**t)))
        expected -= rate * m / (2.0**np.rint(np.log2(v)) + 2**-27)
        optimizer.step()
        assert np.allclose(w.detach(), expected, atol=1e-5)


def test_norm_decays():
    """The authors' code rounds the stored norm, which then cannot."""
    w = torch.ones(1, requires_grad=True)
    optimizer = ShiftAdaMax([w], betas=(0.9, 0.999))
    w.grad = torch.ones(1)
    optimizer.step()
    w.grad = torch.full((1,), 1e-6)
    for _ in range(1000):
        optimizer.step()
    assert float(optimizer.state[w]["exp_inf"]) == pytest.approx(0.999**1000, rel=1e-3)


def test_norm_of_the_authors_code_does_not():
    w = torch.ones(3000, requires_grad=True)  # a size that loops of our own would take
    optimizer = ShiftAdaMax([w], betas=(0.9, 0.999), torch_compatible=True)
    w.grad = torch.full((3000,), 1.4)
    optimizer.step()
    assert torch.equal(optimizer.state[w]["exp_inf"], torch.full((3000,), 1 + 2.0**-27))
    before = w.detach().clone()
    w.grad = torch.full((3000,), 1e-6)
    for _ in range(50):
        optimizer.step()
    assert torch.equal(optimizer.state[w]["exp_inf"], torch.full((3000,), 1 + 2.0**-27)) and bool((w < before).all())


def test_closure_and_missing_gradient():
    w, unused = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = ShiftAdaMax([w, unused])

    def closure():
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1 and w.item() < 1 and unused.item() == 1


@pytest.mark.parametrize(("options", "message"), [
    ({"lr": 0.0}, "ShiftAdaMax lr must be positive, not 0.0"),
    ({"betas": (0.9, 1.0)}, "ShiftAdaMax betas must be at least 0 and below 1, not (0.9, 1.0)"),
])
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ShiftAdaMax([torch.ones(1)], **options)
