"""Simulation of the emitted Verilog and of its netlists: exactness against golden, cycles against the plan."""

from hwbnn.sim.netlist import NETLISTS
from hwbnn.sim.result import Measured, Mismatch, Profile, SimulationResult, StageProfile
from hwbnn.sim.run import CHECKS, ENGINES, simulate
from hwbnn.sim.stalls import STALLS

__all__ = [
    "CHECKS", "ENGINES", "NETLISTS", "STALLS", "Measured", "Mismatch", "Profile", "SimulationResult", "StageProfile",
    "simulate",
]
