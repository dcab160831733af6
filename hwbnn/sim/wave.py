"""Which signals to look at in a waveform: lists for GTKWave and Surfer, in the order in which frames pass."""

import re
from collections.abc import Iterator
from pathlib import Path

from hwbnn.builddir import write_atomic
from hwbnn.plan import FrameInputStage, FrameOutputStage
from hwbnn.sim.beats import width
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.streams import stage_streams

__all__ = ["gtkwave", "groups", "surfer", "write_signal_lists"]

_ROOT = f"TOP.{TOPLEVEL}"
Group = tuple[str, list[tuple[str, int]]]


def groups(design: Design) -> Iterator[Group]:
    """Yield a title and (signal, bits) pairs per stream: the input port, each stage's output, the output port."""
    yield "clock", [(f"{_ROOT}.aclk", 1), (f"{_ROOT}.aresetn", 1)]
    yield "s_axis", _axis("s_axis", 8 * width(design.plan.input))
    for stream in stage_streams(design):
        if not isinstance(stream.stage, FrameInputStage | FrameOutputStage):
            name = f"{_ROOT}.{stream.tap}"
            yield stream.layer if stream.stage.nodes else stream.name, [(f"{name}__valid", 1), (f"{name}__ready", 1),
                                 (f"{name}__payload", stream.stream.bits)]
    yield "m_axis", _axis("m_axis", 8 * width(design.plan.output))


def _axis(port: str, bits: int) -> list[tuple[str, int]]:
    return [(f"{_ROOT}.{port}_{name}", size) for name, size in (("tvalid", 1), ("tready", 1), ("tlast", 1),
                                                                ("tdata", bits))]


def gtkwave(design: Design, wave: Path) -> str:
    """A save file for ``gtkwave``."""
    lines = ["[*] Written by hwbnn", f'[dumpfile] "{wave.absolute()}"']
    for title, signals in groups(design):
        lines += ["@200", f"-{title}"]
        for name, bits in signals:
            lines += ["@28", name] if bits == 1 else ["@22", f"{name}[{bits - 1}:0]"]
    return "\n".join([*lines, ""])


def surfer(design: Design) -> str:
    """A command file for ``surfer --command-file``; its dividers are single words."""
    lines = []
    for title, signals in groups(design):
        lines.append(f"divider_add {'_'.join(re.findall(r'[A-Za-z0-9]+', title))}")
        lines += [f"variable_add {name}" for name, _ in signals]
    return "\n".join([*lines, "zoom_fit", ""])


def write_signal_lists(design: Design, wave: Path) -> tuple[Path, Path]:
    """Write both lists beside ``wave`` and return their paths."""
    return (write_atomic(wave.with_suffix(".gtkw"), gtkwave(design, wave)),
            write_atomic(wave.with_suffix(".sucl"), surfer(design)))
