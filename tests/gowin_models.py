"""What Gowin's block RAM does, bit by bit in Python, and a Verilog bench that prints what its models do."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Bsram:
    """A block RAM: its cell, and by port width, write mode, output register and block select; SP has one port."""

    cell: str
    widths: tuple[int, ...]
    modes: tuple[int, ...] = (0, 0)
    registers: tuple[bool, ...] = (False, False)
    reset: str = "SYNC"
    selects: tuple[int, int] = (0, 0)

    @property
    def unit(self) -> int:
        """Bits of a unit."""
        return 9 if "X9" in self.cell else 8

    @property
    def simple(self) -> bool:
        """Whether port A only writes, and B only reads."""
        return self.cell.startswith("SDP")

    def parameters(self, content: list[int]) -> str:
        """Verilog parameters for it to hold the bits ``content``."""
        values = {"RESET_MODE": f'"{self.reset}"'}
        single = len(self.widths) == 1
        for p, width in enumerate(self.widths):
            values["BIT_WIDTH" if single else f"BIT_WIDTH_{p}"] = str(width)
            values["BLK_SEL" if single else f"BLK_SEL_{p}"] = f"3'd{self.selects[p]}"
            if not self.simple:
                values["WRITE_MODE" if single else f"WRITE_MODE{p}"] = str(self.modes[p])
            if not (self.simple and p == 0):
                values["READ_MODE" if single or self.simple else f"READ_MODE{p}"] = str(int(self.registers[p]))
        size = 32 * self.unit
        for n in range(64):
            word = sum(bit << k for k, bit in enumerate(content[size * n:size * (n + 1)]))
            values[f"INIT_RAM_{n:02X}"] = f"{size}'h{word:x}"
        return ", ".join(f".{name}({value})" for name, value in values.items())

    def pins(self, number: int) -> str:
        """Connections to ``in<number>``, 56 bits a port as :meth:`Pins.word` has them, and ``o<number>``."""
        wired = []
        single = len(self.widths) == 1
        most = 4 * self.unit if single or self.simple else 2 * self.unit
        for p in range(len(self.widths)):
            port, low = "" if single else "AB"[p], 56 * p
            bits = {f"CLK{port}": "clk", f"AD{port}": f"in{number}[{low + 13}:{low}]",
                    f"CE{port}": f"in{number}[{low + 50}]", f"RESET{port}": f"in{number}[{low + 53}]",
                    f"BLKSEL{port}": f"{{1'b0, in{number}[{low + 55}:{low + 54}]}}"}
            if not (self.simple and p == 1):
                bits["DI" if single or self.simple else f"DI{port}"] = f"in{number}[{low + 13 + most}:{low + 14}]"
            if not self.simple:
                bits[f"WRE{port}"] = f"in{number}[{low + 52}]"
            if not (self.simple and p == 0):
                bits["OCE" if single or self.simple else f"OCE{port}"] = f"in{number}[{low + 51}]"
                bits["DO" if single or self.simple else f"DO{port}"] = f"o{number}[{36 * p + most - 1}:{36 * p}]"
            wired += [f".{name}({value})" for name, value in bits.items()]
        return ", ".join(wired)


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
        """All of them as 56 bits."""
        return (self.address | self.data << 14 | self.enable << 50 | self.register_enable << 51 | self.write << 52
                | self.reset << 53 | self.select << 54)


def draw(rng: random.Random, ram: Bsram, cycles: int) -> list[tuple[Pins, Pins]]:
    """Inputs at random, in few addresses so that the ports often meet."""
    return [tuple(Pins(address=rng.randrange(32) | rng.choice([0, 0, 1 << 10]), data=rng.randrange(1 << 36),
                       enable=int(rng.random() < .8), register_enable=int(rng.random() < .7),
                       write=int(rng.random() < .5), reset=int(rng.random() < .1),
                       select=ram.selects[p] if rng.random() < .9 else rng.randrange(4)) for p in range(2))
            for _ in range(cycles)]


def bsram(ram: Bsram, content: list[int], inputs: list[tuple[Pins, Pins]]) -> list[str]:
    """The outputs of port B and A after each cycle, 36 bits each, x where nothing is promised."""
    bits: list = list(content)
    ports = range(len(ram.widths))
    latch, register, seen = [[0] * 36, [0] * 36], [[0] * 36, [0] * 36], []

    def view(p: int, pins: Pins) -> list[int]:
        """Which bits a port sees."""
        width, unit = ram.widths[p], pins.address >> 3
        if width < ram.unit:
            low = ram.unit * unit + (pins.address & 7) // width * width
        else:
            low = ram.unit * (unit // (width // ram.unit) * (width // ram.unit))
        return list(range(low, low + width))

    for pair in inputs:
        writing, views, written = [], [view(p, pair[p]) for p in ports], []
        for p in ports:
            pins = pair[p]
            on = pins.enable and pins.select == ram.selects[p]
            writing.append(bool(on and (p == 0 if ram.simple else pins.write)))
            whole = ram.widths[p] >= 2 * ram.unit
            written.append({bit: pins.data >> k & 1 for k, bit in enumerate(views[p])
                            if writing[p] and (not whole or pins.address >> k // ram.unit & 1)})
        before = list(bits)
        for p in ports:
            for bit, value in written[p].items():
                bits[bit] = None if any(bit in written[other] for other in ports if other != p) else value
        for p in ports:
            pins, passed = pair[p], latch[p]
            clash = {bit for other in ports if other != p for bit in written[other]}
            if pins.reset:
                latch[p], register[p] = [0] * 36, [0] * 36
                continue
            if pins.enable and pins.select == ram.selects[p] and not (writing[p] and ram.modes[p] == 0):
                old = [None if bit in clash else before[bit] for bit in views[p]]
                value = [written[p].get(bit, one) if ram.modes[p] == 1 else one
                         for bit, one in zip(views[p], old, strict=True)]
                latch[p] = value + [0] * (36 - len(value))
            if pins.register_enable:
                register[p] = passed
        out = [register[p] if p in ports and ram.registers[p] else latch[p] for p in range(2)]
        if ram.simple:
            out[0] = [0] * 36
        seen.append("".join("x" if bit is None else str(bit) for bit in reversed(out[0] + out[1])))
    return seen


def bsram_bench(rams: list[tuple[Bsram, list[int]]], cycles: int) -> str:
    """A bench of several block RAMs: reads ``N.hex`` for each and prints its outputs, cycle by cycle."""
    lines = ["module bench;", "reg clk = 0;", "integer n;"]
    for number, (ram, content) in enumerate(rams):
        lines += [f"reg [111:0] all{number} [0:{cycles - 1}];", f"reg [111:0] in{number};", f"wire [71:0] o{number};",
                  f"wire [71:0] q{number};"]
        lines += [f"assign q{number}[{k}] = o{number}[{k}] === 1'bz ? 1'b0 : o{number}[{k}];" for k in range(72)]
        lines.append(f"{ram.cell} #({ram.parameters(content)}) ram{number} ({ram.pins(number)});")
    lines.append("initial begin")
    lines += [f'$readmemh("{number}.hex", all{number});' for number in range(len(rams))]
    lines.append(f"for (n = 0; n < {cycles}; n = n + 1) begin")
    lines += [f"in{number} = all{number}[n];" for number in range(len(rams))]
    lines.append("#4 clk = 1; #1;")
    lines += [f'$display("{number} %b", q{number});' for number in range(len(rams))]
    lines += ["#5 clk = 0;", "end", "end", "endmodule", ""]
    return "\n".join(lines)
