"""Builds or runs a cocotb simulation in a process of its own: cocotb's runner takes its environment from there.

``python -m hwbnn.sim.cocotb_process build JOB`` or ``... test JOB``, where JOB is a JSON file written by
:mod:`hwbnn.sim.cocotb_engine`.
"""

import json
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

# Amaranth's Verilog has neither timescales nor full case statements, on purpose.
_BUILD_ARGS = {"verilator": ["-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint"],
               "icarus": []}


def build(job: dict):
    get_runner(job["simulator"]).build(
        sources=[job["verilog"]], hdl_toplevel=job["toplevel"], build_dir=job["directory"], always=True,
        build_args=_BUILD_ARGS[job["simulator"]], timescale=("1ns", "1ps"))


def test(job: dict) -> int:
    """Return how many phases did not pass, or -1 where not every phase ran."""
    results = get_runner(job["simulator"]).test(
        test_module="hwbnn.sim.bench", hdl_toplevel=job["toplevel"], hdl_toplevel_lang="verilog",
        build_dir=job["directory"], test_dir=job["traffic"], results_xml=str(Path(job["traffic"]) / "results.xml"),
        test_filter=rf"\.({'|'.join(job['phases'])})$", timescale=("1ns", "1ps"),
        seed=job["seed"], extra_env={"HWBNN_TRAFFIC": job["traffic"]})
    ran, failed = get_results(results)
    return failed if ran == len(job["phases"]) else -1


if __name__ == "__main__":
    action, path = sys.argv[1:]
    content = json.loads(Path(path).read_text())
    if action == "build":
        build(content)
    else:
        status = test(content)
        Path(content["status"]).write_text(json.dumps(status))
