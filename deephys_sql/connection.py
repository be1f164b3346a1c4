"""Connects to the file of a store, and says in our words what DuckDB says when that fails."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb

from deephys_sql.errors import NotAStoreError, StoreFullError, StoreLockedError, StoreNotFoundError

NO_ROOM = re.compile(r"No space left|File too large|[Qq]uota exceeded|not enough (disk )?space")
# Of a new file. With DuckDB's 262,144 a recording takes a sixteenth more, and a small store 1 MB.
BLOCK_SIZE = 65_536
# Nothing is downloaded without being asked.
SETTINGS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Return a connection to a DuckDB instance of its own, in which the file is the database `store`.

    The file is attached and not opened: DuckDB gives the same instance to all that open one path in a process, also when
    the path leads to another file by then.
    """
    require_place(path)
    file = str(path.absolute())
    connection = duckdb.connect(":memory:", config={**SETTINGS, "temp_directory": f"{file}.tmp"})
    try:
        quoted = file.replace("'", "''")
        option = "read_only" if read_only else "" if path.exists() else f"block_size {BLOCK_SIZE}"
        connection.execute(f"attach '{quoted}' as store (type duckdb{option and f', {option}'})")
        return use(connection)
    except duckdb.Error as error:
        connection.close()
        if isinstance(error, duckdb.ResourceInUseException):
            raise StoreLockedError(
                f"{path} is open in this process already (process {os.getpid()}), {'for writing' if read_only else 'for reading'}. "
                f"Close it there first."
            ) from error
        if holder := re.search(r"Conflicting lock is held in (.+?) \(PID (\d+)\)", str(error)):
            raise StoreLockedError(
                f"{path} is open {'for writing ' if read_only else ''}in process {holder[2]} ({holder[1]}). "
                f"Close it there, or work on a copy of the file."
            ) from error
        if "Could not set lock" in str(error):
            raise StoreLockedError(f"{path} is open in another process. Close it there, or work on a copy.") from error
        if NO_ROOM.search(str(error)):
            raise
        raise NotAStoreError(
            f"{path} is not a DuckDB database that can be opened, so it is no store ({str(error).splitlines()[0]}). "
            f"Give the path of a store, or of a file that isn't there yet."
        ) from error


def use(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Make the store the database that names mean on this connection, and return it."""
    connection.execute("use store")
    return connection


def require_place(path: Path) -> None:
    """Raise unless a store can stand at the path."""
    if not path.parent.is_dir():
        raise StoreNotFoundError(f"there is no folder {path.parent} to hold {path.name}. Make it first, or check the path.")
    if path.is_dir():
        raise NotAStoreError(f"{path} is a folder; a store is a file, such as {path / 'study.duckdb'}.")


@contextlib.contextmanager
def failures_explained(path: Path) -> Iterator[None]:
    """Raise `StoreFullError` for whatever fails for want of room."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        if not NO_ROOM.search(str(error)):
            raise
        free = shutil.disk_usage(path.parent).free
        raise StoreFullError(
            f"no room to write {path}: {free / 1e9:.1f} GB are free on its disk. What was being written is undone; make room, and "
            f"write it again."
        ) from error
