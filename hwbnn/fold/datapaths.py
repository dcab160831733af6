"""What makes the products of a layer: the datapaths that the cost model may choose from, and why it chose one."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from hwbnn import ir
from hwbnn.cost.quantity import Quantity
from hwbnn.cost.resources import Resources, of_stage, stage_cost
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError
from hwbnn.fold.adders import least_luts, may_pay
from hwbnn.fold.layers import Layer, layers, matrix, parallel, parts
from hwbnn.plan import Fold, MatrixVectorStage, ParallelStage, UnitOptions, datapaths, not_parallel, weight_levels
from hwbnn.plan.lower import unsized

__all__ = ["decided", "reasons", "variants"]

_ASKED = UnitOptions()


def variants(network: ir.Network, node: Layer, tech: Technology | None,
             options: UnitOptions = _ASKED) -> tuple[UnitOptions, ...]:
    """The options that a layer may be built with: ``options``, but for what is left to the cost model.

    That is the datapath, and of a loadable layer, or one that is stored in block memory, what its weight memory is made
    of.

    Raises :class:`UserError` where multipliers are asked of a chip that has none.
    """
    if options.datapath == "multipliers" and tech is not None and tech.multiplier is None:
        raise UserError(f"{node.name}: Datapath multipliers must be asked of a chip that has multipliers, and "
                        f"{tech.title} has none")
    if options.datapath == "parallel":
        least = least_luts(matrix(node).weights)
        if tech is not None and least > tech.luts.value:
            raise UserError(f"{node.name}: Datapath parallel must fit {tech.title}, which has {tech.luts.value:,.0f} "
                            f"{tech.lut}, and would take about {least:,.0f} or more; fold the layer")
    memories = _memories(tech, options)
    if options.datapath != "auto":
        return memories
    present = node.weight_levels.values() if options.loadable else matrix(node).weights
    names = datapaths(network.tensors[node.input].levels, weight_levels(present))
    if tech is None or tech.multiplier is None:
        names = tuple(name for name in names if name != "multipliers")
    found = memories if len(names) == 1 else tuple(replace(one, datapath=name) for name in names for one in memories)
    if not_parallel(node, matrix(node), parallel(node, options)) is None:
        found = (*found, replace(options, datapath="parallel"))
    return found


def _memories(tech: Technology | None, options: UnitOptions) -> tuple[UnitOptions, ...]:
    """``options`` with each kind of memory that suits the weights, where that is left open to the chip.

    Of weights that can be written that is all that the chip has; of constants block memory beside what their size asks
    for, where the layer is to be stored in it.
    """
    if tech is None or options.weights != "auto":
        return (options,)
    if not options.loadable:
        return (options, replace(options, weights="block")) if options.storage == "block" else (options,)
    styles = ["block"] + ["distributed"] * (tech.lut_memory is not None) + ["spram"] * (tech.spram > 0)
    return tuple(replace(options, weights=style) for style in styles)


def decided(network: ir.Network, folds: Mapping[str, Fold], tech: Technology) -> dict[str, Fold]:
    """Choose the cheapest datapath where a folding leaves it open, layer by layer while multipliers last."""
    chosen, left = dict(folds), tech.dsp.value
    for node, part in zip(layers(network), parts(network), strict=True):
        fold = folds[node.name]
        made = [(replace(fold, options=options), stage) for options in _suited(network, node, tech, fold)
                if options.weights in (fold.options.weights, "block", "distributed", "logic")  # SPRAM where it is asked
                for stage in [_unit(part, node, replace(fold, options=options))]]
        costs = [(stage_cost(stage, tech), n) for n, (_, stage) in enumerate(made)
                 if len(made) == 1 or of_stage(stage, tech).dsp.nominal <= left]
        chosen[node.name], stage = made[min(costs)[1]]
        left -= of_stage(stage, tech).dsp.nominal
    return chosen


def reasons(network: ir.Network, folds: Mapping[str, Fold], tech: Technology, asked: Collection[str]
            ) -> dict[str, str]:
    """Say of each layer that several datapaths suit what its own takes and what the others would.

    Parameters
    ----------
    asked : collection
        Layers whose datapath a user asked for.
    """
    told = {}
    for node, part in zip(layers(network), parts(network), strict=True):
        fold = folds[node.name]
        open_ = replace(fold, options=replace(fold.options, datapath="auto"))
        taken = {_name(options): of_stage(_unit(part, node, replace(fold, options=options)), tech)
                 for options in _suited(network, node, tech, open_)}
        name = _name(fold.options)
        if len(taken) > 1 and name in taken:
            others = ", ".join(f"{other} {_use(used)}" for other, used in taken.items() if other != name)
            verb = "as asked" if node.name in asked else "the cheapest that there is room for"
            told[node.name] = f"{name} {_use(taken[name])}, {verb} ({others})"
    return told


def _name(options: UnitOptions) -> str:
    """What makes the products; of a layer for which there is one such thing, that is lanes."""
    return "lanes" if options.datapath == "auto" else options.datapath


def _suited(network: ir.Network, node: Layer, tech: Technology, fold: Fold) -> tuple[UnitOptions, ...]:
    """The variants that ``fold`` leaves possible; a layer of adders only where it may be cheaper than lanes."""
    found, whole = variants(network, node, tech, fold.options), matrix(node)
    is_whole = (fold.pe, fold.simd) == (whole.rows, whole.columns)
    if fold.options.datapath != "auto" or (is_whole and may_pay(whole.weights, tech, fold.lanes / tech.luts.value)):
        return found
    return tuple(options for options in found if options.datapath != "parallel")


def _use(resources: Resources) -> str:
    multipliers = f" and {resources.dsp.nominal} {resources.dsp.unit}" if resources.dsp.nominal else ""
    assert isinstance(resources.luts, Quantity)  # closed forms are always known
    return f"{resources.luts.nominal:,.0f} {resources.luts.unit}{multipliers}"


def _unit(part: ir.Network, node: Layer, fold: Fold) -> MatrixVectorStage | ParallelStage:
    return next(stage for stage in unsized(part, {node.name: fold})
                if isinstance(stage, MatrixVectorStage | ParallelStage))
