"""Texts as sequences of tokens, each with the token that follows: characters, or Penn Treebank's lines of tokens."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwbnn.datasets.files import Labelled, needed, read
from hwbnn.errors import UserError

__all__ = ["STEPS", "TEXTS", "text", "vocabulary_of"]

STEPS = 100  # tokens of a sequence, as in the experiments of "Loss-aware Binarization" (arXiv:1611.01600)
TEXTS = {"tinyshakespeare": "", "ptb-characters": "ptb.char", "ptb-words": "ptb"}  # and how PTB's files begin
_PARTS = {"train": "train", "validation": "valid", "test": "test"}


def vocabulary_of(name: str, root: Path | None) -> tuple[str, ...]:
    """Return the tokens of a text, sorted: those of the whole text, or, of Penn Treebank, of the training file."""
    return tuple(sorted(set(_tokens(name, "train", root))))


def text(name: str, split: str, root: Path | None) -> Labelled:
    """Load a split of the text ``name`` as sequences of :data:`STEPS` tokens, an incomplete last one left out."""
    words = vocabulary_of(name, root)
    number = {word: n for n, word in enumerate(words)}
    tokens = _tokens(name, split, root)
    if not TEXTS[name]:
        tokens = tokens[_held_out(split, len(tokens))]
    unknown = number.get("<unk>")
    missing = next((token for token in tokens if token not in number), None) if unknown is None else None
    if missing is not None:
        raise UserError(f"Tokens of {name}:{split} must occur in the training file, or <unk> must stand there, and "
                        f"{missing!r} does not")
    numbers = np.fromiter((number.get(token, unknown) for token in tokens), np.int64, len(tokens))
    return _sequences(numbers, name, split, len(words))


def _sequences(numbers: NDArray[np.int64], name: str, split: str, words: int) -> Labelled:
    count = (len(numbers) - 1) // STEPS
    if count < 1:
        raise UserError(f"Text {name}:{split} must have more than {STEPS} tokens, not {len(numbers)}")
    x, y = (numbers[start:start + count * STEPS].reshape(count, STEPS) for start in (0, 1))
    return x.astype(np.uint8 if words <= 256 else np.int64), y.copy()


def _held_out(split: str, length: int) -> slice:
    """Return where a split of a text in one piece lies: 90, 5 and 5 of 100."""
    first, second = length * 90 // 100, length * 95 // 100
    return {"train": slice(0, first), "validation": slice(first, second), "test": slice(second, length)}[split]


def _tokens(name: str, split: str, root: Path | None) -> list[str]:
    """Return the tokens of a file: characters, or what spaces part, with ``<eos>`` at the end of each line."""
    prefix = TEXTS[name]
    folder = "ptb" if prefix else name
    file = f"{prefix}.{_PARTS[split]}.txt" if prefix else f"{name}.txt"
    try:
        content = read(folder, file, needed(name, root, folder)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"Data file {folder}/{file} must be text in UTF-8") from None
    if not content.strip():
        raise UserError(f"Data file {folder}/{file} must hold a text, and it is empty")
    if not prefix:
        return list(content)
    return [token for line in content.splitlines() for token in (*line.split(), "<eos>")]
