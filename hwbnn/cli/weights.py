"""``hwbnn weights``: retrained weights for a build whose layers are loadable."""

from typing import Annotated

import typer

from hwbnn.build import Build, load
from hwbnn.cli import console
from hwbnn.cli.options import Json, single
from hwbnn.plan.loader import loaded_banks
from hwbnn.plan.weights import WeightImage

app = single()


@app.command()
def weights(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, or a network.npz, of the build's structure.")],
    build: Annotated[str, typer.Option("--for", metavar="BUILD", show_default=False,
                                       help="A build directory with loadable layers.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE.bin", show_default=False,
                                        help="The file to write.")],
    as_json: Json = False,
):
    """Write another model's weights in the form that the hardware of a build can load, without compiling anything.

    Everything that is not loadable must be as in the model that was compiled.
    """
    target = Build(build)
    image = WeightImage.of(target.directory, load(model))
    file = image.write(output)
    banks = {loaded.bank.name: len(content) for loaded, content in
             zip(loaded_banks(target.plan.stages).values(), image.banks, strict=True)}
    if as_json:
        console.print_json({"model": model, "for": build, "output": str(file), "banks": banks})
        return
    console.table(f"{image.network.name} for {build}", ["memory", ">bytes"], list(banks.items()),
                  footer=("", sum(banks.values())))
    console.facts([
        ("Weights", str(file)),
        ("Simulate", f"hwbnn simulate {build} --weights {file} --images ..."),
        ("Run", f"hwbnn run {build} --weights {file} --port ... --images ..."),
    ])
