"""A whole accelerator behind AXI4-Stream, and its Verilog."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from amaranth import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.back import verilog as backend
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwbnn import plan
from hwbnn.plan.interface import ERROR_BITS
from hwbnn.plan.loader import WORDS_BITS
from hwbnn.rtl.add import Add
from hwbnn.rtl.affine import AffineUnit
from hwbnn.rtl.argmax import ArgMaxUnit
from hwbnn.rtl.cells import Family
from hwbnn.rtl.concat import Concat, Slice
from hwbnn.rtl.fork import Fork
from hwbnn.rtl.frame import FrameInput, FrameOutput, byte_padded
from hwbnn.rtl.loader import Loader
from hwbnn.rtl.matrix_vector import MatrixVectorUnit
from hwbnn.rtl.pad import Pad
from hwbnn.rtl.parallel import ParallelUnit
from hwbnn.rtl.pool import Pool
from hwbnn.rtl.queue import BranchFifo
from hwbnn.rtl.thresholds import ThresholdUnit
from hwbnn.rtl.topk import TopKUnit
from hwbnn.rtl.width_converter import Join, Part
from hwbnn.rtl.window import WindowUnit

__all__ = ["Accelerator", "Core", "component", "instance_name", "verilog"]

_COMPONENTS: dict[type[plan.Stage], Callable[..., wiring.Component]] = {
    plan.AddStage: Add,
    plan.AffineStage: AffineUnit,
    plan.ArgMaxStage: ArgMaxUnit,
    plan.ConcatStage: Concat,
    plan.FifoStage: BranchFifo,
    plan.ForkStage: Fork,
    plan.FrameInputStage: FrameInput,
    plan.FrameOutputStage: FrameOutput,
    plan.JoinStage: Join,
    plan.MatrixVectorStage: MatrixVectorUnit,
    plan.PadStage: Pad,
    plan.ParallelStage: ParallelUnit,
    plan.PartStage: Part,
    plan.PoolStage: Pool,
    plan.SliceStage: Slice,
    plan.ThresholdStage: ThresholdUnit,
    plan.TopKStage: TopKUnit,
    plan.WindowStage: WindowUnit,
}


def component(stage: plan.Stage) -> wiring.Component:
    """The hardware of one stage, a component with a stream for each of its ports."""
    return _COMPONENTS[type(stage)](stage)


def instance_name(stage: plan.Stage) -> str:
    """What the component of a stage is called in the Verilog: the stage's name as an identifier."""
    return re.sub(r"\W", "_", stage.name)


def _axi(plan: plan.Plan) -> dict[str, wiring.Member]:
    return {
        "s_axis_tdata": In(byte_padded(plan.input.bits)),
        "s_axis_tvalid": In(1),
        "s_axis_tready": Out(1),
        "s_axis_tlast": In(1),
        "m_axis_tdata": Out(byte_padded(plan.output.bits)),
        "m_axis_tvalid": Out(1),
        "m_axis_tready": In(1),
        "m_axis_tlast": Out(1),
        "framing_errors": Out(ERROR_BITS),
        **({} if plan.loader is None else {
            "s_axis_cfg_tdata": In(8),
            "s_axis_cfg_tvalid": In(1),
            "s_axis_cfg_tready": Out(1),
            "s_axis_cfg_tlast": In(1),
            "config_words": Out(WORDS_BITS),
            "config_errors": Out(ERROR_BITS),
        }),
    }


def _connect_loader(core: Any, m: Module, stage: plan.LoaderStage, units: Mapping[str, Any]):
    """Let the configuration stream write the loadable banks of ``units``, by stage."""
    m.submodules.loader = loader = Loader(stage)
    m.d.comb += [
        loader.i.payload.data.eq(core.s_axis_cfg_tdata),
        loader.i.payload.last.eq(core.s_axis_cfg_tlast),
        loader.i.valid.eq(core.s_axis_cfg_tvalid),
        core.s_axis_cfg_tready.eq(loader.i.ready),
        core.config_words.eq(loader.words),
        core.config_errors.eq(loader.errors),
    ]
    for number, (name, port) in enumerate(stage.targets):
        wiring.connect(m, getattr(loader, f"load_{number}"), getattr(units[name], f"load_{port}"))


class Core(wiring.Component):
    """The stages of a plan, connected, with AXI4-Stream ports, in the clock domain ``sync``.

    Beats are laid out as :func:`hwbnn.rtl.stream_words` and :func:`hwbnn.rtl.result_values` say. Every input
    packet gives one output packet; see :class:`FrameInput` for packets of a wrong length.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast
        Images, one packet each.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast
        Results, one packet each, in the order of the images.
    framing_errors : :py:`Out(16)`
        Packets of a wrong length since reset; stays at its greatest value.
    s_axis_cfg_tdata, s_axis_cfg_tvalid, s_axis_cfg_tready, s_axis_cfg_tlast
        Where layers are loadable: packets of :func:`hwbnn.plan.loader.packets`, a byte each cycle, while no frame is
        under way.
    config_words, config_errors : :py:`Out(32)`, :py:`Out(16)`
        As of :class:`Loader`.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal
    framing_errors: Signal
    s_axis_cfg_tdata: Signal  # the configuration ports are there where layers are loadable
    s_axis_cfg_tvalid: Signal
    s_axis_cfg_tlast: Signal

    def __init__(self, plan: plan.Plan):
        self._plan = plan
        super().__init__(_axi(plan))

    @property
    def plan(self) -> plan.Plan:
        """What it computes, and how long that takes."""
        return self._plan

    @cached_property
    def units(self) -> Mapping[str, Any]:
        """The component of each stage, by instance name, in topological order."""
        return {instance_name(stage): component(stage) for stage in self._plan.stages}

    def elaborate(self, platform):
        m = Module()
        for name, unit in self.units.items():
            m.submodules[name] = unit
        by_stage = {stage.name: self.units[instance_name(stage)] for stage in self._plan.stages}
        for edge in self._plan.edges:
            wiring.connect(m, getattr(by_stage[edge.source], edge.port), getattr(by_stage[edge.target], edge.into))
        first, *_, last = self.units.values()
        m.d.comb += [
            first.i.payload.data.eq(self.s_axis_tdata),
            first.i.payload.last.eq(self.s_axis_tlast),
            first.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(first.i.ready),
            self.m_axis_tdata.eq(last.o.payload.data),
            self.m_axis_tlast.eq(last.o.payload.last),
            self.m_axis_tvalid.eq(last.o.valid),
            last.o.ready.eq(self.m_axis_tready),
            self.framing_errors.eq(first.errors),
        ]
        if self._plan.loader is not None:
            _connect_loader(self, m, self._plan.loader, by_stage)
        return m


class Accelerator(wiring.Component):
    """A :class:`Core` with a clock and a reset of its own: the top level that leaves as Verilog.

    Members
    -------
    aclk : :py:`In(1)`
        Clock; everything happens at its rising edge.
    aresetn : :py:`In(1)`
        Reset, active low, synchronous.
    others
        As of :class:`Core`.
    """

    aclk: Signal
    aresetn: Signal

    def __init__(self, plan: plan.Plan):
        self._plan = plan
        super().__init__({"aclk": In(1), "aresetn": In(1), **_axi(plan)})

    @property
    def plan(self) -> plan.Plan:
        """What it computes, and how long that takes."""
        return self._plan

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(local=True)
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.core = core = Core(self._plan)
        for name, member in _axi(self._plan).items():
            inner, outer = getattr(core, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


_SPRAM_INIT = re.compile(
    r'(\(\* ram_style = "huge" \*\)\n *reg \[15:0\] ram \[16383:0\];\n)'
    r' *initial begin\n(?: *ram\[\d+\] = [^\n]*\n)* *end\n')


def verilog(plan: plan.Plan, name: str = "accelerator", *, family: str | None = None, lut_memory: bool = True) -> str:
    """Return the accelerator as one Verilog file; instances are called after the network's nodes.

    With a ``family`` that has cells of its own (:mod:`hwbnn.rtl.cells`) it is made of these, else of none that any
    tool would not know. Without ``lut_memory`` it is for a family that has none: what would be LUT memory is left to
    flip-flops, since Yosys refuses what it cannot map as asked.
    """
    platform = None if family is None else Family(family)
    text = backend.convert(Accelerator(plan), name=name, platform=platform, emit_src=False, strip_internal_attrs=True)
    if not lut_memory:
        text = text.replace('ram_style = "distributed"', 'ram_style = "logic"')
    text = _SPRAM_INIT.sub(r"\1", text)  # which cannot be initialised: Yosys would refuse to map it
    # Element 0 of an array leaves as the name `x[0]`, which Yosys's abc9 takes for bit 0 of `x` and stops.
    return re.sub(r"\\[^\s\[]+(?:\[\d+\]\S*)+(?=\s)", _plain, text)


def _plain(name: re.Match[str]) -> str:
    """An escaped name with its brackets turned into underscores."""
    return re.sub(r"\[(\d+)\]", r"__\1", name[0])
