# amaranth: UnusedElaboratable=no

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import MLPS, tiny

import hwbnn_boards
from hwbnn import golden, ir
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.cost import technology
from hwbnn.errors import UserError
from hwbnn.plan import Fold, lower
from hwbnn_boards import serve
from hwbnn_boards.host import Link
from hwbnn_boards.protocol import Beats, fingerprint, identity, image_beats, result_beats
from hwbnn_boards.top import BoardTop
from hwbnn_boards.uart import divisor


def full(network):
    """Return the fold of every matrix that computes it in one cycle."""
    return {node.name: Fold(*node.weights.shape) for node in network.nodes if isinstance(node, ir.MatMul)}


def single(network):
    """Return the smallest fold of every matrix."""
    return {node.name: Fold(1, 1) for node in network.nodes if isinstance(node, ir.MatMul)}


def images(network, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(network.input.levels.values(), (count, *network.input.graph_shape))


def write_build(path, network, folds, board="icebreaker"):
    directory = BuildDirectory(path)
    path.mkdir(parents=True, exist_ok=True)
    ir.save(network, path / "network.npz")
    directory.write_json("build.json", Manifest(
        board=board, clock_hz=hwbnn_boards.board(board).clock_hz, target_fps=None, output="class",
        folds={name: {"pe": fold.pe, "simd": fold.simd} for name, fold in folds.items()}, network=ir.digest(network)))
    return directory


@pytest.mark.parametrize("name", hwbnn_boards.names())
def test_board_agrees_with_its_platform(name):
    board = hwbnn_boards.board(name)
    platform = board.platform()
    assert board.clock_hz == platform.default_clk_frequency
    assert board.name == name
    for resource in (("uart", board.uart), ("led", board.activity_led), ("led", board.error_led)):
        platform.lookup(*resource)
    assert board.activity_led != board.error_led
    assert divisor(board.clock_hz, board.baud) >= 4


@pytest.mark.parametrize("name", hwbnn_boards.names())
def test_board_has_a_technology(name):
    assert technology(hwbnn_boards.board(name).technology)


@pytest.mark.parametrize(("name", "message"), [
    ("ulx3s", r"^Board must be one of icebreaker, ulx3s-85f, not 'ulx3s'; did you mean ulx3s-85f\?$"),
    ("IceBraker", r"^Board must be one of icebreaker, ulx3s-85f, not 'IceBraker'; did you mean icebreaker\?$"),
    ("zzz", r"^Board must be one of icebreaker, ulx3s-85f, not 'zzz'$"),
])
def test_unknown_board(name, message):
    with pytest.raises(UserError, match=message):
        hwbnn_boards.board(name)


def test_records_need_no_extra():
    code = ("import sys; sys.modules.update(dict.fromkeys(['amaranth', 'amaranth_boards', 'serial', 'cobs']))\n"
            "import hwbnn_boards; print(*hwbnn_boards.names())")
    paths = [path for path in sys.path if path]
    out = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"], check=True,
                         capture_output=True, text=True)
    assert out.stdout.split() == hwbnn_boards.names()


def test_fingerprint_tells_networks_and_packings_apart():
    network = MLPS["logits"]()
    plans = [lower(network, single(network)), lower(network, full(network)), lower(tiny(), single(tiny()))]
    assert len({fingerprint(plan) for plan in plans}) == 3
    assert fingerprint(plans[0]) == fingerprint(lower(network, single(network)))


@pytest.mark.parametrize("fold", [single, full])
def test_pixels_in_class_out_over_the_serial_line(fold, tmp_path):
    # The whole design but the pins, byte by byte, with the host's own code.
    network = tiny()
    x = images(network, 3)
    directory = write_build(tmp_path / "build", network, fold(network))
    done = []
    result = serve.run(directory, x, serve.VIRTUAL, progress=lambda count, total: done.append((count, total)))
    np.testing.assert_array_equal(result, golden.integers(network, x))
    assert done == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MLPS))
def test_every_network_over_the_serial_line(name):
    network = MLPS[name]()
    plan = lower(network, full(network))
    x = images(network, 2)
    board = serve.virtual_board(plan)
    np.testing.assert_array_equal(_through(plan, board, x), golden.integers(network, x))


@settings(max_examples=10)
@given(st.sampled_from(sorted(MLPS)), st.booleans(), st.integers(0, 100))
def test_model_board_speaks_the_same_packing(name, parallel, seed):
    network = MLPS[name]()
    plan = lower(network, (full if parallel else single)(network))
    x = images(network, 5, seed)
    np.testing.assert_array_equal(_through(plan, serve.model_board(plan), x), golden.integers(network, x))


def _through(plan, board, x):
    from hwbnn.rtl import result_values, stream_words

    image, result = image_beats(plan), result_beats(plan)
    words = stream_words(plan, golden.encode(plan.network, x))
    link = Link(board, timeout=600)
    assert link.identify(fingerprint(plan)) == identity(plan)
    answers = link.run([image.join(words[n:n + image.count]) for n in range(0, len(words), image.count)])
    return result_values(plan, [word for answer in answers for word in result.split(answer)])


def test_board_with_another_network(tmp_path):
    network, other = tiny(), MLPS["logits"]()
    directory = write_build(tmp_path / "build", network, single(network))
    board = serve.model_board(lower(other, single(other)))
    with pytest.raises(UserError, match=r"^Board must run the network [0-9a-f]{16}, not [0-9a-f]{16}; load the "
                                        r"bitstream of this build$"):
        serve.run(directory, images(network, 1), board)


@pytest.mark.parametrize("name", hwbnn_boards.names())
def test_top_elaborates_for_its_board(name):
    network, board = tiny(), hwbnn_boards.board(name)
    plan = board.platform().prepare(BoardTop(lower(network, single(network)), board))
    constraints = plan.files["top.lpf" if board.family == "ecp5" else "top.pcf"]
    text = constraints if isinstance(constraints, str) else constraints.decode()
    for signal in ("uart_0__rx", "uart_0__tx", f"led_{board.activity_led}__io", f"led_{board.error_led}__io"):
        assert signal in text


def test_beats_of_a_plan():
    network = tiny()  # 8 inputs of 4 bits, 3 classes
    assert image_beats(lower(network, single(network))).size in (4, 8)
    assert image_beats(lower(network, full(network))) == Beats(1, 4)
    assert result_beats(lower(network, full(network))) == Beats(1, 1)
