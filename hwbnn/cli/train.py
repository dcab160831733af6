"""``hwbnn train``: from a recipe to a QONNX file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import hwbnn_train
from hwbnn.cli import console
from hwbnn.cli.options import DataRoot, Json, single
from hwbnn.errors import UserError
from hwbnn_train import parallel

app = single()


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", show_default=False,
                                                 help="What to train; [bold]--list[/bold] names the recipes.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="RUN", show_default=False,
                                               help="Folder for model.onnx, metrics.json and the log.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")] = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", show_default=False,
                                               help="Instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in RUN.")] = False,
    data: Annotated[str | None, typer.Option("--data", metavar="SET", show_default=False,
                                             help="Data set instead of the recipe's, such as fashion-mnist.")] = None,
    data_root: DataRoot = None,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE",
                                        help="cpu, cuda, or auto: a GPU where there is one.")] = "auto",
    names: Annotated[bool, typer.Option("--list", help="List the recipes and exit.")] = False,
    as_json: Json = False,
):
    """Train a network and export it as QONNX.

    The digits come with scikit-learn; other data sets are read from files, or fetched from OpenML.
    """
    if names:
        for name in hwbnn_train.recipes():
            console.say(name)
        return
    if recipe is None or output is None:
        raise UserError("Training must be told what and where to: `hwbnn train RECIPE -o RUN`; "
                        "`hwbnn train --list` names the recipes")
    metrics = hwbnn_train.train(recipe, output, seed=seed, epochs=epochs, resume=resume, data=data,
                                data_root=data_root, device=device, progress=sys.stderr.isatty())
    if not parallel.is_first():
        return
    if as_json:
        console.print_json(metrics)
        return
    accuracy = metrics["accuracy"]
    console.facts([
        ("Recipe", (f"{metrics['recipe']}: {console.count(metrics['parameters'])} parameters, {metrics['epochs']} "
                    f"epochs in {console.seconds(metrics['seconds'])}, the best was {metrics['best_epoch']}")),
        ("Accuracy", (f"[bold]{console.percent(accuracy['test'])}[/bold] test, "
                      f"{console.percent(accuracy['validation'])} validation, "
                      f"{console.percent(accuracy['train'])} train")),
        ("Model", str(Path(output) / "model.onnx") if "model_sha256" in metrics else
         f"none: {metrics['not_exported']}"),
        ("Log", f"tensorboard --logdir {Path(output) / 'tensorboard'}"),
    ])
