"""Synthesis: Yosys and nextpnr per FPGA family, their reports as records, a bitstream at the end."""

from hwbnn.synth.flow import synthesize
from hwbnn.synth.reports import Cells, Use
from hwbnn.synth.result import SynthesisResult

__all__ = ["Cells", "SynthesisResult", "Use", "synthesize"]
