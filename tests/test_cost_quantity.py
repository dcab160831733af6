"""Figures with intervals: arithmetic, unknowns, JSON, printing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn.cost.quantity import Quantity, Unknown, from_json, product, total

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-10**6, 10**6)


@st.composite
def quantities(draw):
    low, nominal, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Quantity(low, nominal, high, "LUT4", draw(st.sampled_from(["exact", "closed form"])),
                    tuple(draw(st.lists(st.sampled_from("abc"), unique=True))))


@st.composite
def with_member(draw):
    """A quantity and a value in its interval."""
    quantity = draw(quantities())
    share = draw(st.floats(0, 1))
    value = min(max(quantity.low + share * (quantity.high - quantity.low), quantity.low), quantity.high)
    return quantity, value


@given(st.lists(with_member(), max_size=5))
def test_a_sum_holds_the_sum_of_any_members(terms):
    result = total([quantity for quantity, _ in terms], "LUT4")
    assert isinstance(result, Quantity)
    value = sum(value for _, value in terms)
    slack = 1e-9 * (1 + sum(abs(q.low) + abs(q.high) for q, _ in terms))
    assert result.low - slack <= value <= result.high + slack
    assert set(result.sources) == {s for quantity, _ in terms for s in quantity.sources}


@given(with_member(), with_member())
def test_a_product_holds_the_product_of_any_members(a, b):
    result = product("J", a[0], b[0])
    assert isinstance(result, Quantity) and result.unit == "J"
    slack = 1e-9 * (1 + max(abs(a[0].low), abs(a[0].high)) * max(abs(b[0].low), abs(b[0].high)))
    assert result.low - slack <= a[1] * b[1] <= result.high + slack


@given(with_member(), st.floats(-1e3, 1e3))
def test_scaling_scales_the_members(a, factor):
    quantity, value = a
    assert quantity.scale(factor).contains(value * factor)


@given(quantities())
def test_json_round_trip(quantity):
    assert from_json(json.loads(json.dumps(quantity.to_json()))) == quantity


def test_unknown_round_trip_and_text():
    unknown = Unknown("J", "ECP5 clock energy")
    assert from_json(json.loads(json.dumps(unknown.to_json()))) == unknown
    assert str(unknown) == "unknown"
    assert unknown.scale(3, "W") == Unknown("W", "ECP5 clock energy")
    assert unknown.scale(3) == unknown


def test_an_unknown_makes_sums_and_products_unknown():
    one, a, b = Quantity.exact(1, "J"), Unknown("J", "a"), Unknown("J", "b")
    assert total([one, a, b, a], "J") == Unknown("J", "a; b")
    assert product("J", one, b) == Unknown("J", "b")


def test_nothing_times_unknown_is_nothing():
    assert product("J", Quantity.exact(0, "access"), Unknown("J", "a")) == Quantity.exact(0, "J")


def test_whole_numbers_stay_whole():
    result = total([Quantity.exact(2**60 + 1, "bit"), Quantity.exact(2, "bit")], "bit")
    assert result == Quantity.exact(2**60 + 3, "bit")
    assert total([], "bit") == Quantity.exact(0, "bit")


@pytest.mark.parametrize("quantity, text", [
    (Quantity(1100, 1234, 1400, "LUT4", "closed form"), "1,234 (1,100-1,400) LUT4"),
    (Quantity(1100.4, 1233.6, 1400.2, "LUT4", "closed form"), "1,234 (1,100-1,400) LUT4"),
    (Quantity.exact(64, "cycle"), "64 cycle"),
    (Quantity.exact(0, "bit"), "0 bit"),
    (Quantity(1.2e-9, 4.56e-9, 8.9e-8, "J", "model"), "4.56 (1.2-89) nJ"),
    (Quantity.exact(25_000_000, "Hz"), "25 MHz"),
    (Quantity.exact(0, "J"), "0 J"),
    (Quantity.exact(123456, "frame/s"), "123,456 frame/s"),
])
def test_text(quantity, text):
    assert str(quantity) == text


def test_about_and_relative():
    assert Quantity.about(100, "LUT4", relative=0.1, method="fit") == Quantity(90, 100, 110, "LUT4", "fit")
    assert Quantity.about(100, "LUT4", relative=0.1, method="fit").relative == pytest.approx(0.1)
    assert Quantity.exact(0, "J").relative == 0
    assert Quantity(0, 0, 1, "J", "fit").relative == float("inf")


@pytest.mark.parametrize("make, error, message", [
    (lambda: Quantity(2, 1, 3, "J", "m"), ValueError, r"^Quantity must have low <= nominal <= high, not 2, 1, 3$"),
    (lambda: Quantity("1", 1, 3, "J", "m"), TypeError, r"^Quantity low must be a number, not '1'$"),
    (lambda: Quantity(1, 1, float("inf"), "J", "m"), ValueError, r"^Quantity high must be finite, not inf$"),
    (lambda: Quantity.about(1, "J", relative=-1, method="m"), ValueError,
     r"^Quantity relative uncertainty must lie in 0..1, not -1$"),
    (lambda: total([Quantity.exact(1, "W")], "J"), ValueError, r"^Figures to add must have the unit J, not W$"),
])
def test_bad_figures(make, error, message):
    with pytest.raises(error, match=message):
        make()
