"""A whole design for a board: the accelerator, its host link, and the board's pins."""

from amaranth import Elaboratable, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Plan
from hwbnn.rtl import Core
from hwbnn_boards.board import Board
from hwbnn_boards.clock import DOMAIN, PllDomain
from hwbnn_boards.crossing import CrossedCore
from hwbnn_boards.hostlink import HostLink
from hwbnn_boards.protocol import fingerprint, image_beats, load_bytes, result_beats
from hwbnn_boards.uart import divisor

__all__ = ["BoardTop", "LinkedAccelerator"]

_BLINKS_PER_SECOND = 20


class LinkedAccelerator(wiring.Component):
    """An accelerator behind a host link: everything of a design but the board's pins.

    Parameters
    ----------
    plan : :class:`~hwbnn.plan.Plan`
        The accelerator.
    divisor : :class:`int`
        Clock cycles per bit of the serial line. At least 4.
    domain : :class:`str`
        Clock domain of the accelerator; the link is in ``sync``.

    Members
    -------
    rx : :py:`In(1)`
        From the host, asynchronous.
    tx : :py:`Out(1)`
        To the host.
    served, refused : :py:`Out(1)`
        High for one cycle with each request that is good or bad.
    """

    rx: Signal
    tx: Signal
    served: Signal
    refused: Signal

    def __init__(self, plan: Plan, *, divisor: int, domain: str = "sync"):
        self._plan = plan
        self._divisor = divisor
        self._domain = domain
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "served": Out(1),
            "refused": Out(1),
        })

    @property
    def plan(self) -> Plan:
        """The accelerator."""
        return self._plan

    @property
    def divisor(self) -> int:
        """Clock cycles per bit of the serial line."""
        return self._divisor

    def elaborate(self, platform):
        m = Module()

        m.submodules.accelerator = core = (
            Core(self.plan) if self._domain == "sync" else CrossedCore(self.plan, self._domain))
        m.submodules.link = link = HostLink(image=image_beats(self.plan), result=result_beats(self.plan),
                                            fingerprint=fingerprint(self.plan), divisor=self.divisor,
                                            load_bytes=load_bytes(self.plan))
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.served.eq(link.served),
            self.refused.eq(link.refused),
            link.framing_errors.eq(core.framing_errors),

            core.s_axis_tdata.eq(link.o.payload.data),
            core.s_axis_tlast.eq(link.o.payload.last),
            core.s_axis_tvalid.eq(link.o.valid),
            link.o.ready.eq(core.s_axis_tready),

            link.i.payload.data.eq(core.m_axis_tdata),
            link.i.payload.last.eq(core.m_axis_tlast),
            link.i.valid.eq(core.m_axis_tvalid),
            core.m_axis_tready.eq(link.i.ready),
        ]
        if self.plan.loader is not None:
            m.d.comb += [
                core.s_axis_cfg_tdata.eq(link.o_load.payload.data),
                core.s_axis_cfg_tlast.eq(link.o_load.payload.last),
                core.s_axis_cfg_tvalid.eq(link.o_load.valid),
                link.o_load.ready.eq(core.s_axis_cfg_tready),
            ]
        return m


class BoardTop(Elaboratable):
    """What goes on a board: a :class:`LinkedAccelerator` on the serial port, and two lights.

    One light flashes with each request served, the other with each one refused. Where the PLL makes the board's clock,
    only the accelerator has it; the link and the lights keep the oscillator's.

    Parameters
    ----------
    plan : :class:`~hwbnn.plan.Plan`
        The accelerator.
    board : :class:`~hwbnn_boards.board.Board`
        Where it goes; the platform given to :meth:`elaborate` must be that board's.
    """

    def __init__(self, plan: Plan, board: Board):
        self.plan = plan
        self.board = board

    def elaborate(self, platform):
        m = Module()

        domain = "sync" if self.board.pll is None else DOMAIN
        if self.board.pll is not None:
            m.submodules.clock = PllDomain(self.board.pll)
        m.submodules.linked = linked = LinkedAccelerator(
            self.plan, divisor=divisor(self.board.oscillator_hz, self.board.baud), domain=domain)
        uart = platform.request("uart", self.board.uart, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [
            linked.rx.eq(rx.i),
            tx.o.eq(linked.tx),
        ]

        for name, number, event in (("activity", self.board.activity_led, linked.served),
                                    ("error", self.board.error_led, linked.refused)):
            m.submodules[name] = led = io.Buffer("o", platform.request("led", number, dir="-"))
            left = Signal(range(self.board.oscillator_hz // _BLINKS_PER_SECOND), name=f"{name}_left")
            m.d.comb += led.o.eq(left != 0)
            with m.If(event):
                m.d.sync += left.eq(-1)
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)

        return m
