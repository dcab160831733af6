"""Published files: where they are sought, how they are unpacked, and by what they are known."""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.errors import UserError

__all__ = ["DIGESTS", "FOLDERS", "OPENML", "Labelled", "labels", "needed", "put", "read", "split_of"]

Labelled = tuple[NDArray, NDArray[np.int64]]

FOLDERS = {"mnist": ("mnist", "MNIST/raw"), "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
           "cifar10": ("cifar10", "cifar-10-batches-bin"), "svhn": ("svhn", "SVHN"), "tinyshakespeare": ("text",),
           "ptb": ("ptb", "simple-examples/data")}
OPENML = {"mnist": 554, "fashion-mnist": 40996, "cifar10": 40927}
_SOURCES = {"mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "svhn": "http://ufldl.stanford.edu/housenumbers/",
            "tinyshakespeare": "https://github.com/karpathy/char-rnn, where it is data/tinyshakespeare/input.txt",
            "ptb": "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz, or a text of your own in its format"}

# sha256 (64 digits) or md5 (32) of what the published files hold once unpacked, so that a file that was packed again is
# still recognised. None: not known to us, only size and labels are checked.
DIGESTS: dict[tuple[str, str], str | None] = {
    ("mnist", "train-images-idx3-ubyte"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("mnist", "train-labels-idx1-ubyte"): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("mnist", "t10k-images-idx3-ubyte"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("mnist", "t10k-labels-idx1-ubyte"): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ("fashion-mnist", "train-images-idx3-ubyte"): "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ("fashion-mnist", "train-labels-idx1-ubyte"): "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ("fashion-mnist", "t10k-images-idx3-ubyte"): "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ("fashion-mnist", "t10k-labels-idx1-ubyte"): "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ("cifar10", "data_batch_1.bin"): "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    **{("cifar10", f"data_batch_{n}.bin"): None for n in range(2, 6)},
    ("cifar10", "test_batch.bin"): "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    ("svhn", "train_32x32.mat"): "e26dedcc434d2e4c54c9b2d4a06d8373",
    ("svhn", "test_32x32.mat"): "eb5a983be6a315427106f1b164d9cef3",
    ("svhn", "extra_32x32.mat"): "a93ce644f1a588dc4d68dda5feec44a7",
    ("tinyshakespeare", "tinyshakespeare.txt"): "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
}
_OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def read(name: str, file: str, root: Path) -> bytes:
    """Return the verified contents of one file of the set ``name`` of :data:`FOLDERS`, plain or packed."""
    for folder in FOLDERS[name]:
        for ending, opener in _OPENERS.items():
            path = root / folder / f"{file}{ending}"
            if not path.is_file():
                continue
            try:
                with opener(path, "rb") as stream:
                    content = stream.read()
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise UserError(f"Data file {path} must be readable: {error}") from None
            _verify(path, content, DIGESTS.get((name, file)))
            return content
    other = ", or leave out --data-root and HWBNN_DATA to fetch the set from OpenML" if name in OPENML else ""
    raise UserError(f"Data set {name} must have the file {root / FOLDERS[name][0] / file} (plain, .gz or .xz); put it "
                    f"there, from {_SOURCES[name]}{other}")


def _verify(path: Path, content: bytes, expected: str | None) -> None:
    if expected is None:
        return
    kind = "sha256" if len(expected) == 64 else "md5"
    digest = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if digest != expected:
        raise UserError(f"Data file {path} must be the published one, with {kind} {expected[:16]}... when unpacked, "
                        f"not {digest[:16]}...; download it again")


def put(name: str, *names: str) -> str:
    """Say where files of the set ``name``, all or those of these names, are to be put, and from where."""
    files = ", ".join(names or (file for of, file in DIGESTS if of == name))
    return f"put {files} in the folder {FOLDERS[name][0]} of --data-root or HWBNN_DATA, from {_SOURCES[name]}"


def needed(name: str, root: Path | None, folder: str) -> Path:
    """Return the folder of the data sets, without which the set ``name`` cannot be had."""
    if root is None:
        raise UserError(f"Data set {name} must be read from files; put them in the folder {FOLDERS[folder][0]} of "
                        f"--data-root or HWBNN_DATA, from {_SOURCES[folder]}")
    return root


def labels(y: NDArray, of: str) -> NDArray[np.int64]:
    """Return the labels ``y`` of the set or file ``of``, which must be digits."""
    if y.size and not 0 <= y.min() <= y.max() <= 9:
        raise UserError(f"Labels of {of} must lie in 0..9, not reach {y.min() if y.min() < 0 else y.max()}")
    return y.astype(np.int64)


def split_of(split: str, training: Callable[[], Labelled], test: Callable[[], Labelled], held_out: int) -> Labelled:
    """Choose a split, the last ``held_out`` training images being the validation split; reads only what it needs."""
    if split == "test":
        return test()
    x, y = training()
    return (x[:-held_out], y[:-held_out]) if split == "train" else (x[-held_out:], y[-held_out:])
