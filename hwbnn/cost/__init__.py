"""Estimates that say how they were made and how wrong they have been: cycles, resources, energy."""

from hwbnn.cost.estimate import TIERS, Estimate, Measured, StageEstimate, estimate
from hwbnn.cost.pace import pace
from hwbnn.cost.quantity import Figure, Quantity, Unknown
from hwbnn.cost.technology import Technology, names, technology

__all__ = [
    "TIERS", "Estimate", "Figure", "Measured", "Quantity", "StageEstimate", "Technology", "Unknown", "estimate",
    "names", "pace", "technology",
]
