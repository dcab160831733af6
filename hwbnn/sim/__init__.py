"""Simulation of the emitted Verilog: exactness against golden, cycles against the plan."""

from hwbnn.sim.result import Measured, Mismatch, Profile, SimulationResult, StageProfile
from hwbnn.sim.run import CHECKS, ENGINES, simulate
from hwbnn.sim.stalls import STALLS

__all__ = [
    "CHECKS", "ENGINES", "STALLS", "Measured", "Mismatch", "Profile", "SimulationResult", "StageProfile", "simulate",
]
