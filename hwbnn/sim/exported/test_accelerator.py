"""The bench as a test for pytest: `pytest`, or `SIM=verilator pytest`."""

import os
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).parent.resolve()
BUILD_ARGS = {"verilator": ["-Wno-fatal", "-Wno-lint"]}  # generated Verilog has no timescales, on purpose


def test_accelerator():
    simulator = os.environ.get("SIM", "icarus")
    build = HERE / "sim_build" / f"pytest-{simulator}"
    timescale = ("1ns", "1ps")
    runner = get_runner(simulator)
    runner.build(sources=[HERE / "accelerator.v"], hdl_toplevel="accelerator", build_dir=build,
                 build_args=BUILD_ARGS.get(simulator, []), timescale=timescale)
    results = runner.test(test_module="accelerator_bench", hdl_toplevel="accelerator", hdl_toplevel_lang="verilog",
                          build_dir=build, test_dir=HERE, results_xml=str(build / "results.xml"), timescale=timescale)
    ran, failed = get_results(results)
    assert ran > 0 and failed == 0
