import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import ir, pack

LEVELS = [ir.BIPOLAR, ir.BINARY, ir.TERNARY, ir.Levels(0, 15), ir.Levels(-8, 7), ir.Levels(-7, 7),
          ir.Levels(-3, 3, 2), ir.Levels(5, 9), ir.Levels(-128, 127)]


@pytest.mark.parametrize("levels", LEVELS, ids=str)
@pytest.mark.parametrize("weight", [False, True])
def test_codes_round_trip_within_their_bits(levels, weight):
    values = levels.values()
    code = pack.codes(values, levels, weight=weight)
    assert code.min() >= 0 and code.max() < 2**levels.bits
    assert len(np.unique(code)) == len(values)
    assert np.array_equal(pack.levels_of(code, levels), values)


def test_documented_codes():
    assert pack.codes([-1, 1], ir.BIPOLAR).tolist() == [0, 1]
    assert pack.codes([-1, 0, 1], ir.TERNARY).tolist() == [0b11, 0b00, 0b01]
    assert pack.codes([-1, 0, 1], ir.TERNARY, weight=True).tolist() == [0b11, 0b10, 0b01]
    assert pack.codes([-8, -1, 7], ir.Levels(-8, 7)).tolist() == [8, 15, 7]


def test_values_outside_the_levels():
    with pytest.raises(ValueError, match=r"^Values must be bipolar, not -1\.\.0$"):
        pack.codes([-1, 0], ir.BIPOLAR)


@given(st.data())
def test_lanes_round_trip(data):
    bits, count, rows = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    code = rng.integers(0, 2**bits, (rows, count))
    words = pack.lanes(code, bits)
    assert [[(word >> (c * bits)) % 2**bits for c in range(count)] for word in words] == code.tolist()
    assert np.array_equal(pack.unlanes(words, bits, count), code)


@given(st.integers(1, 150), st.sampled_from([8, 32, 64]), st.integers(0, 99))
def test_words_round_trip_and_unused_lanes_are_zero(count, word, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (3, count))
    words = pack.pack_words(bits, word)
    assert np.array_equal(pack.unpack_words(words, count, word), bits)
    assert not pack.unpack_words(words, words.shape[-1] * word, word)[:, count:].any()
    k = count - 1
    assert (int(words[0, k // word]) >> (k % word)) & 1 == bits[0, k]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4),
       st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.Levels(-8, 7)]))
def test_weight_words_hold_the_stated_weight_at_the_stated_bit(nf, pe, sf, simd, levels):
    rng = np.random.default_rng(0)
    w = rng.choice(levels.values(), (nf * pe, sf * simd))
    words = pack.weight_words(w, levels, pe, simd)
    b = levels.bits
    assert len(words) == nf * sf
    for n, s, p, k in np.ndindex(nf, sf, pe, simd):
        code = (words[n * sf + s] >> ((p * simd + k) * b)) % 2**b
        assert pack.levels_of(code, levels) == w[n * pe + p, s * simd + k]


def test_weight_words_need_dividing_folds():
    with pytest.raises(ValueError, match=r"^PE and SIMD must divide 4 rows and 6 columns, not 3 and 2$"):
        pack.weight_words(np.ones((4, 6), int), ir.BIPOLAR, 3, 2)
