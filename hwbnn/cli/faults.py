"""``hwbnn faults``: what flipped bits of memories and registers do to the accuracy."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from hwbnn import golden
from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.options import BuildPath, DataRoot, Images, Json, read_images, single
from hwbnn.errors import UserError
from hwbnn.sim.chosen import flips_of, memory_bits, of_registers, with_flipped
from hwbnn.sim.faults import MEMORIES, bits_of, campaign
from hwbnn.sim.registers import registers_of
from hwbnn.sim.trials import Campaign, Point
from hwbnn.sim.upsets import EFFECTS, Outcome, Upsets, register_campaign

app = single()

TARGETS = (*MEMORIES, "registers")


@app.command()
def faults(
    path: BuildPath,
    images: Annotated[str | None, typer.Option("--images", metavar="SET:SPLIT[:START:STOP]|FILE.npy",
                                               show_default=False, help="Images, as for hwbnn simulate.")] = None,
    target: Annotated[str, typer.Option("--target", metavar="|".join(TARGETS), help="What to hit.")] = "weights",
    flips: Annotated[str, typer.Option("--flips", metavar="N,N,...",
                                       help="How many bits at a time.")] = "1,2,4,8,16,32",
    rates: Annotated[str | None, typer.Option("--rates", metavar="R,R,...", show_default=False,
                                              help="Instead: shares of all bits, such as 1e-4,1e-3.")] = None,
    trials: Annotated[int, typer.Option("--trials", metavar="N", help="Networks for each number of flips.")] = 20,
    bit: Annotated[list[str] | None, typer.Option(
        "--bit", metavar="NAME", show_default=False,
        help="Flip this bit alone, or several: fc0.weights[12,3].0, act0.thresholds[5,0].2, or fc0.fifo.level.1@250 "
             "for a register in cycle 250.")] = None,
    registers: Annotated[bool, typer.Option("--registers", help="List the registers, and do nothing else.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the places.")] = 1,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Simulations of registers at a time.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a campaign that was interrupted.")] = False,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Flip bits of weights, thresholds or registers at random, and see what becomes of the classes.

    Weights and thresholds are wrong for all images; a bit of a register changes once, in a random cycle of a simulation
    of all images. Each figure is a mean over the trials with its 95 % confidence interval; each layer is also hit
    alone, which names the most sensitive one. The record is kept in BUILD/faults, and the report shows it.
    """
    build = Build(path)
    if registers:
        _list_registers(build, as_json)
        return
    if images is None:
        raise UserError("Images must be given with --images, such as digits:test")
    network = build.network
    chosen = read_images(images, network, data_root)
    if bit:
        _flip(build, chosen, bit, as_json)
        return
    if target not in TARGETS:
        raise UserError(f"Target must be one of {', '.join(TARGETS)}, not {target}")
    if jobs != 1 and target != "registers":
        raise UserError(f"Jobs must be 1 for {target}, not {jobs}")
    total = (sum(one.bits for one in registers_of(build.directory.verilog.read_text())) if target == "registers" else
             sum(bits_of(network, target).values()))
    counts = _numbers(flips, int, "Flips") if rates is None else [
        max(1, round(rate * total)) for rate in _numbers(rates, float, "Rates")]
    options: dict[str, Any] = {"flips": counts, "trials": trials, "seed": seed, "resume": resume,
                               "kept": build.path / "faults" / f"{target}.partial.json"}
    with console.bar("Flipping", "trials") as report:
        if target == "registers":
            found = register_campaign(build.directory, chosen.x, chosen.labels, jobs=jobs, progress=report, **options)
        else:
            found = campaign(network, chosen.x, chosen.labels, target=target, progress=report, **options)
    record = {"network": build.manifest.network, "set": images, **found.to_json()}
    build.directory.write_json(f"faults/{target}.json", record)
    if as_json:
        console.print_json(record)
        return
    _print(found, images)
    console.facts([("Most sensitive", f"[bold]{found.most_sensitive}[/bold]"),
                   *([("Accuracy", f"{console.percent(found.faultless)} without faults")]
                     if found.faultless is not None else []),
                   ("Record", str(build.path / "faults" / f"{target}.json"))])


def _print(found: Campaign, images: str):
    columns = [">flips", ">of bits", ">trials", ">same class", ">interval (95%)", ">worst trial", ">accuracy"]
    console.table(f"Flipped bits of the {found.target}, {console.count(found.images)} images of {images}", columns,
                  [_row(point) for point in found.points])
    alone = [(point.layer or f"{point.kind} registers", *_row(point)) for point in (*found.layers, *found.kinds)]
    console.table("Each layer alone", ["layer", *columns], alone)
    if found.target == "registers":
        rows = [(where, point.trials, *_effects(point.effects)) for where, point in _single(found)]
        console.table("What a single flip does, of all trials (95 % interval)",
                      ["where", ">trials", *(f">{name}" for name in EFFECTS)], rows)


def _single(found: Campaign) -> list[tuple[str, Point]]:
    """The points with one flip in a run, by where that is."""
    return [(point.layer or (f"{point.kind} registers" if point.kind else "anywhere"), point)
            for point in (*found.points, *found.layers, *found.kinds) if point.flips == 1]


def _row(point: Point) -> tuple:
    return (point.flips, point.bits, point.trials, console.percent(point.same[0]),
            f"{console.percent(point.same[1])} to {console.percent(point.same[2])}", console.percent(point.worst),
            None if point.accuracy is None else console.percent(point.accuracy[0]))


def _effects(effects: Any) -> list[str]:
    return [f"{100 * share:.0f} % ({100 * low:.0f}–{100 * high:.0f})" for share, low, high in effects.values()]


def _list_registers(build: Build, as_json: bool):
    found = registers_of(build.directory.verilog.read_text())
    if as_json:
        console.print_json([{"register": str(one), "bits": one.bits, "kind": one.kind} for one in found])
        return
    console.table(f"Registers, {console.count(sum(one.bits for one in found))} flip-flops",
                  ["register", ">bits", "kind"], [(str(one), one.bits, one.kind) for one in found])


def _flip(build: Build, images: Images, bits: Sequence[str], as_json: bool):
    """Flip the named bits together, once."""
    if of_registers(bits):
        upsets = Upsets(build.directory, images.x, images.labels)
        found = upsets.run(flips_of(upsets.registers, bits, cycles=upsets.cycles))
        changes = []
    else:
        network = build.network
        chosen = memory_bits(network, bits)
        faulty = with_flipped(network, chosen)
        found = _compared(network, faulty, images)
        changes = [(one.name, *(f"{getattr(net.node(one.node), one.target)[one.index]}" for net in (network, faulty)))
                   for one in chosen]
    record = {"bits": list(bits), "effect": found.effect, "images": len(found.exact),
              "changed_outputs": int(np.sum(~found.exact)), "changed_classes": int(np.sum(~found.same)),
              "accuracy": None if found.right is None else float(found.right.mean())}
    if as_json:
        console.print_json(record)
        return
    if changes:
        console.table("", ["bit", ">value", ">instead"], changes)
    console.facts([("Effect", f"[bold]{found.effect}[/bold]"),
                   ("Images", (f"{record['changed_outputs']} of {record['images']} with other outputs, "
                               f"{record['changed_classes']} of another class")),
                   *([("Accuracy", console.percent(record["accuracy"]))] if found.right is not None else [])])


def _compared(network: Any, faulty: Any, images: Images) -> Outcome:
    """What a network with wrong memories makes of images."""
    outputs = [golden.integers(net, images.x).reshape(len(images.x), -1) for net in (network, faulty)]
    classes = [golden.classes(net, images.x) for net in (network, faulty)]
    exact, same = np.all(outputs[0] == outputs[1], axis=1), classes[0] == classes[1]
    right = None if images.labels is None else classes[1] == images.labels
    return Outcome("masked" if exact.all() else "logits" if same.all() else "class", same, right, exact)


def _numbers(text: str, kind: type, what: str) -> list:
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"{what} must be numbers with commas between them, not {text}") from None
