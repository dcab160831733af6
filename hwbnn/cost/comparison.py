"""One network in four precisions, as the papers argue it: operations, bits moved, energy at 45 nm, look-up tables.

The network's shape stays, what its layers' weights and activations are changes: 32-bit floats; 8-bit integers with
32-bit sums; ternary; binary (Courbariaux et al., Binarized Neural Networks, section 4). A product of floats is a
multiplication and an addition; of bits an XNOR and a full adder, each of one bit; a ternary one is gated, and costs
nothing where an operand is 0, which is taken of the network at hand where that is ternary, else of uniform states (Deng
et al., GXNOR-Net). Bits moved are a weight for each product, from a memory that holds all weights of the layer, and
each feature map written and read once. Look-up tables are those of the products and their sums at the folding at hand,
nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from hwbnn import ir
from hwbnn.cost.asic import Asic, asic
from hwbnn.cost.datapath import MULTIPLIER_LUTS, dot_forms
from hwbnn.cost.gating import LayerRest, resting_of_layers
from hwbnn.cost.quantity import Figure, Quantity, Unknown, total
from hwbnn.cost.technology import Technology
from hwbnn.cost.terms import Forms
from hwbnn.plan import MatrixVectorStage, ParallelStage, Plan, lane_for
from hwbnn.plan.dot import Dot

__all__ = ["PRECISIONS", "Precision", "compare"]

_INT8 = ir.Levels.signed(8)


@dataclass(frozen=True)
class Kind:
    """A precision: bits of a weight and of an activation, and the levels of both where they are integers."""

    name: str
    bits: int
    levels: ir.Levels | None


PRECISIONS = (Kind("float32", 32, None), Kind("int8", 8, _INT8), Kind("ternary", 2, ir.TERNARY),
              Kind("binary", 1, ir.BIPOLAR))


@dataclass(frozen=True)
class Precision:
    """The network in one precision.

    Parameters
    ----------
    name : :class:`str`
    products : :class:`int`
        Products per inference; ``live`` of them have no zero operand.
    what : :class:`str`
        What a product is made of.
    weight_bits : :class:`int`
        All weights.
    moved_bits : :class:`int`
        Weights and activations read and written per inference.
    arithmetic, movement : Figure
        Joules per inference at 45 nm.
    luts : Figure
        Of products and sums at the folding at hand.
    """

    name: str
    products: int
    live: float
    what: str
    weight_bits: int
    moved_bits: int
    arithmetic: Figure
    movement: Figure
    luts: Figure

    @property
    def energy(self) -> Figure:
        return total((self.arithmetic, self.movement), "J")

    def to_json(self) -> dict:
        return {name: value if isinstance(value, int | float | str) else value.to_json()
                for name, value in vars(self).items()} | {"energy": self.energy.to_json()}


def compare(plan: Plan, tech: Technology, rest: Sequence[LayerRest] | None = None) -> list[Precision]:
    """Return the network of ``plan`` in each of :data:`PRECISIONS`.

    Parameters
    ----------
    rest : sequence of :class:`~hwbnn.cost.gating.LayerRest`
        Zeros as they are, of images where there are some; counted from the weights otherwise.
    """
    chip, network = asic(), plan.network
    rest = resting_of_layers(network) if rest is None else rest
    return [_one(kind, chip, plan, network, rest, tech) for kind in PRECISIONS]


def _one(kind: Kind, chip: Asic, plan: Plan, network: ir.Network, rest: Sequence[LayerRest], tech: Technology
         ) -> Precision:
    layers = [node for node in network.nodes if isinstance(node, ir.MatMul | ir.Conv)]
    products = sum(row.products for row in rest)
    live, moved, movement = 0.0, 0, []
    for node, row in zip(layers, rest, strict=True):
        zeros = 0.0
        if kind.name == "ternary":
            zeros = row.resting if 0 in node.weights or node.weight_levels.holds(0) else 5 / 9
        live += row.products * (1 - zeros)
        maps = sum(prod(network.tensors[name].shape) for name in (node.input, node.output))
        traffic = kind.bits * (row.products + maps)
        moved += traffic
        movement.append(chip.access(kind.bits * node.weights.size, kind.bits).scale(row.products))
        movement.append(chip.access(kind.bits * maps, kind.bits).scale(maps))
    each, what = _product(kind, chip)
    return Precision(kind.name, products, live, what, kind.bits * sum(node.weights.size for node in layers), moved,
                     each.scale(live), total(movement, "J"), _luts(kind, plan, tech))


def _product(kind: Kind, chip: Asic) -> tuple[Figure, str]:
    """Energy of one product and its addition, and what that is."""
    if kind.name == "float32":
        return total((chip.multiply_float32.figure(), chip.add_float32.figure()), "J"), "float multiply, float add"
    if kind.name == "int8":
        return total((chip.multiply8.figure(), chip.add32.figure()), "J"), "8-bit multiply, 32-bit add"
    if kind.name == "ternary":
        return chip.add(1).scale(2), "gated XNOR, full adder"
    return chip.add(1).scale(2), "XNOR, full adder"


def _luts(kind: Kind, plan: Plan, tech: Technology) -> Figure:
    if kind.levels is None:
        return Unknown(tech.mapped_lut, "the generator makes no floating-point units")
    if not tech.mapped_lut_model.known:
        return tech.mapped_lut_model.datapath.figure().scale(1, tech.mapped_lut)
    model, form = tech.mapped_lut_model, Forms()
    for stage in plan.stages:
        if isinstance(stage, MatrixVectorStage | ParallelStage):
            dot = Dot(lane_for(kind.levels, kind.levels), stage.fold.simd)
            total = Forms(datapath=2.0 * dot.bits * (stage.sf > 1))
            form += (dot_forms(dot, family=tech.family) + total) * stage.fold.pe
    soft = sum(MULTIPLIER_LUTS * a * b for a, b, *_ in (*form.multipliers, *form.asked))
    cells = model.datapath.value * (form.datapath + soft) + model.chains.value * form.chains
    return Quantity(cells * model.low.value, cells, cells * model.high.value, tech.mapped_lut,
                    "calibrated closed form of products and sums", (model.datapath.source,))
