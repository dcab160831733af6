// The host's end of a board's serial line, with the AXI4-Stream ports of an accelerator, a byte in each beat.
//
// Bytes of s_axis go out on the line as requests, which end in a zero byte each; no more than WINDOW of them wait for
// their answer. Bytes that come in leave on m_axis, where each answer, ended by its zero byte, is filled up with zeros
// to LENGTH bytes. The line is idle for the first cycles, in which the design comes out of its own reset; aresetn
// holds this end only.
module hwbnn_line #(parameter DIVISOR = 4, WINDOW = 2, LENGTH = 8) (
    input aclk, aresetn,
    input [7:0] s_axis_tdata, input s_axis_tvalid, s_axis_tlast, output s_axis_tready,
    output [7:0] m_axis_tdata, output m_axis_tvalid, m_axis_tlast, input m_axis_tready
);
    localparam IDLE = 1023;

    wire tx;  // from the board
    reg rx = 1;
    hwbnn_board board (.clk(aclk), .rx(rx), .tx(tx));

    reg [9:0] idle = 0;
    reg [15:0] waiting = 0;  // requests without an answer yet
    reg begun = 0;          // a request has begun
    reg [8:0] rest = 0;
    reg [3:0] bits = 0;
    reg [15:0] timer = 0;
    wire free = bits == 0 && timer == 0 && idle == IDLE;
    assign s_axis_tready = free && (begun || s_axis_tdata == 0 || waiting < WINDOW);
    wire sent = s_axis_tvalid & s_axis_tready;
    wire asked = sent & begun & s_axis_tdata == 0;
    always @(posedge aclk) begin
        if (idle != IDLE) idle <= idle + 1;
        if (timer != 0) timer <= timer - 1;
        else if (bits != 0) begin
            {rest, rx} <= {1'b1, rest};
            bits <= bits - 1;
            timer <= DIVISOR - 1;
        end else if (sent) begin
            {rest, rx} <= {1'b1, s_axis_tdata, 1'b0};
            bits <= 9;
            timer <= DIVISOR - 1;
        end
        if (sent) begun <= s_axis_tdata != 0;
        if (!aresetn) begin
            idle <= 0;
            timer <= 0;
            bits <= 0;
            begun <= 0;
            rx <= 1;
        end
    end

    reg [7:0] queue [0:1023];
    reg [9:0] head = 0, tail = 0;
    reg [15:0] left = 0;     // cycles to the middle of the next bit
    reg [3:0] got = 0;       // bits of the byte, the start bit among them
    reg [8:0] byte_in = 0;
    reg filling = 0;         // zeros, after an answer's own
    reg [15:0] place = 0;    // byte of the answer
    reg was = 1;
    wire arrived = got == 10 && left == 0;
    wire answered = arrived && byte_in[7:0] == 0;
    always @(posedge aclk) begin
        was <= tx;
        if (left != 0) left <= left - 1;
        else if (got == 10) got <= 0;
        else if (got != 0) begin
            byte_in <= {tx, byte_in[8:1]};
            got <= got + 1;
            left <= got == 9 ? 0 : DIVISOR - 1;
        end else if (was && !tx) begin
            got <= 1;
            left <= DIVISOR + DIVISOR/2 - 2;
        end
        if (arrived) begin
            queue[tail] <= byte_in[7:0];
            tail <= tail + 1;
        end
        waiting <= waiting + asked - answered;
        if (m_axis_tvalid && m_axis_tready) begin
            if (!filling) head <= head + 1;
            filling <= !m_axis_tlast && (filling || queue[head] == 0);
            place <= m_axis_tlast ? 0 : place + 1;
        end
        if (!aresetn) begin
            got <= 0;
            left <= 0;
            head <= 0;
            tail <= 0;
            waiting <= 0;
            filling <= 0;
            place <= 0;
            was <= 1;
        end
    end
    assign m_axis_tvalid = filling || head != tail;
    assign m_axis_tdata = filling ? 8'd0 : queue[head];
    assign m_axis_tlast = place == LENGTH - 1;
endmodule
