"""What the host link costs, and what counting by stage adds: the figures of docs/boards.md.

    python benchmarks/synthesis.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from amaranth.back import rtlil
from estimates import synthesize

from hwbnn import ir
from hwbnn.cost import technology
from hwbnn.plan import Fold, lower
from hwbnn.rtl import verilog
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.reports import Cells, cells
from hwbnn.synth.stages import count
from hwbnn.synth.tools import Tools
from hwbnn_boards import board, names
from hwbnn_boards.hostlink import HostLink
from hwbnn_boards.protocol import Beats
from hwbnn_boards.uart import divisor


def flat(tools: Tools, read: str, top: str, family: str, options: str, luts_per_memory: int) -> Cells:
    """Synthesize ``top`` as one, and count."""
    script = tools.directory / "flat.ys"
    script.write_text(f"{read}\n{FAMILIES[family].before_synthesis}\nsynth_{family} {options} -top {top}\n"
                      "tee -q -o flat.json stat -json\n")
    tools.run("yosys", ["-q", "flat.ys"], step="flat")
    by_type = json.loads((tools.directory / "flat.json").read_text())["design"]["num_cells_by_type"]
    return cells(by_type, luts_per_memory=luts_per_memory)


def mlp() -> ir.Network:
    """64 inputs of 4 bits, 64, 64, 10: random weights, thresholds at 0."""
    rng, tensor, nodes = np.random.default_rng(0), "x", []
    for k, (columns, rows) in enumerate(((64, 64), (64, 64), (64, 10))):
        nodes.append(ir.MatMul(f"fc{k}", (tensor,), (f"acc{k}",), rng.choice([-1, 1], (rows, columns)), ir.BIPOLAR))
        tensor = f"acc{k}"
        if k < 2:
            nodes.append(ir.Threshold(f"act{k}", (tensor,), (f"h{k}",), np.zeros((rows, 1), int), ir.BIPOLAR,
                                      np.ones(rows, int)))
            tensor = f"h{k}"
    return ir.Network("mlp", ir.Input("x", (64,), (64,), ir.Levels.unsigned(4)), tuple(nodes),
                      (ir.Output("logits", tensor, (10,)),))


IMAGES = ((Beats(2, 4), Beats(1, 1)), (Beats(8, 4), Beats(1, 1)), (Beats(1, 98), Beats(1, 1)),
          (Beats(784, 1), Beats(10, 2)), (Beats(1024, 3), Beats(1, 4)))


def main() -> None:
    plan = lower(mlp(), {"fc0": Fold(8, 8), "fc1": Fold(8, 16), "fc2": Fold(2, 8)})
    for name in names():
        target = board(name)
        known = technology(target.technology)
        how = {"family": target.family, "options": " ".join(known.synthesis.split()[1:]),
               "luts_per_memory": 0 if known.lut_memory is None else int(known.lut_memory.luts.value)}
        with tempfile.TemporaryDirectory() as folder:
            tools = Tools(Path(folder), print)
            link = HostLink(image=Beats(8, 4), result=Beats(1, 1), fingerprint=bytes(8),
                            divisor=divisor(target.clock_hz, target.baud))
            for image, result in IMAGES:
                sized = HostLink(image=image, result=result, fingerprint=bytes(range(7, 15)),
                                 divisor=divisor(target.clock_hz, target.baud))
                found, packed = synthesize(sized, target.family)
                registers = sum(number for kind, number in found.items() if "DFF" in kind or kind == "TRELLIS_FF")
                print(f"{name}: host link of {image} and {result}: {packed} packed, {registers} flip-flops")
            (tools.directory / "link.il").write_text(rtlil.convert(link, name="link"))
            (tools.directory / "source.v").write_text(verilog(plan))
            print(f"{name}: host link {flat(tools, 'read_rtlil link.il', 'link', **how)}")
            staged = count(tools, tools.directory / "source.v", plan, **how).total
            print(f"{name}: accelerator by stage {staged}")
            print(f"{name}: accelerator flat {flat(tools, 'read_verilog source.v', 'accelerator', **how)}")


if __name__ == "__main__":
    main()
