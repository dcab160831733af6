"""Which chips are measured, and which others take their figures."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["MEASURED", "measured_on"]

#: Technology that is measured, to all that its coefficients hold for: the same fabric, of another size.
MEASURED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "ecp5-25": ("ecp5-25", "ecp5-45", "ecp5-85"),
    "ice40-hx8k": ("ice40-hx8k", "ice40-hx1k"),
    "ice40-up5k": ("ice40-up5k",),
    "gowin-gw1nr9": ("gowin-gw1nr9",),
    "gowin-gw2a18": ("gowin-gw2a18",),
    "nexus-lifcl40": ("nexus-lifcl40",),
    "xilinx-xc7a35t": ("xilinx-xc7a35t", "xilinx-xc7z020"),
    "xilinx-xczu3eg": ("xilinx-xczu3eg",),
})


def measured_on(name: str) -> str:
    """The technology that was measured for ``name``."""
    return next(measured for measured, others in MEASURED.items() if name in others)
