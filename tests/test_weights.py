# amaranth: UnusedElaboratable=no

"""Retrained weights for a build: what may differ, the file, simulation with it, and loading it over the host link."""

from dataclasses import replace

import numpy as np
import pytest
from marks import ICARUS
from zoo import mlp

import hwbnn
from hwbnn import golden, ir, plan
from hwbnn.errors import UserError
from hwbnn.plan import WeightImage
from hwbnn_boards.host import encode_frame
from hwbnn_boards.protocol import Command, Status, identity, load_bytes
from hwbnn_boards.serve import model_board, run

SIZES, KIND = (8, 6, 3), {"inputs": ir.BIPOLAR, "classes": True}
FOLDS = {"fc0": (2, 4), "fc1": (1, 3)}
X = np.random.default_rng(5).choice([-1, 1], (6, 8))


def network(seed=0, **kind):
    return mlp(SIZES, seed=seed, **{**KIND, **kind})


def build(path, board="ulx3s-85f", weights="auto", loadable=("fc0", "fc1")):
    options = {name: plan.UnitOptions(weights=weights, loadable=True) for name in loadable}
    return hwbnn.compile(network(), path, board=board, folds=FOLDS, options=options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return build(tmp_path_factory.mktemp("weights") / "build")


@pytest.fixture(scope="module")
def image(made):
    return WeightImage.of(made.directory, network(1))


def test_files_keep_everything(made, image, tmp_path):
    again = made.weights(image.write(tmp_path / "w.bin")) and WeightImage.read(tmp_path / "w.bin", made.plan)
    assert (again.fingerprint, again.banks, again.network) == (image.fingerprint, image.banks, image.network)


@pytest.mark.parametrize("harm, message", [
    (lambda content: b"x" + content, "must be one that `hwbnn weights` wrote, and it is not"),
    (lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:],
     "must be whole, and it is damaged; make it again with `hwbnn weights`"),
    (lambda content: content[:40], "must be whole, and it is damaged; make it again with `hwbnn weights`"),
])
def test_damaged_files_are_refused(made, image, tmp_path, harm, message):
    file = image.write(tmp_path / "w.bin")
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(UserError, match=rf"^Weights file {file} {message}$"):
        WeightImage.read(file, made.plan)


def test_files_of_another_build_are_refused(made, image, tmp_path):
    other = build(tmp_path / "other", loadable=("fc0",))
    with pytest.raises(UserError, match=r"must be made for this build, and it is for another; make it again with "
                                        r"`hwbnn weights MODEL --for BUILD`$"):
        other.weights(image.write(tmp_path / "w.bin"))
    with pytest.raises(UserError, match=r"^Weights file .*none.bin must be readable: No such file or directory$"):
        made.weights(tmp_path / "none.bin")


def renamed(net):
    first, *others = net.nodes
    return replace(net, nodes=(replace(first, name="fc9"), *others))


def stepped(net):
    node = net.nodes[1]
    return replace(net, nodes=(net.nodes[0], replace(node, levels=ir.BINARY), *net.nodes[2:]))


TOLD = "Network mlp must differ from mlp of the build in loadable weights only"


@pytest.mark.parametrize("other, message", [
    (lambda: network(inputs=ir.TERNARY), f"{TOLD}, and its input has another levels: ternary in place of bipolar"),
    (lambda: mlp((8, 5, 3), **KIND), rf"{TOLD}, and fc0 has other weights: \(5, 8\) in place of \(6, 8\)"),
    (lambda: renamed(network()), f"{TOLD}, and it has MatMul fc9 in place of MatMul fc0"),
    (lambda: stepped(network()), f"{TOLD}, and act0 has other levels: binary in place of bipolar"),
    (lambda: network(classes=False, seed=3), None),
])
def test_networks_of_another_structure_are_refused(made, other, message):
    if message is None:  # a class output is made of logits as compile does
        assert WeightImage.of(made.directory, other()).network.nodes[-1].op == "TopK"
        return
    with pytest.raises(UserError, match=rf"^{message}$"):
        WeightImage.of(made.directory, other())


def test_what_is_not_loadable_must_not_differ(tmp_path):
    part = build(tmp_path / "part", loadable=("fc1",))
    with pytest.raises(UserError, match=rf"^{TOLD}, and fc0 has other weights$"):
        WeightImage.of(part.directory, network(1))
    none = build(tmp_path / "none", loadable=())
    with pytest.raises(UserError, match=r"^Build .*none must have loadable layers, and it has none; compile it with "
                                        r"--loadable all$"):
        WeightImage.of(none.directory, network(1))


@pytest.mark.parametrize("board, weights, styles, lacks", [
    ("ulx3s-85f", "spram", "block or distributed", "SPRAM"),
    ("icebreaker", "distributed", "block or spram", "LUT memory"),
])
def test_memories_that_the_chip_lacks_are_refused(tmp_path, board, weights, styles, lacks):
    with pytest.raises(UserError, match=rf"^Weights of fc0 must be {styles} on Lattice [^,]+, which has no {lacks}, "
                                        rf"not {weights}$"):
        build(tmp_path / "build", board=board, weights=weights)


def test_loadable_layers_stand_in_memory_that_the_chip_has(tmp_path):
    made = build(tmp_path / "build", board="icebreaker")
    styles = {memory.style for memory in made.plan.memories if memory.name.endswith((".weights", "thresholds"))}
    assert styles <= {"block", "distributed"}
    assert {fold.options.weights for fold in made.folds.values()} == {"block"}


def test_simulation_loads_weights_first(tmp_path):
    made = build(tmp_path / "build", board="icebreaker", weights="spram")
    file = WeightImage.of(made.directory, network(1)).write(tmp_path / "w.bin")
    assert made.simulate(X, engine="amaranth").ok
    result = made.simulate(X, engine="amaranth", weights=file)
    assert result.ok
    assert np.array_equal(result.classes, golden.classes(network(1), X))
    assert made.directory.read_json("sim/result.json", "hwbnn simulate")["frames"] == len(X)
    with pytest.raises(UserError, match=r"^Simulation must be of the build's own weights to be resumed$"):
        made.simulate(X, engine="amaranth", weights=file, resume=True)


@pytest.mark.cocotb
@ICARUS
def test_icarus_loads_weights_right_after_power_up(tmp_path):
    made = build(tmp_path / "build")
    file = WeightImage.of(made.directory, network(1)).write(tmp_path / "w.bin")
    assert made.simulate(X, engine="cocotb", simulator="icarus", weights=file).problems() == []


def test_a_board_computes_what_it_was_loaded_with(made, image):
    board = model_board(made.plan, (image,))
    assert run(made.directory, X, board, weights=image).ravel().tolist() == golden.classes(network(1), X).tolist()
    assert run(made.directory, X, board).ravel().tolist() == golden.classes(network(), X).tolist()


@pytest.mark.slow
def test_the_virtual_board_is_loaded_over_its_serial_line(made, image):
    x = X[:2]
    assert run(made.directory, x, "virtual", weights=image).ravel().tolist() == \
        golden.classes(network(1), x).tolist()


def test_packets_of_a_wrong_length_are_refused(made):
    board = model_board(made.plan)
    for payload in (b"", b"\x00\x00", b"\x09\x00" + bytes(5)):
        board.write(encode_frame(bytes([7, Command.LOAD]) + payload))
        assert Status.WRONG_LENGTH.to_bytes(1, "little") in board.read(99)
    assert load_bytes(made.plan) >= 64 and identity(made.plan).window >= 2
