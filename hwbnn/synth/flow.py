"""From a build directory to a bitstream and its figures, all or nothing."""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.cost import technology
from hwbnn.errors import UserError
from hwbnn.plan import Plan, plan_of
from hwbnn.synth import netlists
from hwbnn.synth.place import ROUTED, Placed, place, tools_of
from hwbnn.synth.result import FILE, SynthesisResult, sha256
from hwbnn.synth.stages import Counted, count
from hwbnn.synth.tools import Progress, ToolFailed, Tools, find, read_log
from hwbnn_boards import Board
from hwbnn_boards import board as find_board

__all__ = ["synthesize"]

_PACKAGES = ("amaranth", "amaranth-boards")
_WORK, _FAILED = "work", "failed"


def synthesize(directory: BuildDirectory, *, seed: int | None = None, progress: Progress | None = None
               ) -> SynthesisResult:
    """Make a build's bitstream, and say what the hardware takes and how fast it is.

    Everything happens in a folder beside the results; ``synth/result.json`` and the bitstream are replaced only at
    the end. Tool inputs, netlists and logs stay in ``synth/work``, or, where something went wrong, in ``synth/failed``.

    Parameters
    ----------
    seed : :class:`int`
        Of the placement; None takes the build's.
    progress : callable
        Called with a line as each step starts.

    Returns
    -------
    :class:`SynthesisResult`

    Raises
    ------
    UserError
        A tool is missing; the design does not fit the device; it does not reach the clock (its figures are in
        ``synth/result.json`` then, unless an earlier placement that did is there); a file cannot be written.
    """
    manifest = directory.manifest
    board = find_board(manifest.board).at(manifest.clock_hz)
    verilog = directory.verilog
    plan = plan_of(directory)
    for tool in tools_of(board):
        find(tool)
    platform = board.platform()  # before anything runs, since it needs an extra
    seed = manifest.seed if seed is None else seed

    start = time.monotonic()
    try:
        with _workspace(directory) as work:
            progress = progress or (lambda line: None)
            progress("starting the tools; at their first call they compile themselves, which takes a minute")
            tools = Tools(work, progress)
            placed, counted, versions = _run(tools, board, platform, plan, verilog, seed)
            result = SynthesisResult(
                board=board.name, technology=board.technology, network=manifest.network, seed=seed,
                clock_hz=board.clock_hz, fmax_hz=placed.fmax_hz, accelerator=counted.total, stages=dict(counted),
                design=placed.cells, placed=placed.use, critical=placed.critical,
                bitstream=None if placed.bitstream is None
                else directory.path.resolve() / "synth" / f"{board.name}{placed.bitstream.suffix}",
                bitstream_sha256="" if placed.bitstream is None else sha256(placed.bitstream), versions=versions,
                seconds={**tools.seconds, "total": round(time.monotonic() - start, 2)})
            _deliver(directory, result, placed, work)
    except OSError as error:
        raise UserError(f"Folder {directory / 'synth'} must be writable, and it is not: {error.strerror}") from None
    if not result.met:
        raise UserError(f"Clock must be at most the {_mhz(result.fmax_hz)} that the design reaches on {board.title} "
                        f"with seed {seed}, not {_mhz(board.clock_hz)}; try another --seed or rate")
    return result


def _run(tools: Tools, board: Board, platform: Any, plan: Plan, verilog: Path, seed: int
         ) -> tuple[Placed, Counted, dict[str, str]]:
    """Run all tools, two at a time: PyPI's compile themselves at their first call, which takes a minute each."""
    yosys, nextpnr, _pack = tools_of(board)
    target = technology(board.technology)
    luts = 0 if target.lut_memory is None else int(target.lut_memory.luts.value)
    options = " ".join(target.synthesis.split()[1:])
    # One worker beside this thread: nextpnr's first call goes on while Yosys has its own.
    with ThreadPoolExecutor(max_workers=1) as beside:
        try:
            placer = beside.submit(tools.version, nextpnr)
            versions = {yosys: tools.version(yosys)}
            counting: Future[Counted] = beside.submit(
                count, tools, verilog, plan, family=board.family, options=options, luts_per_memory=luts)
            placed = place(tools, plan, board, platform, options=options, luts_per_memory=luts, seed=seed,
                           ready=lambda: placer)
            netlists.convert(tools, tools.directory / ROUTED)
            counted = counting.result()
        except ToolFailed as failure:
            tools.stop()
            raise UserError(_complaint(failure)) from None
        except BaseException:
            tools.stop()
            raise
    return placed, counted, {**versions, nextpnr: placer.result(), **{name: version(name) for name in _PACKAGES}}


def _complaint(failure: ToolFailed) -> str:
    lines = re.findall(r"^ERROR: (.*?)\.?$", read_log(failure.log), re.MULTILINE)
    reason = lines[0] if lines else "it says nothing; is there enough memory?"
    kept = failure.log.parent.parent / _FAILED / failure.log.name
    return f"Tool {failure.tool} must succeed, and it failed: {reason} (log in {kept})"


def _deliver(directory: BuildDirectory, result: SynthesisResult, placed: Placed, work: Path) -> None:
    """Put all results where they belong; a placement that misses the clock replaces none that reaches it."""
    if not result.met:
        try:
            if SynthesisResult.read(directory).met:
                return
        except UserError:
            pass  # there is no good result to keep
    if placed.bitstream is not None and result.bitstream is not None:
        write_atomic(result.bitstream, placed.bitstream.read_bytes())
    _deliver_netlists(directory, find_board(result.board).at(result.clock_hz), work)
    directory.write_json(FILE, result.to_json(directory))


def _deliver_netlists(directory: BuildDirectory, board: Board, work: Path) -> None:
    files = {}
    for kind, name in (("synth", netlists.SYNTHESIZED), ("placed", netlists.PLACED)):
        content = (work / name).read_bytes()
        write_atomic(directory / "synth" / name, content)
        files[kind] = {"name": f"synth/{name}", "sha256": hashlib.sha256(content).hexdigest()}
    directory.write_json(netlists.FILE, netlists.record(
        files, rtl=sha256(directory.verilog), board=board))


@contextmanager
def _workspace(directory: BuildDirectory) -> Iterator[Path]:
    """Give a new folder to work in; afterwards it is ``synth/work``, or ``synth/failed`` after an exception."""
    parent = directory / "synth"
    parent.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=parent)).resolve()
    work.chmod(0o755)
    kept = _FAILED
    try:
        yield work
        kept = _WORK
    finally:
        shutil.rmtree(parent / kept, ignore_errors=True)
        work.rename(parent / kept)


def _mhz(hertz: float) -> str:
    return f"{hertz / 1e6:g} MHz" if isinstance(hertz, int) else f"{hertz / 1e6:.1f} MHz"
