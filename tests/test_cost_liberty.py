"""An accelerator as gates of a Liberty library: reading one, pricing cells, the command, and what is refused."""

import json

import pytest
from commands import call, refused
from zoo import tiny

from hwbnn import build
from hwbnn.build.asic import of_library
from hwbnn.cost.liberty import OSU018, Gate, priced, read
from hwbnn.cost.quantity import Quantity
from hwbnn.errors import UserError
from hwbnn.plan import Fold, lower
from hwbnn.synth import gates as synthesis

FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}
POWER = 'internal_power() {{ rise_power(t) {{ index_1 ("1, 2"); values ("{0}, {0}", \\\n "{0}"); }} }}'
TIMES = " ".join(f'{kind} (d) {{ index_1 ("1, 2"); index_2 ("1, 2"); values ("1, 1", "1, 1"); }}'
                 for kind in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"))  # ABC asks for them


def output(function: str, power: float, *inputs: str) -> str:
    timing = " ".join(f'timing() {{ related_pin : "{pin}"; timing_sense : negative_unate; {TIMES} }}' for pin in inputs)
    return (f'pin (Y) {{ direction : output; max_capacitance : 9; function : "{function}"; {timing} '
            f'{POWER.format(power)} }}')


LIBRARY = f"""
/* gates and
   a flip-flop */
library (own) {{
  voltage_unit : "1V";
  time_unit : "1ns";
  leakage_power_unit : "1nW";
  capacitive_load_unit (1, pf);
  nom_voltage : 2;
  lu_table_template (d) {{ variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 2"); index_2 ("1, 2"); }}
  cell (INV) {{
    area : 2; cell_leakage_power : 3;
    pin (A) {{ direction : input; capacitance : 0.5; }}
    {output("(!A)", 0.25, "A")}
  }}
  cell (BUF) {{
    area : 3; cell_leakage_power : 3;
    pin (A) {{ direction : input; capacitance : 0.5; }}
    {output("A", 0.5, "A")}
  }}
  cell (NAND) {{
    area : 4; cell_leakage_power : 5;
    pin (A) {{ direction : input; capacitance : 0.5; }}
    pin (B) {{ direction : input; capacitance : 0.25; }}
    {output("(!(A B))", -1, "A", "B")}
  }}
  cell (DFF) {{
    area : 10; cell_leakage_power : 7;
    ff (IQ, IQN) {{ next_state : "D"; clocked_on : "C"; }}
    pin (D) {{ direction : input; capacitance : 0.125; }}
    pin (C) {{ direction : input; clock : true; capacitance : 0.25; {POWER.format(0.5)} }}
    pin (Q) {{ direction : output; function : "IQ"; {POWER.format(1)} }}
  }}
}}
"""


@pytest.fixture
def library(tmp_path):
    (tmp_path / "own.lib").write_text(LIBRARY)
    return tmp_path / "own.lib"


def test_a_library_is_read_in_joules(library):
    found = read(library)
    assert (found.name, found.volts) == ("own", 2.0)
    assert found.gates["INV"] == Gate(2, pytest.approx(3e-9), pytest.approx(0.25e-12), pytest.approx(1e-12), 0)
    assert found.gates["NAND"].toggle == 0 and found.gates["NAND"].pins == pytest.approx(1.5e-12)
    assert found.gates["DFF"].clock == pytest.approx(4 * 0.25e-12 + 2 * 0.5e-12)


def test_cells_are_priced(library):
    area, leakage, energy = priced(read(library), {"INV": 3, "DFF": 2}, 10)
    assert (area, leakage.nominal) == (26, pytest.approx(23e-9))
    assert energy.clock.nominal == pytest.approx(2 * 2e-12 * 10)
    toggles = 3 * 1.25e-12 + 2 * 1.25e-12
    assert energy.datapath.nominal == pytest.approx(toggles * 0.25 * 1.5 * 10)
    assert energy.datapath.low == pytest.approx(toggles * 0.1 * 10) and energy.datapath.high == pytest.approx(
        toggles * 0.5 * 2 * 10)
    with pytest.raises(UserError, match=r"^Library own must hold every cell of the netlist, and it has no MUX$"):
        priced(read(library), {"MUX": 1}, 1)


@pytest.mark.synth
def test_an_accelerator_of_few_kinds_of_gates(library):
    plan = lower(tiny(), FOLDS)
    found = of_library(plan, str(library), Quantity.exact(1e-3, "s"))
    assert {stage.name for stage in found.stages} <= {stage.name for stage in plan.parts}
    unit = next(stage for stage in found.stages if stage.name == "fc0")
    assert unit.gates > plan.stage("fc0").flip_flops and found.area == sum(stage.area for stage in found.stages)
    assert found.energy.static.nominal > 0 and found.to_json()["gates"] == found.gates


def test_the_command_shows_it(library, tmp_path, monkeypatch):
    monkeypatch.setattr("hwbnn.build.asic.gates", lambda plan, path: {"fc0": {"INV": 10, "DFF": 3}})
    directory = build.compile(tiny(), tmp_path / "b", board="icebreaker", folds=FOLDS).path
    shown = call("estimate", str(directory), "--asic", str(library))
    assert "Gates of own" in shown and "fc0" in shown
    record = json.loads(call("estimate", str(directory), "--asic", str(library), "--json"))
    assert record["asic"]["gates"] == 13 and record["asic"]["area"] == 50


@pytest.mark.parametrize("content, message", [
    (None, r"^Library \S+x\.lib must exist, and it does not; name another with --asic$"),
    ("cell (A) { area : 1; }", r"^Library \S+ must be a Liberty file with internal power, .*: it begins with cell$"),
    ("library (x) { nom_voltage : 1; }", r"^Library \S+ must be a Liberty file with internal power, and it is not: "),
    ("", r"^Library \S+ must be a Liberty file with internal power, and it is not: .*$"),
])
def test_what_is_no_library_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "x.lib").write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x.lib")


def test_bad_input_of_the_command(tmp_path, monkeypatch, library):
    directory = build.compile(tiny(), tmp_path / "b", board="icebreaker", folds=FOLDS).path
    assert refused("estimate", directory, "--asic", "sky130") == (
        "Library must be osu018 or a Liberty file NAME.lib, not sky130")
    monkeypatch.setattr("hwbnn.build.asic._KNOWN", {"osu018": tmp_path / OSU018.name})
    assert refused("estimate", directory, "--asic", "osu018") == (
        f"Library {tmp_path / OSU018.name} must exist, and it does not; install it with `apt-get install "
        "qflow-tech-osu018`")
    monkeypatch.setattr(synthesis, "MOST_BITS", 10)
    with pytest.raises(UserError, match=r"^Memories must be at most 10 bits to be gates, not [\d,]+; a macro .*$"):
        of_library(lower(tiny(), FOLDS), str(library), Quantity.exact(1, "s"))


@pytest.mark.skipif(not OSU018.exists(), reason="needs Debian's qflow-tech-osu018")
def test_the_free_library():
    found = read()
    assert found.volts == 1.8 and {"INVX1", "NAND2X1", "DFFPOSX1"} <= set(found.gates)
    assert 1e-14 < found.gates["NAND2X1"].toggle + found.gates["NAND2X1"].pins < 1e-12
    assert found.gates["DFFPOSX1"].clock > 0 == found.gates["NAND2X1"].clock
