"""A small AXI4-Stream design in plain Verilog, right or wrong on demand: it adds up the beats of each frame."""

import numpy as np

from hwbnn.sim.traffic import Traffic

BEATS = 5

_VERILOG = """
module accelerator (
    input wire aclk, input wire aresetn,
    input wire [7:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready, input wire s_axis_tlast,
    output reg [15:0] m_axis_tdata, output reg m_axis_tvalid, input wire m_axis_tready, output wire m_axis_tlast
);
    reg [2:0] count = 0;
    reg [15:0] sum = 0;
    initial begin m_axis_tvalid = 0; m_axis_tdata = 0; end
    wire last = count == 4;
    wire [15:0] total = sum + {8'b0, s_axis_tdata};
    assign s_axis_tready = !last | !m_axis_tvalid | m_axis_tready;
    assign m_axis_tlast = LAST;
    always @(posedge aclk) begin
        if (m_axis_tready) m_axis_tvalid <= 0;
        WAITING
        if (s_axis_tvalid & s_axis_tready) begin
            count <= last ? 0 : count + 1;
            sum <= last ? 0 : total;
            if (last) begin m_axis_tdata <= total; m_axis_tvalid <= VALID; end
        end
        if (!aresetn) begin RESET m_axis_tvalid <= 0; end
    end
endmodule
"""

_RIGHT = {"LAST": "1", "WAITING": "", "VALID": "1", "RESET": "count <= 0; sum <= 0;"}


def standin(**faults: str) -> str:
    """The design's Verilog, with the named parts of its text replaced."""
    text = _VERILOG
    for name, right in _RIGHT.items():
        text = text.replace(name, faults.get(name, right))
    return text


def frames(count: int, seed: int = 0) -> np.ndarray:
    """Random stimulus, uint8 (count, BEATS, 1)."""
    return np.random.default_rng(seed).integers(0, 256, (count, BEATS, 1), dtype=np.uint8)


def sums(stimulus: np.ndarray) -> np.ndarray:
    """What the design must give for the stimulus, (frames,)."""
    return stimulus[:, :, 0].astype(int).sum(axis=1)


def traffic(count: int, *, stalls: str, seed: int = 1) -> Traffic:
    return Traffic(frames(count), beats_out=1, bytes_out=2, stalls=stalls, seed=seed, pause=100, patience=500,
                   reset_after=0 if stalls == "none" else 3)
