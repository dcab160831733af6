"""Run generated hardware in the Amaranth simulator, and count what is in it."""

import re
from collections import Counter

from amaranth.back import rtlil
from hypothesis import strategies as st
from streams import AxiPort, transfer

from hwbnn import plan, rtl

GAPS = st.lists(st.integers(0, 4), min_size=1, max_size=6)
STYLES = st.sampled_from(["block", "logic"])
FAST = plan.Pace(levels=1, address=1, output=1, shapes=((8, 3), (4, 6)))
PACES = st.sampled_from([plan.RELAXED, plan.RELAXED, FAST, plan.Pace(output=1), plan.Pace(levels=3, address=2)])


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


@st.composite
def folds(draw, network):
    """Any folding of a network, on any datapath."""
    return {node.name: plan.Fold(draw(st.sampled_from(divisors(node.rows))),
                                 draw(st.sampled_from(divisors(node.columns))), draw(options(network, node)))
            for node in network.nodes if node.op == "MatMul"}


def options(network, node):
    """Any options of the unit of a MatMul."""
    names = plan.datapaths(network.tensors[node.input].levels, plan.weight_levels(node.weights))
    return st.builds(plan.UnitOptions, datapath=st.sampled_from(("auto", *names)))


def loading(core, packets):
    """A testbench that sends ``packets`` of bytes over the configuration stream."""
    async def testbench(ctx):
        ctx.set(core.s_axis_cfg_tvalid, 1)
        for packet in packets:
            for n, byte in enumerate(packet):
                ctx.set(core.s_axis_cfg_tdata, byte)
                ctx.set(core.s_axis_cfg_tlast, n == len(packet) - 1)
                await ctx.tick()
        ctx.set(core.s_axis_cfg_tvalid, 0)
        ctx.set(core.s_axis_cfg_tlast, 0)
        await ctx.tick().repeat(2)
    return testbench


def run(p, q, packets=(), **gaps):
    """Send images through a whole accelerator, after it was loaded with ``packets``.

    Returns
    -------
    values : integers (N, *output shape)
    started, finished : list
        Cycle of each frame's first input and last output transfer.
    """
    core = rtl.Core(p)
    s, m = AxiPort(core, "s_axis"), AxiPort(core, "m_axis")
    limit = 400 + sum(map(len, packets)) + 12 * (len(q) + 4) * sum(stage.ii + stage.latency for stage in p.stages)
    into, out = transfer(core, s.join(rtl.stream_words(p, q), p.input.beats), len(q) * p.output.beats,
                         i=s, o=m, timeout=limit, patience=4,
                         before=loading(core, packets) if packets else None, **gaps)
    beats = [m.split(payload) for _, payload in out]
    assert [last for _, last in beats] == ([0] * (p.output.beats - 1) + [1]) * len(q)
    return (rtl.result_values(p, [data for data, _ in beats]),
            [cycle for cycle, _ in into[::p.input.beats]],
            [cycle for cycle, _ in out[p.output.beats - 1::p.output.beats]])


def inventory(elaboratable):
    """Count what is in the RTLIL of a design.

    Returns
    -------
    flip_flops : dict
        Bits of all ``$dff`` cells and their kin, by the name of the module they stand in.
    memories : list
        (width, depth) of every memory, sorted.
    """
    text = rtlil.convert(elaboratable, name="top", emit_src=False)
    flip_flops = Counter()
    for name, body in re.findall(r"\nmodule \\(\S+)\n(.*?)\nend", text, re.DOTALL):
        for cell in re.findall(r"\n  cell \$\w*dff\w* \S+\n(.*?)\n  end", body, re.DOTALL):
            flip_flops[name] += int(re.search(r"parameter \\WIDTH (\d+)", cell).group(1))
    sizes = re.findall(r"memory width (\d+) size (\d+)", text)
    return flip_flops, sorted((int(width), int(depth)) for width, depth in sizes)
