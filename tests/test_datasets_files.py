"""SVHN's .mat files and texts: what they hold, and what is said when something is missing or wrong."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from hwbnn import datasets
from hwbnn.datasets import files
from hwbnn.errors import UserError


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    monkeypatch.delenv("HWBNN_DATA", raising=False)


def says(message):
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


# SVHN

@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """Write small files in SVHN's format, which go for the published ones."""
    rng = np.random.default_rng(0)
    written = {}
    (tmp_path / "svhn").mkdir()
    for part, count in (("train", 6005), ("test", 7), ("extra", 11)):
        x, y = rng.integers(0, 256, (32, 32, 3, count), np.uint8), rng.integers(1, 11, (count, 1), np.uint8)
        savemat(tmp_path / "svhn" / f"{part}_32x32.mat", {"X": x, "y": y})
        monkeypatch.setitem(files.DIGESTS, ("svhn", f"{part}_32x32.mat"), None)
        written[part] = x, y.ravel() % 10
    return tmp_path, written


def test_svhn(svhn):
    root, written = svhn
    x, y = datasets.load("svhn", "test", root)
    assert x.shape == (7, 3, 32, 32) and (x.dtype, y.dtype) == (np.uint8, np.int64)
    assert x[4, 2, 30, 1] == written["test"][0][30, 1, 2, 4] and np.array_equal(y, written["test"][1])
    assert [len(datasets.load("svhn", split, root)[0]) for split in datasets.SPLITS] == [5, 6000, 7]
    assert np.array_equal(datasets.load("svhn", "validation", root)[1], written["train"][1][5:])


def test_svhn_with_the_extra_digits(svhn):
    root, written = svhn
    y = datasets.load("svhn-extra", "train", root)[1]
    assert np.array_equal(y, np.concatenate([written["extra"][1], written["train"][1][:5]]))


def test_svhn_is_verified(svhn, monkeypatch):
    root, _ = svhn
    monkeypatch.setitem(files.DIGESTS, ("svhn", "test_32x32.mat"), "eb5a983be6a315427106f1b164d9cef3")
    path = root / "svhn" / "test_32x32.mat"
    digest = hashlib.md5(path.read_bytes()).hexdigest()[:16]
    with says(f"Data file {path} must be the published one, with md5 eb5a983be6a31542... when unpacked, not "
              f"{digest}...; download it again"):
        datasets.load("svhn", "test", root)


@pytest.mark.parametrize("content", [{"X": np.zeros((32, 32, 3, 2), np.uint8)},
                                     {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.zeros(3)}, b"no file of MATLAB",
                                     b"", b"MATLAB 5.0 MAT-file" + bytes(40), b"MATLAB 7.3 MAT-file".ljust(124)
                                     + b"\x00\x02IM", "cut", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": ["a", "b"]},
                                     {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([1.0, np.nan])}])
def test_svhn_file_of_something_else(svhn, content):
    root, _ = svhn
    path = root / "svhn" / "test_32x32.mat"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with says("Data file test_32x32.mat must hold X, 32 x 32 x 3 x N bytes, and N labels y"):
        datasets.load("svhn", "test", root)


def test_svhn_labels_below_the_digits(svhn):
    root, _ = svhn
    savemat(root / "svhn" / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([-4, 5])})
    with says("Labels of svhn/test_32x32.mat must lie in 0..9, not reach -4"):
        datasets.load("svhn", "test", root)


def test_svhn_without_scipy(svhn, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.io.matlab", None)
    with says("Data set svhn must be read with scipy, and it is not installed; install it with "
              "`pip install hwbnn[data]`"):
        datasets.load("svhn", "test", svhn[0])


def test_missing_svhn(tmp_path):
    source = "http://ufldl.stanford.edu/housenumbers/"
    with says(f"Data set svhn must have the file {tmp_path}/svhn/test_32x32.mat (plain, .gz or .xz); put it there, "
              f"from {source}"):
        datasets.load("svhn", "test", tmp_path)
    with says(f"Data set svhn must be read from files; put them in the folder svhn of --data-root or HWBNN_DATA, from "
              f"{source}"):
        datasets.load("svhn", "test")


# texts

LINES = {"train": "a b _ c", "valid": "b b a", "test": "c _ a"}


@pytest.fixture
def ptb(tmp_path):
    """Write files in Penn Treebank's format, of 60 lines each."""
    (tmp_path / "ptb").mkdir()
    for part, line in LINES.items():
        (tmp_path / "ptb" / f"ptb.char.{part}.txt").write_text(f" {line} \n" * 60)
        (tmp_path / "ptb" / f"ptb.{part}.txt").write_text(f" the <unk> {line} \n" * 60)
    return tmp_path


def test_penn_treebank(ptb):
    words = datasets.vocabulary("ptb-characters", ptb)
    assert words == ("<eos>", "_", "a", "b", "c") and datasets.classes("ptb-characters", ptb) == 5
    for split, part in zip(datasets.SPLITS, LINES, strict=True):
        x, y = datasets.load("ptb-characters", split, ptb)
        tokens = [*LINES[part].split(), "<eos>"] * 60
        assert x.shape == y.shape == ((len(tokens) - 1) // 100, 100) and (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert [words[n] for n in x.ravel()] == tokens[:x.size]
        assert [words[n] for n in y.ravel()] == tokens[1:x.size + 1]


def test_words_not_in_the_training_file(ptb):
    (ptb / "ptb" / "ptb.test.txt").write_text("the unheard a\n" * 60)
    words = datasets.vocabulary("ptb-words", ptb)
    x, _ = datasets.load("ptb-words", "test", ptb)
    assert [words[n] for n in x[0, :4]] == ["the", "<unk>", "a", "<eos>"]
    (ptb / "ptb" / "ptb.char.test.txt").write_text("a q\n" * 60)
    with says("Tokens of ptb-characters:test must occur in the training file, or <unk> must stand there, and 'q' does "
              "not"):
        datasets.load("ptb-characters", "test", ptb)


def test_short_text(ptb):
    (ptb / "ptb" / "ptb.char.valid.txt").write_text("a b\n")
    with says("Text ptb-characters:validation must have more than 100 tokens, not 3"):
        datasets.load("ptb-characters", "validation", ptb)


def test_text_that_is_none(ptb):
    (ptb / "ptb" / "ptb.char.train.txt").write_bytes(b"\xff\xfe")
    with says("Data file ptb/ptb.char.train.txt must be text in UTF-8"):
        datasets.classes("ptb-characters", ptb)


@pytest.mark.parametrize("content", ["", "\n" * 200])
def test_empty_text(ptb, content):
    (ptb / "ptb" / "ptb.char.train.txt").write_text(content)
    for split in datasets.SPLITS:
        with says("Data file ptb/ptb.char.train.txt must hold a text, and it is empty"):
            datasets.load("ptb-characters", split, ptb)


def test_a_byte_order_mark_is_no_token(ptb):
    file = ptb / "ptb" / "ptb.char.train.txt"
    before = datasets.vocabulary("ptb-characters", ptb)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert datasets.vocabulary("ptb-characters", ptb) == before


def test_missing_text(tmp_path):
    source = "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz, or a text of your own in its format"
    with says(f"Data set ptb must have the file {tmp_path}/ptb/ptb.char.train.txt (plain, .gz or .xz); put it "
              f"there, from {source}"):
        datasets.load("ptb-characters", "train", tmp_path)
    with says("Data set tinyshakespeare must be read from files; put them in the folder text of --data-root or "
              "HWBNN_DATA, from https://github.com/karpathy/char-rnn, where it is data/tinyshakespeare/input.txt"):
        datasets.load("tinyshakespeare", "train")


def test_vocabulary_of_images():
    with says("Data set must be a text, one of tinyshakespeare, ptb-characters, ptb-words, not 'digits'"):
        datasets.vocabulary("digits")


def test_text_in_one_piece(tmp_path, monkeypatch):
    monkeypatch.setitem(files.DIGESTS, ("tinyshakespeare", "tinyshakespeare.txt"), None)
    content = "".join("abcdefghij"[n % 10] for n in range(10_000))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tinyshakespeare.txt").write_text(content)
    parts = {split: datasets.load("tinyshakespeare", split, tmp_path) for split in datasets.SPLITS}
    assert {split: len(x) for split, (x, _) in parts.items()} == {"train": 89, "validation": 4, "test": 4}
    assert all(np.array_equal((x.astype(int) + 1) % 10, y) for x, y in parts.values())


DATA = os.environ.get("HWBNN_DATA")


@pytest.mark.skipif(not DATA or not (Path(DATA) / "text").is_dir(),
                    reason="HWBNN_DATA does not name a folder with text/")
def test_published_text():
    x, y = datasets.load("tinyshakespeare", "train", DATA)
    words = datasets.vocabulary("tinyshakespeare", DATA)
    assert "".join(words[n] for n in x[0, :13]) == "First Citizen" and np.array_equal(x[0, 1:], y[0, :-1])
    assert (len(x), len(words)) == (10_038, 65)
