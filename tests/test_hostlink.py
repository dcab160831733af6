# amaranth: UnusedElaboratable=no
"""The whole host link, byte by byte over its serial line, with a small accelerator behind it."""

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hostlink_bench import bodies, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from hwbnn_boards.host import Link
from hwbnn_boards.hostlink import HostLink
from hwbnn_boards.protocol import VERSION, Beats, Command, Identity, Status
from hwbnn_boards.virtual import VirtualBoard

IMAGE, RESULT = Beats(2, 2), Beats(1, 3)
FINGERPRINT = b"\x00\x01\xff\x00abcd"


def meaning(image):
    """What the stand-in computes: the sum of both beats, 24 bits."""
    return sum(IMAGE.split(image)).to_bytes(3, "little")


class Summing(wiring.Component):
    """A host link with an accelerator that adds the beats of an image, after a delay."""

    divisor = 4

    def __init__(self, delay=0):
        self._delay = delay
        self.link = HostLink(image=IMAGE, result=RESULT, fingerprint=FINGERPRINT, divisor=self.divisor)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self.link
        total, wait, done = Signal(24), Signal(range(self._delay + 1)), Signal()
        m.d.comb += [
            link.rx.eq(self.rx), self.tx.eq(link.tx),
            link.framing_errors.eq(3),
            link.o.ready.eq(~done),
            link.i.payload.data.eq(total),
            link.i.payload.last.eq(1),
            link.i.valid.eq(done & (wait == 0)),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(link.o.valid & link.o.ready):
            m.d.sync += [total.eq(total + link.o.payload.data), done.eq(link.o.payload.last), wait.eq(self._delay)]
        with m.If(link.i.valid & link.i.ready):
            m.d.sync += [done.eq(0), total.eq(0)]
        return m


def serve(wire, *, delay=0):
    """Return the bodies of all answers to these bytes."""
    board = VirtualBoard(Summing(delay), patience=10 * Summing.divisor * len(wire) + 400)
    board.write(wire)
    answer = b""
    while chunk := board.read(1):
        answer += chunk
    return bodies(answer)


def request(sequence, image):
    return bytes([sequence, Command.RUN]) + image


images = st.binary(min_size=IMAGE.size, max_size=IMAGE.size)


@settings(max_examples=5)
@given(st.lists(images, min_size=1, max_size=4), st.integers(0, 40))
def test_back_to_back_frames(contents, delay):
    wire = b"".join(frame(request(n, image)) for n, image in enumerate(contents))
    assert serve(wire, delay=delay) == [bytes([n, Status.OK]) + meaning(image) for n, image in enumerate(contents)]


@settings(max_examples=8)
@given(images, images, st.data())
def test_flipped_bit_truncation_or_garbage_costs_one_frame(damaged, good, data):
    wire = bytearray(frame(request(1, damaged)))
    kind = data.draw(st.sampled_from(["flip", "cut", "garbage"]))
    answers = [bytes([2, Status.OK]) + meaning(good)]
    if kind == "flip":
        at = data.draw(st.integers(0, len(wire) - 2))
        wire[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del wire[data.draw(st.integers(1, len(wire) - 2)):-1]
    else:
        wire = bytearray(data.draw(st.binary(min_size=1, max_size=12)) + b"\0")
    seen = serve(bytes(wire) + frame(request(2, good)))
    # Garbage with zeros in it is as many frames, and all of them are refused.
    assert seen[-1:] == answers
    assert all(answer[1] == Status.DAMAGED and len(answer) == 2 for answer in seen[:-1])
    assert len(seen) - 1 == sum(1 for part in bytes(wire).split(b"\0") if part)


@pytest.mark.parametrize(("body", "status"), [
    (bytes([3, Command.RUN, 1, 2, 3]), Status.WRONG_LENGTH),
    (bytes([3, Command.RUN, 1, 2, 3, 4, 5]), Status.WRONG_LENGTH),
    (bytes([3, Command.IDENTIFY, 0]), Status.WRONG_LENGTH),
    (bytes([3, 2]), Status.UNKNOWN_COMMAND),
    (bytes([3, 255, 0, 0]), Status.UNKNOWN_COMMAND),
])
def test_refusals(body, status):
    assert serve(frame(body)) == [bytes([3, status])]


def test_identity_and_its_counters():
    wire = frame(b"\1\2\3\4", crc=0) + frame(bytes([1, Command.IDENTIFY]))
    refused, identity = serve(wire)
    assert refused[1] == Status.DAMAGED
    assert identity[:2] == bytes([1, Status.OK])
    assert Identity.parse(identity[2:]) == Identity(VERSION, FINGERPRINT, 4, 3, 16, damaged=1, framing_errors=3)


def test_silence_about_empty_frames():
    assert serve(b"\0\0\0" + frame(request(1, b"\0\0\0\0")) + b"\0\0") == [bytes([1, Status.OK, 0, 0, 0])]


def test_host_and_link_together():
    link = Link(VirtualBoard(Summing(delay=30), patience=20_000), timeout=60)
    assert link.identify(FINGERPRINT).window == 16
    contents = [bytes([n, 0, 2 * n, n]) for n in range(20)]
    done = []
    assert link.run(contents, progress=lambda count, total: done.append((count, total))) == \
        [meaning(image) for image in contents]
    assert done == [(n, 20) for n in range(1, 21)]
    assert link.resent == 0


def test_fingerprint_must_have_eight_bytes():
    with pytest.raises(ValueError, match=r"^Fingerprint must have 8 bytes, not 2$"):
        HostLink(image=IMAGE, result=RESULT, fingerprint=b"12", divisor=4)
