"""The tiers of an estimate above closed forms: counts of the tools, and toggles of the netlist on real images."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from hwbnn.builddir import BuildDirectory
from hwbnn.cost import Measured, Quantity, Technology
from hwbnn.cost.resources import Resources, Use, of_stage
from hwbnn.errors import UserError
from hwbnn.plan import Plan, Stage
from hwbnn.synth import Cells, SynthesisResult

__all__ = ["FILE", "ActivityRecord", "of_activity", "of_synthesis", "resources_of"]

FILE = "activity.json"
_FORMAT = 1
_NETLIST = "synth/netlist.v"


def resources_of(stage: Stage, cells: Cells, tech: Technology, method: str) -> Resources:
    """What a stage takes, by a tool's count."""
    def exact(value: float, unit: str) -> Quantity:
        return Quantity.exact(value, unit, method=method)

    model = of_stage(stage, tech)
    return Resources(
        exact(cells.lut, tech.lut), exact(cells.lut, tech.mapped_lut), model.flip_flops, exact(cells.ff, "FF"),
        model.memory_bits, exact(cells.block_memory, tech.block_memory.name), exact(cells.dsp, tech.dsp.unit),
        exact(cells.large_memory, model.spram.unit))


def of_synthesis(directory: BuildDirectory, plan: Plan, tech: Technology) -> Measured:
    """Return what ``hwbnn synth`` found: counts by stage, use of the placed design, and its frequency.

    Raises :class:`UserError` where nothing was synthesized, or it was another network.
    """
    found = SynthesisResult.read(directory)
    tools = ", ".join(f"{tool} {version}" for tool, version in found.versions.items()
                      if tool == "yosys" or tool.startswith("nextpnr"))
    names = {"lut": tech.lut, "ff": "FF", "block_memory": tech.block_memory.name, "dsp": tech.dsp.unit,
             "large_memory": "SB_SPRAM256KA"}
    uses = [Use(names[field], Quantity.exact(use.used, names[field], method="placed", sources=(tools,)), use.available)
            for field, use in found.placed.items() if field in names and use.available]
    return Measured(
        "synth", {stage.name: resources_of(stage, found.stages[stage.name], tech, "Yosys") for stage in plan.parts
                  if stage.name in found.stages},
        uses=tuple(sorted(uses, key=lambda use: -use.share)),
        fmax=Quantity.exact(found.fmax_hz, "Hz", method="nextpnr", sources=(tools,)))


@dataclass(frozen=True)
class ActivityRecord:
    """LUT input toggles of a build's netlist on images: ``activity.json``.

    Parameters
    ----------
    netlist : SHA-256 of the netlist that was simulated.
    images : what they were; ``frames`` how many.
    cycles : of the simulation, from reset to the last output.
    stages : toggles by stage, over all frames, without delays.
    luts : look-up tables that were seen.
    """

    netlist: str
    images: str
    frames: int
    cycles: int
    stages: Mapping[str, int]
    luts: int

    def write(self, directory: BuildDirectory) -> None:
        directory.write_json(FILE, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def read(cls, directory: BuildDirectory) -> "ActivityRecord":
        """Read ``activity.json``. Raises :class:`UserError` where there is none, or it is of another netlist."""
        again = f"hwbnn estimate {directory.path} --tier activity --images SET:SPLIT"
        digest = _digest(directory)  # a build without a netlist is said first
        if not (directory / FILE).exists():
            raise UserError(f"Activity must be measured on images, and {directory.path} has none; measure it with "
                            f"`{again}`")
        record = directory.read_json(FILE, again)
        with directory.parsing(FILE, again):
            if record.pop("format") != _FORMAT:
                raise UserError(f"File {directory / FILE} must have format {_FORMAT}; make it again with `{again}`")
            found = cls(**record)
            if found.netlist != digest:
                raise UserError(f"Activity in {directory / FILE} must be of this build's netlist, and it is of another "
                                f"one; make it again with `{again}`")
            {name: int(toggles) for name, toggles in found.stages.items()}
        return found


def _digest(directory: BuildDirectory) -> str:
    """Digest of the netlist. Raises :class:`UserError` where there is none, or it is of another Verilog."""
    file = directory.require(_NETLIST, "hwbnn synth")
    SynthesisResult.read(directory)
    return sha256(file.read_bytes()).hexdigest()


def of_activity(directory: BuildDirectory, plan: Plan, tech: Technology, *, x: ArrayLike | None = None,
                images: str = "array", progress: Callable[[int, int], None] | None = None) -> Measured:
    """Return what ``hwbnn synth`` found, with toggles of its netlist: of the images ``x``, or of those measured last.

    Raises :class:`UserError` where there is no netlist, no activity, or the activity is of another netlist.
    """
    counted = of_synthesis(directory, plan, tech)
    found = ActivityRecord.read(directory) if x is None else _measure(directory, plan, x, images, progress)
    return Measured("activity", counted.resources, uses=counted.uses, fmax=counted.fmax,
                    toggles={name: toggles / found.frames for name, toggles in found.stages.items()})


def _measure(directory: BuildDirectory, plan: Plan, x: Any, images: str,
             progress: Callable[[int, int], None] | None) -> ActivityRecord:
    from hwbnn.rtl import instance_name
    from hwbnn.sim import simulate  # lazily: needs the extra sim
    from hwbnn.sim.activity import CLOCK, read_saif
    from hwbnn.sim.pins import lut_toggles
    if not len(x):
        raise UserError(f"Images must be at least one, and {images} holds none; name others with --images")
    digest = _digest(directory)
    with tempfile.TemporaryDirectory(prefix="hwbnn-") as folder:
        wave = Path(folder) / "run.saif"
        result = simulate(directory, x, engine="compiled", stalls="none", netlist="synth", wave=wave,
                          progress=progress)
        if not result.exact:
            raise UserError(f"Netlist in {directory.path} must compute what golden does, and it does not; run `hwbnn "
                            f"simulate {directory.path} --images {images} --netlist synth --engine compiled`")
        activity = read_saif(wave, clock=CLOCK)
    names = {instance_name(stage): stage.name for stage in plan.parts}
    netlist = (directory / "netlist" / "synth" / "design.v").read_text()  # as it was simulated
    toggles, luts = lut_toggles(activity, netlist, names, core="accelerator.core")
    record = ActivityRecord(digest, images, len(x), activity.cycles,
                            {names[instance]: count for instance, count in toggles.items()}, luts)
    record.write(directory)
    return record
