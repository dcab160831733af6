"""An accelerator in a clock domain of its own, with the ports of one in ``sync``."""

from typing import Any

from amaranth import Cat, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered

from hwbnn.plan import Plan
from hwbnn.rtl import Core

__all__ = ["CrossedCore"]

_DEPTH = 9  # beats of each crossing, one of them in a register at its end


class CrossedCore(wiring.Component):
    """A :class:`~hwbnn.rtl.Core` in ``domain``; each of its streams passes a FIFO with a clock on either side.

    ``framing_errors``, ``config_words`` and ``config_errors`` are those of some cycles ago, and may be mixed of two
    values in the cycles in which they change.

    Parameters
    ----------
    plan : :class:`~hwbnn.plan.Plan`
    domain : :class:`str`
    """

    def __init__(self, plan: Plan, domain: str):
        self._core, self._domain = Core(plan), domain
        super().__init__(dict(self._core.signature.members))

    @property
    def domain(self) -> str:
        """The clock domain of the accelerator."""
        return self._domain

    def elaborate(self, platform: Any):
        m = Module()
        core = self._core
        m.submodules.core = DomainRenamer(self._domain)(core)
        names = list(core.signature.members)
        for name in (name.removesuffix("_tvalid") for name in names if name.endswith("_tvalid")):
            into, out_of = (self, core) if name.startswith("s_") else (core, self)
            _cross(m, name, into, out_of, *(("sync", self._domain) if into is self else (self._domain, "sync")))
        for name in names:
            if "_axis_" not in name:
                m.submodules[name] = FFSynchronizer(getattr(core, name), getattr(self, name))
        return m


def _cross(m: Module, name: str, source: Any, target: Any, w_domain: str, r_domain: str):
    """Bring the stream ``name`` from one component's ports to the other's."""
    offered = Cat(getattr(source, f"{name}_tdata"), getattr(source, f"{name}_tlast"))
    m.submodules[name] = fifo = AsyncFIFOBuffered(width=len(offered), depth=_DEPTH, w_domain=w_domain,
                                                  r_domain=r_domain)
    given = Signal(len(offered), name=f"{name}_given")
    m.d.comb += [
        fifo.w_data.eq(offered),
        fifo.w_en.eq(getattr(source, f"{name}_tvalid")),
        getattr(source, f"{name}_tready").eq(fifo.w_rdy),
        given.eq(fifo.r_data),
        getattr(target, f"{name}_tdata").eq(given[:-1]),
        getattr(target, f"{name}_tlast").eq(given[-1]),
        getattr(target, f"{name}_tvalid").eq(fifo.r_rdy),
        fifo.r_en.eq(getattr(target, f"{name}_tready")),
    ]
