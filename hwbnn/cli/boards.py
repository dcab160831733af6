"""``hwbnn boards``: what there is to compile for."""

from hwbnn.cli import console
from hwbnn.cli.options import Json, single
from hwbnn_boards import board, names

app = single()


@app.command()
def boards(as_json: Json = False):
    """List the boards that --board takes."""
    known = [board(name) for name in names()]
    if as_json:
        console.print_json([{"name": b.name, "title": b.title, "technology": b.technology, "clock_hz": b.clock_hz}
                            for b in known])
        return
    console.table("", ["name", "board", "device", ">clock MHz", "program it with"],
                  [(b.name, b.title, b.technology, f"{b.clock_hz / 1e6:g}", b.programmer.format("FILE"))
                   for b in known])
