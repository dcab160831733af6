"""Put fitted coefficients into the technology files."""

import re
from importlib import resources
from pathlib import Path

from hwbnn.builddir import write_atomic
from hwbnn.calibrate.fit import TERMS, Fit, delays, luts
from hwbnn.calibrate.table import Table
from hwbnn.calibrate.targets import MEASURED
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology

__all__ = ["save"]

#: By how many seconds a block memory's output comes later than a flip-flop's, by technology or family, with its source.
_MEMORY = {
    "ecp5": (5.09e-9, "nextpnr-ecp5 0.11.1 --25k, critical path: 5.61 ns of a DP16KD, 0.52 ns of a TRELLIS_FF"),
    "ice40-up5k": (0.0, "nextpnr-ice40 0.11.1 --up5k, critical path: 1.18 ns of a SB_RAM40_4K, 1.39 ns of a flip-flop"),
    "ice40": (1.61e-9, "nextpnr-ice40 0.11.1 --hx8k, critical path: 2.15 ns of a SB_RAM40_4K, 0.54 ns of a flip-flop"),
}


def memory_delay(tech: Technology) -> tuple[float, str] | None:
    """How much later the output of a block memory comes, where that is known."""
    return _MEMORY.get(tech.name) or _MEMORY.get(tech.family)


def save(table: Table) -> list[Path]:
    """Fit all models of the table's target and write them for every technology that they hold for.

    Models that the table cannot tell (the frequency, of rows that were never placed) stay as they are.
    """
    tech = find_technology(table.target)
    tools = ", ".join(f"{tool} {version}" for tool, version in table.tools.items())
    source = f"hwbnn calibrate --target {table.target}, benchmarks/calibration/{table.target}.json; {tools}"
    sections = {section: _lut_model(section, luts(table, tech, mapped=section == "mapped_lut_model"), source)
                for section in ("lut_model", "mapped_lut_model")}
    memory = memory_delay(tech)
    delay = delays(table, tech, memory[0] if memory else 0.0)
    if delay is not None:
        sections["delay_model"] = _delay_model(delay, source, memory)
    written = []
    for name in MEASURED[table.target]:
        file = Path(str(resources.files("hwbnn.cost.technologies") / f"{name}.toml"))
        text = file.read_text(encoding="utf-8")
        for section, content in sections.items():
            text = re.sub(rf"(?ms)^\[{section}\..*?(?=^\[(?!{section}\.)|\Z)", "", text).rstrip("\n") + "\n\n" + content
        written.append(write_atomic(file, text.rstrip("\n") + "\n"))
    find_technology.cache_clear()
    return written


def _entry(place: str, value: float | str, unit: str, kind: str, conditions: str, source: str) -> str:
    shown = f'"{value}"' if isinstance(value, str) else f"{value:.4g}"
    return (f'[{place}]\nvalue = {shown}\nunit = "{unit}"\nkind = "{kind}"\nconditions = "{conditions}"\n'
            f'source = "{source}"\n\n')


def _spread(section: str, fit: Fit, source: str) -> str:
    what = "percentile of measured over modelled, on networks left out of the fit"
    low, high = fit.percentiles
    return (_entry(f"{section}.low", fit.low, "1", "fitted", f"{low}th {what}", source)
            + _entry(f"{section}.high", fit.high, "1", "fitted", f"{high}th {what}", source))


def _lut_model(section: str, fit: Fit, source: str) -> str:
    known, parts = dict(zip(fit.terms, fit.coefficients, strict=True)), []
    for name in TERMS:
        if name in known:
            parts.append(_entry(f"{section}.{name}", known[name], "1", "fitted",
                                f"cells per unit of the term {name} in hwbnn.cost.forms", source))
        else:
            parts.append(_entry(f"{section}.{name}", 0, "1", "assumed", f"{name} take no further cells here", source))
    return "".join(parts) + _spread(section, fit, source)


def _delay_model(fit: Fit, source: str, memory: tuple[float, str] | None) -> str:
    units = {"base": "clock to output, setup and a wire", "level": "a look-up table and its wire",
             "carry": "a bit of a carry chain", "spread": "wires, per doubling of the flip-flops"}
    parts = [_entry(f"delay_model.{name}", value, "s", "fitted", units[name], source)
             for name, value in zip(fit.terms, fit.coefficients, strict=True)]
    what = "how much later than that of a flip-flop the output of a block memory comes"
    parts.append(_entry("delay_model.memory", memory[0], "s", "measured", what, memory[1]) if memory else
                 _entry("delay_model.memory", 0, "s", "assumed", what + ": part of the base", source))
    return "".join(parts) + _spread("delay_model", fit, source)
