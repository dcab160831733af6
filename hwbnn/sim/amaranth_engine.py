"""The Amaranth engine: the generator's own simulator, in this process; needs no compiler and no Verilog."""

from collections.abc import Callable, Mapping
from importlib.metadata import version

from amaranth import ClockDomain, Module, ResetSignal, Signal, Value
from amaranth.sim import Simulator

from hwbnn import rtl
from hwbnn.plan import Plan
from hwbnn.sim.taps import Tap, Tapped, Watch
from hwbnn.sim.traffic import RESET_CYCLES, Record, Traffic, stall_pattern

__all__ = ["AmaranthEngine"]

_PERIOD = 1e-8
_REPORT = 16  # frames between reports


class AmaranthEngine:
    """Simulates the components that the Verilog is emitted from, cycle for cycle as the other engines do.

    Slow, and blind to what is wrong with the Verilog file; useful where no simulator is installed.
    """

    name = "amaranth"
    simulator = "amaranth"

    def __init__(self, plan: Plan):
        self.plan = plan
        self.versions = {"amaranth": version("amaranth")}

    def build(self) -> bool:
        """There is nothing to build."""
        return False

    def run(self, phases: Mapping[str, Traffic], report: Callable[[str, int], object] = lambda phase, frames: None
            ) -> dict[str, Record]:
        """Run ``phases`` and return what each saw; see :meth:`hwbnn.sim.cocotb_engine.CocotbEngine.run`."""
        return {name: _run(self.plan, traffic, lambda frames, name=name: report(name, frames))
                for name, traffic in phases.items()}


def _run(plan: Plan, traffic: Traffic, report: Callable[[int], object]) -> Record:
    m = Module()
    m.domains.sync = ClockDomain()
    resetting = Signal()
    m.d.comb += ResetSignal().eq(resetting)
    m.submodules.core = core = rtl.Core(plan)
    probes = [_Probe(core, tap) for tap in traffic.taps]
    records = []

    async def bench(ctx):
        async def reset():
            ctx.set(core.s_axis_tvalid, 0)
            ctx.set(core.s_axis_tlast, 0)
            ctx.set(core.s_axis_tdata, 0)
            ctx.set(core.m_axis_tready, 0)
            ctx.set(resetting, 1)
            for _ in range(RESET_CYCLES):
                await ctx.tick()
            ctx.set(resetting, 0)

        async def interrupted_frame():
            ctx.set(core.m_axis_tready, traffic.taken_before_reset)
            ctx.set(core.s_axis_tvalid, 1)
            sent = 0
            for _ in range(traffic.patience):
                ctx.set(core.s_axis_tdata, words[sent % len(words)])
                ctx.set(core.s_axis_tlast, sent % traffic.beats_in == traffic.beats_in - 1)
                sent += ctx.get(core.s_axis_tready)
                await ctx.tick()
                if sent == traffic.reset_after:
                    break
            await reset()

        async def configure():
            ctx.set(core.s_axis_cfg_tvalid, 1)
            for byte, last in traffic.config.tolist():
                ctx.set(core.s_axis_cfg_tdata, byte)
                ctx.set(core.s_axis_cfg_tlast, last)
                await ctx.tick()
            ctx.set(core.s_axis_cfg_tvalid, 0)
            await ctx.tick().repeat(2)

        words = traffic.words()
        await reset()
        if len(traffic.config):
            await configure()
        if traffic.reset_after:
            await interrupted_frame()
        gaps, pauses = (stall_pattern(traffic, side) for side in range(2))
        sent, total, wanted = 0, len(words), traffic.frames * traffic.beats_out
        first, last = (frames * traffic.beats_out for frames in traffic.counted)
        received, lasts, out_cycles, in_cycles = [], [], [], []
        offering = False
        cycle = moved = 0
        while len(received) < wanted and cycle - moved <= traffic.patience:
            if not offering and sent < total and not next(gaps):
                ctx.set(core.s_axis_tdata, words[sent])
                ctx.set(core.s_axis_tlast, sent % traffic.beats_in == traffic.beats_in - 1)
                offering = True
            ctx.set(core.s_axis_tvalid, offering)
            taking = not next(pauses)
            ctx.set(core.m_axis_tready, taking)
            if taking and ctx.get(core.m_axis_tvalid):
                received.append(ctx.get(core.m_axis_tdata))
                lasts.append(bool(ctx.get(core.m_axis_tlast)))
                out_cycles.append(cycle)
                moved = cycle
                if len(received) % (_REPORT * traffic.beats_out) == 0:
                    report(len(received) // traffic.beats_out)
            if offering and ctx.get(core.s_axis_tready):
                in_cycles.append(cycle)
                sent, offering, moved = sent + 1, False, cycle + 1
            for probe in probes:
                probe.sample(ctx, cycle, first <= len(received) < last)
            await ctx.tick()
            cycle += 1
        report(len(received) // traffic.beats_out)
        records.append(Record.of(traffic, in_cycles, received, lasts, out_cycles, cycles=cycle,
                                 taps=[probe.result() for probe in probes]))

    simulator = Simulator(m)
    simulator.add_clock(_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return records[0]


class _Probe:
    """Samples one stream; the level of its FIFO is out of sight."""

    def __init__(self, core: rtl.Core, tap: Tap):
        self.stream = getattr(core.units[tap.scope[-1]], tap.port)
        self.payload = Value.cast(self.stream.payload)
        self.watch = Watch()

    def sample(self, ctx, cycle: int, counted: bool):
        valid, ready = bool(ctx.get(self.stream.valid)), bool(ctx.get(self.stream.ready))
        if self.watch.sample(cycle, valid, ready, counted=counted):
            self.watch.payloads.append(ctx.get(self.payload))

    def result(self) -> Tapped:
        return self.watch.result(len(self.payload))
