"""``hwbnn faults``: what flipped bits of the memories do to the accuracy."""

from typing import Annotated

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.options import BuildPath, DataRoot, ImagesOption, Json, read_images, single
from hwbnn.errors import UserError
from hwbnn.sim.faults import TARGETS, Point, bits_of, campaign

app = single()


@app.command()
def faults(
    path: BuildPath,
    images: ImagesOption,
    target: Annotated[str, typer.Option("--target", metavar="|".join(TARGETS), help="Memories to hit.")] = "weights",
    flips: Annotated[str, typer.Option("--flips", metavar="N,N,...",
                                       help="How many bits at a time.")] = "1,2,4,8,16,32",
    rates: Annotated[str | None, typer.Option("--rates", metavar="R,R,...", show_default=False,
                                              help="Instead: shares of all bits, such as 1e-4,1e-3.")] = None,
    trials: Annotated[int, typer.Option("--trials", metavar="N", help="Networks for each number of flips.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the places.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a campaign that was interrupted.")] = False,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Flip bits of the weights or thresholds at random places, and see what becomes of the classes.

    Each figure is a mean over the trials with its 95 % confidence interval; each layer is also hit alone, which
    names the most sensitive one. The record is kept in BUILD/faults, and the report shows it.
    """
    build = Build(path)
    network = build.network
    chosen = read_images(images, network, data_root)
    total = sum(bits_of(network, target).values())
    counts = _numbers(flips, int, "Flips") if rates is None else [
        max(1, round(rate * total)) for rate in _numbers(rates, float, "Rates")]
    kept = build.path / "faults" / f"{target}.partial.json"
    with console.bar("Flipping", "trials") as report:
        found = campaign(network, chosen.x, chosen.labels, target=target, flips=counts, trials=trials, seed=seed,
                         kept=kept, resume=resume, progress=report)
    record = {"network": build.manifest.network, "set": images, **found.to_json()}
    build.directory.write_json(f"faults/{target}.json", record)
    if as_json:
        console.print_json(record)
        return
    columns = [">flips", ">of bits", ">trials", ">same class", ">interval (95%)", ">worst trial", ">accuracy"]
    console.table(f"Flipped bits of the {target}, {console.count(found.images)} images of {images}", columns,
                  [_row(point) for point in found.points])
    console.table("Each layer alone", ["layer", *columns], [(point.layer, *_row(point)) for point in found.layers])
    console.facts([("Most sensitive", f"[bold]{found.most_sensitive}[/bold]"),
                   *([("Accuracy", f"{console.percent(found.faultless)} without faults")]
                     if found.faultless is not None else []),
                   ("Record", str(build.path / "faults" / f"{target}.json"))])


def _row(point: Point) -> tuple:
    return (point.flips, point.bits, point.trials, console.percent(point.same[0]),
            f"{console.percent(point.same[1])} to {console.percent(point.same[2])}", console.percent(point.worst),
            None if point.accuracy is None else console.percent(point.accuracy[0]))


def _numbers(text: str, kind: type, what: str) -> list:
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"{what} must be numbers with commas between them, not {text}") from None
