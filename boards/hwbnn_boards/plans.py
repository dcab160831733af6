"""From a build directory to the plan of its accelerator."""

from hwbnn.builddir import BuildDirectory
from hwbnn.plan import Fold, Plan, lower

__all__ = ["plan_of"]


def plan_of(directory: BuildDirectory) -> Plan:
    """Return the plan of the accelerator that a build directory describes."""
    folds = {name: Fold(fold["pe"], fold["simd"]) for name, fold in directory.manifest.folds.items()}
    return lower(directory.network, folds)
