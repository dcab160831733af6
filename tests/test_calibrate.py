# amaranth: UnusedElaboratable=no

"""Calibration: the corpus, resumable tables, fits on made-up measurements, coefficients into technology files."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwbnn import cost
from hwbnn.calibrate import (
    MEASURED,
    WHOLE,
    Late,
    Measured,
    Row,
    Table,
    current,
    delays,
    extend,
    luts,
    measured_on,
    nonnegative,
    outdated,
    save,
)
from hwbnn.calibrate import table as tables
from hwbnn.calibrate.corpus import Sample, network, plan, samples
from hwbnn.calibrate.harness import bare, serial
from hwbnn.calibrate.measure import digest
from hwbnn.calibrate.table import of_sample, stages_of
from hwbnn.calibrate.validate import Check, validate
from hwbnn.cost import Quantity, Unknown
from hwbnn.cost.depth import paths, spread
from hwbnn.cost.resources import terms
from hwbnn.cost.technology import parse
from hwbnn.errors import UserError

ICE, CORPUS = cost.technology("ice40-up5k"), tuple(samples("ice40-up5k"))
TRUE = {"datapath": 1.1, "control": 0.9, "rom": 1.05, "registers": 1.3}
DELAYS = (2e-9, 1.3e-9, 0.28e-9, 0.2e-9)


def made_up(sample: Sample, noise: float = 1.0) -> Row:
    """A row whose cells and frequency follow from the models with known coefficients."""
    stages = stages_of(Row(sample.network, sample.name, "", "", True, Measured({}, {}, ())), ICE)
    cells = sum(fixed + sum(TRUE[name] * amounts[name] for name in TRUE)
                for fixed, amounts in (terms(stage, ICE) for stage in stages))
    base, level, carry, wire = DELAYS
    seconds = max(base + level * path.levels + carry * path.carry + wire * spread(stages)
                  for stage in stages for path in paths(stage, ICE))
    cells = round(noise * cells)
    return Row(sample.network, sample.name, "", "", True, Measured(
        {"SB_LUT4": cells, "SB_DFF": sum(s.flip_flops for s in stages)}, {"ICESTORM_LC": cells},
        (1e-6 / seconds, 1.01e-6 / seconds, 0.99e-6 / seconds)))


@pytest.fixture(scope="module")
def table() -> Table:
    return Table("ice40-up5k", {"yosys": "0.70"}, tuple(made_up(sample) for sample in CORPUS))


def test_the_corpus_is_large_seeded_and_of_every_kind():
    parts = [sample for sample in CORPUS if sample.name != WHOLE]
    assert len(parts) >= 60 and len({sample.network for sample in CORPUS}) >= 12
    kinds = {type(sample.stage).__name__ for sample in parts}
    assert {"MatrixVectorStage", "WindowStage", "PadStage", "PoolStage", "ArgMaxStage", "AddStage"} <= kinds
    again = network(14)
    assert again[1] == network(14)[1]
    fast, slow = plan(14, "ecp5-25"), plan(14, "xilinx-xc7a35t")  # every third has the registers of the highest clock
    assert fast.flip_flops > slow.flip_flops and plan(13, "ecp5-25").flip_flops == plan(13, "xilinx-xc7a35t").flip_flops
    assert len({(sample.network, sample.name) for sample in CORPUS}) == len(CORPUS)


def test_every_chip_is_measured_once():
    assert sorted(name for names in MEASURED.values() for name in names) == list(cost.names())
    assert measured_on("ecp5-85") == "ecp5-25" and all(measured_on(name) in MEASURED for name in cost.names())


def test_the_harness_has_three_pins_and_keeps_every_output():
    sample = CORPUS[1]
    text = serial(of_sample(sample, ICE), "ice40")
    top = text[text.index("module \\top"):] if "module \\top" in text else text
    ports = {line.split("\\")[-1] for line in top.splitlines() if " input " in line or " output " in line}
    assert {"clk", "si", "so"} <= ports
    mark = digest(of_sample(sample, ICE), "ice40")
    assert mark == digest(of_sample(sample, ICE), "ice40") != digest(of_sample(CORPUS[2], ICE), "ice40")
    assert mark != digest(of_sample(sample, ICE), "ecp5")  # which has cells of its own
    assert bare(of_sample(sample, ICE), "ice40") != text


def test_fits_find_the_coefficients_again(table):
    found = luts(table, ICE, mapped=False)
    assert dict(zip(found.terms, found.coefficients, strict=True)) == pytest.approx(TRUE, rel=0.01)
    assert max(found.errors(whole=False)) < 0.03 and max(found.errors(whole=True)) < 0.03
    assert len(found.coefficients) <= 4 and found.whole.sum() == len({row.network for row in table.rows})
    speed = delays(table, ICE, Late())
    assert speed is not None and np.median(speed.errors(whole=True)) < 0.02


def test_intervals_cover_what_was_left_out(table):
    rng = np.random.default_rng(0)
    noisy = Table(table.target, table.tools, tuple(
        made_up(sample, float(rng.normal(1, 0.08))) for sample in CORPUS))
    found = luts(noisy, ICE, mapped=False)
    assert 0.8 <= found.low < 1 < found.high <= 1.25
    assert 0.8 <= found.coverage <= 0.97


def test_without_placement_there_is_no_frequency(table):
    bare_rows = tuple(replace(row, measured=replace(row.measured, fmax=())) for row in table.rows)
    assert delays(Table(table.target, table.tools, bare_rows), ICE, Late()) is None


def test_a_network_is_left_out_as_a_whole(table):
    """One network is measured ten times too large: only its own predictions must not follow."""
    odd = CORPUS[-1].network
    wrong = Table(table.target, table.tools, tuple(
        made_up(s, 10.0) if s.network == odd else made_up(s) for s in CORPUS))
    found = luts(wrong, ICE, mapped=False)
    clean = luts(table, ICE, mapped=False)
    models = [{row.key: value for row, value in zip(fit.rows, fit.model, strict=True)} for fit in (found, clean)]
    own = [key for key in models[1] if key[0] == odd]
    assert len(own) >= 3 and [models[0][key] for key in own] == pytest.approx([models[1][key] for key in own], rel=0.02)


def test_rows_are_measured_once_and_again_when_the_hardware_changes(tmp_path, monkeypatch):
    calls = []

    def fake(make, tech, *, place):
        calls.append(tech)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Measured({"SB_LUT4": 40}, {"ICESTORM_LC": 40}, (50.0, 51.0, None) if place else ())

    monkeypatch.setattr(tables, "measure", fake)
    monkeypatch.setattr(tables, "versions", lambda tech: {"yosys": "0.70"})
    path, seen = tmp_path / "ice40-up5k.json", []
    with pytest.raises(KeyboardInterrupt):
        extend(path, ICE, networks=range(1), place=False)
    assert len(Table.read(path).rows) == 2  # the third was under way
    count = len(list(samples("ice40-up5k", range(1))))
    found = extend(path, ICE, networks=range(1), place=False, progress=lambda *told: seen.append(told))
    assert len(found.rows) == count and len(calls) == count + 1 and len(seen) == count
    assert extend(path, ICE, networks=range(1), place=False) == Table.read(path) == found
    assert len(calls) == count + 1
    old = replace(found.rows[0], digest="of another")
    Table(found.target, found.tools, (old, *found.rows[1:])).write(path)
    extend(path, ICE, networks=range(1), place=False)
    assert len(calls) == count + 2
    extend(path, ICE, networks=range(1), place=True)  # rows without a frequency are made again
    assert len(calls) == 2 * count + 2 and all(row.placed for row in Table.read(path).rows)


def test_a_fit_stands_on_hardware_of_today(table, monkeypatch):
    few = [sample for sample in CORPUS if sample.network in (2, 4, 6, 8, 10)]
    for name, stand_in in {"samples": lambda target: few, "of_sample": lambda sample, tech: sample,
                           "digest": lambda sample, family: sample.name}.items():
        monkeypatch.setitem(current.__globals__, name, stand_in)
    current.__globals__["_marks"].cache_clear()
    marks = {(sample.network, sample.name): sample.name for sample in few[:-2]}
    mixed = replace(table, rows=tuple(replace(row, digest=marks.get(row.key, "old")) for row in table.rows))
    assert outdated(mixed) == 2
    assert current(mixed) == mixed  # too few for a fit: all stay
    monkeypatch.setitem(current.__globals__, "FEW", len(marks))
    assert {row.key for row in current(mixed).rows} == set(marks)
    current.__globals__["_marks"].cache_clear()


@pytest.mark.parametrize("content, message", [
    (None, r"exist, and it does not; make it with `hwbnn calibrate --target x --tables \S+`"),
    ('{"format": 1}', r"have format 2, not 1; put it aside and measure again with `mv \S+x\.json \S+x\.old && hw.*`"),
    *((damaged, r"be what `hwbnn calibrate` writes, and it is damaged; put it aside and measure again with `mv .*`")
      for damaged in ("", "{", "[1]", '{"format": 2}', '{"format": 2, "target": "x", "tools": {}, "rows": [{}]}',
                      '{"format": 2, "target": "x", "tools": {}, "rows": [{"network": 0, "measured": {"cells": 3}}]}')),
])
def test_bad_tables(content, message, tmp_path):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=rf"^Calibration table .*x\.json must {message}$"):
        Table.read(tmp_path / "x.json")


def test_coefficients_go_to_the_files_of_all_that_share_them(table, tmp_path, monkeypatch):
    source = Path(cost.__file__).parent / "technologies"
    (tmp_path / "technologies").mkdir()
    for name in ("ice40-up5k", "ice40-hx8k"):
        (tmp_path / "technologies" / f"{name}.toml").write_bytes((source / f"{name}.toml").read_bytes())
    here = SimpleNamespace(files=lambda package: tmp_path / "technologies")
    monkeypatch.setitem(save.__globals__, "resources", here)
    (file,) = save(table)
    text = file.read_text()
    tech = parse(text, "ice40-up5k")
    for name, value in TRUE.items():
        assert getattr(tech.lut_model, name).value == pytest.approx(value, rel=0.01)
    assert tech.lut_model.chains.value == 0 and tech.lut_model.chains.kind == "assumed"
    assert tech.delay_model.known and 0.9e-9 < tech.delay_model.level.value < 1.6e-9
    assert "benchmarks/calibration/ice40-up5k.json" in tech.lut_model.datapath.source
    assert tech.energy.static_power.value == ICE.energy.static_power.value
    assert save(table) == [file] and file.read_text() == text  # again, the same


def test_validation_compares_a_sample_with_the_estimate():
    checks = validate(ICE, count=3, seed=2, run=lambda make, tech, *, place: Measured(
        {"SB_LUT4": 10, "SB_DFF": 3}, {"ICESTORM_LC": 10}, (50.0, 60.0, 70.0)))
    assert [check.figure for check in checks[:3]] == ["LC", "FF", "Hz"]
    assert checks[0].measured == 10 and checks[2].measured == 60e6
    exact = Check("part", "LC", Quantity(90, 100, 120, "LC", "form"), 80)
    assert exact.inside is False and exact.error == pytest.approx(0.25)
    assert Check("part", "Hz", Unknown("Hz", "why"), 1).inside is None
    with pytest.raises(UserError, match=r"^Sample must be 1 to \d+ parts of the corpus, not 0$"):
        validate(ICE, count=0)


@pytest.mark.parametrize("a, b, x", [
    ([[1, 0], [0, 1], [1, 1]], [1, 2, 3], [1, 2]),
    ([[1, 0], [0, 1]], [1, -2], [1, 0]),
    ([[1.0], [1.0]], [-1, -1], [0]),
])
def test_coefficients_are_never_negative(a, b, x):
    assert nonnegative(np.array(a, float), np.array(b, float)) == pytest.approx(x)


def test_tables_are_json_with_a_row_on_a_line(table, tmp_path):
    small = Table(table.target, table.tools, table.rows[:3])
    small.write(tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    assert Table.read(tmp_path / "t.json") == small and len(text.splitlines()) == 12
    assert json.loads(text)["target"] == "ice40-up5k"
