"""Put fitted coefficients into the technology files."""

import re
from importlib import resources
from pathlib import Path

from hwbnn.builddir import write_atomic
from hwbnn.calibrate.conformal import COVERAGE
from hwbnn.calibrate.fit import TERMS, Fit, Late, delays, luts
from hwbnn.calibrate.table import Table
from hwbnn.calibrate.targets import MEASURED
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology

__all__ = ["late", "save"]

#: What comes later than a flip-flop's output, in seconds with the source, by technology or family and kind.
_LATE = {
    ("ecp5", "memory"): (5.09e-9, "nextpnr-ecp5 0.11.1 --25k: 5.61 ns of a DP16KD, 0.52 ns of a TRELLIS_FF"),
    ("ecp5", "multiplier"): (5.45e-9, "nextpnr-ecp5 0.11.1 --25k: 3.93 ns of a MULT18X18D, 1.52 ns of its wire"),
    ("ice40-up5k", "memory"): (0.0, "nextpnr-ice40 0.11.1 --up5k: 1.18 ns of a SB_RAM40_4K, 1.39 ns of a flip-flop"),
    ("ice40", "memory"): (1.61e-9, "nextpnr-ice40 0.11.1 --hx8k: 2.15 ns of a SB_RAM40_4K, 0.54 ns of a flip-flop"),
}
_WHAT = {"memory": "how much later than that of a flip-flop the output of a block memory comes",
         "multiplier": "what a hard multiplier takes"}


def _late(tech: Technology, kind: str) -> tuple[float, str] | None:
    return _LATE.get((tech.name, kind)) or _LATE.get((tech.family, kind))


def late(tech: Technology) -> Late:
    """How much later the output of a block memory or a multiplier comes; 0 where that is not known."""
    return Late(*((_late(tech, kind) or (0.0,))[0] for kind in _WHAT))


def save(table: Table) -> list[Path]:
    """Fit all models of the table's target and write them for every technology that they hold for.

    Models that the table cannot tell (the frequency, of rows that were never placed) stay as they are.
    """
    tech = find_technology(table.target)
    tools = ", ".join(f"{tool} {version}" for tool, version in table.tools.items())
    source = f"hwbnn calibrate --target {table.target}, benchmarks/calibration/{table.target}.json; {tools}"
    sections = {section: _lut_model(section, luts(table, tech, mapped=section == "mapped_lut_model"), source)
                for section in ("lut_model", "mapped_lut_model")}
    delay = delays(table, tech, late(tech))
    if delay is not None:
        sections["delay_model"] = _delay_model(delay, source, tech)
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
    what = (f"of the interval that holds {COVERAGE:.0%} of {len(fit.rows)} rows of {len(set(fit.networks.tolist()))} "
            "networks, each left out of the fit; as a factor")
    return (_entry(f"{section}.low", fit.low, "1", "fitted", f"lower end {what}", source)
            + _entry(f"{section}.high", fit.high, "1", "fitted", f"upper end {what}", source))


def _lut_model(section: str, fit: Fit, source: str) -> str:
    known, parts = dict(zip(fit.terms, fit.coefficients, strict=True)), []
    for name in TERMS:
        if name in known:
            parts.append(_entry(f"{section}.{name}", known[name], "1", "fitted",
                                f"cells per unit of the term {name} in hwbnn.cost.forms", source))
        else:
            parts.append(_entry(f"{section}.{name}", 0, "1", "assumed", f"{name} take no further cells here", source))
    return "".join(parts) + _spread(section, fit, source)


def _delay_model(fit: Fit, source: str, tech: Technology) -> str:
    units = {"base": "clock to output, setup and a wire", "level": "a look-up table or a chain, and its wire",
             "carry": "a bit of a carry chain", "spread": "wires, per doubling of the flip-flops"}
    parts = [_entry(f"delay_model.{name}", value, "s", "fitted", units[name], source)
             for name, value in zip(fit.terms, fit.coefficients, strict=True)]
    for kind, what in _WHAT.items():
        known = _late(tech, kind)
        parts.append(_entry(f"delay_model.{kind}", known[0], "s", "measured", what, known[1]) if known else
                     _entry(f"delay_model.{kind}", 0, "s", "assumed", what + ": part of the base", source))
    return "".join(parts) + _spread("delay_model", fit, source)
