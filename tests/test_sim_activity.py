import numpy as np
import pytest
from standin import BEATS, frames, standin, traffic

from hwbnn.errors import UserError
from hwbnn.sim.activity import InstanceActivity, read_saif
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.traffic import RESET_CYCLES

SAIF = r"""// a comment (with parentheses)
(SAIFILE (SAIFVERSION "2.0") (DIVIDER / ) (DURATION 80)
 (INSTANCE TOP
  (NET (clk (T0 40) (T1 40) (TX 0) (TC 16)) (a\[0\] (T0 80) (T1 0) (TC 3)) (a\[1\] (T0 80) (T1 0) (TC 4)))
  (INSTANCE unit (NET (b (T0 1) (T1 79) (TC 5))))
 )
)
"""


def test_read(tmp_path):
    path = tmp_path / "run.saif"
    path.write_text(SAIF)
    found = read_saif(path, clock="TOP.clk")
    assert found.cycles == 8
    assert found.nets == {"TOP.clk": 16, "TOP.a[0]": 3, "TOP.a[1]": 4, "TOP.unit.b": 5}
    assert found.instances == (InstanceActivity("TOP", 3, 23), InstanceActivity("TOP.unit", 1, 5))


@pytest.mark.parametrize(("text", "message"), [
    ("", r"SAIF file \S+ must be SAIF 2\.0 with at least one net, and it is not"),
    (SAIF[:200], r"SAIF file \S+ must be SAIF 2\.0 with at least one net, and it is not"),
    (SAIF + ")", r"SAIF file \S+ must have balanced parentheses"),
    (SAIF.replace("clk", "other"), r"SAIF file \S+ must have the clock TOP\.clk, and it has not"),
])
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "run.saif"
    path.write_text(text)
    with pytest.raises(UserError, match=f"^{message}$"):
        read_saif(path, clock="TOP.clk")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"^SAIF file \S+ must be readable, and it is not: .*$"):
        read_saif(tmp_path / "none.saif", clock="TOP.clk")


@pytest.mark.cocotb
def test_toggles_are_those_of_the_beats_that_were_sent(tmp_path):
    verilog, wave = tmp_path / "design.v", tmp_path / "run.saif"
    verilog.write_text(standin())
    engine = CompiledEngine(verilog, toplevel="accelerator", directory=tmp_path / "sim", wave=wave)
    sent = traffic(30, stalls="none")
    record = engine.run({"unstalled": sent})["unstalled"]
    found = read_saif(wave, clock="TOP.aclk")
    assert found.cycles == record.cycles + RESET_CYCLES
    words = np.concatenate([[0], frames(30)[:, :, 0].ravel()]).astype(int)
    for bit in range(8):
        assert found.nets[f"TOP.s_axis_tdata[{bit}]"] == np.abs(np.diff(words >> bit & 1)).sum()
    assert found.nets["TOP.accelerator.s_axis_tlast"] == 2 * 30 - 1
    assert found.nets["TOP.accelerator.m_axis_tvalid"] == 2 * 30
    assert BEATS > 2, "or the output would stay valid"
    sums = {one.instance: one for one in found.instances}
    assert sums["TOP.accelerator"].bits > sums["TOP"].bits > 30
