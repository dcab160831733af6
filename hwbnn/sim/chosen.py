"""Bits to flip that a user names: of weights, thresholds or registers."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.sim.faults import bits_of, flipped
from hwbnn.sim.registers import Flip, Register

__all__ = ["MemoryBit", "flips_of", "memory_bits", "of_registers", "with_flipped"]

_MEMORY = re.compile(r"(?P<node>.+)\.(?P<target>weights|thresholds)\[(?P<index>\d+(?:,\d+)*)\]\.(?P<bit>\d+)")
_REGISTER = re.compile(r"(?P<register>.+)\.(?P<bit>\d+)@(?P<cycle>\d+)")
_FORMS = "NODE.weights[ROW,COLUMN].BIT, NODE.thresholds[CHANNEL,NUMBER].BIT or REGISTER.BIT@CYCLE"


@dataclass(frozen=True)
class MemoryBit:
    """Bit ``bit`` of one of a node's weights or thresholds, by its index in the node's array."""

    name: str
    node: str
    target: str
    index: tuple[int, ...]
    bit: int


def of_registers(bits: Sequence[str]) -> bool:
    """Whether bits are of registers; raises :class:`UserError` for a mixture, a bit twice and what is no bit."""
    for name in bits:
        if not (_MEMORY.fullmatch(name) or _REGISTER.fullmatch(name)):
            raise UserError(f"Bit must be {_FORMS}, not {name}")
        if bits.count(name) > 1:
            raise UserError(f"Bit {name} must be given once, not {bits.count(name)} times")
    of = {_MEMORY.fullmatch(name) is None for name in bits}
    if len(of) > 1:
        raise UserError("Bits must be of registers alone or of weights and thresholds alone, not of both")
    return of == {True}


def memory_bits(net: ir.Network, bits: Sequence[str]) -> list[MemoryBit]:
    """Read bits of memories, such as ``fc0.weights[12,3].0``; raises :class:`UserError` for those not there."""
    return [_memory_bit(net, name) for name in bits]


def _memory_bit(net: ir.Network, name: str) -> MemoryBit:
    found = _MEMORY.fullmatch(name)
    assert found is not None, "checked by of_registers"
    node, target, index = found["node"], found["target"], tuple(map(int, found["index"].split(",")))
    sizes = bits_of(net, target)
    if node not in sizes:
        raise UserError(f"Bit {name} must be of a node with {target}, one of {', '.join(sizes)}, not {node}")
    shape = getattr(net.node(node), target).shape
    if len(index) != len(shape) or any(one >= size for one, size in zip(index, shape, strict=True)):
        raise UserError(f"Bit {name} must have an index within the {' x '.join(map(str, shape))} {target}, not "
                        f"{','.join(map(str, index))}")
    count = sizes[node] // int(np.prod(shape))
    if int(found["bit"]) >= count:
        raise UserError(f"Bit {name} must be one of the {count} of each of these {target}, counted from 0, not "
                        f"{found['bit']}")
    return MemoryBit(name, node, target, index, int(found["bit"]))


def with_flipped(net: ir.Network, bits: Sequence[MemoryBit]) -> ir.Network:
    """The network with all of ``bits`` flipped."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in bits:
        array = getattr(net.node(one.node), one.target)
        count = bits_of(net, one.target)[one.node] // array.size
        places[one.node, one.target].append(int(np.ravel_multi_index(one.index, array.shape)) * count + one.bit)
    for (node, target), here in places.items():
        net = flipped(net, target, here, layer=node)
    return net


def flips_of(registers: Sequence[Register], bits: Sequence[str], *, cycles: int) -> list[Flip]:
    """Read bits of registers, such as ``fc0.fifo.level.1@250``; raises :class:`UserError` for those that are not there.

    ``cycles`` is the length of the run: cycles are counted from 0 below it.
    """
    known = {str(register): register for register in registers}
    flips = []
    for name in bits:
        found = _REGISTER.fullmatch(name)
        assert found is not None, "checked by of_registers"
        register = known.get(found["register"])
        if register is None:
            raise UserError(f"Bit {name} must be of a register of the design, such as {next(iter(known))}, not of "
                            f"{found['register']}; `hwbnn faults --registers` names them all")
        if int(found["bit"]) >= register.bits:
            raise UserError(f"Bit {name} must be one of the {register.bits} of its register, counted from 0, not "
                            f"{found['bit']}")
        if int(found["cycle"]) >= cycles:
            raise UserError(f"Bit {name} must be flipped in one of the {cycles} cycles of the run, counted from 0, not "
                            f"in {found['cycle']}")
        flips.append(Flip(register.scope, register.name, int(found["bit"]), int(found["cycle"])))
    return flips
