"""Counting and adding on each family's primitives: equal to the behavioural twin, and as small as it should be."""

import pytest
from amaranth import Cat, Module, Signal
from amaranth.hdl import Elaboratable
from equivalence import assert_equal

from hwbnn.rtl.cells import Ecp5, Ice40, Plain, Xilinx, cells
from hwbnn.rtl.cells.plain import GROUP, QUAD

pytestmark = pytest.mark.formal
FAMILIES = {"ecp5": Ecp5, "ice40": Ice40, "xilinx": Xilinx}


class Use(Elaboratable):
    """One function of a class of cells between input and output ports."""

    def __init__(self, made_of, inputs, outputs):
        self.made_of = made_of
        self.i = [Signal(width, name=f"i_{n}") for n, width in enumerate(inputs)]
        self.o = [Signal(width, name=f"o_{n}") for n, width in enumerate(outputs)]

    @property
    def ports(self):
        return [*self.i, *self.o]

    def elaborate(self, platform):
        m = Module()
        for port, value in zip(self.o, self.results(m), strict=True):
            m.d.comb += port.eq(Cat(value))
        return m

    def results(self, m):
        raise NotImplementedError  # each use below defines it


class Count(Use):
    def __init__(self, made_of, sizes):
        super().__init__(made_of, [n for n in sizes for _ in "aw"], [n.bit_length() for n in sizes])

    def results(self, m):
        return self.made_of.count(m, [list(zip(a, w, strict=True))
                                      for a, w in zip(self.i[::2], self.i[1::2], strict=True)])


class Gate(Use):
    def __init__(self, made_of, sizes):
        super().__init__(made_of, [n for n in sizes for _ in range(4)], [n + 1 for n in sizes])

    def results(self, m):
        groups = []
        for x_mask, x_sign, w_mask, w_sign in zip(*(self.i[k::4] for k in range(4)), strict=True):
            groups.append(list(zip(x_mask, x_sign & x_mask, w_mask, w_sign | ~w_mask, strict=True)))
        return [[one, *twos] for one, twos in self.made_of.gate(m, groups)]


class Add(Use):
    def __init__(self, made_of, widths):
        super().__init__(made_of, [k for x, y, c in widths for k in (x, y, c)],
                         [max(x, y) + 1 for x, y, _ in widths])

    def results(self, m):
        return self.made_of.add(m, [(list(x), list(y), c[0] if len(c) else None)
                                    for x, y, c in zip(*(self.i[k::3] for k in range(3)), strict=True)])


class Accumulate(Use):
    def __init__(self, made_of, widths):
        super().__init__(made_of, [1, *(k for total, term, c in widths for k in (total, term, total, c))],
                         [total for total, _, _ in widths])

    def results(self, m):
        first, *rest = self.i
        sums = [(list(total), list(term), list(start), c[0] if len(c) else None)
                for total, term, start, c in zip(*(rest[k::4] for k in range(4)), strict=True)]
        return self.made_of.accumulate(m, sums, first)


def pairs(kind, made_of, cases):
    return [(kind(Plain(), case), kind(made_of(), case)) for case in cases]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_function_is_equal_to_its_twin(family, tmp_path):
    made_of = FAMILIES[family]
    assert_equal([
        *pairs(Count, made_of, [[n] for n in range(1, GROUP + 1)]),
        *pairs(Count, made_of, [[7, 5, 3], [1, 6]]),
        *pairs(Gate, made_of, [[n] for n in range(1, QUAD + 1)]),
        *pairs(Gate, made_of, [[4, 2], [1, 3, 4]]),
        *pairs(Add, made_of, [[(1, 1, 0)], [(1, 1, 1)], [(3, 3, 1)], [(4, 2, 1)], [(1, 5, 0)]]),
        *pairs(Add, made_of, [[(3, 3, 1)] * 4, [(4, 4, 1), (4, 3, 0), (2, 4, 1)], [(7, 7, 1)] * 5]),
        *pairs(Accumulate, made_of, [[(6, 4, 1)], [(5, 5, 0)], [(3, 1, 1), (4, 3, 0), (4, 2, 1)]]),
    ], family, tmp_path)


def test_a_family_without_cells_has_the_twin():
    assert type(cells("gowin")) is Plain and type(cells(None)) is Plain
    assert {name: type(cells(name)) for name in FAMILIES} == FAMILIES
