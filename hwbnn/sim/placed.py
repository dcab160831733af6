"""The placed design of a board against golden: images as requests on its serial line, answers as results."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwbnn.builddir import BuildDirectory
from hwbnn.sim.amaranth_engine import AmaranthEngine
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL
from hwbnn.sim.netlist import Line, line_of, netlist_of
from hwbnn.sim.traffic import Record, Traffic
from hwbnn_boards.host import decode_frame, encode_frame
from hwbnn_boards.protocol import CRC_BYTES, HEADER_BYTES, Command, Status, window

__all__ = ["LineEngine", "driven"]

_DRIVER = Path(__file__).with_name("models") / "serial.v"
_BITS = 10  # on the line for a byte
_START = 2000  # cycles in which the design comes out of its own reset, and then some


def driven(directory: BuildDirectory, design: Path, *, image_bytes: int, result_bytes: int) -> Path:
    """Write the placed netlist with the host's end of its serial line to ``design``, and return that.

    Its top module has the ports of an accelerator, whose frames are requests and answers, a byte in each beat.
    """
    line = line_of(directory)
    settings = {"DIVISOR": line.divisor, "WINDOW": window(image_bytes), "LENGTH": _answer_bytes(result_bytes)}
    pins = ", ".join(f".{getattr(line, pin)}({pin})" for pin in ("clk", "rx", "tx"))
    ports = {"aclk": "input", "aresetn": "input", "s_axis_tdata": "input [7:0]", "s_axis_tvalid": "input",
             "s_axis_tlast": "input", "s_axis_tready": "output", "m_axis_tdata": "output [7:0]",
             "m_axis_tvalid": "output", "m_axis_tlast": "output", "m_axis_tready": "input"}
    above = (f"module hwbnn_board (input clk, rx, output tx);\n    top placed ({pins});\nendmodule\n"
             f"module {TOPLEVEL} ({', '.join(f'{kind} {port}' for port, kind in ports.items())});\n"
             f"    hwbnn_line #({', '.join(f'.{name}({value})' for name, value in settings.items())}) line ("
             f"{', '.join(f'.{port}({port})' for port in ports)});\nendmodule\n")
    return netlist_of(directory, "placed", design, above=_DRIVER.read_text() + above)


class LineEngine:
    """Runs the traffic of an accelerator on a design from :func:`driven`, by an engine that moves its bytes.

    Parameters
    ----------
    machine : engine
        What simulates it.
    line : :class:`Line`
        Its serial line.
    """

    def __init__(self, machine: AmaranthEngine | CocotbEngine | CompiledEngine, line: Line):
        self.machine, self.line = machine, line
        self.name, self.simulator, self.versions = machine.name, machine.simulator, machine.versions

    def build(self) -> bool:
        """Build the simulator unless it is there; return whether it had to be built."""
        return self.machine.build()

    def run(self, phases: Mapping[str, Traffic], report: Callable[[str, int], object] = lambda phase, frames: None
            ) -> dict[str, Record]:
        """Run ``phases`` without stalls; each frame is a request, and its answer's payload the record's beats."""
        records = self.machine.run({name: self._requests(traffic) for name, traffic in phases.items()}, report)
        return {name: _results(traffic, records[name]) for name, traffic in phases.items()}

    def _requests(self, traffic: Traffic) -> Traffic:
        """Frames as requests, filled up with zeros to the longest."""
        images = traffic.stimulus.reshape(traffic.frames, -1)
        frames = [encode_frame(bytes([n % 256, Command.RUN]) + image.tobytes()) for n, image in enumerate(images)]
        stimulus = np.zeros((len(frames), max(map(len, frames)), 1), np.uint8)
        for row, frame in zip(stimulus, frames, strict=True):
            row[:len(frame), 0] = list(frame)
        answer = _answer_bytes(traffic.beats_out * traffic.bytes_out)
        patience = traffic.patience + 2 * _BITS * self.line.divisor * (stimulus.shape[1] + answer) + _START
        return replace(traffic, stimulus=stimulus, beats_out=answer, bytes_out=1, patience=patience, counted=(0, 0))


def _results(traffic: Traffic, record: Record) -> Record:
    """A record of answers as one of results; a refused image is a fault."""
    shape = traffic.beats_out, traffic.bytes_out
    beats, faults = np.zeros((len(record.beats), *shape), np.uint8), list(record.faults)
    for n, answer in enumerate(record.beats[:, :, 0]):
        body = decode_frame(answer.tobytes().partition(b"\0")[0])
        if body is None or body[:HEADER_BYTES] != bytes([n % 256, Status.OK]) or len(body) != HEADER_BYTES + math.prod(
                shape):
            faults.append(f"Board must answer request {n} with its result, not with "
                          f"{'a damaged frame' if body is None else body.hex(' ')}")
            break
        beats[n] = np.frombuffer(body[HEADER_BYTES:], np.uint8).reshape(shape)
    return replace(record, beats=beats, faults=faults)


def _answer_bytes(result_bytes: int) -> int:
    """Bytes on the line of the longest answer."""
    body = HEADER_BYTES + result_bytes + CRC_BYTES
    return body + math.ceil(body / 254) + 1
