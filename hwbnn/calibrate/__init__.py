"""Calibration of the estimates: a seeded corpus through the tools, coefficients from it, and how wrong they are."""

from hwbnn.calibrate.corpus import NETWORKS, WHOLE, samples
from hwbnn.calibrate.errors import Figure, current, figures, outdated
from hwbnn.calibrate.fit import Fit, Late, delays, luts, nonnegative
from hwbnn.calibrate.measure import Measured, measure, versions
from hwbnn.calibrate.save import late, save
from hwbnn.calibrate.table import Row, Table, extend, of_sample, stages_of
from hwbnn.calibrate.targets import MEASURED, measured_on
from hwbnn.calibrate.validate import Check, validate

__all__ = [
    "MEASURED", "NETWORKS", "WHOLE", "Check", "Figure", "Fit", "Late", "Measured", "Row", "Table", "current", "delays",
    "extend", "figures", "late", "luts", "measure", "measured_on", "nonnegative", "of_sample", "outdated", "samples",
    "save", "stages_of", "validate", "versions",
]
