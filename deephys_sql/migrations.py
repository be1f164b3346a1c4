"""Brings a store's schema up to this package: numbered migrations once, views and macros anew.

A migration is a file `migrations/NNNN_name.sql`. It is applied once, in a transaction, and recorded in the table
`stored_migration` with the SHA-256 of its text, so that a file altered afterwards is noticed. Views and macros hold
no data: all files of `queries/views/` are run again, in the order of their names, whenever one of them changed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from deephys_sql import assets
from deephys_sql.errors import NotAStoreError, StoreVersionError
from deephys_sql.recording.layer_writer import keep_missing
from deephys_sql.recording.moving import move_activations
from deephys_sql.recording.writer import NAME_RUNS, WRITING_MEMORY

WIDE = "experiments/define_wide.sql"
MIGRATING_MEMORY = "1GB"  # what a migration may hold of a large store; pictures are written anew in less than half of it


@dataclass(frozen=True)
class Migration:
    """One file of `migrations/`: its number, its name and its text."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def available(folder: Path | None = None) -> list[Migration]:
    """Return the migrations of this package in the order of their numbers.

    >>> available()[0].version
    1
    """
    files = sorted((folder or assets.folder("migrations")).glob("[0-9]*_*.sql"))
    return [Migration(int(f.name.split("_")[0]), f.stem, f.read_text(encoding="utf-8")) for f in files]


def pending(connection: duckdb.DuckDBPyConnection, path: Path, folder: Path | None = None) -> list[Migration]:
    """Return the migrations that the store lacks, after comparing those that it has.

    Raises `NotAStoreError` when the file holds other tables, `StoreVersionError` when the store was made by a newer
    version of this package or a migration was altered after it was applied.
    """
    known = available(folder)
    applied = _applied(connection, path)
    if len(applied) > len(known):
        raise StoreVersionError(
            f"{path} has schema {len(applied)} ({applied[-1][1]!r}), and this deephys-sql knows schemas up to "
            f"{len(known)}: it was written by a newer version. Upgrade with `pip install --upgrade deephys-sql`."
        )
    for migration, (version, name, checksum) in zip(known, applied):
        if (migration.version, migration.checksum) != (version, checksum):
            raise StoreVersionError(
                f"{path} was made with migration {version} ({name!r}, SHA-256 {checksum[:12]}…), and the file "
                f"{migration.name}.sql is another one now ({migration.checksum[:12]}…). Migrations are never altered "
                f"once applied: restore that file, or install the version of deephys-sql that made the store."
            )
    return known[len(applied) :]


def require_current(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise `StoreVersionError` unless the store can be read as it is: its migrations and its views are those of this package."""
    if todo := pending(connection, path):
        raise too_old(path, todo)
    if not has_views(connection):
        raise StoreVersionError(
            f"{path} has views of another version of deephys-sql, and what is only read can't be brought up to date. "
            f"Run `deephys-sql migrate {path}`."
        )


def too_old(path: Path, todo: list[Migration]) -> StoreVersionError:
    """Return the error for a store that lacks migrations."""
    return StoreVersionError(
        f"{path} has an older schema: {', '.join(m.name for m in todo)} must be applied. "
        f"Run `deephys-sql migrate {path}`; it keeps the old file beside it."
    )


def apply(connection: duckdb.DuckDBPyConnection, migrations: list[Migration]) -> None:
    """Apply migrations one by one, each in its transaction; then move and write what recordings lack, and define the views and macros."""
    if migrations:
        connection.execute(f"set memory_limit = '{MIGRATING_MEMORY}'")
    for migration in migrations:
        with transaction(connection):
            connection.execute(migration.text)
            connection.execute(
                "insert into stored_migration (version, name, checksum) values (?, ?, ?)",
                [migration.version, migration.name, migration.checksum],
            )
    if migrations:
        connection.execute(f"set memory_limit = '{WRITING_MEMORY}'")
        move_activations(connection)
        with transaction(connection):
            keep_missing(connection)
        connection.execute("reset memory_limit")
    refresh_views(connection)


def has_views(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the store's views and macros are those of `queries/views/`."""
    stored = connection.execute("select distinct checksum from stored_views").fetchall()
    return stored == [(_views()[1],)]


def refresh_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Define every view and macro of `queries/views/` anew."""
    texts, checksum = _views()
    with transaction(connection):
        for (statement,) in connection.execute("select drop_statement from stored_views").fetchall():
            connection.execute(statement)
        of_users = _drop_statements(connection)
        for text in texts:
            connection.execute(text)
        derive_runs(connection)
        connection.execute("delete from stored_views")
        ours = sorted(_drop_statements(connection) - of_users)
        connection.execute("insert into stored_views select ?, unnest(?)", [checksum, ours])


def derive_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Derive anew which model each run belongs to, and define the view experiment_wide, a column a parameter, metric and tag."""
    connection.execute(assets.sql(NAME_RUNS))
    for (statement,) in connection.execute(assets.sql(WIDE)).fetchall():
        connection.execute(statement)


def _views() -> tuple[list[str], str]:
    """Return the texts that define views and macros, and one checksum of them all."""
    texts = [f.read_text(encoding="utf-8") for f in sorted((assets.folder("queries") / "views").glob("*.sql"))]
    return texts, hashlib.sha256("\0".join([*texts, assets.sql(WIDE), assets.sql(NAME_RUNS)]).encode()).hexdigest()


class transaction:
    """`with transaction(connection):` commits at the end and rolls back on any exception."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("begin transaction")

    def __exit__(self, kind, *_) -> None:
        self._connection.execute("commit" if kind is None else "rollback")


def _drop_statements(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the statements that would drop each view and macro that is there."""
    return {statement for (statement,) in connection.execute(assets.sql("store/select_drop_statements.sql")).fetchall()}


def _applied(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[int, str, str]]:
    try:
        return connection.execute("select version, name, checksum from stored_migration order by version").fetchall()
    except duckdb.CatalogException:
        names = [name for (name,) in connection.execute(assets.sql("store/select_names.sql")).fetchall()]
    if names:
        raise NotAStoreError(
            f"{path} is a DuckDB database of something else: it holds {', '.join(names[:3])} and no "
            f"stored_migration. Give the path of a store, or of a file that isn't there yet."
        )
    return []
