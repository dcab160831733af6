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
from hwbnn.infer.cpu import host, microkernel

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
from hwbnn.infer.cpu import host, kernels
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
text = "".join(kernels.bits_plain.inspect_asm().values()) + "".join(kernels.values_plain.inspect_asm().values())
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
from stale.kernels import product
print(product())
"""


@pytest.mark.slow
def test_an_edited_intrinsic_is_compiled_anew(tmp_path):
    """Numba alone would return the old result here: the cached function's own file does not change."""
    package = tmp_path / "stale"
    package.mkdir()
    source = Path(host.__file__).read_text()
    imported = "from hwbnn.infer.cpu.microkernel import Tile"
    assert imported in source
    (package / "__init__.py").touch()
    (package / "host.py").write_text(source.replace(imported, "from stale.microkernel import Tile"))
    (package / "kernels.py").write_text("from stale.host import compiled\nfrom stale.microkernel import number\n\n\n"
                                        "@compiled\ndef product():\n    return number()\n")
    body = Path(microkernel.__file__).read_text() + ("\n\n@intrinsic\ndef number(typingctx):\n"
                                                      "    return types.int64(), lambda *a: _i64(VALUE)\n")
    for value in ("11", "22"):
        (package / "microkernel.py").write_text(body.replace("VALUE", value))
        shutil.rmtree(package / "__pycache__", ignore_errors=True)
        for _ in range(2):
            out = run_python(STALE, str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
            assert out.strip() == value
    assert len(list((tmp_path / "cache" / "hwbnn" / "cpu").iterdir())) == 2


def test_an_unwritable_cache_only_costs_time(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(host, "cache_directory", host.cache_directory.__wrapped__)
    assert host.cache_directory() is None
    double = host.compiled(lambda x: 2 * x)
    assert double(21) == 42


def test_panels_begin_at_a_cache_line():
    array = cpu._aligned(np.arange(100, dtype=np.uint64))
    assert array.ctypes.data % 64 == 0 and array.tolist() == list(range(100))
