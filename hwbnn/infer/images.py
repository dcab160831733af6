"""Images on disk as arrays that are read a batch at a time: an ``.npy`` file, or a folder of files."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.errors import UserError

__all__ = ["Folder", "read_images"]

_PICTURES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm")


class Folder:
    """The images of a folder's files in the order of their names (``2.png`` before ``10.png``).

    A picture (PNG, JPEG, BMP, PGM, PPM; needs Pillow) becomes uint8 of one channel or of three, whichever ``shape``
    has, and must have its height and width; an ``.npy`` file holds one array of ``shape``, or several. Nothing is read
    but the heads of ``.npy`` files until a slice is taken.

    Parameters
    ----------
    path : path
    shape : tuple of :class:`int`
        Of one image: (channels, height, width), or (values,) which takes what has so many values.

    Raises
    ------
    UserError
        There is no such file in the folder, or one does not hold what it should.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...]):
        self.path, self.image_shape = Path(path), tuple(shape)
        self.files = sorted((file for file in self.path.iterdir() if file.suffix.lower() in (*_PICTURES, ".npy")
                             and not file.name.startswith(".")), key=_natural)
        if not self.files:
            raise UserError(f"Folder {path} must hold .npy files or pictures ({', '.join(_PICTURES)}), and holds none")
        counts = [len(self._array(file)) if file.suffix == ".npy" else 1 for file in self.files]
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, part: slice) -> NDArray:
        """The images ``part``, which has no step; their type is that of the files."""
        start, stop, _ = part.indices(len(self))
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        while first < len(self.files) and self._starts[first] < stop:
            offset = self._starts[first]
            parts.append(self._array(self.files[first])[max(0, start - offset):stop - offset])
            first += 1
        return np.concatenate(parts) if parts else np.zeros((0, *self.image_shape), np.uint8)

    def _array(self, file: Path) -> NDArray:
        """The images of one file, (N, *shape)."""
        if file.suffix == ".npy":
            x = _mapped(file)
            if x.shape == self.image_shape:
                return x[None]
            if x.shape[1:] != self.image_shape:
                raise UserError(f"File {file} must hold an array of {_by(self.image_shape)}, or several, not one of "
                                f"{_by(x.shape)}")
            return x
        return self._picture(file).reshape(1, *self.image_shape)

    def _picture(self, file: Path) -> NDArray[np.uint8]:
        try:
            from PIL import Image, UnidentifiedImageError  # only those with pictures need it
        except ImportError:
            raise UserError(f"Reading {file} must have Pillow, which is missing: pip install pillow") from None
        flat = len(self.image_shape) == 1
        try:
            with Image.open(file) as picture:
                channels = self.image_shape[0] // (picture.width * picture.height) if flat else self.image_shape[0]
                if channels not in (1, 3):
                    raise UserError(f"Picture {file} must have 1 or 3 channels to be {_by(self.image_shape)}, and is "
                                    f"{picture.width} x {picture.height} pixels")
                x = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
        except UnidentifiedImageError:
            raise UserError(f"Picture {file} must be one that Pillow can read, and it is not") from None
        except OSError as error:
            raise UserError(f"Picture {file} must be readable, and it is not: {error.strerror or error}") from None
        x = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
        if x.size != np.prod(self.image_shape) or not (flat or x.shape == self.image_shape):
            raise UserError(f"Picture {file} must be {_by(self.image_shape)}, not {_by(x.shape)}")
        return x


def read_images(path: str | os.PathLike, shape: tuple[int, ...] | None = None) -> "NDArray | Folder":
    """Map the array of an ``.npy`` file into memory without reading it, or list the images of a folder.

    Parameters
    ----------
    path : path
    shape : tuple of :class:`int`
        Of one image, for a folder.
    """
    if Path(path).is_dir():
        if shape is None:
            raise ValueError("Images of a folder must have a shape")
        return Folder(path, shape)
    return _mapped(Path(path))


def _mapped(path: Path) -> NDArray:
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no array in NumPy's format"
        raise UserError(f"Images must come from an .npy file, not {path}: {reason}") from error
    if not isinstance(x, np.ndarray) or x.ndim == 0:
        raise UserError(f"Images must come from an .npy file with one array, not {path}")
    return x


def _natural(file: Path) -> list[tuple[bool, int, str]]:
    """Sort key by which numbers in names count as numbers."""
    parts = re.split(r"(\d+)", file.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
