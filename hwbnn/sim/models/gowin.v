// Cells of Gowin's GW1N and GW2A that Yosys has as black boxes only: block RAM (BSRAM) and multipliers.
//
// What block RAM does is what Yosys' memory mapping takes it to do (gowin/brams.txt, brams_map.v); where that says nothing, as
// of output registers and block selects, it is what Gowin UG285 says.
//
// - The content is 2,048 units of 8 bits, or of 9 (names with X9); INIT_RAM_nn holds 32 of them.
// - The address counts bits of 16,384. Widths 1, 2 and 4 see a part of a unit, 16 and 18 two, 32 and 36 four units, the first
//   lowest; these have a write enable for each unit in the lowest address bits.
// - CE gates reading and writing; RESET clears the output without it, and hinders no writing. READ_MODE 1 adds a register
//   to an output, enabled by OCE.
// - WRITE_MODE 0 leaves the output alone while the port writes, 1 shows what is written, 2 what was there.
// - What one port writes in a cycle the other must not read or write in the same cycle: those bits are x then, since nobody
//   promises anything. Two clocks that are high at the same time are taken for one.
module hwbnn_bsram #(
    parameter UNIT = 8, WIDTH_A = 32, WIDTH_B = 32, READ_A = 0, READ_B = 0, WRITE_A = 0, WRITE_B = 0,
    parameter RESET_MODE = "SYNC",
    parameter [64*32*UNIT-1:0] CONTENT = 0
) (
    input CLKA, CEA, OCEA, WREA, RESETA, input [13:0] ADA, input [4*UNIT-1:0] DIA, output [4*UNIT-1:0] DOA,
    input CLKB, CEB, OCEB, WREB, RESETB, input [13:0] ADB, input [4*UNIT-1:0] DIB, output [4*UNIT-1:0] DOB
);
    localparam ASYNC = RESET_MODE == "ASYNC";
    reg [UNIT-1:0] content [0:2047];
    reg [32*UNIT-1:0] part;
    integer n, k;
    initial for (n = 0; n < 64; n = n + 1) begin
        part = CONTENT[32*UNIT*n +: 32*UNIT];
        for (k = 0; k < 32; k = k + 1) content[32*n + k] = part[UNIT*k +: UNIT];
    end

    // Which bits of a unit a port sees, all where it sees whole units; none of other units.
    function [UNIT-1:0] seen(input integer width, input [13:0] address, input [10:0] unit);
        if (width >= 4 * UNIT) seen = {UNIT{unit[10:2] == address[13:5]}};
        else if (width >= 2 * UNIT) seen = {UNIT{unit[10:1] == address[13:4]}};
        else if (width >= UNIT) seen = {UNIT{unit == address[13:3]}};
        else seen = unit == address[13:3] ? ((1 << width) - 1) << (address[2:0] & ~(width - 1)) : 0;
    endfunction
    function enabled(input integer width, input [13:0] address, input [10:0] unit);
        if (width >= 4 * UNIT) enabled = address[unit[1:0]];
        else if (width >= 2 * UNIT) enabled = address[unit[0]];
        else enabled = 1;
    endfunction
    // The lowest unit that a port sees, and how far its data are shifted there.
    function [10:0] lowest(input integer width, input [13:0] address);
        lowest = width >= 4 * UNIT ? {address[13:5], 2'b00} : width >= 2 * UNIT ? {address[13:4], 1'b0} : address[13:3];
    endfunction
    function [2:0] shift(input integer width, input [13:0] address);
        shift = width >= UNIT ? 0 : address[2:0] & ~(width - 1);
    endfunction

    wire [1:0] writes = {CEB & WREB, CEA & WREA};
    wire one_clock = CLKA === CLKB;
    function [UNIT-1:0] written(input port, input [10:0] unit);  // bits of a unit that a port writes now
        if (port) written = writes[1] & enabled(WIDTH_B, ADB, unit) ? seen(WIDTH_B, ADB, unit) : 0;
        else written = writes[0] & enabled(WIDTH_A, ADA, unit) ? seen(WIDTH_A, ADA, unit) : 0;
    endfunction

    reg [4*UNIT-1:0] latch_a = 0, register_a = 0, latch_b = 0, register_b = 0;
    assign DOA = READ_A ? register_a : latch_a;
    assign DOB = READ_B ? register_b : latch_b;

    integer k0, j0;
    reg [10:0] u0;
    reg [UNIT-1:0] bits0, clash0, data0, old0;
    reg [4*UNIT-1:0] value0;
    always @(posedge CLKA) begin
        value0 = 0;
        for (k0 = 0; k0 < 4; k0 = k0 + 1) begin
            u0 = lowest(WIDTH_A, ADA) + k0;
            if (seen(WIDTH_A, ADA, u0) != 0) begin
                bits0 = written(1'b0, u0);
                clash0 = one_clock ? written(1'b1, u0) : 0;
                data0 = DIA[UNIT*k0 +: UNIT] << shift(WIDTH_A, ADA);
                old0 = content[u0] ^ (clash0 & {UNIT{1'bx}});
                for (j0 = 0; j0 < UNIT; j0 = j0 + 1)
                    if (bits0[j0]) content[u0][j0] <= clash0[j0] ? 1'bx : data0[j0];
                if (WRITE_A == 1) old0 = (old0 & ~bits0) | (data0 & bits0);
                value0[UNIT*k0 +: UNIT] = (old0 & seen(WIDTH_A, ADA, u0)) >> shift(WIDTH_A, ADA);
            end
        end
        if (OCEA) register_a <= latch_a;
        if (CEA & ~(writes[0] & WRITE_A == 0)) latch_a <= value0;
        if (RESETA) begin latch_a <= 0; register_a <= 0; end
    end
    always @(posedge RESETA) if (ASYNC) begin latch_a <= 0; register_a <= 0; end

    integer k1, j1;
    reg [10:0] u1;
    reg [UNIT-1:0] bits1, clash1, data1, old1;
    reg [4*UNIT-1:0] value1;
    always @(posedge CLKB) begin
        value1 = 0;
        for (k1 = 0; k1 < 4; k1 = k1 + 1) begin
            u1 = lowest(WIDTH_B, ADB) + k1;
            if (seen(WIDTH_B, ADB, u1) != 0) begin
                bits1 = written(1'b1, u1);
                clash1 = one_clock ? written(1'b0, u1) : 0;
                data1 = DIB[UNIT*k1 +: UNIT] << shift(WIDTH_B, ADB);
                old1 = content[u1] ^ (clash1 & {UNIT{1'bx}});
                for (j1 = 0; j1 < UNIT; j1 = j1 + 1)
                    if (bits1[j1]) content[u1][j1] <= clash1[j1] ? 1'bx : data1[j1];
                if (WRITE_B == 1) old1 = (old1 & ~bits1) | (data1 & bits1);
                value1[UNIT*k1 +: UNIT] = (old1 & seen(WIDTH_B, ADB, u1)) >> shift(WIDTH_B, ADB);
            end
        end
        if (OCEB) register_b <= latch_b;
        if (CEB & ~(writes[1] & WRITE_B == 0)) latch_b <= value1;
        if (RESETB) begin latch_b <= 0; register_b <= 0; end
    end
    always @(posedge RESETB) if (ASYNC) begin latch_b <= 0; register_b <= 0; end
endmodule

module SP #(
    parameter READ_MODE = 0, WRITE_MODE = 0, BIT_WIDTH = 32, parameter [2:0] BLK_SEL = 0, parameter RESET_MODE = "SYNC",
    parameter [255:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [255:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [255:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [255:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [255:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [255:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [255:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [255:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [255:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [255:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [255:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [255:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [255:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [255:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [255:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [255:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [31:0] DO, input [31:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    hwbnn_bsram #(.UNIT(8), .WIDTH_A(BIT_WIDTH), .READ_A(READ_MODE), .WRITE_A(WRITE_MODE), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLK), .CEA(CE & BLKSEL == BLK_SEL), .OCEA(OCE), .WREA(WRE), .RESETA(RESET), .ADA(AD), .DIA(DI), .DOA(DO),
        .CLKB(1'b0), .CEB(1'b0), .OCEB(1'b0), .WREB(1'b0), .RESETB(1'b0), .ADB(14'd0), .DIB(32'd0));
endmodule

// Port A writes, port B reads.
module SDPB #(
    parameter READ_MODE = 0, BIT_WIDTH_0 = 32, BIT_WIDTH_1 = 32, parameter [2:0] BLK_SEL_0 = 0, BLK_SEL_1 = 0,
    parameter RESET_MODE = "SYNC",
    parameter [255:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [255:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [255:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [255:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [255:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [255:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [255:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [255:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [255:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [255:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [255:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [255:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [255:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [255:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [255:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [255:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [31:0] DO, input [31:0] DI, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CLKB, CEA, CEB, OCE, RESETA, RESETB);
    hwbnn_bsram #(.UNIT(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_B(READ_MODE), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLKA), .CEA(CEA & BLKSELA == BLK_SEL_0), .OCEA(1'b0), .WREA(1'b1), .RESETA(RESETA), .ADA(ADA), .DIA(DI),
        .CLKB(CLKB), .CEB(CEB & BLKSELB == BLK_SEL_1), .OCEB(OCE), .WREB(1'b0), .RESETB(RESETB), .ADB(ADB), .DIB(32'd0),
        .DOB(DO));
endmodule

module DPB #(
    parameter READ_MODE0 = 0, READ_MODE1 = 0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 16, BIT_WIDTH_1 = 16,
    parameter [2:0] BLK_SEL_0 = 0, BLK_SEL_1 = 0, parameter RESET_MODE = "SYNC",
    parameter [255:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [255:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [255:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [255:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [255:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [255:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [255:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [255:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [255:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [255:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [255:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [255:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [255:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [255:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [255:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [255:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [15:0] DOA, DOB, input [15:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input WREA, WREB, CLKA, CLKB, CEA, CEB, OCEA, OCEB, RESETA, RESETB);
    wire [31:0] out_a, out_b;
    assign DOA = out_a[15:0], DOB = out_b[15:0];
    hwbnn_bsram #(.UNIT(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_A(READ_MODE0), .READ_B(READ_MODE1),
        .WRITE_A(WRITE_MODE0), .WRITE_B(WRITE_MODE1), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLKA), .CEA(CEA & BLKSELA == BLK_SEL_0), .OCEA(OCEA), .WREA(WREA), .RESETA(RESETA), .ADA(ADA),
        .DIA({16'd0, DIA}), .DOA(out_a),
        .CLKB(CLKB), .CEB(CEB & BLKSELB == BLK_SEL_1), .OCEB(OCEB), .WREB(WREB), .RESETB(RESETB), .ADB(ADB),
        .DIB({16'd0, DIB}), .DOB(out_b));
endmodule

module SPX9 #(
    parameter READ_MODE = 0, WRITE_MODE = 0, BIT_WIDTH = 36, parameter [2:0] BLK_SEL = 0, parameter RESET_MODE = "SYNC",
    parameter [287:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [287:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [287:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [287:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [287:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [287:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [287:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [287:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [287:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [287:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [287:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [287:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [287:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [287:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [287:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [287:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [35:0] DO, input [35:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    hwbnn_bsram #(.UNIT(9), .WIDTH_A(BIT_WIDTH), .READ_A(READ_MODE), .WRITE_A(WRITE_MODE), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLK), .CEA(CE & BLKSEL == BLK_SEL), .OCEA(OCE), .WREA(WRE), .RESETA(RESET), .ADA(AD), .DIA(DI), .DOA(DO),
        .CLKB(1'b0), .CEB(1'b0), .OCEB(1'b0), .WREB(1'b0), .RESETB(1'b0), .ADB(14'd0), .DIB(36'd0));
endmodule

// Port A writes, port B reads.
module SDPX9B #(
    parameter READ_MODE = 0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36, parameter [2:0] BLK_SEL_0 = 0, BLK_SEL_1 = 0,
    parameter RESET_MODE = "SYNC",
    parameter [287:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [287:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [287:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [287:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [287:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [287:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [287:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [287:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [287:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [287:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [287:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [287:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [287:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [287:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [287:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [287:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [35:0] DO, input [35:0] DI, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CLKB, CEA, CEB, OCE, RESETA, RESETB);
    hwbnn_bsram #(.UNIT(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_B(READ_MODE), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLKA), .CEA(CEA & BLKSELA == BLK_SEL_0), .OCEA(1'b0), .WREA(1'b1), .RESETA(RESETA), .ADA(ADA), .DIA(DI),
        .CLKB(CLKB), .CEB(CEB & BLKSELB == BLK_SEL_1), .OCEB(OCE), .WREB(1'b0), .RESETB(RESETB), .ADB(ADB), .DIB(36'd0),
        .DOB(DO));
endmodule

module DPX9B #(
    parameter READ_MODE0 = 0, READ_MODE1 = 0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18,
    parameter [2:0] BLK_SEL_0 = 0, BLK_SEL_1 = 0, parameter RESET_MODE = "SYNC",
    parameter [287:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0,
    parameter [287:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0,
    parameter [287:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0,
    parameter [287:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0,
    parameter [287:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0,
    parameter [287:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0,
    parameter [287:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0,
    parameter [287:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0,
    parameter [287:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0,
    parameter [287:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0,
    parameter [287:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0,
    parameter [287:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0,
    parameter [287:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0,
    parameter [287:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0,
    parameter [287:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0,
    parameter [287:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
) (output [17:0] DOA, DOB, input [17:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input WREA, WREB, CLKA, CLKB, CEA, CEB, OCEA, OCEB, RESETA, RESETB);
    wire [35:0] out_a, out_b;
    assign DOA = out_a[17:0], DOB = out_b[17:0];
    hwbnn_bsram #(.UNIT(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .READ_A(READ_MODE0), .READ_B(READ_MODE1),
        .WRITE_A(WRITE_MODE0), .WRITE_B(WRITE_MODE1), .RESET_MODE(RESET_MODE),
        .CONTENT({
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00})
    ) ram (.CLKA(CLKA), .CEA(CEA & BLKSELA == BLK_SEL_0), .OCEA(OCEA), .WREA(WREA), .RESETA(RESETA), .ADA(ADA),
        .DIA({18'd0, DIA}), .DOA(out_a),
        .CLKB(CLKB), .CEB(CEB & BLKSELB == BLK_SEL_1), .OCEB(OCEB), .WREB(WREB), .RESETB(RESETB), .ADB(ADB),
        .DIB({18'd0, DIB}), .DOB(out_b));
endmodule

// Multipliers without registers, as Yosys makes them; with registers the product is unknown here.
module hwbnn_product #(parameter WIDTH = 18) (
    input [WIDTH-1:0] A, B, input ASIGN, BSIGN, input registered, output [2*WIDTH-1:0] DOUT
);
    wire signed [WIDTH:0] a = {ASIGN & A[WIDTH-1], A}, b = {BSIGN & B[WIDTH-1], B};
    wire signed [2*WIDTH+1:0] product = a * b;
    assign DOUT = registered ? {2*WIDTH{1'bx}} : product[2*WIDTH-1:0];
endmodule

module MULT9X9 #(
    parameter AREG = 0, BREG = 0, OUT_REG = 0, PIPE_REG = 0, ASIGN_REG = 0, BSIGN_REG = 0, SOA_REG = 0,
    parameter MULT_RESET_MODE = "SYNC"
) (input [8:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET, output [17:0] DOUT,
    output [8:0] SOA, SOB);
    wire [8:0] a = ASEL ? SIA : A, b = BSEL ? SIB : B;
    assign SOA = a, SOB = b;
    hwbnn_product #(.WIDTH(9)) product (.A(a), .B(b), .ASIGN(ASIGN), .BSIGN(BSIGN), .DOUT(DOUT),
        .registered(AREG != 0 || BREG != 0 || OUT_REG != 0 || PIPE_REG != 0 || ASIGN_REG != 0 || BSIGN_REG != 0));
endmodule

module MULT18X18 #(
    parameter AREG = 0, BREG = 0, OUT_REG = 0, PIPE_REG = 0, ASIGN_REG = 0, BSIGN_REG = 0, SOA_REG = 0,
    parameter MULT_RESET_MODE = "SYNC"
) (input [17:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET, output [35:0] DOUT,
    output [17:0] SOA, SOB);
    wire [17:0] a = ASEL ? SIA : A, b = BSEL ? SIB : B;
    assign SOA = a, SOB = b;
    hwbnn_product #(.WIDTH(18)) product (.A(a), .B(b), .ASIGN(ASIGN), .BSIGN(BSIGN), .DOUT(DOUT),
        .registered(AREG != 0 || BREG != 0 || OUT_REG != 0 || PIPE_REG != 0 || ASIGN_REG != 0 || BSIGN_REG != 0));
endmodule

module MULT36X36 #(
    parameter AREG = 0, BREG = 0, OUT0_REG = 0, OUT1_REG = 0, PIPE_REG = 0, ASIGN_REG = 0, BSIGN_REG = 0,
    parameter MULT_RESET_MODE = "SYNC"
) (input [35:0] A, B, input ASIGN, BSIGN, CE, CLK, RESET, output [71:0] DOUT);
    hwbnn_product #(.WIDTH(36)) product (.A(A), .B(B), .ASIGN(ASIGN), .BSIGN(BSIGN), .DOUT(DOUT),
        .registered(AREG != 0 || BREG != 0 || OUT0_REG != 0 || OUT1_REG != 0 || PIPE_REG != 0 || ASIGN_REG != 0
                    || BSIGN_REG != 0));
endmodule
