"""Gates on the machine code of every kernel for every architecture, compiled by NVRTC without a GPU."""

import re
import shutil
import subprocess
from importlib.metadata import files as distribution_files
from pathlib import Path

import pytest

pytest.importorskip("cuda.core", reason="compiling kernels needs the extra cuda")
from hwbnn.infer.cuda import compile as cuda_compile
from hwbnn.infer.cuda.kernels import KERNELS, tier_of

ARCHITECTURES = {"sm_80": (8, 0), "sm_86": (8, 6), "sm_89": (8, 9), "sm_90a": (9, 0)}
CASES = [(arch, source) for arch, capability in ARCHITECTURES.items() for source in KERNELS
         if source == "steps" or source in tier_of(*capability).products]
TENSOR_CORE = {(arch, "product_mma"): "BMMA.168256.AND.POPC" for arch in ARCHITECTURES}
TENSOR_CORE["sm_90a", "product_wgmma"] = "BGMMA.64x128x256.AND.POPC"


def disassembler() -> str | None:
    """nvdisasm from its wheel, or from the path."""
    try:
        for file in distribution_files("nvidia-cuda-nvdisasm") or ():
            if file.name in ("nvdisasm", "nvdisasm.exe"):
                return str(file.locate())
    except ModuleNotFoundError:  # PackageNotFoundError is one
        pass
    return shutil.which("nvdisasm")


def calls_elsewhere(sass: str) -> list[str]:
    """Calls of functions: how emulated instructions show. Some jumps within a kernel are spelled CALL as well."""
    return [name for name in re.findall(r"CALL[.\w]* `?\(?([^\s;)]*)", sass)
            if not re.match(r"\.L_x_\d+$|.*sm70_(shflsync|votesync|warpsync)", name)]


@pytest.fixture(scope="module")
def compiled():
    """Compile each case once."""
    done: dict[tuple[str, str], tuple[bytes, str]] = {}

    def get(arch: str, source: str) -> tuple[bytes, str]:
        if (arch, source) not in done:
            done[arch, source] = cuda_compile.compile_source(source, arch)
        return done[arch, source]
    return get


@pytest.mark.slow
@pytest.mark.parametrize("arch, source", CASES)
def test_no_spills_and_no_warnings(compiled, arch, source):
    _, log = compiled(arch, source)
    functions = re.findall(r"Function properties for (\w+)", log)
    assert set(functions) == set(KERNELS[source])
    assert re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log) == [("0", "0")] * len(functions)
    assert not re.search(r"warning|ignored|serialized", log), log


@pytest.mark.slow
@pytest.mark.skipif(disassembler() is None, reason="reading machine code needs nvdisasm (nvidia-cuda-nvdisasm)")
@pytest.mark.parametrize("arch, source", CASES)
def test_native_instructions_and_no_calls(compiled, arch, source, tmp_path):
    code, _ = compiled(arch, source)
    (tmp_path / "code.cubin").write_bytes(code)
    sass = subprocess.run([disassembler(), "-c", str(tmp_path / "code.cubin")], capture_output=True, text=True,
                          check=True)
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.a-z]*)", sass.stdout)
    assert len(names) > 100
    if (arch, source) in TENSOR_CORE:
        assert TENSOR_CORE[arch, source] in names, {name for name in names if "MMA" in name}
    if source.startswith("product"):
        assert not calls_elsewhere(sass.stdout)


@pytest.mark.slow
@pytest.mark.skipif(disassembler() is None, reason="reading machine code needs nvdisasm (nvidia-cuda-nvdisasm)")
def test_the_gate_notices_an_emulated_instruction(tmp_path, monkeypatch):
    """XOR is no instruction of sm_90a: the same kernel with it must not pass."""
    folder = tmp_path / "cuda"
    shutil.copytree(Path(cuda_compile.__file__).parent, folder)
    header = (folder / "device.h").read_text()
    (folder / "device.h").write_text(header.replace(".and.popc", ".xor.popc"))
    monkeypatch.setattr(cuda_compile, "FOLDER", folder)
    (tmp_path / "code.cubin").write_bytes(cuda_compile.compile_source("product_mma", "sm_90a")[0])
    sass = subprocess.run([disassembler(), "-c", str(tmp_path / "code.cubin")], capture_output=True, text=True,
                          check=True)
    assert calls_elsewhere(sass.stdout)


@pytest.mark.slow
def test_cubins_are_cached_by_their_contents(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = cuda_compile.cubin("product_popc", "sm_80")
    path = next(tmp_path.rglob("product_popc.cubin"))
    assert path.read_bytes() == first and path.parent == cuda_compile.cache_directory("sm_80")
    monkeypatch.setattr(cuda_compile, "compile_source", None)  # not called again
    assert cuda_compile.cubin("product_popc", "sm_80") == first


def test_the_cache_folder_changes_with_source_architecture_and_compiler(tmp_path):
    folder = tmp_path / "cuda"
    shutil.copytree(Path(cuda_compile.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = cuda_compile.digest(folder, "sm_80", (13, 0))
    assert before == cuda_compile.digest(folder, "sm_80", (13, 0))
    assert before != cuda_compile.digest(folder, "sm_86", (13, 0))
    assert before != cuda_compile.digest(folder, "sm_80", (13, 1))
    for path in (*folder.glob("*.cu"), *folder.glob("*.h")):
        text = path.read_text()
        path.write_text(text + "\n")
        assert cuda_compile.digest(folder, "sm_80", (13, 0)) != before, f"an edit of {path.name} goes unnoticed"
        path.write_text(text)
