"""Publishes a store's next version: written on a copy beside the file, which then takes the file's place.

So readers and writers never wait for each other: who opens a store reads the version that was published last, and goes on
reading it when there is another. A writer

1. takes the lock, `study.duckdb.lock`, which the system gives free when its process ends, in whatever way;
2. copies the file to `study.duckdb.writing`; where the file system can, the two share what they have in common;
3. writes there;
4. closes it, has it on the disk, and renames it over the file.

Until the renaming the file is not touched, and that is one step of the file system. A copy that a killed writer leaves behind
is discarded by the next one.
"""

import contextlib
import errno
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import BinaryIO

import duckdb
from tqdm.auto import tqdm

from deephys_sql.connection import connect, require_place
from deephys_sql.errors import ReadOnlyError, StoreChangedError, StoreFullError, StoreLockedError, StoreNotFoundError

PIECE = 16 * 2**20  # bytes that are copied at once
FICLONE = 0x40049409  # Linux: make a file of the blocks of another one; on XFS, Btrfs, bcachefs

_locks: set[int] = set()  # descriptors of the locks that this process holds


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """Return what differs between two versions of a file."""
    return status.st_ino, status.st_mtime_ns, status.st_size


class Published:
    """The version of a store that is published now, open for reading; it stays what it is when there is another."""

    def __init__(self, path: Path):
        require_place(path)
        while True:
            try:
                self.file = path.open("rb")
            except FileNotFoundError as error:
                raise StoreNotFoundError(f"there is no file {path}; it was removed. Check the path.") from error
            try:
                self.connection = connect(path, read_only=True)
                if self.is_newest(path):
                    return
            except BaseException:
                self.file.close()
                raise
            self.close()  # it was replaced between the two

    def is_newest(self, path: Path) -> bool:
        """Whether the path still leads to this file."""
        return path.exists() and stamp(path.stat()) == stamp(os.fstat(self.file.fileno()))

    def close(self) -> None:
        # The file last: closing any descriptor of it takes away the lock by which DuckDB keeps others from writing it.
        self.connection.close()
        self.file.close()

    def let_go(self) -> None:
        """Close it, for DuckDB as soon as nobody holds rows or a relation of it any more."""
        del self.connection
        self.file.close()


class Lock:
    """The right to write a store: held by one at a time, and given free when the process ends.

    Raises `StoreLockedError` with the process that holds it, `ReadOnlyError` when the file or its folder can't be written.
    """

    def __init__(self, path: Path):
        import fcntl

        require_place(path)
        file = path.with_name(f"{path.name}.lock")
        if path.exists() and not os.access(path, os.W_OK):
            raise ReadOnlyError(f"{path} may not be written: its permissions forbid it. Change them, or work on a copy.")
        while True:
            try:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                raise ReadOnlyError(
                    f"{path} can't be written: {error.strerror} in its folder {path.parent}, where a new version is made beside the file. "
                    f"Change the permissions, or work on a copy."
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise StoreLockedError(f"{path} is being written by {holder}. Wait until that is done, or work on a copy.") from error
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(file.stat(), os.fstat(descriptor)):
                    break
            os.close(descriptor)  # who held it has removed it meanwhile
        with contextlib.suppress(OSError):  # on a full disk it goes without the name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._file = file
        self._descriptor: int | None = descriptor
        _locks.add(descriptor)

    def release(self) -> None:
        if self._descriptor in _locks:
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            _locks.remove(self._descriptor)
        self._descriptor = None


def _let_go_in_child() -> None:
    """A forked process has no part in the locks, and does not keep them when its parent is killed."""
    while _locks:
        os.close(_locks.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class InPlace:
    """The file of a store itself, open for writing: nobody else can have it open meanwhile."""

    def __init__(self, path: Path):
        self._lock = Lock(path)
        try:
            self.connection = connect(path, read_only=False)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        self.connection.close()
        self._lock.release()


class NewVersion:
    """The next version of a store. `with NewVersion(path) as version` takes the lock; what is not published is discarded."""

    def __init__(self, path: Path):
        self._path = path
        self._process = os.getpid()
        self._copy = path.with_name(f"{path.name}.writing")
        self._stamp: tuple[int, int, int] | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = Lock(path)

    def begin(self, source: BinaryIO | None = None) -> duckdb.DuckDBPyConnection:
        """Return a connection that writes on a copy of the source, the file that is published now; on a new file without one."""
        self._remove_copy()
        if source is not None:
            status = os.fstat(source.fileno())
            self._stamp = stamp(status)
            _copy(source, self._copy)
            for owner in ((-1, status.st_gid), (status.st_uid, -1)):
                with contextlib.suppress(PermissionError):
                    os.chown(self._copy, *owner)
            self._copy.chmod(status.st_mode & 0o7777)
        self._connection = connect(self._copy, read_only=False)
        return self._connection

    def publish(self, backup: Path | None = None) -> None:
        """Put the new version in the place of the file, which is kept as the backup, if one is named.

        Raises `StoreChangedError` when somebody else changed the file meanwhile.
        """
        self._connection.execute("checkpoint")
        self._connection.close()
        self._connection = None
        _sync(self._copy)
        self._require_unchanged()
        if backup is not None:
            try:
                os.link(self._path, backup)
            except OSError:  # no hard links there
                shutil.copy2(self._path, backup)
        os.replace(self._copy, self._path)
        _sync(self._path.parent)

    def discard(self) -> None:
        """Give up what was not published, and the lock."""
        if os.getpid() != self._process:
            return
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._remove_copy()
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "NewVersion":
        return self

    def __exit__(self, *_) -> None:
        self.discard()

    def _require_unchanged(self) -> None:
        found = stamp(self._path.stat()) if self._path.exists() else None
        if found != self._stamp or wal(self._path).exists():
            raise StoreChangedError(
                f"{self._path} was {'changed' if found else 'removed'} by another program while it was written here, so what was "
                f"written is not published: it would undo that. Open the store again, and write it again."
            )

    def _remove_copy(self) -> None:
        self._copy.unlink(missing_ok=True)
        wal(self._copy).unlink(missing_ok=True)
        shutil.rmtree(f"{self._copy}.tmp", ignore_errors=True)


def wal(path: Path) -> Path:
    """Return the file in which DuckDB keeps what is not in the database file yet."""
    return path.with_name(f"{path.name}.wal")


def recover(path: Path) -> None:
    """Bring into the file what a writer that was killed, one that wrote the file itself, has left in its write-ahead log."""
    if wal(path).exists():
        InPlace(path).close()


def _copy(source: BinaryIO, target: Path) -> None:
    with open(target, "xb", opener=_private) as new:
        if _share_blocks(source, new):
            return
        size, free = os.fstat(source.fileno()).st_size, shutil.disk_usage(target.parent).free
        if free < size:
            raise StoreFullError(
                f"no room to write {target.with_suffix('')}: it is written on a copy beside it, which takes {size / 1e6:,.0f} MB, and "
                f"{free / 1e6:,.0f} MB are free. Make room, or open the store with in_place=True."
            )
        source.seek(0)
        with tqdm(total=size, desc=f"copying {target.stem}", unit="B", unit_scale=True, delay=1, disable=None) as bar:
            while piece := source.read(PIECE):
                new.write(piece)
                bar.update(len(piece))


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read before it has the permissions of the store."""
    return os.open(path, flags, 0o600)


def _share_blocks(source: BinaryIO, new: BinaryIO) -> bool:
    """Make a copy that takes neither time nor room; return whether the file system could."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(new.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
