"""Technology files: every number has a source, unknown is unknown, and the 45 nm view meets its published points."""

import tomllib
from importlib import resources

import pytest

from hwbnn.cost import asic as asic_module
from hwbnn.cost.asic import asic, nodes, scaled
from hwbnn.cost.quantity import Quantity, Unknown
from hwbnn.cost.technology import KINDS, Constant, constants, names, parse, technology
from hwbnn.errors import UserError

FILES = sorted(file.name for file in resources.files("hwbnn.cost.technologies").iterdir()
               if file.name.endswith(".toml"))


def read(name):
    return (resources.files("hwbnn.cost.technologies") / name).read_text(encoding="utf-8")


def bare_numbers(record, where=""):
    """Places of numbers that no source belongs to."""
    if isinstance(record, dict):
        if "value" in record:
            good = record.get("kind") in KINDS and str(record.get("source", "")).strip() and record.get("unit")
            return [] if good else [where]
        return [place for key, value in record.items() for place in bare_numbers(value, f"{where}.{key}")]
    if isinstance(record, list):
        return [place for value in record for place in bare_numbers(value, where)]
    return [where] if isinstance(record, int | float) and not isinstance(record, bool) else []


@pytest.mark.parametrize("name", FILES)
def test_every_number_has_a_source(name):
    assert bare_numbers(tomllib.loads(read(name))) == []


def test_the_source_rule_notices():
    assert bare_numbers({"a": {"value": 1, "unit": "J", "kind": "measured", "source": " "}}) == [".a"]
    assert bare_numbers({"a": {"b": 3}, "c": [1]}) == [".a.b", ".c"]


@pytest.mark.parametrize("name", names())
def test_every_technology_loads_and_fits_its_family(name):
    tech = technology(name)
    assert tech.name == name and tech.luts.value > 0 and tech.block_memory.count.value > 0
    assert tech.shared_cells == (tech.family == "ice40") == (tech.lut == "LC")
    assert (tech.lut_memory is None) == (tech.family == "ice40")
    capacity = {words * bits for words, bits in tech.block_memory.shapes.value}
    assert max(capacity) in (18 * 1024, 4096)


def test_names():
    assert {"ecp5-25", "ecp5-45", "ecp5-85", "ice40-hx1k", "ice40-hx8k", "ice40-up5k"} <= set(names())
    assert asic_module.NAME not in names()


def test_unknown_technology_suggests_the_nearest():
    with pytest.raises(UserError, match=r"^Technology must be one of .*, not ecp5-58; did you mean ecp5-85\?$"):
        technology("ecp5-58")
    with pytest.raises(UserError, match=r"^Technology must be one of .*ice40-up5k, .*, not zzz$"):
        technology("zzz")


def test_block_memory_takes_the_cheapest_columns():
    memory = technology("ecp5-85").block_memory
    assert memory.blocks(36, 512) == 1 and memory.blocks(37, 512) == 2
    assert memory.blocks(1, 16384) == 1 and memory.blocks(1, 18432) == 1 and memory.blocks(1, 18433) == 2
    assert memory.blocks(1, 16385, written=True) == 2 and memory.blocks(40, 4096, written=True) == 10
    assert memory.blocks(64, 1024) == 4   # 18 bits at 1024 words, not 36 bits twice
    ice = technology("ice40-up5k").block_memory
    assert ice.blocks(16, 256) == 1 and ice.blocks(16, 512) == 2 and ice.blocks(17, 256) == 2


def test_lut_memory_primitives():
    memory = technology("ecp5-85").lut_memory
    assert memory is not None
    assert [memory.primitives(4, 16), memory.primitives(5, 16), memory.primitives(4, 17)] == [1, 2, 2]
    xilinx = technology("xilinx-xc7a35t").lut_memory  # RAM32M of 6 bits, then RAM64M of 3
    assert [xilinx.primitives(7, 32), xilinx.primitives(2, 48), xilinx.primitives(2, 304)] == [2, 1, 5]


def constant(**changes):
    return Constant(**({"value": 1, "unit": "J", "kind": "measured", "source": "bench"} | changes))


def test_constants_become_figures():
    assert constant(uncertainty=0.5).figure() == Quantity(0.5, 1, 1.5, "J", "measured", ("bench",))
    assert constant(low=0.25, high=8).figure() == Quantity(0.25, 1, 8, "J", "measured", ("bench",))
    unknown = constant(value="unknown", kind="unknown", conditions="leakage").figure()
    assert unknown == Unknown("J", "leakage unknown: bench")


@pytest.mark.parametrize("changes, message", [
    ({"kind": "guessed"}, r"^Constant kind must be one of measured, .*, unknown, not 'guessed'$"),
    ({"source": ""}, r"^Constant source must be given for the value 1$"),
    ({"value": "none"}, r"^Constant value must be a number or 'unknown', not 'none'$"),
    ({"value": "unknown"}, r"^Constant kind must be 'unknown' exactly where the value is, not 'measured'$"),
    ({"uncertainty": 2}, r"^Constant uncertainty must lie in 0..1, not 2$"),
    ({"low": 0}, r"^Constant must have both low and high and no uncertainty, or neither$"),
])
def test_bad_constants(changes, message):
    with pytest.raises(ValueError, match=message):
        constant(**changes)


@pytest.mark.parametrize("record, message", [
    ({"luts": 5}, r"^x\.luts: a number must stand in a table with value, unit, kind and source, not 5$"),
    ({"a": {"b": [1]}}, r"^x\.a\.b: a number must stand in a table with value, unit, kind and source, not 1$"),
    ({"a": {"value": 1, "unit": "J", "kind": "measured", "source": ""}},
     r"^x\.a: Constant source must be given for the value 1$"),
])
def test_bad_records(record, message):
    with pytest.raises(ValueError, match=message):
        constants(record, "x")


def test_a_technology_with_a_missing_or_odd_entry_is_refused():
    text = read("ice40-up5k.toml")
    with pytest.raises(ValueError, match=r"^x: must have exactly the entries .*; see colour$"):
        parse('colour = "red"\n' + text, "x")
    with pytest.raises(ValueError, match=r"^x\.block_memory: must have exactly the entries .*; see name$"):
        parse(text.replace('name = "SB_RAM40_4K"', ""), "x")


def test_asic_meets_the_published_points():
    chip = asic()
    for kilobytes, picojoules in ((8, 10), (32, 20), (1024, 100)):
        assert chip.access(kilobytes * 8192, 64).nominal == pytest.approx(picojoules * 1e-12)
    assert chip.access(8 * 8192, 32).nominal == pytest.approx(5e-12)
    assert chip.add(8).nominal == pytest.approx(0.03e-12)
    assert chip.add(32).contains(0.1e-12)


def test_asic_accesses_grow_with_capacity():
    chip = asic()
    figures = [chip.access(2**k, 64) for k in range(6, 28)]
    for end in ("low", "nominal", "high"):
        values = [getattr(figure, end) for figure in figures]
        assert values == sorted(values)


def test_processes_scale_downwards():
    factors = nodes()
    assert list(factors.values()) == sorted(factors.values(), reverse=True) and factors["45"] == 1
    assert 4 < factors["130"] < 20 and 0.03 < factors["7"] < 0.15
    figure = Quantity(1e-12, 2e-12, 3e-12, "J", "45 nm operations", ("Horowitz",))
    assert scaled(figure, "45") == figure
    small = scaled(figure, "7")
    assert isinstance(small, Quantity) and small.nominal == pytest.approx(factors["7"] * 2e-12)
    assert (small.low, small.high) == pytest.approx((0.7 * factors["7"] * 1e-12, 1.3 * factors["7"] * 3e-12))
    assert any("Stillmaker" in source for source in small.sources) and "scaled to 7 nm" in small.method
    assert isinstance(scaled(Unknown("J", "why"), "7"), Unknown)
