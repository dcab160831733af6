# amaranth: UnusedElaboratable=no

import zlib

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cobs import cobs
from hostlink_bench import few, idle, simulate, sink, source, watch
from hypothesis import example, given
from hypothesis import strategies as st

from hwbnn_boards.checksum import CrcAppender
from hwbnn_boards.stuffing import CobsDecoder, CobsEncoder

gaps = st.lists(st.integers(0, 3), max_size=6)
# Long runs without a zero are what blocks of 254 bytes are about, and random bytes seldom make them.
contents = st.one_of(st.binary(min_size=1, max_size=12),
                     st.lists(st.sampled_from([0, 1, 255]), min_size=1, max_size=12).map(bytes))


def boundary(function):
    """Add frames of every length around the blocks' greatest."""
    for length, end in ((253, b""), (253, b"\0"), (254, b""), (254, b"\0"), (255, b""), (508, b"\0")):
        function = example([bytes([7]) * length + end], [], [])(function)
    return function


def tokens(frames):
    """Return what the encoder takes: (byte, last)."""
    return [{"data": byte, "last": n == len(frame) - 1} for frame in frames for n, byte in enumerate(frame)]


def through(dut, payloads, count, i_gaps=(), o_gaps=()):
    seen = []
    cycles = 200 + 8 * (len(payloads) + count) + sum(i_gaps) + sum(o_gaps)
    simulate(dut, source(dut.i, payloads, i_gaps), sink(dut.o, count, seen, o_gaps), watch(dut.i), watch(dut.o),
             cycles=cycles)
    return seen


@boundary
@few
@given(st.lists(contents, min_size=1, max_size=3), gaps, gaps)
def test_encoder_matches_the_cobs_package(frames, i_gaps, o_gaps):
    expected = b"".join(cobs.encode(frame) + b"\0" for frame in frames)
    assert bytes(through(CobsEncoder(), tokens(frames), len(expected), i_gaps, o_gaps)) == expected


def decode(wire, errors=()):
    """Return the frames that the decoder makes of wire bytes, None for a bad one; ``errors`` are byte numbers."""
    dut, seen = CobsDecoder(), []
    payloads = [{"data": byte, "error": n in errors} for n, byte in enumerate(wire)]
    simulate(dut, source(dut.i, [*payloads, {"data": 0, "error": 0}]), idle(len(wire) + 4), watch(dut.o, seen),
             cycles=100 + 8 * len(wire))
    frames, current = [], b""
    for token in seen:
        if token.end:
            frames.append(None if token.bad else current)
            current = b""
        else:
            current += bytes([token.data])
    return frames


def reference(wire):
    """The same by the package: frames that break its rules are None, empty ones nothing."""
    frames = []
    for encoded in wire.split(b"\0"):
        if encoded:
            try:
                frames.append(cobs.decode(encoded))
            except cobs.DecodeError:
                frames.append(None)
    return frames


@few
@given(st.one_of(st.binary(max_size=24), st.lists(st.sampled_from([0, 1, 2, 3]), max_size=24).map(bytes)))
@example(cobs.encode(bytes([7]) * 254))
@example(cobs.encode(bytes([7]) * 255))
@example(cobs.encode(bytes([7]) * 254 + b"\0"))
def test_decoder_matches_the_cobs_package_on_any_bytes(wire):
    assert decode(wire) == reference(wire + b"\0")


@few
@given(st.lists(contents, min_size=1, max_size=3), st.data())
def test_byte_with_error_spoils_its_frame_only(frames, data):
    encoded = [cobs.encode(frame) + b"\0" for frame in frames]
    wire = b"".join(encoded)
    spoilt = data.draw(st.integers(0, len(frames) - 1))
    start = sum(map(len, encoded[:spoilt]))
    error = data.draw(st.integers(start, start + len(encoded[spoilt]) - 2))
    assert decode(wire, {error}) == [None if n == spoilt else frame for n, frame in enumerate(frames)]


class RoundTrip(wiring.Component):
    """An encoder straight into a decoder."""

    def __init__(self):
        self.encoder, self.decoder = CobsEncoder(), CobsDecoder()
        super().__init__({"i": In(self.encoder.i.signature.flip()), "o": Out(self.decoder.o.signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder, m.submodules.decoder = self.encoder, self.decoder
        connect(m, flipped(self.i), self.encoder.i)
        connect(m, self.decoder.o, flipped(self.o))
        m.d.comb += [
            self.decoder.i.valid.eq(self.encoder.o.valid),
            self.decoder.i.payload.data.eq(self.encoder.o.payload),
            self.encoder.o.ready.eq(1),
        ]
        return m


@few
@given(st.lists(contents, min_size=1, max_size=3), gaps)
@example([bytes([7]) * 255, bytes([7]) * 254], [])
def test_round_trip(frames, i_gaps):
    dut, seen = RoundTrip(), []
    total = sum(map(len, frames))

    async def wait(ctx):
        while sum(1 for token in seen if token.end) < len(frames):
            await ctx.tick()

    simulate(dut, source(dut.i, tokens(frames), i_gaps), watch(dut.o, seen), wait, cycles=300 + 6 * total + sum(i_gaps))
    assert b"".join(bytes([token.data]) for token in seen if not token.end) == b"".join(frames)
    assert [token.bad for token in seen if token.end] == [0] * len(frames)


@few
@given(st.lists(contents, min_size=1, max_size=3), gaps, gaps)
def test_crc_appender(frames, i_gaps, o_gaps):
    expected = [frame + zlib.crc32(frame).to_bytes(4, "little") for frame in frames]
    out = through(CrcAppender(), tokens(frames), sum(map(len, expected)), i_gaps, o_gaps)
    assert [(byte.data, byte.last) for byte in out] == \
        [(byte, n == len(frame) - 1) for frame in expected for n, byte in enumerate(frame)]


@pytest.mark.parametrize("length", [1, 254, 300])
def test_encoder_timing(length):
    # The first byte comes out when the block is whole, and n bytes of one block take 2n + 3 cycles.
    dut, seen = CobsEncoder(), []
    frame = bytes([1]) * length
    cycles = []

    async def clock(ctx):
        async for _clk, _rst, valid in ctx.tick().sample(dut.o.valid):
            cycles.append(valid)

    count = len(cobs.encode(frame)) + 1
    simulate(dut, source(dut.i, tokens([frame])), sink(dut.o, count, seen), (clock, "background"), cycles=3000)
    assert cycles.index(1) == min(length, 254)
    assert len(cycles) == 2 * length + 3 * -(-length // 254) - (length > 254)
