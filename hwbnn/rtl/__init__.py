"""Amaranth generators, one component per file, each the hardware of one record of :mod:`hwbnn.plan`."""

from hwbnn.rtl.accelerator import Accelerator, Core, component, instance_name, verilog
from hwbnn.rtl.beats import result_values, stream_words

__all__ = ["Accelerator", "Core", "component", "instance_name", "result_values", "stream_words", "verilog"]
