"""The compiled engine's variants, and its cache: a stale kernel must be impossible."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled engine needs the extra cpu")
import llvmlite.binding as llvm

from hwbnn.infer import cpu
from hwbnn.infer.cpu import compiler, host, native

ROOT = Path(__file__).parent.parent
# What a processor of each kind has; numba compiles for these instead of for the machine that runs the test.
_AVX512 = "+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx2,+avx,+popcnt"
PROCESSORS = {
    "avx512-vpopcntdq": ("icelake-server", _AVX512 + ",+avx512vpopcntdq"),
    "avx512": ("skylake-avx512", _AVX512),
    "avx512 vnni": ("cascadelake", _AVX512 + ",+avx512vnni"),
    "avx512 amx": ("cascadelake", _AVX512 + ",+avx512vnni,+amx-tile,+amx-int8"),
    "avx2": ("haswell", "+avx2,+avx,+popcnt,+sse4.2,+ssse3"),
    "portable": ("x86-64", "+sse2"),
}
_HERE = frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)

CHECK = """
import sys
import numpy as np
import zoo
from hwbnn import golden
from hwbnn.infer.cpu import compiler, host, kernels
from hwbnn.infer.session import Session
from hwbnn.infer import cpu
assert f"{host.variant()} {host.byte_unit()}".strip() == sys.argv[1], (host.variant(), host.byte_unit())
cpu._ROWS_FOR_BYTES, cpu._EXPANSION, cpu._PLANES_FOR_DOT = 1, 0, 1
for name, make in zoo.MLPS.items():
    net = make()
    x = np.random.default_rng(0).choice(net.input.levels.values(), (13, *net.input.graph_shape))
    for engine in (cpu.NumbaEngine(), cpu.NumbaEngine("")):
        assert np.array_equal(Session(net, engine).run(x), golden.run(net, x)), (name, engine.byte_unit)
rng = np.random.default_rng(1)
from hwbnn import ir
wide = ir.Network("wide", ir.Input("x", (9001,), (9001,), ir.BIPOLAR),
                  (ir.MatMul("fc", ("x",), ("y",), rng.choice([-1, 1], (70, 9001)), ir.BIPOLAR),),
                  (ir.Output("y", "y", (70,)),))
x = np.concatenate([rng.choice([-1, 1], (6, 9001)), wide.nodes[0].weights[:1], -wide.nodes[0].weights[:1]])
for engine in (cpu.NumbaEngine(), cpu.NumbaEngine("")):
    assert np.array_equal(Session(wide, engine).run(x), golden.run(wide, x)), ("wide", engine.byte_unit)
text = compiler.assembly("bits_plain") + compiler.assembly("values_plain")
print("zmm" if "zmm" in text else "", "ymm" if "ymm" in text else "", "vpopcntq" if "vpopcntq" in text else "")
"""


def run_python(code: str, *args: str, **environment: str) -> str:
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": paths, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("variant", PROCESSORS)
def test_every_variant_is_exact_and_keeps_to_its_registers(variant, tmp_path):
    name, features = PROCESSORS[variant]
    needed = {item[1:] for item in features.split(",")}
    if not needed <= _HERE:
        pytest.skip(f"this processor lacks {', '.join(sorted(needed - _HERE))}")
    text = run_python(CHECK, variant, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features, XDG_CACHE_HOME=str(tmp_path))
    assert ("zmm" in text) == variant.startswith("avx512")
    assert ("vpopcntq" in text) == (variant == "avx512-vpopcntdq")
    assert ("ymm" in text) or variant != "avx2"


def test_the_cache_folder_changes_with_every_source(tmp_path):
    copy = tmp_path / "cpu"
    shutil.copytree(Path(cpu.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = host.digest(copy)
    assert before == host.digest(Path(cpu.__file__).parent)
    for path in copy.glob("*.py"):
        text = path.read_text()
        path.write_text(text + "\n")
        assert host.digest(copy) != before, f"an edit of {path.name} goes unnoticed"
        path.write_text(text)
    assert host.digest(copy) == before


STALE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy
from stale.native import kernel
out = numpy.zeros(1, "int64")
kernel("product")(out)
print(out[0], "numba" in sys.modules)
"""


@pytest.mark.slow
def test_an_edited_intrinsic_is_compiled_anew_and_an_unchanged_one_needs_no_numba(tmp_path):
    """Numba's own cache would return the old result here: the cached function's own file does not change."""
    package = tmp_path / "stale"
    shutil.copytree(Path(host.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.glob("*.py"):
        path.write_text(path.read_text().replace("hwbnn.infer.cpu.", "stale."))
    for name in ("__init__.py", "bytes.py"):
        (package / name).write_text("")
    (package / "kernels.py").write_text(
        "from stale.compiler import I64, kernel\nfrom stale.microkernel import number\n\n\n"
        "@kernel(out=I64)\ndef product(out):\n    out[0] = number()\n")
    body = (package / "microkernel.py").read_text() + ("\n\n@intrinsic\ndef number(typingctx):\n"
                                                       "    return types.int64(), lambda *a: _i64(VALUE)\n")
    for value in ("11", "22"):
        (package / "microkernel.py").write_text(body.replace("VALUE", value))
        shutil.rmtree(package / "__pycache__", ignore_errors=True)
        for compiles in (True, False):
            out = run_python(STALE, str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
            assert out.split() == [value, str(compiles)]
    assert len(list((tmp_path / "cache" / "hwbnn" / "cpu").iterdir())) == 2


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Kernels that are looked for in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "cache_directory", host.cache_directory.__wrapped__)
    return native.kernel.__wrapped__


def counted(kernel) -> list[int]:
    out = np.zeros(5, np.uint8)
    kernel("look_up")(np.arange(5, dtype=np.uint8), 5, np.arange(256, dtype=np.uint8)[::-1].copy(), out)
    return out.tolist()


def test_a_damaged_kernel_is_compiled_anew(fresh, monkeypatch):
    assert counted(fresh) == [255, 254, 253, 252, 251]
    folder = native.cache_directory()
    assert folder is not None
    path = folder / "look_up.o"
    good = path.read_bytes()
    for bad in (good[:-1], b"", good.replace(b"ELF", b"ELV")):
        path.write_bytes(bad)
        assert counted(fresh) == [255, 254, 253, 252, 251]
        assert native._read(path) is not None
    monkeypatch.setattr(compiler, "object_code", None)  # not called again
    assert counted(fresh) == [255, 254, 253, 252, 251]


def test_an_unwritable_cache_only_costs_time(fresh, tmp_path):
    (tmp_path / "cache").touch()
    assert native.cache_directory() is None
    assert counted(fresh) == [255, 254, 253, 252, 251]


def test_kernels_refuse_arrays_of_another_type():
    numbers, table = np.arange(10, dtype=np.uint8), np.zeros(256, np.uint8)
    with pytest.raises(TypeError, match=r"^Kernel look_up must have contiguous uint8, not int32 \(4,\)$"):
        native.kernel("look_up")(numbers.astype(np.int32), 5, table, numbers)
    with pytest.raises(TypeError, match=r"^Kernel look_up must have contiguous uint8, not uint8 \(2,\)$"):
        native.kernel("look_up")(numbers[::2], 5, table, numbers)


def test_kernels_need_nothing_of_python(monkeypatch):
    monkeypatch.setattr(compiler, "_KERNELS", {})
    with pytest.raises(ValueError, match=r"^Pointers of look must be parameters, not y$"):
        compiler.kernel(y=compiler.U8)(look)
    compiler.kernel(x=compiler.U8)(look)
    with pytest.raises(ValueError, match=r"^Kernel look must need nothing of Python, not .*NRT_"):
        compiler.object_code("look")


def look(x):
    """A kernel that asks for memory."""
    x[0] = np.zeros(x[1]).sum()


def test_panels_begin_at_a_cache_line():
    array = cpu._aligned(np.arange(100, dtype=np.uint64))
    assert array.ctypes.data % 64 == 0 and array.tolist() == list(range(100))
