"""Chains of Nexus start with an open carry."""

import copy

from hwbnn.synth.untie import untie


def cell(kind, **connections):
    return {"type": kind, "connections": connections, "port_directions": dict.fromkeys(connections, "input")}


NETLIST = {"modules": {"top": {"cells": {
    "low": cell("VLO", Z=[7]), "first": cell("CCU2", CIN=[7], COUT=[8]), "next": cell("CCU2", CIN=[8], COUT=[9]),
    "open": cell("CCU2", COUT=[10]), "zero": cell("CCU2", CIN=["0"]), "lut": cell("LUT4", A=[7])}}, "empty": {}}}


def test_only_carries_that_a_constant_drives_are_opened():
    made = copy.deepcopy(NETLIST)
    assert untie(made) == 2
    cells = made["modules"]["top"]["cells"]
    assert {name: cells[name]["connections"].get("CIN") for name in ("first", "next", "open", "zero")} == {
        "first": None, "next": [8], "open": None, "zero": None}
    assert "CIN" not in cells["first"]["port_directions"]
    assert cells["lut"] == NETLIST["modules"]["top"]["cells"]["lut"] and untie(made) == 0
