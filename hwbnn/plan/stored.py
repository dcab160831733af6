"""From a build directory back to the plan of its accelerator."""

from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.plan.lower import Plan, lower
from hwbnn.plan.pace import Pace
from hwbnn.plan.records import Fold

__all__ = ["folds_of", "plan_of"]


def folds_of(manifest: Manifest) -> dict[str, Fold]:
    """Return the folding that a manifest holds. Raises ``ValueError`` or ``TypeError`` where it holds none."""
    return {name: Fold.of(record) for name, record in manifest.folds.items()}


def plan_of(directory: BuildDirectory) -> Plan:
    """Return the plan of the accelerator that a build directory describes.

    Raises :class:`UserError` where the directory is not complete or damaged.
    """
    with directory.parsing("build.json", "hwbnn compile MODEL -o"):
        folds, pace = folds_of(directory.manifest), Pace.of(directory.manifest.pace)
    return lower(directory.network, folds, pace=pace)
