"""The host link: an accelerator's AXI4-Streams over a serial line."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hwbnn_boards.beats import BeatJoiner, BeatSplitter, beat
from hwbnn_boards.checksum import CrcAppender
from hwbnn_boards.protocol import VERSION, Beats, Identity, window
from hwbnn_boards.requests import RequestBuffer
from hwbnn_boards.responses import Responder
from hwbnn_boards.stuffing import LAST, CobsDecoder, CobsEncoder
from hwbnn_boards.uart import UartReceiver, UartTransmitter

__all__ = ["HostLink"]


class HostLink(wiring.Component):
    """Serve the protocol of :mod:`hwbnn_boards.protocol` on a serial line, with an accelerator behind it.

    Parameters
    ----------
    image, result : :class:`~hwbnn_boards.protocol.Beats`
        What one image and one result are made of.
    fingerprint : :class:`bytes`
        What the host knows the accelerator by.
    divisor : :class:`int`
        Clock cycles per bit of the serial line. At least 4.
    load_bytes : :class:`int`
        Payload of ``LOAD`` at most; 0 where the accelerator has no loadable layers.

    Members
    -------
    rx : :py:`In(1)`
        From the host, asynchronous.
    tx : :py:`Out(1)`
        To the host.
    o : :py:`Out(stream.Signature(beat(image)))`
        Images for the accelerator.
    i : :py:`In(stream.Signature(beat(result)))`
        Results from it.
    o_load : :py:`Out(stream.Signature(LAST))`
        Packets for its configuration stream, where it has one; the last frame before has left then.
    framing_errors : :py:`In(16)`
        The accelerator's count of images with a misplaced end.
    served, refused : :py:`Out(1)`
        High for one cycle with each request that is good or bad.
    """

    rx: Signal
    tx: Signal
    o: stream.Interface
    i: stream.Interface
    framing_errors: Signal
    served: Signal
    refused: Signal

    def __init__(self, *, image: Beats, result: Beats, fingerprint: bytes, divisor: int,
                 load_bytes: int = 0):
        if len(fingerprint) != 8:
            raise ValueError(f"Fingerprint must have 8 bytes, not {len(fingerprint)}")
        self._image = image
        self._result = result
        self._load_bytes = load_bytes
        self._identity = Identity(VERSION, fingerprint, image.size, result.size, window(max(image.size, load_bytes)))
        self._divisor = divisor
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "o": Out(stream.Signature(beat(image))),
            "i": In(stream.Signature(beat(result))),
            **({"o_load": Out(stream.Signature(LAST))} if load_bytes else {}),
            "framing_errors": In(16),
            "served": Out(1),
            "refused": Out(1),
        })

    @property
    def image(self) -> Beats:
        """What one image is made of."""
        return self._image

    @property
    def result(self) -> Beats:
        """What one result is made of."""
        return self._result

    @property
    def identity(self) -> Identity:
        """What the board says of itself, its counters 0."""
        return self._identity

    @property
    def divisor(self) -> int:
        """Clock cycles per bit of the serial line."""
        return self._divisor

    def elaborate(self, platform):
        m = Module()

        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.requests = requests = RequestBuffer(self.image.size, self.identity.window, self._load_bytes)
        m.submodules.joiner = joiner = BeatJoiner(self.image)
        m.submodules.splitter = splitter = BeatSplitter(self.result)
        m.submodules.responder = responder = Responder(self.identity)
        m.submodules.appender = appender = CrcAppender()
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)

        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            responder.damaged.eq(requests.damaged),
            responder.overruns.eq(requests.overruns),
            responder.framing_errors.eq(self.framing_errors),
        ]
        connect(m, receiver.o, decoder.i)
        connect(m, decoder.o, requests.i)
        connect(m, requests.o, responder.i)
        connect(m, requests.o_image, joiner.i)
        connect(m, joiner.o, flipped(self.o))
        if self._load_bytes:
            connect(m, requests.o_load, flipped(self.o_load))
        connect(m, flipped(self.i), splitter.i)
        connect(m, splitter.o, responder.i_result)
        connect(m, responder.o, appender.i)
        connect(m, appender.o, encoder.i)
        connect(m, encoder.o, transmitter.i)

        taken = requests.o.valid & requests.o.ready
        m.d.comb += [
            self.served.eq(taken & (requests.o.payload.status == 0)),
            self.refused.eq(taken & (requests.o.payload.status != 0)),
        ]
        return m
