import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import traffic

from hwbnn import ir
from hwbnn.plan import Stream
from hwbnn.sim.beats import beats_of, values_of, width
from hwbnn.sim.stalls import pattern
from hwbnn.sim.taps import Tap, Tapped
from hwbnn.sim.traffic import Record, Traffic, framing, stall_pattern

LEVELS = [ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(4), ir.Levels.signed(5), ir.Levels(-9, 7, 2)]


@given(st.sampled_from(LEVELS), st.integers(1, 9), st.integers(1, 7), st.integers(0, 3), st.data())
def test_beats_return_to_values(levels, lanes, beats, frames, data):
    count = data.draw(st.integers((beats - 1) * lanes + 1, beats * lanes))
    values = np.random.default_rng(frames).choice(levels.values(), (frames, count))
    stream = Stream(levels, lanes, beats)
    packed = beats_of(values, stream)
    assert packed.shape == (frames, beats, width(stream))
    assert np.array_equal(values_of(packed, stream, count), values)


def test_lane_c_is_at_bits_c_times_b():
    stream = Stream(ir.Levels.unsigned(4), lanes=3, beats=2)
    assert beats_of([[1, 2, 3, 4, 5, 15]], stream).tolist() == [[[0x21, 0x03], [0x54, 0x0F]]]


def test_unused_lanes_are_zero():
    assert beats_of([[1, 1, 1]], Stream(ir.BIPOLAR, lanes=2, beats=2)).tolist() == [[[3], [1]]]


def random(seed, side, pause):
    return pattern("random", side, seed=seed, pause=pause, beats=5)


def test_pattern_is_seeded_and_mixed():
    one, again, other, consumer = (random(*key, 200) for key in ((1, 0), (1, 0), (2, 0), (1, 1)))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert not np.array_equal(one[:1000], consumer[:1000])
    changes = np.flatnonzero(np.diff(one))
    runs = np.diff(changes)
    assert 0.2 < one.mean() < 0.6
    assert 100 < runs.max() < 1000 and runs.min() == 1, "bursts, long pauses and single cycles all occur"
    assert np.gcd(len(one), len(consumer)) == 1


def runs(found):
    """Lengths of the pauses, and of the times between them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found, [0]])))
    return edges[1::2] - edges[::2], edges[2::2] - edges[1:-1:2]


@given(st.integers(0, 99), st.integers(0, 1), st.integers(50, 3000))
def test_pattern_holds_for_every_seed(seed, side, pause):
    found = random(seed, side, pause)
    assert 0.1 < found.mean() < 0.7
    assert pause / 2 < runs(found)[0].max() <= 2 * pause


@given(st.integers(1, 9), st.integers(0, 1), st.integers(50, 3000), st.integers(1, 99))
def test_worst_stalls_shut_open_and_creep(seed, side, pause, beats):
    """Each side is shut and open for as long as it takes to fill and to drain, and lets single beats through."""
    found = pattern("worst", side, seed=seed, pause=pause, beats=beats)
    twice = np.tile(found, 2)
    shut, gone = runs(twice)
    assert shut.max() >= pause and gone.max() >= (8 * pause if side else min(pause, 8 * beats))
    assert np.sum(found == 0) >= 2 * beats, "a frame or two passes all the same"


@given(st.integers(1, 9), st.integers(50, 3000), st.integers(1, 99))
def test_gaps_lie_between_frames(seed, pause, beats):
    found = pattern("gaps", 0, seed=seed, pause=pause, beats=beats)
    gaps, frames = runs(found)
    assert np.all(frames % beats == 0) and found[:beats].sum() == 0
    assert gaps.max() == pause and np.any(frames == 2 * beats), "one gap is as long as may be, one is none"
    assert not pattern("gaps", 1, seed=seed, pause=pause, beats=beats).any()


def test_no_stalls_no_pauses():
    quiet = stall_pattern(traffic(1, stalls="none"), 0)
    assert [next(quiet) for _ in range(100)] == [0] * 100


def test_traffic_returns_from_its_file(tmp_path):
    sent = Traffic(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 2, 5, "worst", 7, 50, 99, 3,
                   (Tap(("core", "fc0"), fifo=True), Tap(("a",), "i")), (4, 12), np.array([[9, 0], [8, 1]], np.uint8))
    sent.save(tmp_path / "traffic.npz")
    back = Traffic.load(tmp_path / "traffic.npz")
    arrays = ("stimulus", "config")
    assert all(np.array_equal(getattr(back, name), getattr(sent, name)) for name in arrays)
    assert {**vars(back), **dict.fromkeys(arrays)} == {**vars(sent), **dict.fromkeys(arrays)}
    assert sent.words()[1] == 0x050403


def test_record_returns_from_its_file(tmp_path):
    tapped = Tapped(np.array([3, 9]), np.array([[1, 2], [3, 4]], np.uint8), True, 2, 3, 4, None)
    seen = Record(np.ones((2, 1, 2), np.uint8), np.array([0, 5]), np.array([6, 11]), 12, ["a fault"], (tapped,))
    seen.save(tmp_path / "record.npz")
    back = Record.load(tmp_path / "record.npz")
    for name in ("beats", "starts", "ends"):
        assert np.array_equal(getattr(back, name), getattr(seen, name))
    assert (back.cycles, back.faults) == (12, ["a fault"])
    assert back.taps[0].payloads.tolist() == [[1, 2], [3, 4]] and back.taps[0].cycles.tolist() == [3, 9]
    assert [getattr(back.taps[0], name) for name in ("waiting", "transferred", "stalled", "starved", "occupancy")] == [
        True, 2, 3, 4, None]


@pytest.mark.parametrize(("sent", "lasts", "message"), [
    (15, [True, True, True], None),
    (15, [True, False, True], "m_axis_tlast must mark beat 0 of each frame only, and it is 0 in beat 0 of frame 1"),
    (15, [True], ("Design must take and return 3 frames, and nothing moved for 500 cycles before cycle 700: "
                 "s_axis took beat 4 of frame 2 last, m_axis gave beat 0 of frame 0 last")),
    (0, [], ("Design must take and return 3 frames, and nothing moved for 500 cycles before cycle 700: "
            "s_axis took beat none, m_axis gave beat none")),
])
def test_framing(sent, lasts, message):
    assert framing(traffic(3, stalls="none"), sent, lasts, 700) == ([message] if message else [])
