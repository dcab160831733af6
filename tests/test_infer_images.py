"""Images that are read from disk a batch at a time: folders of pictures and of arrays."""

import numpy as np
import pytest
from typer.testing import CliRunner

from hwbnn import golden, infer, ir
from hwbnn.cli import app
from hwbnn.errors import UserError

image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
RNG = np.random.default_rng(0)
BYTES = ir.Levels(0, 255)


def colour() -> ir.Network:
    """A convolution of 3 x 4 x 6 pictures, and its largest sum."""
    weights = RNG.choice([-1, 1], (4, 3, 3, 3))
    return ir.Network("colour", ir.Input("x", (3, 4, 6), (4, 6, 3), BYTES, axes=(1, 2, 0)),
                      (ir.Conv("conv", ("x",), ("y",), weights, ir.BIPOLAR),), (ir.Output("y", "y", (2, 4, 4)),))


def test_a_folder_of_pictures_and_arrays(tmp_path):
    net = colour()
    x = RNG.integers(0, 256, (5, 3, 4, 6)).astype(np.uint8)
    for number in (2, 10):  # 2 comes before 10
        image.fromarray(x[0 if number == 2 else 4].transpose(1, 2, 0)).save(tmp_path / f"a{number}.png")
    np.save(tmp_path / "a3.npy", x[1:3])
    np.save(tmp_path / "a4.npy", x[3])
    (tmp_path / "notes.txt").write_text("not an image")
    folder = infer.read_images(tmp_path, (3, 4, 6))
    assert folder.shape == (5, 3, 4, 6)
    for start in range(6):
        for stop in range(start, 6):
            assert np.array_equal(folder[start:stop], x[start:stop])
    for batch in (1, 2, 8):
        session = infer.load(net, "cpu", batch=batch)
        assert np.array_equal(session.run(folder), golden.run(net, x))
        out = session.run_file(tmp_path, tmp_path.parent / "y.npy")
        assert np.array_equal(np.load(out), golden.run(net, x))


def test_a_flat_network_takes_gray_pictures(tmp_path):
    x = RNG.integers(0, 16, (8, 8)).astype(np.uint8)
    image.fromarray(x).save(tmp_path / "x.png")
    assert np.array_equal(infer.read_images(tmp_path, (64,))[0:1], x.reshape(1, 64))
    image.fromarray(np.stack([x] * 3, axis=2)).save(tmp_path / "x.png")
    assert np.array_equal(infer.read_images(tmp_path, (192,))[0:1], np.stack([x] * 3).reshape(1, 192))


def test_a_folder_that_holds_other_things(tmp_path):
    with pytest.raises(UserError, match=r"^Folder .* must hold .npy files or pictures .*, and holds none$"):
        infer.read_images(tmp_path, (1, 8, 8))
    np.save(tmp_path / "x.npy", np.zeros((2, 7), np.uint8))
    with pytest.raises(UserError, match=r"x\.npy must hold an array of 1 x 8 x 8, or several, not one of 2 x 7$"):
        infer.read_images(tmp_path, (1, 8, 8))
    (tmp_path / "x.npy").unlink()
    image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"^Picture .*x\.png must be 1 x 8 x 8, not 1 x 8 x 9$"):
        infer.read_images(tmp_path, (1, 8, 8))[0:1]
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(UserError, match=r"^Picture .*x\.png must be one that Pillow can read, and it is not$"):
        infer.read_images(tmp_path, (1, 8, 8))[0:1]


def test_infer_takes_a_folder(tmp_path):
    net = ir.Network("flat", ir.Input("x", (6,), (6,), BYTES),
                     (ir.MatMul("fc", ("x",), ("y",), RNG.choice([-1, 1], (3, 6)), ir.BIPOLAR),),
                     (ir.Output("y", "y", (3,)),))
    ir.save(net, tmp_path / "net.npz")
    x = RNG.integers(0, 256, (4, 6)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    for number in range(4):
        image.fromarray(x[number].reshape(2, 3)).save(tmp_path / "in" / f"{number}.png")
    words = ["infer", str(tmp_path / "net.npz"), str(tmp_path / "in"), "--device", "cpu", "-o", str(tmp_path / "y.npy")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.load(tmp_path / "y.npy"), golden.classes(net, x))
