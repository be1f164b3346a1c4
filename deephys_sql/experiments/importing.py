"""Takes runs over into a store: all of one source, or none."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql import assets, migrations
from deephys_sql.errors import InvalidInputError, SourceError
from deephys_sql.experiments import database, hydra, tables
from deephys_sql.experiments.items import Item, Metric, Param, Run, Tag, fields

BATCH = 50_000
TEXT, TIME = pa.string(), pa.timestamp("us")
SCHEMAS = {
    Run: (
        "incoming_experiment",
        {"number": pa.int64(), "run": TEXT, "name": TEXT, "study": TEXT, "status": TEXT, "started": TIME, "ended": TIME},
    ),
    Param: ("incoming_param", dict.fromkeys(fields(Param), TEXT)),
    Metric: ("incoming_metric", {"run": TEXT, "name": TEXT, "step": pa.int64(), "recorded_at": TIME, "value": pa.float64()}),
    Tag: ("incoming_tag", dict.fromkeys(fields(Tag), TEXT)),
}


@dataclass(frozen=True)
class ImportedRuns:
    """What an import did: how many runs were new and how many were there, the model of each, and the runs without one.

    matched: models by run. unmatched: names by run, or ids where a run has no name. remarks: what was asked and found nothing.
    """

    source: str
    added: int
    updated: int
    matched: dict[str, str] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = self.added + self.updated
        said = f"{total} run{'s' * (total != 1)} of {self.source}: {self.added} new, {self.updated} updated. "
        said += f"{len(self.matched)} belong to a model of this store"
        if not self.unmatched:
            return said + "."
        shown = ", ".join(list(self.unmatched.values())[:10]) + (", ..." if len(self.unmatched) > 10 else "")
        return (
            f"{said}, {len(self.unmatched)} to none: {shown}. They are kept, and found when a model is called as the run, its model "
            f"or its checkpoint, or has its weights."
        )


def items_of(
    source: str | os.PathLike, *, query: str | None, experiment: str | None, columns: tables.Columns
) -> tuple[str, Iterator[Item]]:
    """Return the name of a source and its items: a database, a file or a folder.

    Raises `SourceError` for anything else, or nothing.
    """
    address = os.fspath(source)
    path = Path(address).expanduser()
    if "://" not in address and path.suffix.lower() in (".db", ".sqlite", ".sqlite3"):
        address = f"sqlite:///{path}"
    if "://" in address:
        return _database_name(address), _of_database(address, query, experiment, columns)
    if query is not None or experiment is not None:
        raise InvalidInputError(
            f"{'query' if query is not None else 'experiment'}= needs a database, such as sqlite:///runs.db; got {address}."
        )
    if path.is_dir():
        return path.resolve().name, hydra.read_folder(path)
    if not path.exists():
        raise SourceError(f"there is no file or folder {path}, and it is no address of a database, such as sqlite:///mlflow.db.")
    if path.suffix.lower() not in tables.READERS:
        raise SourceError(
            f"{path.name} is none of the files that runs are read from: {', '.join(tables.READERS)}, a SQLite database called .db, or "
            f"a folder of Hydra."
        )
    return path.name, tables.read_rows(tables.read_file(path), columns)


def _database_name(address: str) -> str:
    try:
        return database.named(database.sqlalchemy.make_url(address))
    except database.exc.ArgumentError:
        return "a database"  # `connected` says what is wrong with it


def _of_database(address: str, query: str | None, experiment: str | None, columns: tables.Columns) -> Iterator[Item]:
    with database.connected(address) as connection:
        if query is None:
            yield from database.read_mlflow(connection, experiment)
        else:
            rows = ((f"row {i} of the query", row) for i, row in enumerate(database.read_query(connection, query), start=1))
            yield from tables.read_rows(rows, columns)


def take(
    connection: duckdb.DuckDBPyConnection,
    items: Iterable[Item],
    columns: tables.Columns,
    *,
    source: str,
    model: str,
    checkpoint: str,
    prefix: str,
    progress: bool,
) -> ImportedRuns:
    """Gather the items, check them, and replace what the store has of these runs, in one transaction."""
    connection.execute(assets.sql("experiments/create_incoming.sql"))
    try:
        with tqdm(items, desc=source, unit=" items", disable=None if progress else True) as items:
            _gather(connection, items)
        if prefix:
            for table, _ in SCHEMAS.values():
                connection.execute(f"update {table} set run = ? || run", [prefix])
        connection.execute("update incoming_experiment set source = ?", [source])
        connection.execute(assets.sql("experiments/name_models.sql"), {"model": model, "checkpoint": checkpoint})
        _read_checkpoints(connection)
        _require_no_conflict(connection, source)
        added, updated = connection.execute(assets.sql("experiments/count_incoming.sql")).fetchone()
        with migrations.transaction(connection):
            connection.execute(assets.sql("experiments/take_incoming.sql"))
            migrations.derive_runs(connection)
        matches = connection.execute(assets.sql("experiments/list_matches.sql")).fetchall()
    finally:
        connection.execute(assets.sql("experiments/drop_incoming.sql"))
    return ImportedRuns(
        source,
        added,
        updated,
        {run: model for run, _, model in matches if model is not None},
        {run: name or run for run, name, model in matches if model is None},
        columns.remarks(),
    )


def _gather(connection: duckdb.DuckDBPyConnection, items: Iterable[Item]) -> None:
    waiting: dict[type, list[Item]] = {kind: [] for kind in SCHEMAS}
    for item in items:
        waiting[type(item)].append(item)
        if len(waiting[type(item)]) >= BATCH:
            _insert(connection, type(item), waiting[type(item)])
            waiting[type(item)] = []
    for kind, rest in waiting.items():
        _insert(connection, kind, rest)


def _insert(connection: duckdb.DuckDBPyConnection, kind: type, items: Sequence[Item]) -> None:
    table, columns = SCHEMAS[kind]
    incoming = pa.table(
        [pa.array([getattr(item, name) for item in items], type=columns[name]) for name in columns], schema=pa.schema(list(columns.items()))
    )
    assert incoming.num_rows == len(items)  # read by DuckDB, by this name
    connection.execute(f"insert into {table} by name from incoming")


def _require_no_conflict(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    row = connection.execute(assets.sql("experiments/find_conflicts.sql")).fetchone()
    if row is None:
        return
    problem, run, found = row
    if problem == "twice":
        raise InvalidInputError(
            f"run {run!r} is there more than once in {source}, as number {found}. Give run= with the column that tells runs apart, "
            f"or call the column that tells their steps apart step."
        )
    raise InvalidInputError(
        f"run {run!r} was imported from {found!r} before, and {source!r} has one of this id too. To update those, give "
        f"name={found!r}; to keep both, give prefix= for the ids."
    )


def _read_checkpoints(connection: duckdb.DuckDBPyConnection) -> None:
    """Find the checksum of the weights that each run names: it is one, or that of a file of torch's that can be read here."""
    named = "select distinct checkpoint from incoming_experiment where checkpoint is not null"
    for (checkpoint,) in connection.execute(named).fetchall():
        checksum = checkpoint.lower() if _is_checksum(checkpoint) else _checksum_of_file(Path(checkpoint))
        if checksum is not None:
            connection.execute("update incoming_experiment set weights_checksum = ? where checkpoint = ?", [checksum, checkpoint])


def _is_checksum(text: str) -> bool:
    return len(text) == 64 and set(text.lower()) <= set("0123456789abcdef")


def _checksum_of_file(path: Path) -> str | None:
    """Return the checksum of a torch checkpoint as a recording has it; None when there is none, or no torch."""
    try:
        if not path.is_file():
            return None
        import torch

        from deephys_sql.recording.hooks import state_checksum

        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever is wrong with it, the run is matched by its names
        return None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    return state_checksum(found) if isinstance(found, dict) else None
