"""Replace the files of a directory all at once, so that a failure or an interrupt leaves what was there."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["draft_beside", "move_into", "undisturbed"]


@contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """A fresh directory next to ``path``, on the same file system; removed afterwards if it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        draft.chmod(0o755)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def move_into(path: Path, draft: Path, *, names: Sequence[str], outdated: Sequence[str]) -> None:
    """Make ``path`` hold the files ``names`` as ``draft`` does, in that order, and no longer the ``outdated`` ones.

    Where ``path`` does not exist yet, or is empty, that is a single rename. Where a step fails, all are undone.
    """
    with undisturbed():
        if not path.exists() or not any(path.iterdir()):
            os.rename(draft, path)
            return
        attic = draft / ".before"
        for name in names:
            if (path / name).exists():
                (attic / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path / name, attic / name)
        done: list[str] = []
        try:
            for name in outdated:
                if (path / name).exists() and name not in names:
                    (attic / name).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path / name, attic / name)
                    done.append(name)
            for name in names:
                if (draft / name).exists():
                    (path / name).parent.mkdir(exist_ok=True)
                    done.append(name)
                    os.replace(draft / name, path / name)
                else:
                    done.append(name)
                    (path / name).unlink(missing_ok=True)
        except BaseException:
            for name in reversed(done):
                if (attic / name).exists():
                    os.replace(attic / name, path / name)
                else:
                    (path / name).unlink(missing_ok=True)
            raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold interrupts back until the block is done; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    previous = {number: signal.signal(number, lambda number, frame: caught.append(number))
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in caught:
            signal.raise_signal(number)
