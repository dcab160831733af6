"""Choose PE and SIMD of every layer: for a rate, for a latency, within a number of look-up tables, or what fits.

At a clock of f and a target of r frames per second a layer may take ``floor(f / r)`` cycles per frame. Given that
budget, layers are independent of each other but for the width converters between them. All divisors of each layer
are tried and the best sequence is found by dynamic programming, so the result is the minimum of the cost model.
"""

from hwbnn.fold.choose import choose, fit, within_latency
from hwbnn.fold.explain import Choice, explain
from hwbnn.fold.files import option_words, parse, read, record, words
from hwbnn.fold.goal import Goal, budget, latency_cycles
from hwbnn.fold.layers import divisors
from hwbnn.fold.rows import MINIMIZE, Minimize
from hwbnn.fold.solve import Folding, solve

__all__ = [
    "MINIMIZE", "Choice", "Folding", "Goal", "Minimize", "budget", "choose", "divisors", "explain", "fit",
    "latency_cycles", "option_words", "parse", "read", "record", "solve", "within_latency", "words",
]
