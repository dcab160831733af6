"""What DP16KD does, bit by bit in Python, and Verilog benches that print what cells do."""

import random
import subprocess
from dataclasses import dataclass

UNITS = 2048


@dataclass(frozen=True)
class BlockRam:
    """Parameters of a DP16KD."""

    widths: tuple[int, int]
    modes: tuple[str, str] = ("NORMAL", "NORMAL")
    registers: tuple[bool, bool] = (False, False)
    reset: str = "SYNC"
    selects: tuple[int, int] = (0, 0)

    def parameters(self, content: list[int]) -> str:
        """Verilog parameters for it to hold the bits ``content``, 9 for each unit."""
        values = {}
        for p, port in enumerate("AB"):
            values[f"DATA_WIDTH_{port}"] = str(self.widths[p])
            values[f"WRITEMODE_{port}"] = f'"{self.modes[p]}"'
            values[f"REGMODE_{port}"] = '"OUTREG"' if self.registers[p] else '"NOREG"'
            values[f"CSDECODE_{port}"] = f'"0b{self.selects[p]:03b}"'
        values["RESETMODE"] = f'"{self.reset}"'
        words = [0] * 64
        for unit in range(UNITS):
            for bit in range(9):
                words[unit // 32] |= content[9 * unit + bit] << (unit % 32 // 2 * 20 + unit % 2 * 9 + bit)
        values.update({f"INITVAL_{n:02X}": f"320'h{word:x}" for n, word in enumerate(words)})
        return ", ".join(f".{name}({value})" for name, value in values.items())


@dataclass(frozen=True)
class Pins:
    """One port's inputs in a cycle."""

    address: int
    data: int
    enable: int
    register_enable: int
    write: int
    reset: int
    select: int

    def word(self) -> int:
        """All of them as 39 bits, in the order of :func:`block_ram_bench`."""
        return (self.address | self.data << 14 | self.enable << 32 | self.register_enable << 33 | self.write << 34
                | self.reset << 35 | self.select << 36)


def draw(rng: random.Random, ram: BlockRam, cycles: int) -> list[tuple[Pins, Pins]]:
    """Inputs at random, in few addresses so that the ports often meet."""
    return [tuple(Pins(address=rng.randrange(32) | rng.choice([0, 0, 1 << 10]), data=rng.randrange(1 << 18),
                       enable=rng.random() < .8, register_enable=rng.random() < .7,
                       write=rng.random() < .5 and not (p and ram.widths[1] == 36), reset=rng.random() < .1,
                       select=ram.selects[p] if rng.random() < .9 else rng.randrange(8)) for p in range(2))
            for _ in range(cycles)]


def block_ram(ram: BlockRam, content: list[int], inputs: list[tuple[Pins, Pins]]) -> list[str]:
    """The outputs DOB and DOA after each cycle, in binary, x where nothing is promised."""
    bits: list = list(content)
    latch, register, seen = [[0] * 36, [0] * 36], [[0] * 36, [0] * 36], []

    def parts(p: int, pins: Pins) -> list[list[int]]:
        """Which bits a port sees, by unit."""
        width, unit = ram.widths[p], pins.address >> 3
        if width < 9:
            return [[9 * unit + (pins.address & 7) // width * width + k for k in range(width)]]
        count = width // 9
        return [[9 * (unit // count * count + n) + k for k in range(9)] for n in range(count)]

    for pair in inputs:
        enabled = [pins.enable and pins.select == ram.selects[p] for p, pins in enumerate(pair)]
        views = [parts(p, pins) for p, pins in enumerate(pair)]
        writes = []
        for p, pins in enumerate(pair):
            on = enabled[p] and pins.write and not (pins.reset and ram.reset == "SYNC")
            wide = ram.widths[p] >= 18
            writes.append([part if on and (not wide or pins.address >> n & 1) else []
                           for n, part in enumerate(views[p])])
        before = list(bits)
        for p, pins in enumerate(pair):
            data = pins.data | (pair[1].data << 18 if ram.widths[p] == 36 else 0)
            others = {bit for part in writes[1 - p] for bit in part}
            for n, part in enumerate(writes[p]):
                for k, bit in enumerate(part):
                    bits[bit] = data >> (9 * n + k) & 1
                if others & set(part):
                    bits[part[0] // 9 * 9:part[0] // 9 * 9 + 9] = [None] * 9
        for p in range(2):  # what both wrote nobody knows, whoever came last
            for part in writes[p]:
                if {bit for other in writes[1 - p] for bit in other} & set(part):
                    bits[part[0] // 9 * 9:part[0] // 9 * 9 + 9] = [None] * 9
        for p, pins in enumerate(pair):
            passed = latch[p]
            others = {bit for part in writes[1 - p] for bit in part}
            writing = enabled[p] and pins.write and not (pins.reset and ram.reset == "SYNC")
            if pins.reset:
                latch[p], register[p] = [0] * 36, [0] * 36
                continue
            if enabled[p] and not (writing and ram.modes[p] == "NORMAL"):
                value = []
                for n, part in enumerate(views[p]):
                    data = pins.data | (pair[1].data << 18 if ram.widths[p] == 36 else 0)
                    if writing and ram.modes[p] == "WRITETHROUGH":
                        written = bool(writes[p][n])
                        value += [data >> (9 * n + k) & 1 if written else before[bit] for k, bit in enumerate(part)]
                    else:
                        value += [None if others & set(part) else before[bit] for bit in part]
                latch[p] = value + [0] * (36 - len(value))
            if pins.register_enable:
                register[p] = passed
        out = [register[p] if ram.registers[p] else latch[p] for p in range(2)]
        both = out[1] if ram.widths[1] == 36 else out[0][:18] + out[1][:18]
        seen.append("".join("x" if bit is None else str(bit) for bit in reversed(both)))
    return seen


def block_ram_bench(rams: list[tuple[BlockRam, list[int]]], cycles: int) -> str:
    """A bench of several DP16KD: reads ``N.hex`` for each and prints its outputs, cycle by cycle."""
    lines = ["module bench;", "reg clk = 0;", "integer n;"]
    for number, (ram, content) in enumerate(rams):
        pins = [f".CLK{port}(clk)" for port in "AB"]
        pins += [f".{kind}{port}{k}({name}{number}[{k + 18 * p}])" for p, port in enumerate("AB")
                 for kind, name in (("DI", "i"), ("DO", "o")) for k in range(18)]
        lines += [f"reg [77:0] all{number} [0:{cycles - 1}];", f"reg [77:0] in{number};", f"wire [35:0] o{number};",
                  f"wire [35:0] i{number} = {{in{number}[70:53], in{number}[31:14]}};"]
        for p, port in enumerate("AB"):
            pins += [f".AD{port}{k}(in{number}[{39 * p + k}])" for k in range(14)]
            pins += [f".{name}{port}(in{number}[{39 * p + 32 + k}])"
                     for k, name in enumerate(("CE", "OCE", "WE", "RST"))]
            pins += [f".CS{port}{k}(in{number}[{39 * p + 36 + k}])" for k in range(3)]
        lines.append(f"DP16KD #({ram.parameters(content)}) ram{number} ({', '.join(pins)});")
    lines.append("initial begin")
    lines += [f'$readmemh("{number}.hex", all{number});' for number in range(len(rams))]
    lines.append(f"for (n = 0; n < {cycles}; n = n + 1) begin")
    lines += [f"in{number} = all{number}[n];" for number in range(len(rams))]
    lines.append("#5 clk = 1; #4")
    lines += [f'$display("{number} %b", o{number});' for number in range(len(rams))]
    lines += ["#1 clk = 0;", "end", "end", "endmodule"]
    return "\n".join(lines)


def icarus(folder, *sources: str, top: str = "bench") -> list[str]:
    """Run Verilog on Icarus in ``folder`` and return the lines that it prints."""
    (folder / "bench.v").write_text("\n".join(sources))
    for command in (["iverilog", "-g2005", "-s", top, "-o", "bench.vvp", "bench.v"], ["vvp", "-n", "bench.vvp"]):
        run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


def memories(folder, kinds: list[tuple[str, int, int]]) -> tuple[str, int, int]:
    """A module ``cells`` of memories and multipliers, by kind, width and depth; return it and its port widths.

    What the memories hold at first goes to files in ``folder``.

    Kinds: ``rom``; ``ram`` with a port each way; ``reset``, the same whose output is cleared; ``masked``, written in
    parts of 9 bits; ``single``, one port; ``dual``, two ports for both; ``huge``, one port, not initialised;
    ``product``.
    """
    body, i, o, rng = [], 0, 0, random.Random(2)

    def take(size: int) -> str:
        nonlocal i
        i += size
        return f"i[{i - size} +: {size}]"

    for n, (kind, width, depth) in enumerate(kinds):
        bits = max(1, (depth - 1).bit_length())
        out = f"q{n}"
        clocked = "always @(posedge clk) begin"
        style = {"huge": "huge"}.get(kind, "block")
        memory = (f'(* ram_style = "{style}", rom_style = "block" *) reg [{width - 1}:0] m{n} [0:{depth - 1}];\n')
        if kind not in ("huge", "product"):
            words = "\n".join(f"{rng.randrange(1 << width):x}" for _ in range(depth))
            (folder / f"m{n}.hex").write_text(words)
            memory += f'initial $readmemh("m{n}.hex", m{n});\n'
        if kind == "product":
            body.append(f"wire [{2 * width - 1}:0] {out} = $signed({take(width)}) * $signed({take(width)});")
            o_width = 2 * width
        else:
            o_width = 2 * width if kind == "dual" else width
            body.append(memory + f"reg [{o_width - 1}:0] {out} = 0;")
            # Few addresses, so that the two sides meet; few ones in what happens seldom.
            address = [f"{{{take(2)}, {{{bits - 4}{{1'b0}}}}, {take(2)}}}" for _ in range(2)]
            write, read, reset, data = take(1), take(1), f"&{take(3)}", take(width)
            if kind == "rom":
                body.append(f"{clocked} if ({read}) {out} <= m{n}[{address[0]}]; end")
            elif kind in ("ram", "reset"):
                clear = f"if ({reset}) {out} <= 0; else " if kind == "reset" else ""
                body.append(f"{clocked} if ({write}) m{n}[{address[0]}] <= {data}; "
                            f"{clear}if ({read}) {out} <= m{n}[{address[1]}]; end")
            elif kind == "masked":
                mask = take(width // 9)
                parts = " ".join(f"if ({write} & mask{n}[{k}]) m{n}[{address[0]}][{9 * k} +: 9] "
                                 f"<= data{n}[{9 * k} +: 9];" for k in range(width // 9))
                body.append(f"wire [{width // 9 - 1}:0] mask{n} = {mask}; wire [{width - 1}:0] data{n} = {data};\n"
                            f"{clocked} {parts} if ({read}) {out} <= m{n}[{address[1]}]; end")
            elif kind in ("single", "huge"):
                hidden = f"{out} <= {width}'bx;" if kind == "huge" else ""  # SPRAM's output after writing
                body.append(f"{clocked} if ({read}) begin if ({write}) begin m{n}[{address[0]}] <= {data}; "
                            f"{hidden} end else {out} <= m{n}[{address[0]}]; end end")
            elif kind == "dual":  # each side in its own half: what the other reads meanwhile is not promised
                for p, value in enumerate((data, take(width))):
                    place = f"{{1'b{p}, {{{bits - 3}{{1'b0}}}}, {take(2)}}}"
                    body.append(f"{clocked} if ({take(1)}) begin if ({take(1)}) m{n}[{place}] <= {value}; "
                                f"else {out}[{width * p} +: {width}] <= m{n}[{place}]; end end")
        body.append(f"assign o[{o} +: {o_width}] = {out};")
        o += o_width
    text = f"module cells (input clk, input [{i - 1}:0] i, output [{o - 1}:0] o);\n" + "\n".join(body) + "\nendmodule\n"
    return text, i, o


def twins_bench(inputs: int, outputs: int, cycles: int) -> str:
    """A bench of ``cells`` and ``mapped``: prints the cycles in which they differ where ``cells`` knows its output."""
    return f"""module bench;
reg clk = 0; reg [{inputs - 1}:0] i; wire [{outputs - 1}:0] a, b; integer n, k;
cells one (clk, i, a); mapped two (clk, i, b);
initial begin
    for (n = 0; n < {cycles}; n = n + 1) begin
        for (k = 0; k < {inputs}; k = k + 1) i[k] = $random;
        #4;
        for (k = 0; k < {outputs}; k = k + 1)
            if (a[k] !== 1'bx && a[k] !== b[k]) $display("cycle %0d bit %0d: %b, not %b", n, k, b[k], a[k]);
        #1 clk = 1; #5 clk = 0;
    end
    $display("done %0d", {cycles});
end
endmodule
"""
