"""``hwbnn train``: from a recipe to a QONNX file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import hwbnn_train
from hwbnn.cli import console, trained
from hwbnn.cli.options import DataRoot, Json, single
from hwbnn.errors import UserError
from hwbnn_train import parallel
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes import recipe as find_recipe

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
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="FIELD=VALUE", show_default=False,
        help="Another value of any field of the recipe, such as hidden=256,256; may be repeated.")] = None,
    names: Annotated[bool, typer.Option("--list", help="List the recipes and exit.")] = False,
    as_json: Json = False,
):
    """Train a network and export it as QONNX.

    The digits come with scikit-learn; other data sets are read from files, or fetched from OpenML.
    """
    if names:
        found = [hwbnn_train.summary(RECIPES[name]) for name in hwbnn_train.recipes()]
        if as_json:
            console.print_json([vars(row) for row in found])
        else:
            trained.recipes(found)
        return
    if recipe is None or output is None:
        raise UserError("Training must be told what and where to: `hwbnn train RECIPE -o RUN`; "
                        "`hwbnn train --list` names the recipes")
    chosen = hwbnn_train.with_settings(find_recipe(recipe), settings or [])
    metrics = hwbnn_train.train(chosen, output, seed=seed, epochs=epochs, resume=resume, data=data,
                                data_root=data_root, device=device, progress=sys.stderr.isatty())
    if not parallel.is_first():
        return
    if as_json:
        console.print_json(metrics)
        return
    trained.results(metrics, str(Path(output) / "model.onnx"), str(Path(output) / "tensorboard"))
