"""The loops give what the torch operations give that they are called instead of."""

import math
import sys

import pytest
import torch
from torch import nn

from hwbnn_train import formats, fused, shift
from hwbnn_train.layers import QuantLinear
from hwbnn_train.quantizers import base, binary, discrete, fixed, powers, scaled, ternary
from hwbnn_train.recipes import RECIPES
from hwbnn_train.shift import CARRY, ShiftBatchNorm, ap2

numba = pytest.importorskip("numba")
compiling = pytest.importorskip("hwbnn_train.fused.compiling")

SHAPE = (120, 70)
# exact thresholds, both zeros, what lies beside them, and large numbers
SPECIAL = torch.tensor([0.0, -0.0, 0.5, -0.5, 0.25, -0.25, 1.0, -1.0, 1.5, -1.5, 2.5, 1e-40, -1e-40, 1e30, -1e30])


def numbers(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(SHAPE, generator=generator)
    x.view(-1)[:len(SPECIAL)] = SPECIAL
    beside = torch.nextafter(SPECIAL, torch.tensor(math.inf)), torch.nextafter(SPECIAL, torch.tensor(-math.inf))
    x.view(-1)[100:100 + 2 * len(SPECIAL)] = torch.cat(beside)
    return x


def gradient(seed=1):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def drawn(half, center=0.0):
    torch.manual_seed(2)
    return base.noise(torch.empty(SHAPE), half=half, center=center)


def both(function, *args):
    """Return what the loop and what torch makes of the arguments, each as a tuple."""
    assert fused.fits(*args)
    copy = [arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args]  # some overwrite a gradient
    results = function(*copy), function.__wrapped__(*args)
    return [result if isinstance(result, tuple) else (result,) for result in results]


ROWS = numbers().abs().mean(dim=1, keepdim=True)
ALPHA = (ROWS.clamp(max=9) * torch.tensor([1.0, -1.0]).repeat(SHAPE[0] // 2)[:, None]).flatten()
ALPHA[:4] = torch.tensor([0.0, 1e-6, -1e-6, 5e-7])  # scales are 1e-6 at least
SLOPES, ONE = torch.arange(-60.0, 60.0), torch.tensor(1.25)


@pytest.mark.parametrize("function,args", [
    (base._signs, (numbers(), 1.0)),
    (base._signs, (numbers(), 0.37)),
    (base.levels, (numbers(), 0.25, 0, 15)),
    (base.levels, (numbers(), 1.0, -4, 3)),
    (base.levels, (numbers(), 0.3, -4, 3)),
    (fixed._fixed, (numbers(), 2.0**-7, -511, 511)),
    (fixed._fixed, (numbers(), 0.5, -2**22, 2**22)),
    (binary._drawn_signs, (numbers(), *drawn(1.0), 1.0)),
    (binary._drawn_signs, (numbers(scale=0.1), *drawn(0.37), 0.37)),
    (ternary._drawn_ternary, (numbers(), *drawn(0.5), 1.0)),
    (ternary._drawn_ternary, (numbers(scale=0.1), *drawn(0.5), 0.03)),
    (formats._reaching, (numbers(), 1.0)),
    (base.largest, (numbers(),)),
    (base.largest, (-numbers().clamp(0, 9),)),
    (fixed._fixed_in_place, (numbers(), 2.0**-7, -511, 511)),
    (powers._power_steps, (numbers(), CARRY, 0.75 * 0.125, 2.0)),
    (powers._shrunk_powers, (numbers(), CARRY, 0.75 * 0.125)),
    (powers._drawn_powers, (numbers(), *base.draws(torch.empty(SHAPE), torch.int32))),
    (powers._powers, (numbers(), CARRY, 0.25, 1.0)),
    (ternary._trained_ternary, (numbers(), 0.5, 1.25, 0.5)),
    (discrete._three_steps, (numbers(), torch.tensor([-0.5, math.nextafter(0.5, 1)]))),
    (discrete._three_steps_gradient, (gradient(), numbers(), 0.5, 0.25, False)),
    (discrete._three_steps_gradient, (gradient(), numbers(), 0.3, 0.7, True)),
])
def test_loop_gives_the_same_numbers(function, args):
    for found, expected in zip(*both(function, *args), strict=True):
        assert found == expected if isinstance(found, int) else torch.equal(found, expected)


@pytest.mark.parametrize("function,args,exact", [
    (scaled._mean_scaled_signs, (numbers().clamp(-9, 9),), 0),
    (scaled._mean_scaled_signs, (torch.zeros(SHAPE),), 2),
    (scaled._mean_scaled_signs_gradient, (gradient(), numbers(), ROWS), 0),
    (scaled._scaled_signs, (numbers().clamp(-9, 9), ALPHA, False), 1),
    (scaled._scaled_signs, (numbers().clamp(-9, 9), ALPHA, True), 1),
    (scaled._scaled_signs_gradients, (gradient(), numbers().clamp(-9, 9), ALPHA, SLOPES, ONE, False), 1),
    (scaled._scaled_signs_gradients, (gradient(), numbers().clamp(-9, 9), ALPHA, SLOPES, ONE, True), 1),
    (scaled._weighted_sums, (numbers().clamp(-9, 9), gradient().square()), 0),
    (ternary._trained_ternary_gradients, (gradient(), numbers(), 0.5, 1.25, 0.5), 1),
    (ternary._ternary, (numbers(3).clamp(-9, 9), 0.7, False), 0),
    (ternary._ternary, (numbers(3).clamp(-9, 9), 0.7, True), 0),
    (ternary._ternary, (torch.zeros(SHAPE), 0.7, True), 0),
    # exponentials are off by 2^-22 at most, so their products by a few times as much
    (scaled._swish_gradient, (gradient(), numbers(), 2.0), 0),
    (discrete._soft_steps, (numbers(), 3.0), 0),
    (discrete._soft_steps_gradient, (gradient(), numbers().clamp(0, 1), numbers(4).clamp(0, 1), 8.0), 0),
])
def test_loop_gives_sums_and_exponentials_up_to_rounding(function, args, exact):
    found, expected = both(function, *args)
    assert len(found) == len(expected)
    for index, (mine, torchs) in enumerate(zip(found, expected, strict=True)):
        assert mine.shape == torchs.shape and mine.dtype == torchs.dtype
        if index < exact:
            assert torch.equal(mine, torchs)
        else:
            torch.testing.assert_close(mine, torchs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function,tensors,others", [
    (base._signs, (numbers(),), (0.37,)),
    (base.levels, (numbers(),), (0.25, 0, 15)),
    (base.largest, (numbers(),), ()),
    (fixed._fixed, (numbers(),), (2.0**-7, -511, 511)),
    (formats._reaching, (numbers(),), (1.0,)),
    (powers._powers, (numbers(),), (CARRY, 0.25, 1.0)),
    (powers._power_steps, (numbers(),), (CARRY, 0.75 * 0.125, 2.0)),
    (powers._shrunk_powers, (numbers(),), (CARRY, 0.75 * 0.125)),
    (scaled._swish_gradient, (gradient(), numbers()), (2.0,)),
    (discrete._three_steps, (numbers(),), (torch.tensor([-0.5, 0.5]),)),
    (discrete._three_steps_gradient, (gradient(), numbers()), (0.5, 0.25, False)),
    (discrete._soft_steps, (numbers(),), (3.0,)),
    (discrete._soft_steps_gradient, (gradient(), numbers().clamp(0, 1), numbers(4).clamp(0, 1)), (8.0,)),
])
def test_loop_takes_images_whose_channels_are_innermost(function, tensors, others, monkeypatch):
    images = [tensor.view(4, 7, 20, 15).contiguous(memory_format=torch.channels_last) for tensor in tensors]
    turned, back = [], fused._turned_back
    monkeypatch.setattr(fused, "_turned_back", lambda result: turned.append(True) or back(result))
    found, expected = function(*images, *others), function(*tensors, *others)
    assert turned
    for mine, flat in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
        if isinstance(flat, int) or not flat.ndim:
            assert mine == flat
        else:
            assert mine.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(mine, flat.view(4, 7, 20, 15))
    turned.clear()
    if len(images) > 1:  # the other lies in memory as it is
        function(images[0], *(image.contiguous() for image in images[1:]), *others)
        assert not turned


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(wrong):
    x = numbers().clamp(-9, 9)
    x[3, 4] = wrong
    for found in (scaled._scaled_signs(x, ALPHA, False)[1], scaled._mean_scaled_signs(x)[1],
                  base.levels(x, 0.3, -4, 3)[3, 4] if math.isnan(wrong) else x[3, 4],
                  scaled._scaled_signs_gradients(x.clone(), numbers(), ALPHA, ROWS.flatten(), ONE, False)[0],
                  ternary._trained_ternary_gradients(x.clone(), numbers(), 0.5, 1.25, 0.5)[0], base.largest(x),
                  discrete._three_steps_gradient(x, numbers().fill_(0.5), 0.5, 0.5, False)):
        assert not torch.isfinite(found).all()


def test_what_loops_cannot_take_goes_to_torch():
    x = numbers()
    assert fused.fits(x) and fused.fits(x, 1.0, torch.ones((), dtype=torch.int16))
    for other in (x.double(), x.T, x[:10], torch.empty(SHAPE, device="meta"), None):
        assert not fused.fits(other)
    assert not fused.fits(x, x.T)
    for other in (x.double(), x.T, x[:10]):
        assert torch.equal(base._signs(other, 1.0), base._signs.__wrapped__(other, 1.0))


def test_penalty_shares_a_pass_with_the_weights_and_can_be_taken_alone():
    def gradients(*order):
        torch.manual_seed(8)
        model = QuantLinear(SHAPE[1], SHAPE[0], weight=scaled.ScaledSign(SHAPE[0], rate=0.1), limit=1.0)
        x = torch.randn(5, SHAPE[1])
        for part in order:
            terms = {"product": lambda: model(x).square().sum(), "penalty": lambda: model.quantize_weight.penalty(
                model.weight), "both": lambda: model(x).square().sum() + model.quantize_weight.penalty(model.weight)}
            terms[part]().backward()
        return model.weight.grad, model.quantize_weight.alpha.grad

    expected = gradients("both")
    for order in (("product", "penalty"), ("penalty", "product")):
        for found, wanted in zip(gradients(*order), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def trained(name):
    torch.manual_seed(9)
    recipe = RECIPES[name]
    model = recipe.model((1, 9, 9), 10)
    optimizer = recipe.optimizer(model)
    x = torch.randint(0, 256, (16, 1, 9, 9)).float()
    for _ in range(2):
        optimizer.zero_grad()
        (model(x).square().mean() + recipe.penalty(model)).backward()
        optimizer.step()
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize("name", ["twn-mlp", "bnnplus-mlp", "gxnor-mlp", "few-multiplications-mlp", "lab-mlp"])
def test_steps_of_recipes_repeat_and_are_those_without_numba(name, monkeypatch):
    expected = trained(name)
    assert torch.equal(trained(name), expected)
    monkeypatch.setattr(fused, "_is_there", lambda: False)
    # single signs and draws may differ, of what is nearer than rounding to where they change
    assert ((trained(name) - expected).abs() > 1e-3).float().mean() < 1e-3


def test_numba_is_looked_for(monkeypatch):
    assert fused._is_there.__wrapped__()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not fused._is_there.__wrapped__()


def test_loops_without_a_folder_to_keep_them_in_are_compiled_all_the_same(monkeypatch):
    compiled = []

    def njit(*args, **options):
        compiled.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    real = numba.njit
    monkeypatch.setattr(numba, "njit", njit)

    @compiling.loop("void(f4[::1])")
    def doubled(x):
        for i in range(len(x)):
            x[i] *= 2

    x = torch.tensor([1.0, 2.5])
    for _ in range(2):
        doubled(x.numpy())
    assert x.tolist() == [4.0, 10.0] and [bool(options.get("cache")) for options in compiled] == [True, False]


@pytest.mark.parametrize("wide", [False, True])
def test_normalization_by_shifts_is_that_of_torch(wide, monkeypatch):
    def results():
        norm = ShiftBatchNorm(SHAPE[1]).train()
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-2, 2, SHAPE[1]))
            norm.bias.copy_(torch.linspace(1, 2, SHAPE[1]))
        shape = (8, SHAPE[1], 5, 4) if wide else SHAPE
        x = torch.randn(shape, generator=torch.Generator().manual_seed(4)).mul_(3.0).add_(1.0).requires_grad_()
        y = norm(x)
        (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(5))).sum().backward()
        return y.detach(), norm.weight.grad, norm.bias.grad, *norm.state_dict().values(), x.grad

    found = results()
    monkeypatch.setattr(fused, "_is_there", lambda: False)
    for mine, torchs in zip(found, results(), strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-4)


def test_statistics_of_many_rows_are_as_exact_as_torchs():
    x = 200 + 30 * torch.randn(78_400, 4, generator=torch.Generator().manual_seed(4))
    _, _, mean, inverse, *_ = shift._shift_norm(x, torch.ones(4), torch.zeros(4), 1e-5, CARRY)
    exact = x.double()
    torch.testing.assert_close(mean.double(), exact.mean(dim=0), rtol=1e-6, atol=0.0)
    centred = (x - mean).double()
    power = ap2(centred.float()).double()
    torch.testing.assert_close(inverse.double(), (centred * power).mean(dim=0).rsqrt(), rtol=1e-6, atol=0.0)
