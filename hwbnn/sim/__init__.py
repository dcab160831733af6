"""Simulation of the emitted Verilog: exactness against golden, cycles against the plan."""

from hwbnn.sim.result import Measured, Mismatch, SimulationResult
from hwbnn.sim.run import ENGINES, simulate

__all__ = ["ENGINES", "Measured", "Mismatch", "SimulationResult", "simulate"]
