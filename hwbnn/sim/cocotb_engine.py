"""The cocotb engine: the emitted Verilog on Verilator or Icarus, driven by :mod:`hwbnn.sim.bench`."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError
from hwbnn.sim import process, toolchain
from hwbnn.sim.traffic import Record, Traffic

__all__ = ["CocotbEngine"]

Report = Callable[[str, int], object]


class CocotbEngine:
    """Builds a simulator once per Verilog and runs phases of traffic on it.

    Parameters
    ----------
    simulator : :class:`str`
        ``verilator`` or ``icarus``.
    verilog : :class:`~pathlib.Path`
        The file to simulate.
    toplevel : :class:`str`
        Its top module, with the ports ``aclk``, ``aresetn``, ``s_axis_*`` and ``m_axis_*``.
    directory : :class:`~pathlib.Path`
        Where the simulator is built; it is built again only when the Verilog or a tool has changed.
    """

    name = "cocotb"

    def __init__(self, simulator: str, verilog: Path, *, toplevel: str, directory: Path):
        self.simulator, self.verilog, self.toplevel = simulator, verilog, toplevel
        self.directory = directory.absolute()
        self.tools = toolchain.find(simulator)
        try:
            cocotb = version("cocotb")
        except PackageNotFoundError:
            raise UserError("Engine cocotb must have the package cocotb, and it is not installed; "
                            "install it with `pip install 'hwbnn[sim]'`") from None
        self.versions = {simulator: self.tools.version, "cocotb": cocotb}

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the processes of this engine: the toolchain's, and this interpreter's packages."""
        environment = dict(self.tools.environment)
        for name in [name for name in environment if name.startswith(("COCOTB_", "PYTEST_", "GPI_"))]:
            del environment[name]
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        environment["COCOTB_ANSI_OUTPUT"] = "0"
        return environment

    def build(self) -> bool:
        """Build the simulator unless it is there; return whether it had to be built."""
        digest = hashlib.sha256(self.verilog.read_bytes())
        digest.update(json.dumps([self.versions, self.toplevel, sys.version]).encode())
        key = self.directory / "key"
        if key.exists() and key.read_text() == digest.hexdigest():
            return False
        if self.directory.exists():
            shutil.rmtree(self.directory)
        (self.directory / "build").mkdir(parents=True)
        log = self.directory / "build.log"
        if self._python("build", log):
            raise UserError(f"Verilog {self.verilog} must build with {self.simulator}, and it does not: "
                            f"{process.tail(log)} (see {log})")
        write_atomic(key, digest.hexdigest())
        return True

    def run(self, phases: Mapping[str, Traffic], report: Report = lambda phase, frames: None) -> dict[str, Record]:
        """Run ``phases``, by name ``steady`` or ``stalled``, and return what each saw.

        ``report`` is told the frames received in a phase so far, now and then.

        Raises
        ------
        UserError
            The simulator ended without running every phase.
        """
        self.build()
        traffic = self.directory / "traffic"
        shutil.rmtree(traffic, ignore_errors=True)
        traffic.mkdir()
        for name, phase in phases.items():
            phase.save(traffic / f"{name}.npz")
        progress = traffic / "progress"
        progress.touch()

        def poll():
            lines = progress.read_text().splitlines()
            if lines and " " in lines[-1]:
                name, frames = lines[-1].split()
                report(name, int(frames))

        log, status = self.directory / "test.log", traffic / "status"
        exit_status = self._python("test", log, phases=list(phases), seed=max(p.seed for p in phases.values()),
                                   status=str(status), poll=poll)
        poll()
        files = {name: traffic / f"{name}.record.npz" for name in phases}
        if not status.exists() or json.loads(status.read_text()) < 0 or not all(f.exists() for f in files.values()):
            raise UserError(f"Simulator {self.simulator} must run to its end, and it ended with status "
                            f"{exit_status}: {process.tail(log)} (see {log})")
        return {name: Record.load(file) for name, file in files.items()}

    def _python(self, action: str, log: Path, *, poll: Callable[[], object] = lambda: None, **settings) -> int:
        job = {"simulator": self.simulator, "verilog": str(self.verilog.absolute()), "toplevel": self.toplevel,
               "directory": str(self.directory / "build"), "traffic": str(self.directory / "traffic"), **settings}
        path = write_atomic(self.directory / f"{action}.json", json.dumps(job))
        return process.run([sys.executable, "-m", "hwbnn.sim.cocotb_process", action, str(path)],
                           environment=self.environment, cwd=self.directory, log=log, poll=poll)
