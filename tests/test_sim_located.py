"""Hardware that is made wrong: where the first difference is, by layer, frame and channel."""

import json
import re

import numpy as np
import pytest
import zoo
from builds import FOLDS, build, images, wrong_threshold, wrong_weight
from marks import ICARUS

from hwbnn import golden
from hwbnn.plan import lower
from hwbnn.sim import simulate


@ICARUS
@pytest.mark.cocotb
@pytest.mark.parametrize("fault", ["weight-0", "weight-1", "threshold"])
def test_fault_is_located(tmp_path, fault):
    """A wrong weight or threshold in the Verilog is named: layer, frame, channel, golden's value and the hardware's."""
    net = zoo.tiny()
    layer, tensor, channel, faulty = {
        "weight-0": ("fc0 + act0", "h0", 4, wrong_weight(net, "fc0", 4, 1)),
        "weight-1": ("fc1", "acc1", 2, wrong_weight(net, "fc1", 2, 5)),
        "threshold": ("fc0 + act0", "h0", 3, wrong_threshold(net, "act0", 3)),
    }[fault]
    x = images(net, 60)
    result = simulate(build(tmp_path, net, faulty=faulty), x, simulator="icarus")
    right, seen = (golden.evaluate(one, golden.encode(one, x)) for one in (net, faulty))
    differs = np.flatnonzero(np.any(right["class"] != seen["class"], axis=1))
    assert len(differs) and result.mismatches == len(differs) and not result.exact and result.cycles_as_predicted
    frames = np.flatnonzero(right[tensor][:, channel] != seen[tensor][:, channel])
    found = result.first_mismatch
    assert found is not None
    assert (found.layer, found.channel, found.pixel, found.frame) == (layer, channel, 0, frames[0])
    assert found.expected == right[tensor][frames[0], channel] and found.seen == seen[tensor][frames[0], channel]
    assert result.problems()[0] == f"Outputs must equal golden's, and {len(differs)} of 60 frames differ"
    assert json.loads((tmp_path / "sim/result.json").read_text())["first_mismatch"]["layer"] == layer


@ICARUS
@pytest.mark.cocotb
@pytest.mark.parametrize("stage", ["fc0", "fc1"])
def test_stuck_stream_is_located(tmp_path, stage):
    """A stage that stops answering is named as the one that the others wait for."""
    net = zoo.tiny()
    directory = build(tmp_path, net)
    verilog = directory / "rtl/accelerator.v"
    verilog.write_text(stuck(verilog.read_text(), stage))
    result = simulate(directory, images(net, 5), simulator="icarus")
    assert result.mismatches == 5 and len(result.outputs) == 0 and result.measured is None
    assert result.faults[0].startswith("Design must take and return ")
    assert result.first_mismatch is not None
    assert (result.first_mismatch.stage, result.first_mismatch.frame) == (stage, 0)
    assert result.first_mismatch.seen is None
    assert result.faults[-1].startswith(f"Stage {stage} must go on, and it stopped after 0 output beats; these wait: ")


@ICARUS
@pytest.mark.cocotb
def test_fault_that_the_outputs_hide_is_found_in_the_layers(tmp_path):
    net, channel = zoo.tiny(), 1
    faulty = wrong_threshold(net, "act0", channel)
    x = images(net, 60)
    directory = build(tmp_path, net, faulty=faulty)
    assert simulate(directory, x, simulator="icarus").exact, "no class differs"
    result = simulate(directory, x, simulator="icarus", check="layers")
    right, seen = (golden.evaluate(one, x)["h0"][:, channel] for one in (net, faulty))
    frame = int(np.flatnonzero(right != seen)[0])
    assert result.mismatches == 0 and not result.exact and not result.ok
    found = result.first_mismatch
    assert found is not None
    assert (found.layer, found.frame, found.channel) == ("fc0 + act0", frame, channel)
    assert (found.expected, found.seen) == (right[frame], seen[frame])


@ICARUS
@pytest.mark.cocotb
def test_dropped_beat_is_located(tmp_path):
    """A FIFO that loses its eighth entry is named, with the frame that the entry belonged to."""
    net = zoo.tiny()
    directory = build(tmp_path, net)
    verilog = directory / "rtl/accelerator.v"
    verilog.write_text(dropping(verilog.read_text(), "fc1", 7))
    x = images(net, 5)
    result = simulate(directory, x, simulator="icarus", check="layers")
    found = result.first_mismatch
    assert found is not None
    beats = lower(net, FOLDS).stage("fc1").o.beats
    assert found.stage == "fc1" and (found.frame, found.channel) == (7 // beats, 7 % beats)
    logits = golden.evaluate(net, x)["acc1"].ravel()
    assert (found.expected, found.seen) == (logits[7], logits[8])
    assert any(fault.startswith("Design must take and return") for fault in result.faults)


def dropping(text, stage, entry):
    """Make the stage's FIFO lose one entry."""
    head, name, body = text.partition(f"module \\accelerator.core.{stage}.fifo (")
    module, end, rest = body.partition("endmodule")
    ports, *lines = module.splitlines()
    lines = [line if re.match(r"\s*(input|wire|output) |.*\.\w+\(", line) or "w_en" not in line
             else line.replace("w_en", "w_en_kept") for line in lines]
    assert sum("w_en_kept" in line for line in lines) >= 2
    kept = f"reg [31:0] seen = 0; always @(posedge clk) seen <= seen + w_en; wire w_en_kept = w_en & (seen != {entry});"
    return head + name + "\n".join([ports, kept, *lines]) + end + rest


def stuck(text, stage):
    """Make the stage's output never valid."""
    head, name, body = text.partition(f"module \\accelerator.core.{stage}.fifo (")
    found = re.search(r"(?<=o__valid <= )\S+(?= ;)", body.split("endmodule")[0])
    assert name and found
    return head + name + body[:found.start()] + "1'b0" + body[found.end():]
