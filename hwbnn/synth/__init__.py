"""Synthesis: Yosys and nextpnr per FPGA family, their reports as records, a bitstream at the end."""

from hwbnn.synth.reports import Cells, Use
from hwbnn.synth.result import SynthesisResult
from hwbnn.synth.flow import synthesize

__all__ = ["Cells", "SynthesisResult", "Use", "synthesize"]
