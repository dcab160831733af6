"""The hardware of one network as records, from which RTL and estimates are both derived."""

from hwbnn.plan.elementwise import AffineStage, ArgMaxStage, ThresholdStage
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.lanes import ConditionalLane, GatedLane, Lane, MismatchLane, ProductLane, lane_for, weight_levels
from hwbnn.plan.lower import Plan, lower
from hwbnn.plan.matrix_vector import MatrixVectorStage, buffer_style
from hwbnn.plan.records import Fold, Memory, PipelineStage, Stage, Stream, Style, span_bits
from hwbnn.plan.schedule import Cycles, Schedule, schedule
from hwbnn.plan.tables import Table, Thresholds, rom_style
from hwbnn.plan.tree import Tree
from hwbnn.plan.width_converter import JoinStage, PartStage, WidthConverterStage

__all__ = [
    "AffineStage", "ArgMaxStage", "ConditionalLane", "Cycles", "Fold", "FrameInputStage", "FrameOutputStage",
    "GatedLane", "JoinStage", "Lane", "MatrixVectorStage", "Memory", "MismatchLane", "PartStage",
    "PipelineStage", "Plan", "ProductLane", "Schedule", "Stage", "Stream", "Style", "Table",
    "ThresholdStage", "Thresholds", "Tree", "WidthConverterStage", "buffer_style", "lane_for", "lower",
    "rom_style", "schedule", "span_bits", "weight_levels",
]
