"""Writes a store as Parquet files that anyone reads."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql import assets, migrations
from deephys_sql.errors import InvalidInputError, StoreDamagedError
from deephys_sql.formats import hive
from deephys_sql.formats.parquet import ACTIVATIONS, File, activation_rows
from deephys_sql.formats.unfinished import unfinished
from deephys_sql.recording.activations import block_images, read_images
from deephys_sql.recording.writer import VERSION, WRITING_MEMORY
from deephys_sql.store import Store, open

MANIFEST = "_deephys_sql.json"
FORMAT = 1  # of the manifest and the layout
PIECE_BYTES = 32 * 2**20  # of pictures in memory at once

# Tables that a tree holds in another form (activations an image a row, lists of categories with models and datasets, scores as the
# view has them), and those that an import makes anew; `reference_maximum` is in exports from before migration 9.
NOT_BY_ROWS = frozenset(
    (
        *("migration", "views", "category_list", "category", "model", "dataset", "layer", "recording"),
        *("activation", "piece", "neuron_score", "named_recording", "named_layer", "named_run", "neuron", "reference_maximum"),
    )
)


def export_parquet(store: Store | str | os.PathLike, folder: str | os.PathLike, *, progress: bool = True) -> None:
    """Write a store as a folder of Parquet files: a folder a table, in it a folder a model, layer and dataset.

    >>> import deephys_sql as dp, numpy as np, tempfile
    >>> root = tempfile.mkdtemp()
    >>> store = dp.open(root + "/study.duckdb")
    >>> store.add_recording(model="net", dataset="day", activations={"fc": np.eye(3)}, logits=np.eye(3), progress=False)
    >>> dp.export_parquet(store, root + "/study", progress=False)
    >>> import duckdb
    >>> duckdb.sql(f"select model, layer, dataset, image, values from '{root}/study/activation/*/layer=fc/*/*.parquet' limit 1").fetchall()
    [('net', 'fc', 'day', 0, [1.0, 0.0, 0.0])]

    `activation` has a row an image: `image` and `values`, float32, one a neuron. The other tables are as in the store, with names in
    place of ids; `model` and `dataset` hold the names of their categories. `import_parquet` makes the same store of it again.
    The folder appears when it is whole; it must not be there before. Memory does not grow with the number of images.
    Raises `InvalidInputError` for a folder that is there, or a name too long for a file system.
    """
    if not isinstance(store, Store):
        with open(store, read_only=True) as opened:
            return export_parquet(opened, folder, progress=progress)
    folder = Path(folder).absolute()
    if folder.exists():
        raise InvalidInputError(f"{folder} is there already. Give a folder that an export can make, or remove that one first.")
    if not folder.parent.is_dir():
        raise InvalidInputError(f"there is no folder {folder.parent} to hold {folder.name}. Make it first, or check the path.")
    with unfinished(folder) as partial:
        with store.snapshot() as connection:
            _Export(connection, partial, progress).write()
        partial.rename(folder)


class _Export:
    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, progress: bool):
        self._connection = connection
        self._folder = folder
        self._progress = progress
        self._files: dict[str, dict[str, Any]] = {}
        connection.execute(f"set memory_limit = '{WRITING_MEMORY}'")

    def write(self) -> None:
        try:
            self._write_tables()
        finally:
            with suppress(duckdb.Error):  # in a transaction that failed nothing is run any more
                self._connection.execute("reset memory_limit")
        manifest = {
            "format": FORMAT,
            "deephys_sql_version": VERSION,
            "schema": [migration.name for migration in migrations.available()],
            "files": self._files,
        }
        (self._folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")

    def _write_tables(self) -> None:
        tables = dict(self._connection.execute(assets.sql("formats/select_columns.sql")).fetchall())
        tables = {table.removeprefix("stored_"): columns for table, columns in tables.items()}
        tables = {table: columns for table, columns in tables.items() if table not in NOT_BY_ROWS}
        parts = self._rows(assets.sql("formats/select_parts.sql"))
        self._write_query("model", {}, assets.sql("formats/select_models.sql"), leave_out=["model_id"])
        self._write_query("dataset", {}, assets.sql("formats/select_datasets.sql"), leave_out=["dataset_id"])
        for row in self._rows("select name as dataset, dataset_id, images from stored_dataset order by dataset_id"):
            self._write_with(tables, ["dataset_id"], row, {"dataset": row["dataset"]})
        for row in self._rows("select name as model, model_id from stored_model order by model_id"):
            layers = "select name as layer, * exclude (name, layer_id, model_id) from stored_layer where model_id = ? order by position"
            self._write_query("layer", {"model": row["model"]}, layers, [row["model_id"]])
        for row in self._rows(assets.sql("formats/select_recordings.sql")):
            names = {key: row[key] for key in ("model", "dataset")}
            own = f"select * exclude (model, dataset) from ({assets.sql('formats/select_recordings.sql')}) where recording_id = ?"
            self._write_query("recording", names, own, [row["recording_id"]], leave_out=["recording_id", "model_id"])
            self._write_with(tables, ["recording_id"], row, names)
        for layer_id, row in {row["layer_id"]: row for row in parts}.items():
            names = {key: row[key] for key in ("model", "layer")}
            self._write_with(tables, ["layer_id"], row | {"layer_id": layer_id}, names)
        with tqdm(
            total=sum(row["images"] for row in parts), unit=" images", desc="export", disable=None if self._progress else True
        ) as bar:
            for row in parts:
                names = {key: row[key] for key in ("model", "layer", "dataset")}
                self._write_activations(row, names, bar)
                self._write_with(tables, ["recording_id", "layer_id"], row, names)
                self._write_query("neuron_score", names, assets.sql("formats/select_scores.sql"), names)
        for table, columns in tables.items():
            if not any(column.endswith("_id") for column in columns):
                order = "written_at, annotation" if table == "annotation" else "rowid"  # what stands in for annotations is a view
                self._write_query(table, {}, f"select * from stored_{table} order by {order}")

    def _write_with(self, tables: dict[str, list[str]], ids: list[str], row: dict[str, Any], names: dict[str, str]) -> None:
        """Write the rows of every table that has exactly these ids."""
        for table, columns in tables.items():
            if [column for column in columns if column in IDS] != ids:
                continue
            where = " and ".join(f"{column} = ?" for column in ids)
            others = [column for column in columns if column.endswith("_layer_id")]
            names_of = "".join(f", (select name from stored_layer as l where l.layer_id = t.{c}) as {c[:-3]}" for c in others)
            select = f"select * exclude ({', '.join([*ids, *others])}){names_of} from stored_{table} as t where {where}"
            values = [row[column] for column in ids]
            if table in ("image", "prediction"):
                self._write_by_image(table, names, f"{select} and image >= ? and image < ? order by image", values, row["images"])
            else:
                self._write_query(table, names, f"{select} order by rowid", values)

    def _write_by_image(self, table: str, names: dict[str, str], select: str, values: list[int], images: int) -> None:
        step = 2048
        if table == "image":
            size = "select max(octet_length(thumbnail) + coalesce(octet_length(original), 0)) from stored_image where dataset_id = ?"
            [(largest,)] = self._connection.execute(size, values).fetchall()
            step = max(1, min(step, PIECE_BYTES // (largest or 1)))
        pieces = (
            self._connection.sql(select, params=[*values, first, min(first + step, images)]).to_arrow_table()
            for first in range(0, images, step)
        )
        self._write_file(table, names, pieces)

    def _write_query(self, table: str, names: dict[str, str], query: str, values: Any = None, leave_out: list[str] | None = None) -> None:
        with self._connection.sql(query, params=values or []).to_arrow_reader(100_000) as reader:
            pieces = (pa.Table.from_batches([batch]).drop_columns(leave_out or []) for batch in reader)
            self._write_file(table, names, pieces)

    def _write_activations(self, row: dict[str, Any], names: dict[str, str], bar: tqdm) -> None:
        checksum = hashlib.sha256()

        def pieces() -> Iterator[pa.Table]:
            ids = {"recording_id": row["recording_id"], "layer_id": row["layer_id"]}
            step = block_images(row["neurons"])
            for first in range(0, row["images"], step):
                end = min(first + step, row["images"])
                matrix = read_images(self._connection, ids, row["neurons"], first, end)
                checksum.update(matrix)
                yield activation_rows(np.arange(first, end), matrix)
                bar.update(end - first)

        self._write_file("activation", names, pieces(), ACTIVATIONS)
        if checksum.hexdigest() != row["checksum"]:
            raise _damaged(row)

    def _write_file(self, table: str, names: dict[str, str], pieces: Iterator[pa.Table], schema: pa.Schema | None = None) -> None:
        """Write the rows of a part of a table, if there are any."""
        path = hive.place(table, names) / "part-0.parquet"
        file = None
        try:
            for rows in pieces:
                if not len(rows):
                    continue
                if file is None:
                    file = File(self._folder / path, schema or rows.schema)
                file.write(rows)
        finally:
            if file is not None:
                file.__exit__()
        if file is not None:
            written = self._folder / path
            self._files[path.as_posix()] = {"rows": file.rows, "bytes": written.stat().st_size, "sha256": sha256(written)}

    def _rows(self, query: str) -> list[dict[str, Any]]:
        return self._connection.sql(query).to_arrow_table().to_pylist()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


IDS = ("recording_id", "layer_id", "model_id", "dataset_id")


def _damaged(row: dict[str, Any]) -> StoreDamagedError:
    return StoreDamagedError(
        f"{row['model']} on {row['dataset']}, layer {row['layer']}: the activations are not those that were written. "
        f"`deephys-sql check` tells what else is wrong with the store."
    )
