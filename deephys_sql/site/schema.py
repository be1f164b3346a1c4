"""What a store holds, as DuckDB's catalogue tells it, and the same as an empty SQLite database for Datasette to read.

Datasette asks SQLite about tables, columns and keys. `read` makes an in-memory SQLite database, the shadow, with the
same names and no rows. Views of known key appear there as tables with that primary key, so that Datasette gives them
row pages, links and paging by key.
"""

import sqlite3
import zlib
from dataclasses import dataclass

import duckdb

from deephys_sql import assets

# The logical key of each view: what tells its rows apart, and the order in which they are shown.
KEYS = {
    "model": ("model",),
    "layer": ("model", "layer"),
    "dataset": ("dataset",),
    "category": ("category_list", "category"),
    "recording": ("model", "dataset"),
    "image": ("dataset", "image"),
    "prediction": ("model", "dataset", "image"),
    "confusion": ("model", "dataset", "label", "predicted"),
    "accuracy": ("model", "dataset", "category"),
    "dataset_accuracy": ("model", "dataset"),
    "neuron_summary": ("model", "layer", "neuron", "dataset"),
    "neuron_score": ("model", "layer", "neuron", "dataset"),
    "category_response": ("model", "layer", "neuron", "dataset", "category"),
    "experiment": ("run",),
    "experiment_wide": ("run",),
    "experiment_param": ("run", "name"),
    "experiment_tag": ("run", "name"),
    "annotation": ("annotation",),
    "annotation_history": ("annotation",),
    "top_image": ("model", "layer", "neuron", "dataset", "rank"),
}
# That of a table in whose place a view may stand (see `annotations`): a view has no rowid.
STAND_IN_KEYS = {"stored_annotation": ("annotation",)}
# One row an activation: too many to sort for every page. Without a sort they are shown in the order stored.
LONG_KEYS = dict.fromkeys(("activation", "response"), ("model", "layer", "neuron", "dataset", "image"))
LONG_KEYS["stored_value"] = ("recording_id", "layer_id", "neuron", "image")

# Columns that name a row of another view; Datasette knows foreign keys of one column only.
LINKS = {"model": "model", "dataset": "dataset", "reference": "dataset", "run": "experiment"}

_AFFINITY = {
    "FLOAT": "REAL", "DOUBLE": "REAL", "DECIMAL": "REAL", "BLOB": "BLOB", "BOOLEAN": "INTEGER",
    "TINYINT": "INTEGER", "SMALLINT": "INTEGER", "INTEGER": "INTEGER", "BIGINT": "INTEGER", "HUGEINT": "INTEGER",
    "UTINYINT": "INTEGER", "USMALLINT": "INTEGER", "UINTEGER": "INTEGER", "UBIGINT": "INTEGER", "UHUGEINT": "INTEGER",
}  # fmt: skip


@dataclass
class Table:
    """A table or view: types of its columns by name, its key, whether DuckDB has it as a view, its SQL and comments."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    is_view: bool
    definition: str
    comment: str | None
    column_comments: dict[str, str]

    @property
    def is_long(self) -> bool:
        return self.is_view and self.name not in KEYS

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith("stored_")

    def shadow(self) -> str:
        """Return the statement that makes this table, or view, in SQLite."""
        if self.is_long:
            columns = (f"cast(null as {affinity(kind)}) as {quote(name)}" for name, kind in self.columns.items())
            return f"create view {quote(self.name)} as select {', '.join(columns)}"
        parts = [f"{quote(name)} {affinity(kind)}" for name, kind in self.columns.items()]
        if self.key:
            parts.append(f"primary key ({', '.join(map(quote, self.key))})")
        parts += [
            f"foreign key ({quote(column)}) references {quote(view)} ({quote(KEYS[view][0])})"
            for column, view in LINKS.items()
            if self.is_view and column in self.columns and self.key != (column,)
        ]
        return f"create table {quote(self.name)} ({', '.join(parts)})"


def read(connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, Table], sqlite3.Connection]:
    """Return the tables and views of the connection's database by name, and the shadow."""
    columns, comments = {}, {}
    for table, column, kind, comment in connection.execute(assets.sql("site/select_columns.sql")).fetchall():
        columns.setdefault(table, {})[column] = kind
        if comment:
            comments.setdefault(table, {})[column] = comment
    keys = dict(connection.execute(assets.sql("site/select_keys.sql")).fetchall())
    found = connection.execute(assets.sql("site/select_tables.sql")).fetchall()
    tables = {
        name: Table(name, columns[name], _key(name, is_view, columns[name], keys), is_view, sql, comment, comments.get(name, {}))
        for name, is_view, sql, comment in found
    }
    return tables, _shadow(tables)


def affinity(kind: str) -> str:
    """Return SQLite's word for a type of DuckDB."""
    return "TEXT" if kind.endswith("]") else _AFFINITY.get(kind.partition("(")[0], "TEXT")


def quote(name: str) -> str:
    """Return the name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def _key(name: str, is_view: bool, columns: dict[str, str], keys: dict[str, list[str]]) -> tuple[str, ...]:
    known = (KEYS | LONG_KEYS).get(name, ()) if is_view else (keys | STAND_IN_KEYS).get(name, ())
    return tuple(known) if set(known) <= set(columns) else ()


def _shadow(tables: dict[str, Table]) -> sqlite3.Connection:
    shadow = sqlite3.connect(":memory:", check_same_thread=False)
    statements = [table.shadow() for table in tables.values()]
    for statement in statements:
        shadow.execute(statement)
    version = zlib.crc32("\n".join(statements).encode()) & 0x3FFFFFFF  # Datasette 1.0 reads the schema again when it changes
    shadow.execute(f"pragma schema_version = {version}")
    shadow.execute("pragma query_only = 1")
    shadow.row_factory = sqlite3.Row
    return shadow
