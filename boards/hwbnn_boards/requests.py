"""The receiving half of the host link: from tokens to checked requests, with their images in a buffer."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwbnn_boards.checksum import CRC
from hwbnn_boards.protocol import CRC_BYTES, HEADER_BYTES, LENGTH_BYTES, Command, Status
from hwbnn_boards.stuffing import LAST, TOKEN

__all__ = ["REQUEST", "RequestBuffer"]

#: A request: ``status`` is what must be answered; an image follows where ``run`` is set, a packet where ``load`` is.
REQUEST = data.StructLayout({"sequence": 8, "status": 2, "run": 1, "load": 1})

_COUNTER_MAX = 0xFFFF


class RequestBuffer(wiring.Component):
    """Gather frames in a block RAM, check them, and hand requests on in the order they came.

    The CRC stands at a frame's end, so an image is kept until it is known to be whole; one that is not is forgotten,
    and only its status goes on. A frame that begins while all places are taken is dropped whole and counted.

    Image bytes follow a ``run`` request on ``o_image``, those of a packet a ``load`` request on ``o_load``, one every 2
    cycles at most; the next request is offered when the last of them was taken.

    Parameters
    ----------
    image_bytes : :class:`int`
        Bytes of one image. At least 1.
    places : :class:`int`
        Requests that can wait. At least 1.
    load_bytes : :class:`int`
        Payload of ``LOAD`` at most; 0 where there is no such command.

    Members
    -------
    i : :py:`In(stream.Signature(TOKEN, always_ready=True))`
        Frames without their stuffing.
    o : :py:`Out(stream.Signature(REQUEST))`
        Checked requests.
    o_image : :py:`Out(stream.Signature(8))`
        Bytes of the image of the last request that was taken.
    o_load : :py:`Out(stream.Signature(LAST))`
        Likewise bytes of its packet, where there is ``LOAD``.
    damaged, overruns : :py:`Out(16)`
        Frames refused and frames dropped since reset, stopping at 65535.
    """

    i: stream.Interface
    o: stream.Interface
    o_image: stream.Interface
    damaged: Signal
    overruns: Signal

    def __init__(self, image_bytes: int, places: int, load_bytes: int = 0):
        for subject, value in (("Image bytes", image_bytes), ("Places", places)):
            if value < 1:
                raise ValueError(f"{subject} must be at least 1, not {value}")
        self._image_bytes = image_bytes
        self._places = places
        self._load_bytes = load_bytes
        super().__init__({
            "i": In(stream.Signature(TOKEN, always_ready=True)),
            "o": Out(stream.Signature(REQUEST)),
            "o_image": Out(stream.Signature(8)),
            **({"o_load": Out(stream.Signature(LAST))} if load_bytes else {}),
            "damaged": Out(16),
            "overruns": Out(16),
        })

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return self._image_bytes

    @property
    def places(self) -> int:
        """Requests that can wait."""
        return self._places

    def elaborate(self, platform):
        m = Module()

        # A place holds the sequence number, the verdict (written when the frame has ended), and the image.
        size = HEADER_BYTES + max(self.image_bytes, self._load_bytes)
        m.submodules.memory = memory = Memory(shape=8, depth=self.places * size, init=[])
        write = memory.write_port()
        read = memory.read_port()

        taken = Signal(range(self.places + 1))
        commit, release = Signal(), Signal()
        m.d.sync += taken.eq(taken + commit - release)

        def following(base):
            return Mux(base == (self.places - 1) * size, 0, base + size)

        self._write(m, write, size, full=taken == self.places, commit=commit, following=following)
        self._read(m, read, size, empty=taken == 0, release=release, following=following)
        return m

    def _write(self, m, write, size, *, full, commit, following):
        m.submodules.crc = crc = CRC.create()
        base = Signal(range(self.places * size))
        index = Signal(range(size + CRC_BYTES + 2))  # bytes of this frame so far, one too many at most
        command = Signal(8)
        dropped = Signal()
        token = self.i.payload

        verdict = Signal(REQUEST)
        is_run, is_load, payload = command == Command.RUN, Const(0), Signal(range(size + 1))
        m.d.comb += payload.eq(Mux(is_run, self.image_bytes, 0))
        last, fits = Command.RUN, Const(1)
        if self._load_bytes:
            length, is_load, last = Signal(8 * LENGTH_BYTES), command == Command.LOAD, Command.LOAD
            fits = ~is_load | ((length != 0) & (length <= self._load_bytes - LENGTH_BYTES))
            with m.If(is_load):
                m.d.comb += payload.eq(LENGTH_BYTES + length)
            with m.If(self.i.valid & ~token.end & (index >= HEADER_BYTES) & (index < HEADER_BYTES + LENGTH_BYTES)):
                m.d.sync += length.eq(Cat(length, token.data)[8:])
        with m.If(token.bad | ~crc.match_detected | (index < HEADER_BYTES + CRC_BYTES)):
            m.d.comb += verdict.status.eq(Status.DAMAGED)
        with m.Elif(command > last):
            m.d.comb += verdict.status.eq(Status.UNKNOWN_COMMAND)
        with m.Elif((index != CRC_BYTES + HEADER_BYTES + payload) | ~fits):
            m.d.comb += verdict.status.eq(Status.WRONG_LENGTH)
        with m.Else():
            m.d.comb += [verdict.run.eq(is_run), verdict.load.eq(is_load)]

        def count(counter):
            with m.If(counter != _COUNTER_MAX):
                m.d.sync += counter.eq(counter + 1)

        m.d.comb += [
            crc.data.eq(token.data),
            write.addr.eq(base + Mux(token.end, 1, index)),
            write.data.eq(Mux(token.end, verdict.as_value()[8:], token.data)),
        ]
        with m.If(self.i.valid):
            m.d.sync += dropped.eq(~token.end & (dropped | full))
            with m.If(token.end):
                m.d.comb += [
                    crc.start.eq(1),
                    write.en.eq(~full & ~dropped),
                    commit.eq(~full & ~dropped),
                ]
                m.d.sync += index.eq(0)
                with m.If(commit):
                    m.d.sync += base.eq(following(base))
                with m.Else():
                    count(self.overruns)
                with m.If(verdict.status == Status.DAMAGED):
                    count(self.damaged)
            with m.Else():
                m.d.comb += [
                    crc.valid.eq(1),
                    write.en.eq(~full & ~dropped & (index < size)),
                ]
                with m.If(index != size + CRC_BYTES + 1):
                    m.d.sync += index.eq(index + 1)
                with m.If(index == 1):
                    m.d.sync += command.eq(token.data)

    def _read(self, m, read, size, *, empty, release, following):
        base = Signal(range(self.places * size))
        index = Signal(range(size))
        m.d.comb += [
            read.addr.eq(base + index),
            self.o_image.payload.eq(read.data),
        ]

        def leave():
            m.d.comb += release.eq(1)
            m.d.sync += [index.eq(0), base.eq(following(base))]
            m.next = "wait"

        with m.FSM():
            with m.State("wait"):
                with m.If(~empty):
                    m.d.sync += index.eq(1)
                    m.next = "sequence"
            with m.State("sequence"):
                m.d.sync += self.o.payload.sequence.eq(read.data)
                m.next = "verdict"
            with m.State("verdict"):
                m.d.sync += [
                    self.o.payload.as_value()[8:].eq(read.data),
                    self.o.valid.eq(1),
                ]
                m.next = "offer"
            with m.State("offer"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                    with m.If(self.o.payload.run):
                        m.d.sync += index.eq(HEADER_BYTES)
                        m.next = "fetch"
                    with m.Elif(self.o.payload.load):
                        m.d.sync += index.eq(HEADER_BYTES)
                        m.next = "length" if self._load_bytes else "wait"  # which never happens
                    with m.Else():
                        leave()
            with m.State("fetch"):
                m.next = "image"
            with m.State("image"):
                m.d.comb += [
                    self.o_image.valid.eq(1),
                    read.en.eq(0),
                ]
                with m.If(self.o_image.ready):
                    m.d.sync += index.eq(index + 1)
                    m.next = "fetch"
                    with m.If(index == HEADER_BYTES + self.image_bytes - 1):
                        leave()
            if self._load_bytes:
                left = Signal(range(self._load_bytes + 1))
                self._load(m, read, index, left, leave)

    def _load(self, m, read, index, left, leave):
        """Read the length of a packet, then hand its bytes on."""
        o = self.o_load
        m.d.comb += [o.payload.data.eq(read.data), o.payload.last.eq(left == 1)]
        low = Signal(8)
        with m.State("length"):
            m.d.sync += index.eq(index + 1)
            m.next = "low"
        with m.State("low"):
            m.d.sync += [low.eq(read.data), index.eq(index + 1)]
            m.next = "high"
        with m.State("high"):
            m.d.sync += left.eq(Cat(low, read.data))
            m.next = "packet"
        with m.State("next"):
            m.next = "packet"
        with m.State("packet"):
            m.d.comb += [o.valid.eq(1), read.en.eq(0)]
            with m.If(o.ready):
                m.d.sync += [index.eq(index + 1), left.eq(left - 1)]
                m.next = "next"
                with m.If(left == 1):
                    leave()
