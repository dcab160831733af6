"""The CUDA path without a GPU: engine and kernels on an emulated device; with one, the same networks for real."""

import ctypes
import subprocess
import sys

import cuda_emulation
import numpy as np
import pytest
import zoo
from infer_cases import ACTIVATIONS, HIDDEN, images, network, pooled, residual

from hwbnn import golden, infer, ir
from hwbnn.errors import UserError
from hwbnn.infer.cuda import kernels, trial
from hwbnn.infer.cuda.array import DeviceArray
from hwbnn.infer.cuda.engine import CudaEngine
from hwbnn.infer.plain import NumpyEngine
from hwbnn.infer.session import Session

PRODUCTS = ("product_mma", "product_popc", "product_wgmma")
emulated = pytest.mark.skipif(cuda_emulation.compiler() is None, reason="kernels are emulated with g++")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return cuda_emulation.build(tmp_path_factory.mktemp("emulated"))


@pytest.fixture(scope="module")
def engines(library):
    """An engine for each kernel; making one tries its kernel out, which takes long here."""
    return {kernel: CudaEngine(cuda_emulation.EmulatedDriver(library, (kernel,)), NumpyEngine())
            for kernel in PRODUCTS}


@pytest.fixture(params=PRODUCTS)
def engine(request, engines, monkeypatch):
    """An engine whose products, small ones too, run on one kernel."""
    monkeypatch.setattr("hwbnn.infer.cuda.engine._FEW_ROWS", 0)
    return engines[request.param]


def assert_exact(net, x, engine, **options):
    session = Session(net, engine, **options)
    np.testing.assert_array_equal(session.run(x), golden.run(net, x))


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.MLPS)
def test_zoo(name, engine):
    net = zoo.MLPS[name]()
    assert_exact(net, images(net, 70, np.random.default_rng(0)), engine, batch=64)
    assert engine.products[0] in engine.driver.launched


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_convolutions_pooling_and_padding(engine, seed):
    rng = np.random.default_rng(seed)
    weights = (ir.BIPOLAR, ir.TERNARY)[seed % 2]
    groups = 2 if seed == 5 else 1
    channels, rows = int(rng.integers(1, 70)) * groups, int(rng.integers(1, 40)) * groups
    node = ir.Conv("conv", ("x",), ("y",), rng.choice(weights.values(), (rows, 3, 2, channels // groups)), weights,
                   (1 + seed % 2, 1), tuple(int(n) for n in rng.integers(0, 3, 4)), (1, 1 + seed // 4), groups)
    net = pooled(rng, node, (5, 6, channels), ACTIVATIONS[seed], HIDDEN[seed % len(HIDDEN)])
    assert_exact(net, images(net, 2, rng), engine)


@emulated
@pytest.mark.slow
def test_residual_block(engine):
    net = residual(np.random.default_rng(0), channels=5)
    assert_exact(net, images(net, 3, np.random.default_rng(1)), engine)


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("node", [
    ir.Concat("n", ("x", "x"), ("y",)), ir.Reshape("n", ("x",), ("y",), (16,)), ir.TopK("n", ("x",), ("y",)),
    ir.Affine("n", ("x",), ("y",), [2**40], [7]), ir.Add("n", ("x", "x"), ("y",)),
    ir.SumPool("n", ("x",), ("y",), (2, 2), (1, 1), (1, 0, 0, 1)),
    ir.Threshold("n", ("x",), ("y",), np.arange(-7, 8)[None], ir.Levels.unsigned(4), [-1]),
], ids=lambda node: node.op)
def test_rare_operations(engines, node):
    engine = engines["product_popc"]
    sets = [ir.Levels(-8, 7), ir.TERNARY, ir.Levels(-70000, 70000), ir.Levels(-(2**40), 2**40)]
    for levels in sets[:3] if node.op == "Affine" else sets:
        shape = (2, 2, 4)
        net = network([node], ir.Input("x", shape, shape, levels))
        x = np.random.default_rng(0).integers(levels.low, levels.high + 1, (5, *shape))
        assert_exact(net, x, engine)


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("levels", [ir.BIPOLAR, ir.TERNARY], ids=str)
def test_blocks_that_take_tile_after_tile(engines, levels, monkeypatch):
    """More tiles than processors, more stages than the ring of shared memory holds, ragged on every side."""
    engine = engines["product_wgmma"]
    monkeypatch.setattr(engine.driver, "processors", 2)
    rng = np.random.default_rng(0)
    net = network([ir.MatMul("fc", ("x",), ("acc",), rng.choice(levels.values(), (300, 3300)), levels),
                   ir.Threshold("act", ("acc",), ("y",), np.sort(rng.integers(-60, 60, (300, 2)), axis=1), ir.TERNARY)],
                  ir.Input("x", (3300,), (3300,), levels))
    assert_exact(net, images(net, 290, rng), engine)
    assert "product_wgmma" in engine.driver.launched


@emulated
@pytest.mark.slow
def test_few_rows_run_as_one_recorded_graph(library):
    engine = CudaEngine(cuda_emulation.EmulatedDriver(library), NumpyEngine())
    net = zoo.MLPS["ternary"]()
    session = Session(net, engine)
    x = images(net, 5, np.random.default_rng(0))
    want = golden.run(net, x)
    for k in range(5):  # the first records, the others replay, with other inputs
        assert np.array_equal(session.run(x[k:k + 1]), want[k:k + 1])
    assert len(engine._graphs) == 1
    assert np.array_equal(session.run(x[:2]), want[:2]) and len(engine._graphs) == 2


@emulated
@pytest.mark.slow
def test_a_kernel_that_multiplies_wrongly_is_not_used(library, capsys):
    driver = cuda_emulation.EmulatedDriver(library)
    honest = driver.launch

    def launch(kernel, *args):
        honest(kernel, *args)
        if kernel == "product_mma":
            args[7].array[:4] ^= 1  # the first value, or a harmless constant of bits
    driver.launch = launch
    assert CudaEngine(driver, NumpyEngine()).products == ("product_popc",)
    assert capsys.readouterr().err == "hwbnn: product_mma is not used on emulated: it multiplies wrongly\n"


@emulated
@pytest.mark.slow
def test_a_kernel_that_the_device_stops_is_not_used(library, capsys):
    driver = cuda_emulation.EmulatedDriver(library, ("product_wgmma", "product_mma", "product_popc"))
    honest = driver.launch

    def launch(kernel, *args):
        if kernel == "product_wgmma":
            raise RuntimeError("CUDA answers CUDA_ERROR_ILLEGAL_INSTRUCTION\nand more")
        honest(kernel, *args)
    driver.launch = launch
    driver.trial = lambda kernel: "no answer within 120 s" if kernel == "product_mma" else "exact"
    assert CudaEngine(driver, NumpyEngine()).products == ("product_popc",)
    assert capsys.readouterr().err.splitlines() == [
        "hwbnn: product_wgmma is not used on emulated: CUDA answers CUDA_ERROR_ILLEGAL_INSTRUCTION",
        "hwbnn: product_mma is not used on emulated: no answer within 120 s"]


@pytest.mark.parametrize("code, want", [
    ("pass", "exact"), ("import sys; sys.exit('first\\nhwbnn: K is not used on H200: X: Y')", "X: Y"),
    ("import os; os._exit(3)", "exit status 3"), ("import time; time.sleep(9)", "no answer within 1 s"),
])
def test_a_trial_is_another_process_and_its_verdict_is_kept(tmp_path, monkeypatch, code, want):
    honest, started = subprocess.run, []

    def run(command, **options):
        started.append(command)
        assert command[1:] == ["-m", "hwbnn.infer.cuda.trial", "product_wgmma", "0"]
        return honest([sys.executable, "-c", code], **options)
    monkeypatch.setattr(trial.subprocess, "run", run)
    monkeypatch.setattr(trial, "_SECONDS", 1 if "sleep" in code else 60)
    for _ in range(2):
        assert trial.verdict("product_wgmma", 0, tmp_path, "H200, driver 13.0") == want
    assert len(started) == 1
    assert trial.verdict("product_wgmma", 0, tmp_path, "H200, driver 13.1") == want and len(started) == 2


@emulated
def test_no_kernel_that_multiplies_exactly(library):
    driver = cuda_emulation.EmulatedDriver(library, ("product_popc",))
    driver.launch = lambda *args: None
    with pytest.raises(UserError, match=r"^GPU must multiply exactly, and no kernel does on emulated$"):
        CudaEngine(driver, NumpyEngine())


COMMON = """
#include "common.h"
extern "C" {
int a_row(int l, int j) { return fragment_a_row(l, j); }
int a_word(int l, int j) { return fragment_a_word(l, j); }
int c_row(int l, int j) { return fragment_c_row(l, j); }
int c_column(int l, int j) { return fragment_c_column(l, j); }
int w_row(int w, int l, int j) { return wgmma_row(w, l, j); }
int w_column(int l, int j) { return wgmma_column(l, j); }
int swizzle(int r, int b) { return swizzled(r, b); }
unsigned long long descriptor(unsigned a) { return wgmma_descriptor(a); }
int factor(int p, int parts, int shift) { return pass_factor(p, parts, shift); }
}
"""


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    folder = tmp_path_factory.mktemp("common")
    (folder / "common.cpp").write_text(COMMON)
    subprocess.run([cuda_emulation.compiler(), "-shared", "-fPIC", "-std=c++17", f"-I{cuda_emulation.SOURCES}", "-o",
                    str(folder / "common.so"), str(folder / "common.cpp")], check=True)
    library = ctypes.CDLL(str(folder / "common.so"))
    library.descriptor.restype = ctypes.c_uint64
    return library


@emulated
def test_fragments_cover_each_element_once(common):
    a = {(common.a_row(lane, j), common.a_word(lane, j)) for lane in range(32) for j in range(4)}
    assert a == {(r, w) for r in range(16) for w in range(8)}
    c = {(common.c_row(lane, j), common.c_column(lane, j)) for lane in range(32) for j in range(4)}
    assert c == {(r, n) for r in range(16) for n in range(8)}
    w = {(common.w_row(warp, lane, j), common.w_column(lane, j)) for warp in range(4) for lane in range(32)
         for j in range(64)}
    assert w == {(r, n) for r in range(64) for n in range(128)}


@emulated
def test_swizzle_and_descriptor(common):
    places = {common.swizzle(r, b) for r in range(8) for b in range(128)}
    assert places == set(range(1024))
    assert common.swizzle(3, 16) == 3 * 128 + (1 ^ 3) * 16
    # PTX ISA, matrix descriptor: address / 16 in bits 0-13, leading offset / 16 in 16-29, stride / 16 in 32-45, swizzle
    # mode 1 (128 bytes) in 62-63
    descriptor = common.descriptor(0x8400)
    assert descriptor & 0x3FFF == 0x840 and descriptor >> 32 & 0x3FFF == 64 and descriptor >> 62 == 1


@emulated
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("planes, shift", [(1, 0), (2, 0), (3, 1), (8, 1)])
def test_passes_weigh_planes_and_signs(common, parts, planes, shift):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 100, (planes, parts))
    acc = 0
    for p in range(planes * parts):
        acc = acc * common.factor(p, parts, shift) + int(counts[p // parts, p % parts])
    weight = 2 ** np.arange(planes - 1, -1, -1) if shift else np.ones(planes, int)
    signed = counts[:, -1] - (counts[:, 0] if parts == 2 else 0)
    assert acc == (weight * signed).sum()


@pytest.mark.parametrize("capability, arch, first", [
    ((7, 5), "sm_75", "product_popc"), ((8, 0), "sm_80", "product_mma"), ((8, 9), "sm_89", "product_mma"),
    ((9, 0), "sm_90a", "product_wgmma"), ((10, 0), "sm_100", "product_popc"), ((12, 0), "sm_120", "product_popc"),
])
def test_tiers(capability, arch, first):
    tier = kernels.tier_of(*capability)
    assert (tier.arch, tier.products[0], tier.products[-1]) == (arch, first, "product_popc")


def test_too_old():
    with pytest.raises(ValueError, match=r"^Compute capability must be at least 7\.5, not 7\.0$"):
        kernels.tier_of(7, 0)


def test_arrays_keep_their_size():
    array = DeviceArray(None, (2, 6), np.dtype(np.int32))
    assert array.reshape(3, -1).shape == (3, 4) and len(array) == 2
    with pytest.raises(ValueError, match=r"^Shape must hold 12 values, not \(5, 2\)$"):
        array.reshape(5, 2)


def without_gpu() -> bool:
    try:
        infer.load(zoo.tiny(), "cuda")
    except UserError:
        return True
    return False


NO_GPU = without_gpu()


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
def test_no_gpu_is_one_line(capsys):
    with pytest.raises(UserError) as caught:
        infer.load(zoo.tiny(), "cuda")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("CUDA must have ")
    capsys.readouterr()
    net = zoo.tiny()
    session = infer.load(net, "auto")
    assert session.device == "cpu"
    assert capsys.readouterr().err.startswith("hwbnn: using the processor, since CUDA must have ")
    x = images(net, 5, np.random.default_rng(0))
    assert np.array_equal(session.run(x), golden.run(net, x))


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("hwbnn.infer.loading._installed", lambda package: False)
    with pytest.raises(UserError, match=r"^CUDA must have the package cuda-core, which is missing: "
                                        r"pip install 'hwbnn\[cuda\]'$"):
        infer.load(zoo.tiny(), "cuda")


def test_inference_imports_neither_cuda_nor_torch():
    code = ("import sys, zoo, numpy; from hwbnn import infer\n"
            "infer.load(zoo.tiny(), 'cpu').run(numpy.zeros((3, 8), 'uint8'))\n"
            "assert not {'cuda', 'torch', 'onnx', 'rich'} & set(sys.modules), set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": ":".join(sys.path), "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr


@pytest.mark.cuda
@pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU with its driver, and the extra cuda")
class TestOnTheDevice:
    """The same networks on a real GPU."""

    @pytest.mark.parametrize("name", zoo.MLPS)
    @pytest.mark.parametrize("count", [1, 8, 200])
    def test_zoo(self, name, count):
        net = zoo.MLPS[name]()
        x = images(net, count, np.random.default_rng(0))
        session = infer.load(net, "cuda")
        for _ in range(2):  # once recorded, once replayed
            assert np.array_equal(session.run(x), golden.run(net, x))

    @pytest.mark.parametrize("seed", range(6))
    def test_networks_with_convolutions(self, seed):
        rng = np.random.default_rng(seed)
        net = residual(rng)
        x = images(net, 33, rng)
        assert np.array_equal(infer.load(net, "cuda").run(x), golden.run(net, x))
