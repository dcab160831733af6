// Cells of Lattice ECP5 that Yosys has as black boxes only, and those that nextpnr makes of others.
//
// DP16KD: block RAM of 18,432 bits with two ports. What it does is what Yosys' memory mapping takes it to do; where
// that says nothing, as of OUTREG and chip selects, it is what the names of its parameters mean.
//
// - The content is 2,048 units of 9 bits; INITVAL_nn holds 32 of them, two in each 20 bits, the upper 2 bits unused.
// - Widths 1, 2 and 4 see the lower 8 bits of a unit only; 18 and 36 see 2 and 4 units, the first lowest.
// - A port of 18 or 36 bits has a write enable for each unit in its lowest address bits.
// - A port 36 bits wide has its upper half at the other port's data pins when it writes, and its lower half there
//   when it reads: only port A writes so, only port B reads so.
// - A clock enable gates reading and writing; a synchronous reset clears the outputs without it, and no port writes
//   in reset. REGMODE OUTREG adds a register to an output, enabled by OCE.
// - What one port writes in a cycle the other must not read or write in the same cycle: those units are x then, since
//   nobody promises anything. Two clocks that are high at the same time are taken for one.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC",
    parameter [39:0] CSDECODE_A = "0b000", CSDECODE_B = "0b000",
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL",
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB",
    parameter GSR = "ENABLED", WID = 0, INIT_DATA = "STATIC",
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0,
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0,
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0
) (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
        DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0
);
    reg [8:0] content [0:2047];
    task load(input integer number, input [319:0] value);
        integer n;
        for (n = 0; n < 32; n = n + 1) content[32*number + n] = value[20*(n/2) + 9*(n%2) +: 9];
    endtask
    initial begin
        load(0, INITVAL_00); load(1, INITVAL_01); load(2, INITVAL_02); load(3, INITVAL_03);
        load(4, INITVAL_04); load(5, INITVAL_05); load(6, INITVAL_06); load(7, INITVAL_07);
        load(8, INITVAL_08); load(9, INITVAL_09); load(10, INITVAL_0A); load(11, INITVAL_0B);
        load(12, INITVAL_0C); load(13, INITVAL_0D); load(14, INITVAL_0E); load(15, INITVAL_0F);
        load(16, INITVAL_10); load(17, INITVAL_11); load(18, INITVAL_12); load(19, INITVAL_13);
        load(20, INITVAL_14); load(21, INITVAL_15); load(22, INITVAL_16); load(23, INITVAL_17);
        load(24, INITVAL_18); load(25, INITVAL_19); load(26, INITVAL_1A); load(27, INITVAL_1B);
        load(28, INITVAL_1C); load(29, INITVAL_1D); load(30, INITVAL_1E); load(31, INITVAL_1F);
        load(32, INITVAL_20); load(33, INITVAL_21); load(34, INITVAL_22); load(35, INITVAL_23);
        load(36, INITVAL_24); load(37, INITVAL_25); load(38, INITVAL_26); load(39, INITVAL_27);
        load(40, INITVAL_28); load(41, INITVAL_29); load(42, INITVAL_2A); load(43, INITVAL_2B);
        load(44, INITVAL_2C); load(45, INITVAL_2D); load(46, INITVAL_2E); load(47, INITVAL_2F);
        load(48, INITVAL_30); load(49, INITVAL_31); load(50, INITVAL_32); load(51, INITVAL_33);
        load(52, INITVAL_34); load(53, INITVAL_35); load(54, INITVAL_36); load(55, INITVAL_37);
        load(56, INITVAL_38); load(57, INITVAL_39); load(58, INITVAL_3A); load(59, INITVAL_3B);
        load(60, INITVAL_3C); load(61, INITVAL_3D); load(62, INITVAL_3E); load(63, INITVAL_3F);
    end

    // Both ports side by side, port A lowest.
    wire [35:0] d = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0};
    wire [27:0] ad = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0, ADA13, ADA12, ADA11,
        ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [1:0] clk = {CLKBMUX == "INV" ? ~CLKB : CLKB, CLKAMUX == "INV" ? ~CLKA : CLKA};
    wire [1:0] selected = {{CSB2, CSB1, CSB0} == {CSDECODE_B[16], CSDECODE_B[8], CSDECODE_B[0]},
                           {CSA2, CSA1, CSA0} == {CSDECODE_A[16], CSDECODE_A[8], CSDECODE_A[0]}};
    wire [1:0] enabled = {CEB, CEA} & selected;
    wire [1:0] oce = {OCEB, OCEA};
    wire [1:0] clear = RESETMODE == "ASYNC" ? 2'b00 : {RSTB, RSTA};
    wire [1:0] clear_at_once = RESETMODE == "ASYNC" ? {RSTB, RSTA} : 2'b00;
    wire [1:0] writes = enabled & {WEB, WEA} & ~clear;
    wire one_clock = CLKA === CLKB;
    wire [21:0] first;  // unit that each port's address names
    wire [7:0] touched;  // which of the four units from there each port writes when it writes
    wire [71:0] out;

    genvar p, k;
    generate for (p = 0; p < 2; p = p + 1) begin : port
        localparam WIDTH = p ? DATA_WIDTH_B : DATA_WIDTH_A;
        localparam OTHER = p ? DATA_WIDTH_A : DATA_WIDTH_B;
        localparam UNITS = WIDTH == 36 ? 4 : WIDTH == 18 ? 2 : 1;
        localparam BITS = WIDTH > 9 ? 9 : WIDTH;  // of a unit
        localparam [8:0] MASK = (1 << BITS) - 1;
        localparam WIDER = WIDTH > OTHER ? WIDTH : OTHER;
        localparam [2:0] APART = WIDER < 9 ? ~(WIDER - 1) : 0;  // address bits that tell parts of a unit apart
        localparam WRITEMODE = p ? WRITEMODE_B : WRITEMODE_A;
        localparam REGISTER = (p ? REGMODE_B : REGMODE_A) == "OUTREG";
        wire [13:0] address = ad[14*p +: 14];
        wire [10:0] at = WIDTH == 36 ? {address[13:5], 2'b00} : WIDTH == 18 ? {address[13:4], 1'b0} : address[13:3];
        wire [2:0] bits = BITS == 9 ? 3'd0 : address[2:0] & ~(BITS - 1);  // lowest bit of a part of a unit
        wire [35:0] data = WIDTH == 36 ? d : d[18*p +: 18];
        wire [13:0] other = ad[14*(1-p) +: 14];
        wire alike = ((address[2:0] ^ other[2:0]) & APART) == 0;
        assign first[11*p +: 11] = at;
        assign touched[4*p +: 4] = WIDTH == 36 ? address[3:0] : WIDTH == 18 ? {2'b00, address[1:0]} : 4'b0001;

        wire [35:0] old, fresh;
        wire [3:0] clash;
        for (k = 0; k < 4; k = k + 1) begin : unit
            if (k < UNITS) begin : used
                wire [8:0] now = content[at + k];
                wire [10:0] away = at + k - first[11*(1-p) +: 11];
                assign old[9*k +: 9] = BITS == 9 ? now : (now >> bits) & MASK;
                assign fresh[9*k +: 9] = touched[4*p + k] ? data[9*k +: 9] & MASK : old[9*k +: 9];
                assign clash[k] = one_clock & writes[1-p] & away < 4 & touched[4*(1-p) + away[1:0]] & alike;
                always @(posedge clk[p])
                    if (writes[p] & touched[4*p + k]) begin
                        if (clash[k]) content[at + k] <= 9'bx;
                        else if (BITS == 9) content[at + k] <= data[9*k +: 9];
                        else content[at][bits +: BITS] <= data[BITS-1:0];
                    end
            end else begin : unused
                assign old[9*k +: 9] = 9'd0;
                assign fresh[9*k +: 9] = 9'd0;
                assign clash[k] = 1'b0;
            end
        end

        reg [35:0] latch = 0, register = 0;
        wire [35:0] unknown = {{9{clash[3]}}, {9{clash[2]}}, {9{clash[1]}}, {9{clash[0]}} & MASK};
        wire [35:0] seen = |clash ? (old & ~unknown) | ({36{1'bx}} & unknown) : old;
        always @(posedge clk[p] or posedge clear_at_once[p])
            if (clear_at_once[p]) latch <= 0;
            else if (clear[p]) latch <= 0;
            else if (enabled[p]) begin
                if (!writes[p] || WRITEMODE == "READBEFOREWRITE") latch <= seen;
                else if (WRITEMODE == "WRITETHROUGH") latch <= fresh;
            end
        always @(posedge clk[p] or posedge clear_at_once[p])
            if (clear_at_once[p]) register <= 0;
            else if (clear[p]) register <= 0;
            else if (oce[p]) register <= latch;
        assign out[36*p +: 36] = REGISTER ? register : latch;
    end endgenerate

    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0} =
        DATA_WIDTH_B == 36 ? out[53:36] : out[17:0];
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0} =
        DATA_WIDTH_B == 36 ? out[71:54] : out[53:36];
endmodule

// Multiplier of 18 by 18 bits, signed or not, with the registers that its parameters ask for. The inputs C and those
// from a neighbour (SOURCEA, SOURCEB high) have no model: then the product is x.
module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0",
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0",
    parameter REG_INPUTC_CLK = "NONE", REG_INPUTC_CE = "CE0", REG_INPUTC_RST = "RST0",
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0",
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0",
    parameter CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED", CLK3_DIV = "ENABLED",
    parameter HIGHSPEED_CLK = "NONE", GSR = "ENABLED", CAS_MATCH_REG = "FALSE", SOURCEB_MODE = "B_SHIFT",
    parameter MULT_BYPASS = "DISABLED", RESETMODE = "SYNC"
) (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0,
    output SIGNEDP
);
    wire [3:0] clk = {CLK3, CLK2, CLK1, CLK0}, ce = {CE3, CE2, CE1, CE0}, rst = {RST3, RST2, RST1, RST0};
    wire [18:0] a = {SIGNEDA & A17,
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [18:0] b = {SIGNEDB & B17,
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire [18:0] held_a, held_b;
    wire [35:0] product, result;
    wire [37:0] full = $signed(held_a) * $signed(held_b);
    assign SIGNEDP = SIGNEDA | SIGNEDB;
    // The last character of each choice is the number of its line.
    hwbnn_register #(.WIDTH(19), .USED(REG_INPUTA_CLK != "NONE"), .CLEARS_AT_ONCE(RESETMODE == "ASYNC")) input_a (
        .clk(clk[REG_INPUTA_CLK & 3]), .ce(ce[REG_INPUTA_CE & 3]), .rst(rst[REG_INPUTA_RST & 3]), .d(a), .q(held_a));
    hwbnn_register #(.WIDTH(19), .USED(REG_INPUTB_CLK != "NONE"), .CLEARS_AT_ONCE(RESETMODE == "ASYNC")) input_b (
        .clk(clk[REG_INPUTB_CLK & 3]), .ce(ce[REG_INPUTB_CE & 3]), .rst(rst[REG_INPUTB_RST & 3]), .d(b), .q(held_b));
    hwbnn_register #(.WIDTH(36), .USED(REG_PIPELINE_CLK != "NONE"), .CLEARS_AT_ONCE(RESETMODE == "ASYNC")) pipeline (
        .clk(clk[REG_PIPELINE_CLK & 3]), .ce(ce[REG_PIPELINE_CE & 3]), .rst(rst[REG_PIPELINE_RST & 3]),
        .d(SOURCEA | SOURCEB ? 36'bx : full[35:0]), .q(product));
    hwbnn_register #(.WIDTH(36), .USED(REG_OUTPUT_CLK != "NONE"), .CLEARS_AT_ONCE(RESETMODE == "ASYNC")) last (
        .clk(clk[REG_OUTPUT_CLK & 3]), .ce(ce[REG_OUTPUT_CE & 3]), .rst(rst[REG_OUTPUT_RST & 3]),
        .d(product), .q(result));
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = result;
endmodule

// A register, or the wires where it is not USED.
module hwbnn_register #(parameter WIDTH = 1, USED = 0, CLEARS_AT_ONCE = 0) (
    input clk, ce, rst, input [WIDTH-1:0] d, output [WIDTH-1:0] q
);
    generate if (USED) begin : used
        reg [WIDTH-1:0] held = 0;
        wire at_once = CLEARS_AT_ONCE & rst;
        always @(posedge clk or posedge at_once)
            if (at_once) held <= 0;
            else if (rst) held <= 0;
            else if (ce) held <= d;
        assign q = held;
    end else begin : wires
        assign q = d;
    end endgenerate
endmodule

// What nextpnr makes of a LUT4, of half a CCU2C and of a bit of a TRELLIS_DPR16X4.
module TRELLIS_COMB #(
    parameter [15:0] INITVAL = 0,
    parameter MODE = "LOGIC", CCU2_INJECT1 = "NO", WCKMUX = "WCK", WREMUX = "WRE", IS_Z1 = 1'b0
) (
    input A, B, C, D, M, F1, FCI, FXA, FXB, WD, WAD0, WAD1, WAD2, WAD3, WRE, WCK,
    output F, FCO, OFX
);
    // Halves that are equal hide an unknown input, as an index into INITVAL would not.
    wire [7:0] half = D ? INITVAL[15:8] : INITVAL[7:0];
    wire [3:0] quarter = C ? half[7:4] : half[3:0];
    wire [1:0] pair = B ? quarter[3:2] : quarter[1:0];
    wire [1:0] low = B ? INITVAL[3:2] : INITVAL[1:0];
    wire lut4 = A ? pair[1] : pair[0];
    wire lut2 = A ? low[1] : low[0];
    wire takes_carry = CCU2_INJECT1 == "NO";
    assign FCO = lut4 ? FCI : takes_carry & lut2;
    generate if (MODE == "CCU2") begin : carry
        assign F = lut4 ^ (takes_carry & FCI);
    end else if (MODE == "DPRAM") begin : memory
        reg [15:0] content = INITVAL;
        wire clk = WCKMUX == "INV" ? ~WCK : WCK;
        always @(posedge clk)
            if (WREMUX == "INV" ? ~WRE : WRE) content[{WAD3, WAD2, WAD1, WAD0}] <= WD;
        assign F = content[{A, C, B, D}];
    end else begin : logic4
        assign F = lut4;
    end endgenerate
    assign OFX = IS_Z1 ? (M ? FXB : FXA) : (M ? F1 : F);
endmodule

// Wires from a slice's inputs to the write ports of the LUT memory beside it.
module TRELLIS_RAMW (
    input A0, B0, C0, D0, A1, B1, C1, D1,
    output WADO0, WADO1, WADO2, WADO3, WDO0, WDO1, WDO2, WDO3
);
    assign {WADO3, WADO2, WADO1, WADO0} = {A0, C0, B0, D0};
    assign {WDO3, WDO2, WDO1, WDO0} = {B1, D1, A1, C1};
endmodule

// Clock buffer.
module DCCA (input CLKI, CE, output CLKO);
    assign CLKO = CLKI;
endmodule

// Global reset: every flip-flop starts as it leaves them.
module GSR #(parameter MODE = "ACTIVE_LOW", SYNCMODE = "NONE") (input GSR, CLK);
endmodule
module SGSR (input GSR, CLK);
endmodule
