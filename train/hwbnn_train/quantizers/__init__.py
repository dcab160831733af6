"""Quantizers: real tensors in, a few evenly spaced values out, each with its own rule for the gradient.

Every class states its forward formula, its backward formula and where both come from.
"""

from hwbnn_train.quantizers.attention import OneTap
from hwbnn_train.quantizers.base import Grid, Quantizer, Real, Rectified, sign
from hwbnn_train.quantizers.binary import Sign, StochasticSign, substitute
from hwbnn_train.quantizers.bitlength import LearnedActivationBits, LearnedBits, LearnedWeightBits
from hwbnn_train.quantizers.bitwise import BitwiseActivation, BitwiseWeights, Cuts
from hwbnn_train.quantizers.discrete import States, Steps, TernaryTanh, space
from hwbnn_train.quantizers.dropped import Dropped
from hwbnn_train.quantizers.fixed import QFormat, fixed_point
from hwbnn_train.quantizers.powers import LogActivation, LogGradient, LogWeights, StochasticPower
from hwbnn_train.quantizers.scaled import LossAware, MeanScaledSign, ScaledSign, SwishSign
from hwbnn_train.quantizers.ternary import StochasticTernary, TernaryWeights, TrainedTernary
from hwbnn_train.quantizers.uniform import Uniform

__all__ = [
    "BitwiseActivation", "BitwiseWeights", "Cuts", "Dropped", "Grid", "LearnedActivationBits", "LearnedBits",
    "LearnedWeightBits", "LogActivation", "LogGradient", "LogWeights", "LossAware", "MeanScaledSign", "OneTap",
    "QFormat", "Quantizer", "Real", "Rectified", "ScaledSign", "Sign", "States", "Steps", "StochasticPower",
    "StochasticSign", "StochasticTernary", "SwishSign", "TernaryTanh", "TernaryWeights", "TrainedTernary", "Uniform",
    "fixed_point", "sign", "space", "substitute",
]
