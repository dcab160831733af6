"""From a demand to a folding with its plan and its reasons, or one line on why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hwbnn import ir
from hwbnn.cost.resources import Use, fit_of, of_stages, uses
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology
from hwbnn.errors import UserError
from hwbnn.fold.choose import Options, choose, fit, short, within_latency
from hwbnn.fold.datapaths import decided, reasons
from hwbnn.fold.explain import Choice, explain
from hwbnn.fold.files import parse, read
from hwbnn.fold.goal import Goal, latency_cycles
from hwbnn.fold.layers import layers, rate
from hwbnn.fold.rows import Minimize
from hwbnn.fold.search import Beside
from hwbnn.plan import RELAXED, Fold, Pace, Plan, UnitOptions, lower

__all__ = ["Folding", "solve"]

_BLOCKS = UnitOptions(storage="block")


@dataclass(frozen=True)
class Folding:
    """A folding, what it was asked for, the plan it makes, what that uses of the chip, and why it is so."""

    goal: Goal
    folds: Mapping[str, Fold]
    plan: Plan
    uses: tuple[Use, ...]
    choices: tuple[Choice, ...]


def solve(network: ir.Network, goal: Goal, *, clock_hz: int, technology: str, beside: Beside | None = None,
          options: Options = MappingProxyType({}), pace: Pace = RELAXED,
          minimize: Minimize = "share") -> Folding:
    """Return the folding that ``goal`` demands.

    Parameters
    ----------
    clock_hz : :class:`int`
    technology : :class:`str`
        The chip; a folding that certainly does not fit it is refused.
    beside : callable
        What is reserved on the chip, by the streams that the accelerator takes and gives.
    options : mapping
        What is asked of layers beyond PE and SIMD, by name; where the folding is given, it goes before what that says.
    pace : :class:`Pace`
        Where registers stand.
    minimize : :class:`str`
        ``share``: the least of the shares of look-up tables and of memories together. ``luts``: the fewest look-up
        tables, whatever they take of block memory as long as there is enough. Storage is then block memory where it is
        left open; weights are where that spares look-up tables, or where the folding is given.

    Raises
    ------
    UserError
        The demand cannot be met; the message states the best that can.
    """
    tech = find_technology(technology)
    if minimize == "luts":
        blocks = UnitOptions(weights="block", storage="block") if goal.kind == "given" else _BLOCKS
        options = {node.name: blocks | options.get(node.name, UnitOptions()) for node in layers(network)}
    given = {name for name, asked in options.items() if asked.datapath != "auto"}
    for name, asked in options.items():
        check_memory(name, asked, tech)
    if goal.kind == "rate":
        folds = choose(network, clock_hz=clock_hz, target_fps=goal.value, technology=technology, beside=beside,
                       options=options, pace=pace, minimize=minimize)
    elif goal.kind == "latency":
        folds = within_latency(network, clock_hz=clock_hz, max_latency=goal.value, technology=technology,
                               beside=beside, options=options, pace=pace, minimize=minimize)
    elif goal.kind == "given":
        folds = parse(network, goal.value) if isinstance(goal.value, Mapping) else read(network, goal.value)
        folds = {name: replace(fold, options=fold.options | options[name]) if name in options else fold
                 for name, fold in folds.items()}
        given = {name for name, fold in folds.items() if fold.options.datapath != "auto"}
        folds = decided(network, folds, tech)
    else:
        folds = fit(network, technology=technology, max_luts=goal.value if goal.kind == "luts" else None,
                    beside=beside, options=options, pace=pace, minimize=minimize)
    for name, fold in folds.items():
        check_memory(name, fold.options, tech)
    plan = lower(network, folds, pace=pace)
    used = uses(of_stages(plan.parts, tech), tech, beside=None if beside is None else beside(plan.input, plan.output))
    if fit_of(used) == "no":
        raise UserError(_too_large(network, used, tech.title, clock_hz, technology, beside, options, pace))
    why = reasons(network, folds, tech, given)
    choices = tuple(replace(row, reason="; ".join(filter(None, (row.reason, why.get(row.layer)))))
                    for row in _reasons(network, goal, plan, clock_hz, tech.title))
    return Folding(goal, folds, plan, used, choices)


def check_memory(name: str, options: UnitOptions, tech: Technology) -> None:
    """Raise :class:`UserError` where the weights of layer ``name`` are to be of a memory that the chip lacks."""
    lacks = {"distributed": ("LUT memory", tech.lut_memory is None), "spram": ("SPRAM", not tech.spram)}
    lacking, is_lacking = lacks.get(options.weights, ("", False))
    if is_lacking:
        styles = [style for style in ("block", "distributed", "logic", "spram")
                  if not lacks.get(style, ("", False))[1] and not (style == "logic" and options.loadable)]
        raise UserError(f"Weights of {name} must be {', '.join(styles[:-1])} or {styles[-1]} on {tech.title}, which "
                        f"has no {lacking}, not {options.weights}")


def _too_large(network: ir.Network, used: tuple[Use, ...], title: str, clock_hz: int, technology: str,
               beside: Beside | None, options: Options, pace: Pace) -> str:
    """Which resource is short, by how much, and what would fit."""
    row = next(row for row in used if row.fits == "no")
    told = f"Network {network.name} with this folding must fit {title}, and it takes at least {short(row)}"
    try:
        largest = fit(network, technology=technology, beside=beside, options=options, pace=pace)
    except UserError:
        return f"{told}; no folding fits"
    plan = lower(network, largest, pace=pace)
    folds = " ".join(f"{name}={fold.pe}x{fold.simd}" for name, fold in largest.items())
    return f"{told}; the fastest that fits makes {rate(clock_hz, plan.cycles.interval)} frames/s (--fit: {folds})"


def _reasons(network: ir.Network, goal: Goal, plan: Plan, clock_hz: int, title: str) -> tuple[Choice, ...]:
    if goal.kind == "rate":
        return explain(network, plan.folds, clock_hz=clock_hz, target_fps=goal.value)
    if goal.kind == "latency":
        return explain(network, plan.folds, clock_hz=clock_hz, because=(
            f"of the cheapest folding whose frame takes at most {latency_cycles(clock_hz, goal.value):,} cycles"))
    if goal.kind in ("fit", "luts"):
        end = f"fit {title}" if goal.kind == "fit" else f"fit {goal.value:,} look-up tables"
        slowest = max(stage.ii for stage in plan.stages)
        return explain(network, plan.folds, clock_hz=clock_hz, within=(slowest, f", the fewest that {end}"))
    return explain(network, plan.folds, clock_hz=clock_hz)
