"""``hwbnn calibrate``: fit the closed forms of a target to what the tools make of a corpus."""

from pathlib import Path
from typing import Annotated

import typer

from hwbnn.calibrate import MEASURED, NETWORKS, Table, current, extend, figures, measured_on, save
from hwbnn.cli import console
from hwbnn.cli.options import single
from hwbnn.cost import technology
from hwbnn.errors import UserError

app = single()


@app.command()
def calibrate(
    target: Annotated[str, typer.Option("--target", metavar="NAME", show_default=False,
                                        help="The chip; those of a family share what is measured on one of them.")],
    table: Annotated[Path, typer.Option("--tables", metavar="FOLDER", help="Where the tables are kept.")
                     ] = Path("benchmarks/calibration"),
    networks: Annotated[int, typer.Option("--networks", metavar="N",
                                          help="So many networks of the corpus only.")] = NETWORKS,
    place: Annotated[bool, typer.Option("--place/--no-place",
                                        help="Place and route, too, for the frequency.")] = True,
    measure: Annotated[bool, typer.Option("--measure/--no-measure",
                                          help="Measure what is missing or out of date first.")] = True,
):
    """Fit the closed forms of a target to Yosys and nextpnr, and say how wrong they are.

    Every part of a seeded corpus of networks is synthesized, and placed with three seeds; the table is written row by
    row, so that an interrupted run goes on where it was. The coefficients go to the technology's file.
    """
    technology(target)
    if not 1 <= networks <= NETWORKS:
        raise UserError(f"Networks must be 1 to {NETWORKS}, not {networks}")
    measured = measured_on(target)
    path = table / f"{measured}.json"
    if measure:
        with console.bar(f"Measuring on {measured}", "parts") as report:
            found = extend(path, technology(measured), networks=range(networks), place=place,
                           progress=lambda name, done, total: report(done, total))
    else:
        found = Table.read(path)
    found = current(found)  # a fit on other hardware says nothing
    found.write(path)
    files = save(found)
    rows = [(figure.what, figure.reach, figure.value, {True: "yes", False: "no", None: ""}[figure.met])
            for figure in figures(found)]
    console.table(f"{measured}: {len(found.rows)} rows, networks left out of the fit", ["figure", "reach", "is", "met"],
                  rows)
    console.facts([("Table", str(path)), ("Holds for", ", ".join(MEASURED[measured])),
                   ("Written", ", ".join(str(file) for file in files))])
