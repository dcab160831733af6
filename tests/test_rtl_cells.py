"""Counting and adding on each family's primitives: equal to the behavioural twin, and as small as it should be."""

import pytest
from amaranth import Cat, Module, Signal
from amaranth.hdl import Elaboratable
from equivalence import assert_equal

from hwbnn import ir, plan
from hwbnn.plan.count import GROUP, QUAD
from hwbnn.rtl.cells import FAMILIES, Family, Plain, cells
from hwbnn.rtl.dot import DotProduct
from hwbnn_boards import board

pytestmark = pytest.mark.formal


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
        super().__init__(made_of, [sum(size) for size in sizes for _ in range(4)],
                         [1 + lanes.bit_length() + beside for lanes, beside in sizes])
        self.sizes = sizes

    def results(self, m):
        groups = []
        for (lanes, _), x_mask, x_sign, w_mask, w_sign in zip(self.sizes, *(self.i[k::4] for k in range(4)),
                                                              strict=True):
            of = list(zip(x_mask, x_sign & x_mask, w_mask, w_sign | ~w_mask, strict=True))
            groups.append((of[:lanes], of[lanes:]))
        return [[one, *twos, *carry] for one, twos, carry in self.made_of.gate(m, groups)]


class Add(Use):
    def __init__(self, made_of, widths):
        super().__init__(made_of, [k for x, y, c in widths for k in (x, y, c)],
                         [max(x, y) + 1 for x, y, _ in widths])

    def results(self, m):
        return self.made_of.add(m, [(list(x), list(y), c[0] if len(c) else None)
                                    for x, y, c in zip(*(self.i[k::3] for k in range(3)), strict=True)])


class AddLanes(Use):
    """Of pairs of lanes, the second of which is shorter by a number of lanes whose bits come plain."""

    def __init__(self, made_of, widths):
        super().__init__(made_of, [k for x, plain in widths for k in (x, x, x)], [x + 1 for x, _ in widths])
        self.plain = [plain for _, plain in widths]

    def results(self, m):
        sums = []
        for x, v, y, plain in zip(*(self.i[k::3] for k in range(3)), self.plain, strict=True):
            lanes = list(zip(y, v[::-1], strict=True))[plain:]
            sums.append((list(zip(x, v, strict=True)), [*y[:plain], *lanes], None))
        return self.made_of.add(m, sums)


class Accumulate(Use):
    def __init__(self, made_of, widths):
        super().__init__(made_of, [1, *(k for total, term, c in widths for k in (total, term, total, c))],
                         [total for total, _, _ in widths])

    def results(self, m):
        first, *rest = self.i
        sums = [(list(total), list(term), list(start), c[0] if len(c) else None)
                for total, term, start, c in zip(*(rest[k::4] for k in range(4)), strict=True)]
        return self.made_of.accumulate(m, sums, first)


class Above(Use):
    """The gap is given as its complement, and its width is less than that of the total."""

    def __init__(self, made_of, widths):
        super().__init__(made_of, [k for pair in widths for k in pair], [1 for _ in widths])

    def results(self, m):
        return self.made_of.above(m, [(list(total), list(gap)) for total, gap in
                                      zip(self.i[::2], self.i[1::2], strict=True)])


def pairs(kind, made_of, cases):
    return [(kind(Plain(), case), kind(made_of(), case)) for case in cases]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_function_is_equal_to_its_twin(family, tmp_path):
    made_of = FAMILIES[family]
    assert_equal([
        *pairs(Count, made_of, [[n] for n in range(1, GROUP + 1)]),
        *pairs(Count, made_of, [[7, 5, 3], [1, 6]]),
        *pairs(Gate, made_of, [[(lanes, beside)] for lanes in range(1, QUAD) for beside in (0, 1)]),
        *pairs(Gate, made_of, [[(3, 1), (2, 0)], [(1, 0), (2, 1), (3, 1)]]),
        *pairs(Add, made_of, [[(1, 1, 0)], [(1, 1, 1)], [(3, 3, 1)], [(4, 2, 1)], [(1, 5, 0)]]),
        *pairs(Add, made_of, [[(3, 3, 1)] * 4, [(4, 4, 1), (4, 3, 0), (2, 4, 1)], [(7, 7, 1)] * 5]),
        *pairs(Above, made_of, [[(total, gap)] for total in range(1, 6) for gap in range(total)]),
        *pairs(Above, made_of, [[(11, 6), (9, 2)], [(12, 0)] * 2, [(16, 3)], [(8, 7)] * 5]),
        *pairs(AddLanes, made_of, [[(2, 0)], [(5, 2)], [(4, 0), (3, 3), (6, 1)]]),
        *pairs(Accumulate, made_of, [[(6, 4, 1)], [(5, 5, 0)], [(3, 1, 1), (4, 3, 0), (4, 2, 1)]]),
    ], family, tmp_path)


class Element(Elaboratable):
    """A processing element; zeros are stored as the lanes want them, whatever comes in."""

    def __init__(self, lane, simd, spare):
        self.dot = plan.Dot(lane, simd, spare=spare)
        self.x, self.w = Signal(simd * lane.x.bits, name="x"), Signal(simd * lane.w.bits, name="w")
        self.o = [Signal(self.dot.bits, name="sum"), Signal(name="spare")]

    @property
    def ports(self):
        return [self.x, self.w, *self.o]

    def elaborate(self, platform):
        m, lane = Module(), self.dot.lane
        m.submodules.dot = dot = DotProduct(self.dot)
        for k in range(self.dot.simd):
            x, w = self.x.word_select(k, lane.x.bits), self.w.word_select(k, lane.w.bits)
            m.d.comb += [dot.x[k].eq(Cat(x[0], x[0] & x[1]) if lane.x.is_ternary else x),
                         dot.w[k].eq(Cat(w[0], ~w[0] | w[1]) if lane.w.is_ternary else w)]
        m.d.comb += [self.o[0].eq(dot.sum), self.o[1].eq(dot.spare)]
        return m


def elements(x, w, sizes):
    lane = plan.lane_for(x, w)
    return [(Element(lane, simd, spare), Element(lane, simd, spare)) for simd, spare in sizes]


@pytest.mark.parametrize("family", FAMILIES)
def test_processing_elements_of_cells_are_equal_to_behavioural_ones(family, tmp_path):
    assert_equal([
        *elements(ir.BIPOLAR, ir.BIPOLAR, [(1, False), (2, True), (3, False), (8, True), (8, False), (13, True)]),
        *elements(ir.TERNARY, ir.TERNARY, [(1, True), (2, False), (5, True), (6, False)]),
        *elements(ir.TERNARY, ir.BIPOLAR, [(3, True), (8, True)]),
        *elements(ir.BIPOLAR, ir.TERNARY, [(4, False), (9, True)]),
        *elements(ir.Levels.signed(4), ir.BIPOLAR, [(1, False), (2, False), (5, False)]),
        *elements(ir.Levels.unsigned(4), ir.TERNARY, [(3, False)]),
    ], family, tmp_path)


def test_a_family_without_cells_has_the_twin():
    assert type(cells(Family("gowin"))) is Plain and type(cells(None)) is Plain and type(cells("formal")) is Plain
    assert {name: type(cells(Family(name))) for name in FAMILIES} == FAMILIES


@pytest.mark.parametrize("name, family", [("icebreaker", "ice40"), ("ulx3s-85f", "ecp5")])
def test_a_board_has_the_cells_of_its_family(name, family):
    assert type(cells(board(name).platform())) is FAMILIES[family]
