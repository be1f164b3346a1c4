"""Folders that are written first and moved to their place when they are whole, and those that killed processes left."""

import contextlib
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


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
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    folder.mkdir()
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raise `BlockingIOError` when another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
