# amaranth: UnusedElaboratable=no

import zlib
from collections import deque

import pytest
from hostlink_bench import few, simulate
from hypothesis import given
from hypothesis import strategies as st

from hwbnn_boards.beats import BeatJoiner, BeatSplitter
from hwbnn_boards.protocol import VERSION, Beats, Command, Identity, Status, window
from hwbnn_boards.requests import RequestBuffer
from hwbnn_boards.responses import Responder

IMAGE = 3


def check(body, image=IMAGE):
    """What must be answered to a whole frame, by the protocol's text: (status, image or None)."""
    if len(body) < 6 or zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
        return Status.DAMAGED, None
    command, payload = body[1], body[2:-4]
    if command not in list(Command):
        return Status.UNKNOWN_COMMAND, None
    if len(payload) != (image if command == Command.RUN else 0):
        return Status.WRONG_LENGTH, None
    return Status.OK, payload if command == Command.RUN else None


def with_crc(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def run(frames, *, places=2, hold=0, image=IMAGE, gap=1):
    """Send (body with CRC, bad) frames; return the requests [(sequence, status, image)] and (damaged, overruns).

    Requests are taken from cycle ``hold`` on.
    """
    dut, taken, counters = RequestBuffer(image, places), [], []
    length = sum(len(body) + 1 + gap for body, _ in frames)

    async def send(ctx):
        for body, bad in frames:
            for byte in body:
                ctx.set(dut.i.payload, {"data": byte})
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
            ctx.set(dut.i.payload, {"end": 1, "bad": bad})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            for _ in range(gap):
                await ctx.tick()
        for _ in range(hold + 16 + len(frames) * (2 * image + 8)):
            await ctx.tick()
        counters.append((ctx.get(dut.damaged), ctx.get(dut.overruns)))

    async def next_of(ctx, stream):
        """Take the next payload, or return None when all is over."""
        ctx.set(stream.ready, 1)
        payload = None
        while payload is None and not counters:
            _, _, valid, offered = await ctx.tick().sample(stream.valid, stream.payload)
            payload = offered if valid else None
        ctx.set(stream.ready, 0)
        return payload

    async def take(ctx):
        for _ in range(hold):
            await ctx.tick()
        while (request := await next_of(ctx, dut.o)) is not None:
            content = bytes([await next_of(ctx, dut.o_image) for _ in range(image)]) if request.run else None
            taken.append((request.sequence, Status(request.status), content))

    simulate(dut, send, take, cycles=1000 + 4 * length + 2 * hold)
    return taken, counters[0]


bodies = st.one_of(
    st.builds(lambda sequence, content: with_crc(bytes([sequence, Command.RUN]) + content),
              st.integers(0, 255), st.binary(min_size=IMAGE, max_size=IMAGE)),
    st.builds(lambda sequence: with_crc(bytes([sequence, Command.IDENTIFY])), st.integers(0, 255)),
    st.binary(max_size=12).map(with_crc),  # right checksum, any length, any command
    st.binary(max_size=12),
)


@few
@given(st.lists(bodies, min_size=1, max_size=5), st.integers(1, 4))
def test_requests_in_order(frames, places):
    # A frame that ends less than an image's reading time after another is within the window of `places` only.
    taken, (damaged, overruns) = run([(body, 0) for body in frames], places=places, gap=2 * IMAGE + 8)
    expected = [check(body) for body in frames]
    assert [(status, content) for _, status, content in taken] == expected
    assert [sequence for sequence, status, _ in taken if status != Status.DAMAGED] == \
        [body[0] for body, (status, _) in zip(frames, expected, strict=True) if status != Status.DAMAGED]
    assert (damaged, overruns) == (sum(status == Status.DAMAGED for status, _ in expected), 0)


@few
@given(st.binary(min_size=IMAGE, max_size=IMAGE), st.data())
def test_any_flipped_bits_within_the_reach_of_the_crc_are_seen(content, data):
    # CRC-32 finds every burst of up to 32 bits.
    body = with_crc(bytes([7, Command.RUN]) + content)
    start = data.draw(st.integers(0, 8 * len(body) - 1))
    burst = data.draw(st.integers(1, 2**32 - 1)) << start & (1 << 8 * len(body)) - 1
    damaged = (int.from_bytes(body, "little") ^ (burst or 1 << start)).to_bytes(len(body), "little")
    good = with_crc(bytes([8, Command.RUN]) + content)
    taken, counters = run([(damaged, 0), (good, 0)])
    assert [request[1:] for request in taken] == [(Status.DAMAGED, None), (Status.OK, content)]
    assert counters == (1, 0)


def test_frame_that_the_decoder_calls_bad():
    body = with_crc(bytes([9, Command.RUN, 1, 2, 3]))
    assert run([(body, 1), (body, 0)]) == ([(9, Status.DAMAGED, None), (9, Status.OK, b"\1\2\3")], (1, 0))


@pytest.mark.parametrize("places", [1, 2, 3])
def test_frames_beyond_the_places_are_dropped_whole(places):
    frames = [with_crc(bytes([n, Command.RUN, n, n + 1, n + 2])) for n in range(places + 2)]
    taken, counters = run([(body, 0) for body in frames], places=places, hold=200)
    assert taken == [(n, Status.OK, bytes([n, n + 1, n + 2])) for n in range(places)]
    assert counters == (0, 2)


@pytest.mark.parametrize("hold", range(10, 26))
def test_place_freed_in_mid_frame_does_not_save_it(hold):
    # The third frame begins while both places are taken, and one is freed before, while or after it arrives.
    frames = [with_crc(bytes([n, Command.RUN, n, 10 + n, 20 + n])) for n in range(4)]
    taken, (damaged, overruns) = run([(body, 0) for body in frames], places=2, hold=hold, gap=1)
    assert all(request == (request[0], Status.OK, frames[request[0]][2:5]) for request in taken)
    assert [sequence for sequence, _, _ in taken][:2] == [0, 1]
    assert (damaged, overruns) == (0, 4 - len(taken))


@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(0, 2)), st.data())
def test_joiner_and_splitter(count, width, gaps, data):
    beats, rest = Beats(count, width), deque(gaps)
    images = data.draw(st.lists(st.binary(min_size=beats.size, max_size=beats.size), min_size=1, max_size=3))
    joiner, splitter = BeatJoiner(beats), BeatSplitter(beats)
    words, out = [], []

    async def put(ctx):
        for byte in b"".join(images):
            for _ in range(rest.popleft() if rest else 0):
                await ctx.tick()
            ctx.set(joiner.i.payload, byte)
            ctx.set(joiner.i.valid, 1)
            await ctx.tick().until(joiner.i.ready)
            ctx.set(joiner.i.valid, 0)

    async def get(ctx):
        for _ in range(count * len(images)):
            ctx.set(joiner.o.ready, 1)
            (word,) = await ctx.tick().sample(joiner.o.payload).until(joiner.o.valid)
            ctx.set(joiner.o.ready, 0)
            words.append((word.data, word.last))

    simulate(joiner, put, get, cycles=500)
    assert words == [(word, n == count - 1) for image in images for n, word in enumerate(beats.split(image))]

    async def put_words(ctx):
        for word, last in words:
            ctx.set(splitter.i.payload, {"data": word, "last": last})
            ctx.set(splitter.i.valid, 1)
            await ctx.tick().until(splitter.i.ready)
            ctx.set(splitter.i.valid, 0)

    async def get_bytes(ctx):
        for _ in range(beats.size * len(images)):
            ctx.set(splitter.o.ready, 1)
            (byte,) = await ctx.tick().sample(splitter.o.payload).until(splitter.o.valid)
            ctx.set(splitter.o.ready, 0)
            out.append((byte.data, byte.last))

    simulate(splitter, put_words, get_bytes, cycles=500)
    assert out == [(byte, n == beats.size - 1) for image in images for n, byte in enumerate(image)]
    assert b"".join(beats.join(beats.split(image)) for image in images) == b"".join(images)


def test_responder_sends_its_identity_with_the_counters():
    identity = Identity(VERSION, b"abcdefgh", 784, 3, 2, damaged=7)
    dut, out = Responder(identity), []
    assert dut.identity.damaged == 0

    async def bench(ctx):
        for name, value in (("damaged", 0x1234), ("overruns", 2), ("framing_errors", 0xFFFF)):
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.payload, {"sequence": 5})
        ctx.set(dut.i.valid, 1)
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        while not (out and out[-1].last):
            out.append((await ctx.tick().sample(dut.o.payload).until(dut.o.valid))[0])

    simulate(dut, bench, cycles=100)
    body = bytes(byte.data for byte in out)
    assert body[:2] == bytes([5, Status.OK])
    assert Identity.parse(body[2:]) == Identity(VERSION, b"abcdefgh", 784, 3, 2, 0x1234, 2, 0xFFFF)


@pytest.mark.parametrize(("image_bytes", "places"), [(1, 16), (30, 16), (98, 5), (254, 2), (3072, 2)])
def test_window(image_bytes, places):
    assert window(image_bytes) == places


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Beats(0, 1), "^Beats count must be at least 1, not 0$"),
    (lambda: Beats(1, 0), "^Beats width must be at least 1, not 0$"),
    (lambda: RequestBuffer(0, 2), "^Image bytes must be at least 1, not 0$"),
    (lambda: RequestBuffer(1, 0), "^Places must be at least 1, not 0$"),
    (lambda: Identity.parse(b"123"), "^Identity must have 24 bytes, not 3$"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
