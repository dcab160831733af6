"""The hardware of one network as records, from which RTL and estimates are both derived."""

from hwbnn.plan.adders import Adder, AdderGraph, AtLeast
from hwbnn.plan.bank import Bank, Loaded
from hwbnn.plan.branches import AddStage, ConcatStage, FifoStage, ForkStage, SliceStage
from hwbnn.plan.channel import Channel
from hwbnn.plan.control import Control, EventControl, SequenceControl
from hwbnn.plan.count import Count, GatedCount
from hwbnn.plan.data import carried, depends_on_data, on_images
from hwbnn.plan.datapaths import datapaths, lane_for, weight_levels
from hwbnn.plan.dot import Dot
from hwbnn.plan.elementwise import AffineStage, ArgMaxStage, ThresholdStage, TopKStage
from hwbnn.plan.fused import FusedThresholds
from hwbnn.plan.graph import Edge
from hwbnn.plan.integer_lanes import MaskLane, MultiplierLane, PlanesLane, ProductLane
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.lanes import ChoiceLane, ConditionalLane, GatedConditionalLane, GatedLane, Lane, MismatchLane, StillLane
from hwbnn.plan.loader import LoaderStage
from hwbnn.plan.lower import Plan, lower
from hwbnn.plan.matrix_vector import MatrixVectorStage
from hwbnn.plan.options import UnitOptions
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.pad import PadStage
from hwbnn.plan.parallel import ParallelStage, not_parallel, parallel_graph, sum_thresholds
from hwbnn.plan.pool import PoolStage
from hwbnn.plan.records import Fold, Memory, PipelineStage, Stage, Stream, Style, span_bits
from hwbnn.plan.schedule import Blocked, Cycles, Schedule, schedule
from hwbnn.plan.storage import buffer_style
from hwbnn.plan.stored import folds_of, plan_of
from hwbnn.plan.subset_sums import digit_counts, matrix_graph
from hwbnn.plan.tables import Borders, SearchedThresholds, Table, Thresholds, rom_style, searches
from hwbnn.plan.tree import Planes, Tree
from hwbnn.plan.weights import WeightImage
from hwbnn.plan.width_converter import JoinStage, PartStage, WidthConverterStage
from hwbnn.plan.window import Loop, WindowStage

__all__ = [
    "AddStage", "AffineStage", "ArgMaxStage", "Bank", "Blocked", "Borders", "Channel", "ChoiceLane", "ConcatStage",
    "ConditionalLane", "Control", "Count", "Cycles", "Dot", "Edge", "EventControl", "FifoStage", "Fold", "ForkStage",
    "FrameInputStage", "FrameOutputStage", "FusedThresholds", "GatedConditionalLane", "GatedCount", "GatedLane",
    "JoinStage", "Lane", "Loaded", "LoaderStage", "Loop", "MaskLane", "MatrixVectorStage", "Memory", "MismatchLane",
    "MultiplierLane", "Pace", "PadStage", "PartStage", "PipelineStage", "Plan", "Planes", "PlanesLane", "PoolStage",
    "ProductLane", "RELAXED", "Schedule", "SearchedThresholds", "SequenceControl", "SliceStage", "Stage", "StillLane",
    "Stream", "Style", "Table", "ThresholdStage", "Thresholds", "TopKStage", "Tree", "UnitOptions", "WeightImage",
    "WidthConverterStage", "WindowStage", "buffer_style", "carried", "datapaths", "depends_on_data", "folds_of",
    "lane_for", "lower", "on_images", "plan_of", "rom_style", "schedule", "searches", "span_bits", "weight_levels",
    "Adder", "AdderGraph", "AtLeast", "ParallelStage", "digit_counts", "matrix_graph", "not_parallel", "parallel_graph",
    "sum_thresholds",
]
