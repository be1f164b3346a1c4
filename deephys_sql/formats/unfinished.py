"""Folders that are written first and moved to their place when they are whole, and those that killed processes left."""

import contextlib
import fcntl
import glob
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deephys_sql.errors import InvalidInputError

ATTEMPTS = 10  # until others, who may take what is made but not yet locked for something left behind, have removed it


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Make a hidden folder beside what is to be made at a path; it is removed at the end, unless it was moved there.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "tree"
    >>> with unfinished(target) as folder:
    ...     _ = (folder / "file").write_text("whole")
    ...     _ = folder.rename(target)
    >>> [path.name for path in target.parent.iterdir()]
    ['tree']

    Those that were left for the same path by a process that was killed are removed: a living one holds a lock on its own.
    Raises `InvalidInputError` when another thread makes the same.
    """
    remove_left(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with made(folder, folder.mkdir):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_left(path: Path) -> None:
    """Remove the hidden files and folders beside a path that killed processes left."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def made(path: Path, make: Callable[[], object]) -> Iterator[None]:
    """Make a file or folder, and hold its lock, so that `remove_left` of other processes lets it be.

    make: makes it, or raises `FileExistsError`.
    Raises `InvalidInputError` when somebody else is making the same.
    """
    with contextlib.ExitStack() as stack:
        for attempt in range(ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                make()
                with contextlib.suppress(FileNotFoundError, BlockingIOError):
                    stack.enter_context(_locked(path))
                    break
            time.sleep(attempt / 100)
        else:
            raise InvalidInputError(f"{path} is being written by another thread or process. Wait until it is done, or write elsewhere.")
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder; raise `BlockingIOError` when somebody else does, `FileNotFoundError` when it was removed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(descriptor)
