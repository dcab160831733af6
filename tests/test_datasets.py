"""The data sets: what they hold, how they are split, and what is said when something is missing or wrong."""

import gzip
import hashlib
import lzma
import os
import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from hwbnn import datasets
from hwbnn.datasets import Selection, files
from hwbnn.datasets.digits import parts as digits_parts
from hwbnn.datasets.openml import parsed
from hwbnn.errors import UserError


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    monkeypatch.delenv("HWBNN_DATA", raising=False)


def says(message):
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


# digits

def test_digits_are_scikit_learns_each_in_one_split():
    parts = {split: datasets.load("digits", split) for split in datasets.SPLITS}
    assert {split: len(x) for split, (x, _) in parts.items()} == {"train": 1077, "validation": 360, "test": 360}
    published = load_digits()

    def rows(x, y):
        return sorted((*image, label) for image, label in zip(x.tolist(), y.tolist(), strict=True))

    together = [np.concatenate([part[k] for part in parts.values()]) for k in (0, 1)]
    assert rows(*together) == rows(published.data, published.target)
    for x, y in parts.values():
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        assert x.shape[1:] == (64,) and x.min() >= 0 and x.max() == 16


def test_digits_splits_hold_each_class_in_proportion():
    total = np.bincount(load_digits().target)
    for split in datasets.SPLITS:
        y = datasets.load("digits", split)[1]
        assert np.abs(np.bincount(y) - total * len(y) / 1797).max() <= 1


def test_digits_split_stays_as_it_is():
    """Published accuracies refer to this split: it must not change."""
    x, y = datasets.load("digits", "test")
    assert y[:10].tolist() == [3, 1, 5, 6, 8, 2, 8, 5, 6, 2]
    assert hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()[:16] == "8df19018b8c7b47a"


def test_loaded_arrays_are_the_callers_own():
    datasets.load("digits", "test")[0][:] = -1
    assert datasets.load("digits", "test")[0].min() == 0


# specifications

@pytest.mark.parametrize(("spec", "selection"), [
    ("digits:test", Selection("digits", "test")),
    ("digits:test:0:100", Selection("digits", "test", 0, 100)),
    ("mnist:validation:7:", Selection("mnist", "validation", 7)),
    ("mnist:train::9", Selection("mnist", "train", 0, 9)),
])
def test_parse(spec, selection):
    assert datasets.parse(spec) == selection


@given(st.integers(0, 359), st.data())
def test_range_is_that_of_the_split(start, data):
    stop = data.draw(st.integers(start + 1, 360))
    x, y = datasets.images(f"digits:test:{start}:{stop}")
    whole_x, whole_y = datasets.load("digits", "test")
    assert np.array_equal(x, whole_x[start:stop]) and np.array_equal(y, whole_y[start:stop])


FORM = "Images must be given as SET:SPLIT, SET:SPLIT:START:STOP or a .npy file, not"
NAMES = ["digits", "mnist", "fashion-mnist", "cifar10", "cifar10-batch1", "svhn", "svhn-extra", "tinyshakespeare",
         "ptb-characters", "ptb-words"]
SETS = f"Data set must be one of {', '.join(NAMES)}, not"


@pytest.mark.parametrize(("spec", "message"), [
    ("digits", f"{FORM} 'digits'"),
    ("digits:test:5", f"{FORM} 'digits:test:5'"),
    ("digits:test:a:b", f"{FORM} 'digits:test:a:b'"),
    ("digist:test", f"{SETS} 'digist'; did you mean 'digits'?"),
    ("xyz:test", f"{SETS} 'xyz'"),
    ("digits:valid", "Split must be one of train, validation, test, not 'valid'; did you mean 'validation'?"),
    ("digits:q", "Split must be one of train, validation, test, not 'q'"),
    ("digits:test:5:5", "Image range must be START:STOP with 0 <= START < STOP, not 5:5"),
    ("digits:test:-1:5", "Image range must be START:STOP with 0 <= START < STOP, not -1:5"),
    ("digits:test:0:361", "Image range must lie in 0:360, the size of digits:test, not 0:361"),
    ("digits:test:360:", "Image range must lie in 0:360, the size of digits:test, not 360:360"),
])
def test_bad_specifications(spec, message):
    with says(message):
        datasets.images(spec)


# .npy files

def test_npy_file(tmp_path):
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    got, labels = datasets.images(str(tmp_path / "x.npy"))
    assert np.array_equal(got, x) and labels is None


def test_missing_npy_file(tmp_path):
    with says(f"Image file {tmp_path / 'x.npy'} must exist"):
        datasets.images(str(tmp_path / "x.npy"))


def test_folder_as_npy_file(tmp_path):
    (tmp_path / "x.npy").mkdir()
    with says(f"Image file {tmp_path / 'x.npy'} must be readable: Is a directory"):
        datasets.images(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00\x10\x00{"])
def test_damaged_npy_file(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with says(f"Image file {tmp_path / 'x.npy'} must be a .npy file of plain numbers, and it is not"):
        datasets.images(str(tmp_path / "x.npy"))


def test_pickled_npy_file_is_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with says(f"Image file {tmp_path / 'x.npy'} must be a .npy file of plain numbers, and it is not"):
        datasets.images(str(tmp_path / "x.npy"))


@pytest.mark.parametrize(("x", "what"), [(np.zeros(3), "float64 of shape (3,)"),
                                         (np.array([["a"]]), "<U1 of shape (1, 1)")])
def test_npy_file_of_something_else(tmp_path, x, what):
    np.save(tmp_path / "x.npy", x)
    with says(f"Image file {tmp_path / 'x.npy'} must hold numbers of shape N x ..., not {what}"):
        datasets.images(str(tmp_path / "x.npy"))


# files

def write_idx(root, monkeypatch, *, train=5010, test=20, ending=".gz", folder="mnist"):
    """Write a small set in MNIST's format and make its checksums the published ones."""
    rng = np.random.default_rng(0)
    written = {}
    (root / folder).mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        x, y = rng.integers(0, 256, (count, 1, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
        written[part] = x, y
        for kind, header, array in (("images-idx3", (2051, count, 28, 28), x), ("labels-idx1", (2049, count), y)):
            content = np.array(header, ">u4").tobytes() + array.tobytes()
            name = f"{part}-{kind}-ubyte"
            monkeypatch.setitem(files.DIGESTS, ("mnist", name), hashlib.sha256(content).hexdigest())
            packed = {".gz": gzip.compress, ".xz": lzma.compress, "": bytes}[ending](content)
            (root / folder / f"{name}{ending}").write_bytes(packed)
    return written


@pytest.mark.parametrize("ending", [".gz", ".xz", ""])
def test_idx_files(tmp_path, monkeypatch, ending):
    written = write_idx(tmp_path, monkeypatch, ending=ending)
    monkeypatch.setenv("HWBNN_DATA", str(tmp_path))
    x, y = datasets.load("mnist", "test")
    assert x.dtype == np.uint8 and y.dtype == np.int64
    assert np.array_equal(x, written["t10k"][0]) and np.array_equal(y, written["t10k"][1])
    assert np.array_equal(datasets.load("mnist", "train")[0], written["train"][0][:10])
    assert np.array_equal(datasets.load("mnist", "validation")[1], written["train"][1][10:])


def test_argument_goes_before_the_variable(tmp_path, monkeypatch):
    write_idx(tmp_path, monkeypatch, folder="MNIST/raw")
    monkeypatch.setenv("HWBNN_DATA", "/nowhere")
    assert len(datasets.load("mnist", "test", tmp_path)[0]) == 20


def test_missing_file(tmp_path):
    with says(f"Data set mnist must have the file {tmp_path}/mnist/t10k-images-idx3-ubyte (plain, .gz or .xz); put it "
              f"there, from https://ossci-datasets.s3.amazonaws.com/mnist/, or leave out --data-root and HWBNN_DATA to "
              f"fetch the set from OpenML"):
        datasets.load("mnist", "test", tmp_path)


def test_file_of_something_else(tmp_path, monkeypatch):
    write_idx(tmp_path, monkeypatch)
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"other"))
    digest = r"[0-9a-f]{16}\.\.\."
    with pytest.raises(UserError, match=rf"^Data file {re.escape(str(path))} must be the published one, with sha256 "
                                        rf"{digest} when unpacked, not {digest}; download it again$"):
        datasets.load("mnist", "test", tmp_path)


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b"plain", lambda b: b[:30] + b"????" + b[34:]])
def test_damaged_file(tmp_path, monkeypatch, damage):
    write_idx(tmp_path, monkeypatch)
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"^Data file {re.escape(str(path))} must be readable: .+$"):
        datasets.load("mnist", "test", tmp_path)


def write_cifar10(root, monkeypatch, labels=10):
    (root / "cifar10").mkdir()
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (10_000, 3073), np.uint8)
    rows[:, 0] %= labels
    first = root / "cifar10" / "data_batch_1.bin"
    first.write_bytes(rows.tobytes())
    for name in [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]:
        monkeypatch.setitem(files.DIGESTS, ("cifar10", name), None)
        if name != first.name:
            (root / "cifar10" / name).symlink_to(first)
    return rows


def test_cifar10_files(tmp_path, monkeypatch):
    rows = write_cifar10(tmp_path, monkeypatch)
    x, y = datasets.load("cifar10", "test", tmp_path)
    assert x.shape == (10_000, 3, 32, 32)
    assert x[7, 2, 3, 4] == rows[7, 1 + 2 * 1024 + 3 * 32 + 4] and y[7] == rows[7, 0]
    assert [len(datasets.load("cifar10", split, tmp_path)[0]) for split in ("train", "validation")] == [45_000, 5000]
    assert np.array_equal(datasets.load("cifar10", "validation", tmp_path)[1], rows[5000:, 0])
    assert len(datasets.load("cifar10-batch1", "train", tmp_path)[0]) == 9000


def test_cifar10_labels_out_of_range(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch, labels=12)
    with says("Labels of cifar10/test_batch.bin must lie in 0..9, not reach 11"):
        datasets.load("cifar10", "test", tmp_path)


def test_cifar10_of_another_size(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    (tmp_path / "cifar10" / "test_batch.bin").unlink()
    (tmp_path / "cifar10" / "test_batch.bin").write_bytes(b"\0" * 3073)
    with says("Data file test_batch.bin must hold 10000 images of 3073 bytes, not 3073 bytes"):
        datasets.load("cifar10", "test", tmp_path)


def test_first_cifar10_batch_has_no_download():
    with says("Data set cifar10-batch1 must be read from files; put data_batch_1.bin, test_batch.bin in the folder "
              "cifar10 of --data-root or HWBNN_DATA, from https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"):
        datasets.load("cifar10-batch1", "test")


# OpenML

MNIST_FILES = ("put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte "
               "in the folder mnist of --data-root or HWBNN_DATA, from https://ossci-datasets.s3.amazonaws.com/mnist/")


@pytest.fixture
def openml():
    """OpenML's cache, empty before the test and behind it."""
    parsed.cache_clear()
    yield
    parsed.cache_clear()


@pytest.mark.usefixtures("openml")
@pytest.mark.parametrize(("name", "pixels", "training"), [("mnist", 784, 60_000), ("fashion-mnist", 784, 60_000),
                                                          ("cifar10", 3072, 50_000)])
def test_openml(monkeypatch, name, pixels, training):
    count, fetched = training + 10_000, []

    def fetch(*, data_id, **options):
        fetched.append(data_id)
        assert data_id == {"mnist": 554, "fashion-mnist": 40996, "cifar10": 40927}[name]
        x = np.broadcast_to((np.arange(count) % 251)[:, None].astype(np.uint8), (count, pixels))
        return x, np.char.mod("%d", np.arange(count) % 10)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    x, y = datasets.load(name, "test")
    assert x.dtype == np.uint8 and len(x) == 10_000 and x[0].size == pixels
    assert x[0].flat[0] == training % 251 and y[:3].tolist() == [training % 10, 1 + training % 10, 2 + training % 10]
    x[:], y[:] = 0, 0  # the caller's own
    assert datasets.load(name, "test")[0][0].flat[0] == training % 251
    assert datasets.load(name, "test")[1][1] == (1 + training) % 10
    assert len(datasets.load(name, "validation")[0]) == 5000 and len(fetched) == 1


@pytest.mark.usefixtures("openml")
def test_openml_out_of_reach(monkeypatch):
    def fetch(**options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with says("Data set mnist must be on disk or come from OpenML, which cannot be reached (URLError); "
              + MNIST_FILES):
        datasets.load("mnist", "test")


@pytest.mark.usefixtures("openml")
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_without_scikit_learn(monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    digits_parts.cache_clear()
    message = {"digits": "Data set digits must come from scikit-learn, and it is not installed; install it with "
                         "`pip install hwbnn[data]`",
               "mnist": "Data set mnist must come from files or, through scikit-learn, from OpenML; "
                        f"{MNIST_FILES}, or install scikit-learn with `pip install hwbnn[data]`"}[name]
    with says(message):
        datasets.load(name, "test")


# the published files

DATA = os.environ.get("HWBNN_DATA")


@pytest.mark.skipif(not DATA, reason="HWBNN_DATA does not name a folder with the published sets")
@pytest.mark.parametrize(("name", "counts"), [("mnist", (55_000, 5000, 10_000)),
                                              ("fashion-mnist", (55_000, 5000, 10_000)),
                                              ("cifar10-batch1", (9000, 1000, 10_000))])
def test_published_files(name, counts):
    if not (Path(DATA) / name.removesuffix("-batch1")).is_dir():
        pytest.skip(f"HWBNN_DATA has no folder for {name}")
    assert tuple(len(datasets.load(name, split, DATA)[0]) for split in datasets.SPLITS) == counts


def test_names_and_classes():
    assert datasets.names() == NAMES
    assert {datasets.classes(name) for name in datasets.names() if not datasets.is_text(name)} == {10}
