"""Intervals of the calibration: the share that they promise is held, by few rows and by many, whatever the errors."""

from math import ceil, log
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import cost
from hwbnn.calibrate import nonnegative
from hwbnn.calibrate.conformal import COVERAGE, ROWS_LEAST, half_width, left_out, remembered, widths_left_out
from hwbnn.calibrate.errors import _wrong_fits
from hwbnn.calibrate.fit import Fit
from hwbnn.cost import Quantity
from hwbnn.cost.resources import CERTAIN, certain

ERRORS = {"normal": lambda rng, n: rng.normal(0, 0.1, n), "skewed": lambda rng, n: rng.exponential(0.1, n),
          "far": lambda rng, n: 0.05 * rng.standard_t(2, n)}


@given(st.lists(st.integers(-10**6, 10**6), min_size=ROWS_LEAST + 1, max_size=60, unique_by=abs))
def test_each_of_any_rows_left_out_is_held_as_often_as_promised(rows):
    """Whatever the rows are: one of n + 1 that is drawn by chance lies inside of the interval of the others."""
    values = np.array(rows, float)
    held = sum(abs(value) <= half_width(np.delete(values, n)) for n, value in enumerate(values))
    assert held == ceil(len(rows) * COVERAGE - 1e-9)


@given(st.lists(st.floats(-1, 1), min_size=ROWS_LEAST, max_size=60))
def test_the_interval_is_one_of_the_rows_and_holds_its_share(rows):
    values = np.array(rows)
    width = half_width(values)
    assert width in np.abs(values) and np.mean(np.abs(values) <= width) >= COVERAGE


def test_few_rows_cannot_tell():
    assert ROWS_LEAST == 9
    assert half_width(np.full(ROWS_LEAST - 1, 0.1)) == float("inf") and half_width(np.full(ROWS_LEAST, 0.1)) == 0.1
    assert half_width(np.zeros(0)) == float("inf") and half_width(np.array([1.0]), 0.5) == 1.0


def corpus(rng, networks, rows, error):
    """Networks' numbers, two terms of each row, and what would be measured: with one coefficient each, and an error."""
    numbers = np.repeat(np.arange(networks), rows)
    terms = rng.uniform(20, 400, (len(numbers), 2))
    return numbers, terms, terms @ [1.1, 0.8] * np.exp(ERRORS[error](rng, len(numbers)))


def by_least_squares(terms, measured):
    weight = 1 / measured
    return remembered(lambda use: terms @ nonnegative((terms * weight[:, None])[use], np.ones(use.sum())))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("networks, rows", [(4, 3), (6, 7), (10, 9)])
def test_coverage_of_networks_that_were_not_seen(networks, rows, error):
    """A fit and its interval on made-up networks, and one network more: 0.9 on an average, as few as the rows are."""
    rng, held, told = np.random.default_rng(networks), [], []
    for _ in range(120):
        numbers, terms, measured = corpus(rng, networks + 1, rows, error)
        predict, seen = by_least_squares(terms, measured), numbers < networks
        width = half_width(np.log(measured / left_out(numbers, predict, seen))[seen])
        held += (np.abs(np.log(measured / predict(seen)))[~seen] <= width).tolist()
        told += (np.abs(np.log(measured / left_out(numbers, predict))) <=
                 widths_left_out(numbers, measured, predict)).tolist()
    most = COVERAGE + 1 / (networks * rows + 1) + 0.035  # what 120 draws may be off
    assert COVERAGE - 0.025 <= np.mean(held) <= most
    assert COVERAGE - 0.025 <= np.mean(told) <= most  # what accuracy.md tells is that


def test_a_network_has_no_part_in_its_own_interval():
    numbers, terms, measured = corpus(np.random.default_rng(3), 8, 4, "normal")
    other = np.where(numbers == 5, 10 * measured, measured)
    one, two = (widths_left_out(numbers, values, by_least_squares(terms, values)) for values in (measured, other))
    assert np.array_equal(one[numbers == 5], two[numbers == 5]) and not np.array_equal(one, two)
    model = left_out(numbers, by_least_squares(terms, measured), numbers != 2)
    assert np.isnan(model[numbers == 2]).all() and not np.isnan(model[numbers != 2]).any()


def test_each_set_of_rows_is_fitted_once():
    asked = []
    predict = remembered(lambda use: asked.append(use.tolist()) or np.ones(len(use)))
    widths_left_out(np.arange(5), np.ones(5), predict)
    assert len(asked) == 10 == len(set(map(tuple, asked)))  # pairs


def test_what_fits_is_held_to_twice_the_interval():
    assert CERTAIN == 2 and certain(Quantity(80, 100, 130, "LUT4", "form")) == (60, 160)
    tech = cost.technology("ecp5-25")
    near = cast(Fit, SimpleNamespace(measured=[100.0], model=[90.0], widths=[log(1.1)]))
    assert _wrong_fits(near, tech) == (0, 22)  # 90 + 2 · 9: as many as 108 are thought of
    far = cast(Fit, SimpleNamespace(measured=[100.0], model=[75.0], widths=[log(1.1)]))
    assert _wrong_fits(far, tech) == (3, 22)  # 75 + 2 · 7.5: chips of 90 and 95, and one of 99
