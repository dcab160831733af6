"""The host's end of the link, against boards that lose, damage and delay what they are told."""

import os
import random
import select
import termios
import threading
import tty

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from hwbnn.errors import UserError
from hwbnn_boards.host import Link, decode_frame, encode_frame, open_port
from hwbnn_boards.protocol import VERSION, Identity
from hwbnn_boards.virtual import ModelBoard

FINGERPRINT = b"\x00\x01\xff\x00abcd"
IDENTITY = Identity(VERSION, FINGERPRINT, 4, 2, 3)


def meaning(image):
    return image[1:3][::-1]


class Unreliable(ModelBoard):
    """A board on a line that drops, changes or adds bytes with these probabilities."""

    def __init__(self, seed, *, drop=0.0, change=0.0, noise=0.0):
        super().__init__(IDENTITY, meaning)
        self._random = random.Random(seed)
        self._drop, self._change, self._noise = drop, change, noise

    def _spoil(self, data):
        result = bytearray()
        for byte in data:
            if self._random.random() < self._drop:
                continue
            if self._random.random() < self._change:
                byte ^= 1 << self._random.randrange(8)
            if self._random.random() < self._noise:
                result.append(self._random.randrange(256))
            result.append(byte)
        return bytes(result)

    def write(self, data):
        return super().write(self._spoil(data))

    def read(self, size=1):
        return self._spoil(super().read(size))


class Silent:
    """A port with nothing behind it, or with the same bytes for ever."""

    def __init__(self, content=b""):
        self._content = content

    in_waiting = 0

    def read(self, size=1):
        return self._content

    def write(self, data):
        return len(data)

    def close(self):
        pass


def images(count):
    return [bytes([n % 256, n // 256, n * 7 % 256, 0]) for n in range(count)]


@given(st.binary(min_size=2, max_size=300))
def test_frames_invert(body):
    encoded = encode_frame(body)
    assert encoded.count(0) == 1
    assert decode_frame(encoded[:-1]) == body


@given(st.binary(max_size=40))
def test_random_bytes_are_no_frame(content):
    assert decode_frame(content.replace(b"\0", b"")) is None


def test_order_and_progress():
    link, done = Link(ModelBoard(IDENTITY, meaning)), []
    assert link.identify(FINGERPRINT) == IDENTITY
    assert link.run(images(600), progress=lambda count, total: done.append((count, total))) == \
        [meaning(image) for image in images(600)]
    assert done == [(n + 1, 600) for n in range(600)]
    assert link.resent == 0
    assert link.run([]) == []


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from(["drop", "change", "noise"]))
def test_results_are_right_on_a_bad_line(seed, kind):
    link = Link(Unreliable(seed, **{kind: 0.005}), timeout=0.001, retries=50)
    assert link.run(images(60)) == [meaning(image) for image in images(60)]


def test_lost_requests_are_sent_again():
    link = Link(Unreliable(1, drop=0.01), timeout=0.001, retries=50)
    link.run(images(100))
    assert link.resent > 0


def test_no_more_requests_than_the_window():
    class Counting(ModelBoard):
        waiting, most = 0, 0

        def write(self, data):
            Counting.waiting += data.count(0) if len(data) > 1 else 0
            Counting.most = max(Counting.most, Counting.waiting)
            return super().write(data)

        def read(self, size=1):
            content = super().read(size)
            Counting.waiting -= content.count(0)
            return content

    Link(Counting(IDENTITY, meaning)).run(images(20))
    assert Counting.most == IDENTITY.window


@pytest.mark.parametrize("port", [Silent(), Silent(b"\x55"), Silent(b"\x05\0")])
def test_no_answer(port):
    link = Link(port, timeout=0.001, retries=2)
    with pytest.raises(UserError, match=r"^Board must answer, and it left 3 requests unanswered; check port, baud rate "
                                        r"and that the bitstream of this build is loaded$"):
        link.identify()


def test_wrong_network():
    link = Link(ModelBoard(IDENTITY, meaning))
    with pytest.raises(UserError, match=r"^Board must run the network 3132333435363738, not 0001ff0061626364; load the "
                                        r"bitstream of this build$"):
        link.identify(b"12345678")


@pytest.mark.parametrize(("identity", "found"), [
    (Identity(9, FINGERPRINT, 4, 2, 3), "9"),
])
def test_wrong_protocol(identity, found):
    with pytest.raises(UserError, match=rf"^Board must speak protocol version 1, not {found}; load a bitstream that "
                                        r"this version of hwbnn made$"):
        Link(ModelBoard(identity, meaning)).identify()


def test_refused_request():
    board = ModelBoard(IDENTITY, meaning)
    link = Link(board)
    link.identify()
    board.identity = Identity(VERSION, FINGERPRINT, 5, 2, 3)
    with pytest.raises(UserError, match=r"^Board must accept the request RUN, and it answered with status 3; load the "
                                        r"bitstream of this build$"):
        link.run(images(1))


def test_result_of_wrong_length():
    with pytest.raises(UserError, match=r"^Board must answer with 2 bytes, not 1; load the bitstream again$"):
        Link(ModelBoard(IDENTITY, lambda image: b"1")).run(images(1))


def test_image_of_wrong_length():
    with pytest.raises(ValueError, match=r"^Image must have 4 bytes, not 3$"):
        Link(ModelBoard(IDENTITY, meaning)).run([b"123"])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"timeout": 0}, r"^Link timeout must be positive, not 0$"),
    ({"retries": -1}, r"^Link retries must be at least 0, not -1$"),
])
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Link(Silent(), **arguments)


def test_lost_port():
    class Unplugged(Silent):
        def read(self, size=1):
            raise serial.SerialException("device reports readiness to read but returned no data")

    with pytest.raises(UserError, match=r"^Port must stay connected, and it was lost: device reports readiness"):
        Link(Unplugged()).identify()


@pytest.mark.parametrize(("name", "message"), [
    ("/dev/no-such-port", (r"^Port must be a serial port that can be opened, not /dev/no-such-port: there is none; "
                           r"is the board connected\?$")),
    ("nonsense://x", r"^Port must be a device or a URL that pyserial knows, not nonsense://x: "),
])
def test_port_that_cannot_be_opened(name, message):
    with pytest.raises(UserError, match=message):
        open_port(name, 115_200)


def test_through_pyserial_and_a_terminal():
    # A pseudo-terminal is a real device file: pyserial sets its modes and reads with its own timeouts.
    ours, theirs = os.openpty()
    tty.setraw(theirs, termios.TCSANOW)
    board, stop = ModelBoard(IDENTITY, meaning), threading.Event()

    def serve():
        while not stop.is_set():
            if select.select([ours], [], [], 0.05)[0]:
                board.write(os.read(ours, 64))
                os.write(ours, board.read(board.in_waiting))

    thread = threading.Thread(target=serve)
    thread.start()
    port = open_port(os.ttyname(theirs), 115_200)
    try:
        link = Link(port)
        assert link.identify(FINGERPRINT) == IDENTITY
        assert link.run(images(300)) == [meaning(image) for image in images(300)]
    finally:
        stop.set()
        thread.join()
        port.close()
        os.close(ours)
        os.close(theirs)
