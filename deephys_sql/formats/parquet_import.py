"""Reads Parquet trees: exports of a store, and shards that several processes wrote."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from tqdm.auto import tqdm

from deephys_sql import assets, migrations
from deephys_sql.errors import (
    CategoriesDifferError,
    DatasetDiffersError,
    FileFormatError,
    ModelDiffersError,
    RecordingExistsError,
    StoreVersionError,
)
from deephys_sql.formats import hive
from deephys_sql.formats.hive import Part
from deephys_sql.formats.parquet import Numbered, explained, matrix_of, read, read_all
from deephys_sql.formats.parquet_export import FORMAT, MANIFEST, NOT_BY_ROWS, sha256
from deephys_sql.formats.shards import import_shards
from deephys_sql.recording.activations import ActivationWriter
from deephys_sql.recording.arrays import require_finite
from deephys_sql.recording.layer_writer import LayerWriter, keep_missing
from deephys_sql.recording.writer import (
    create_category_list,
    delete_recording,
    derive,
    images_checksum,
    recording_checksum,
    require_categories,
)
from deephys_sql.store import Store, open

# Tables that speak in names, and what tells their things apart: those that the store has stay as they are there.
BESIDE_TOP_IMAGES = ("label", "label_name", "predicted", "predicted_name")  # as the store has them
KEYS = {
    "experiment": "run",
    "experiment_param": "run",
    "experiment_metric": "run",
    "experiment_tag": "run",
    "annotation": "annotation",
}


def import_parquet(store: Store | str | os.PathLike, folder: str | os.PathLike, *, replace: bool = False, progress: bool = True) -> None:
    """Read what `export_parquet` wrote, or shards that `ShardWriter`s wrote, into a store.

    >>> import deephys_sql as dp, numpy as np, tempfile
    >>> root = tempfile.mkdtemp()
    >>> store = dp.open(root + "/study.duckdb")
    >>> store.add_recording(model="net", dataset="day", activations={"fc": np.eye(3)}, logits=np.eye(3), progress=False)
    >>> dp.export_parquet(store, root + "/study", progress=False)
    >>> dp.import_parquet(root + "/copy.duckdb", root + "/study", progress=False)
    >>> with dp.open(root + "/copy.duckdb") as copy:
    ...     copy.sql("select * from recording").fetchall() == store.sql("select * from recording").fetchall()
    True

    store: an open store, or a path, where a store is made if there is none. All recordings come in, or none.
    replace: take the place of recordings of the same model and dataset.
    An export gives every row back as it was, with its provenance; its activations, predictions and images are compared with their
    checksums. A tree without the export's list of files is read as shards, by image number; see `ShardWriter`.
    Raises `FileFormatError` for files that are damaged, missing or disagree, `StoreVersionError` for an export of a newer version,
    `RecordingExistsError`, `CategoriesDifferError`, `DatasetDiffersError`, `ModelDiffersError`; then nothing is written.
    """
    if not isinstance(store, Store):
        with open(store) as opened:
            return import_parquet(opened, folder, replace=replace, progress=progress)
    root = Path(folder)
    parts = hive.find_parts(root)
    if not (root / MANIFEST).exists():
        return import_shards(store, parts, replace=replace, progress=progress)
    _require_listed(root, parts)
    with store.transaction() as connection:
        try:
            _Restore(connection, root, parts, replace, progress).read()
        except (duckdb.ConversionException, duckdb.ConstraintException, duckdb.BinderException, duckdb.InvalidInputException) as error:
            raise FileFormatError(f"{root} holds rows that a store can't: {str(error).splitlines()[0]}") from error


def _require_listed(root: Path, parts: list[Part]) -> None:
    """Compare the files with the export's list of them."""
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        listed = {name: str(told["sha256"]) for name, told in manifest["files"].items()}
        schema, number = list(manifest["schema"]), int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{path} is not the list of files that an export writes: {error!r}") from error
    newer = [name for name in schema if name not in {migration.name for migration in migrations.available()}]
    if newer or number > FORMAT:
        raise StoreVersionError(
            f"{root} was exported by a newer deephys-sql ({manifest.get('deephys_sql_version')}). "
            f"Upgrade with `pip install --upgrade deephys-sql`."
        )
    found = {part.path.relative_to(root).as_posix(): part.path for part in parts}
    for name in sorted(listed.keys() ^ found.keys()):
        state = "is missing" if name in listed else f"is not in {MANIFEST}"
        raise FileFormatError(f"{root / name} {state}: the export is not whole, or was changed. Export the store anew.")
    for name, file in found.items():
        if sha256(file) != listed[name]:
            raise FileFormatError(f"{file} is not the file that was exported (its SHA-256 differs). Export the store anew.")


class _Restore:
    """Writes the rows of an export, with the ids of the store that takes them in."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, root: Path, parts: list[Part], replace: bool, progress: bool):
        self._connection = connection
        self._root = root
        self._parts = parts
        self._replace = replace
        self._progress = progress
        Image.init()
        self._picture_types = {kind for kind in Image.MIME.values() if kind.startswith("image/")}  # what a page may be given
        self._columns = dict(connection.execute(assets.sql("formats/select_columns.sql")).fetchall())
        self._stored_keys = {key: self._names(key, table) for key, table in (("run", "experiment"), ("annotation", "annotation"))}
        self._models: dict[str, int] = {}
        self._layers: dict[tuple[str, str], tuple[int, int]] = {}
        self._datasets: dict[str, int] = {}
        self._known_datasets: set[str] = set()
        self._recordings: dict[tuple[str, str], dict[str, Any]] = {}
        self._categories: dict[str, int] = {}

    def read(self) -> None:
        references = self._read_models()
        self._read_datasets()
        self._read_layers()
        self._read_recordings()
        self._read_rows()
        for recording in self._recordings.values():  # also where the export has these columns: no checksum covers them
            ids = {"recording_id": recording["recording_id"]}
            self._connection.execute(assets.sql("recording/label_predictions.sql"), ids)
        self._read_top_images()
        self._read_activations()
        keep_missing(self._connection)
        for model, reference in references.items():
            if reference is not None and (model, reference) in self._recordings:
                self._connection.execute(
                    "update stored_model set reference_dataset_id = ? where model_id = ?", [self._datasets[reference], self._models[model]]
                )
        self._require_checksums()
        for model_id in self._models.values():
            self._connection.execute(assets.sql("recording/delete_unused_layers.sql"), {"model_id": model_id})
            derive(self._connection, model_id)

    def _read_models(self) -> dict[str, str | None]:
        """Make the models that are not there; return the references of those that were made."""
        references = {}
        for row in self._table("model", ("model", "reference", "categories")):
            self._categories[row["model"]] = len(row["categories"])
            self._models[row["model"]], is_new = self._find("model", row)
            if is_new:
                references[row["model"]] = row["reference"]
        return references

    def _read_datasets(self) -> None:
        for row in self._table("dataset", ("dataset", "images", "checksum", "categories")):
            name = row["dataset"]
            self._datasets[name], is_new = self._find("dataset", row)
            if is_new:
                continue
            self._known_datasets.add(name)
            stored = self._one("select images, checksum from stored_dataset where dataset_id = ?", self._datasets[name])
            if stored != (row["images"], row["checksum"]):
                raise DatasetDiffersError(
                    f"dataset {name!r} is stored with other images ({stored[0]}, SHA-256 {stored[1][:12]}…) than {self._root} has "
                    f"({row['images']}, {str(row['checksum'])[:12]}…). Import into another store, or rename the dataset there."
                )

    def _find(self, what: str, row: Mapping[str, Any]) -> tuple[int, bool]:
        """Return the id of a model or dataset, and whether it was made."""
        name, categories = row[what], row["categories"]
        if not isinstance(name, str) or not categories or not all(isinstance(category, str) for category in categories):
            raise FileFormatError(f"{self._root}/{what}: a name and a list of categories are needed; got {name!r} and {categories!r}.")
        found = self._one(f"select {what}_id, category_list_id from stored_{what} where name = ?", name)
        list_id = create_category_list(self._connection, categories)
        if found is not None and found[1] != list_id:
            raise CategoriesDifferError(
                f"{what} {name!r} is stored with other categories than {self._root} has. Import into another store."
            )
        if found is not None:
            return found[0], False
        (number,) = self._one(f"select nextval('{what}_number')")
        columns = {"name": [name], f"{what}_id": [number], "category_list_id": [list_id]}
        if what == "dataset":
            columns |= {"images": [row["images"]], "checksum": [row["checksum"]]}
        self._insert(f"stored_{what}", pa.table(columns), {})
        return number, True

    def _read_layers(self) -> None:
        for part in self._of("layer"):
            model_id = self._known(self._models, part.names["model"], part)
            for row in self._rows(part, ("layer", "neurons")):
                select = "select * exclude (model_id, name, position) from stored_layer where model_id = ? and name = ?"
                stored = self._connection.sql(select, params=[model_id, row["layer"]]).to_arrow_table().to_pylist()
                if not stored:
                    (layer_id,) = self._one("select nextval('layer_number')")
                    (position,) = self._one("select coalesce(max(position) + 1, 0) from stored_layer where model_id = ?", model_id)
                    values = {"name": row.pop("layer"), **row, "layer_id": layer_id, "model_id": model_id, "position": position}
                    self._insert("stored_layer", pa.Table.from_pylist([values]), {}, part.path)
                    self._layers[part.names["model"], values["name"]] = layer_id, values["neurons"]
                    continue
                layer_id = stored[0].pop("layer_id")
                given = {name: row.get(name) for name in stored[0]}
                if given != stored[0]:
                    raise ModelDiffersError(
                        f"layer {row['layer']!r} of model {part.names['model']!r} is stored with {stored[0]}; {self._root} has {given}. "
                        f"Import into another store."
                    )
                self._layers[part.names["model"], row["layer"]] = layer_id, row["neurons"]

    def _read_recordings(self) -> None:
        for part in self._of("recording"):
            model, dataset = part.names["model"], part.names["dataset"]
            ids = {"model_id": self._known(self._models, model, part), "dataset_id": self._known(self._datasets, dataset, part)}
            (row,) = self._rows(part, ("images", "checksum", "output_layer", "weights_checksum"), exactly=1)
            stored = self._one("select recording_id from stored_recording where model_id = ? and dataset_id = ?", *ids.values())
            if stored is not None and not self._replace:
                raise RecordingExistsError(
                    f"model {model!r} was recorded on dataset {dataset!r} already. Pass replace=True to take what {self._root} has, or "
                    f"import into another store."
                )
            if stored is not None:
                delete_recording(self._connection, stored[0])
            other = self._one(
                "select min(weights_checksum) from stored_recording where model_id = ? and weights_checksum != ?",
                ids["model_id"],
                row["weights_checksum"],
            )
            if other[0] is not None:
                raise ModelDiffersError(
                    f"model {model!r} is stored with weights {other[0][:12]}…; {self._root} has {row['weights_checksum'][:12]}…. A model "
                    f"is one set of weights: import into another store."
                )
            output = row.pop("output_layer")
            ids["output_layer_id"] = None if output is None else self._known(self._layers, (model, output), part)[0]
            (ids["recording_id"],) = self._one("select nextval('recording_number')")
            incoming = next(read(part.path)).drop_columns(["output_layer"])
            self._insert("stored_recording", incoming, ids, part.path)
            self._recordings[model, dataset] = {"recording_id": ids["recording_id"], "images": row["images"], "layers": []}

    def _read_rows(self) -> None:
        """Insert the rows of all tables that hold them as they are."""
        for part in self._parts:
            if part.table in (*NOT_BY_ROWS, "top_image"):
                continue
            if f"stored_{part.table}" not in self._columns:
                raise FileFormatError(f"{part.path}: a store has no table {part.table!r}.")
            ids = self._ids(part)
            if part.table == "image" and part.names["dataset"] in self._known_datasets:
                continue
            if part.table in ("image", "prediction"):
                self._read_by_image(part, ids)
                continue
            for rows in read(part.path, rows=100_000):
                self._insert(f"stored_{part.table}", self._unknown(self._with_ids(rows, part), part), ids, part.path)
        if self._of("experiment"):
            migrations.derive_runs(self._connection)

    def _read_top_images(self) -> None:
        """Insert top images, with the labels and predictions of the store beside them, not those of the export."""
        for part in self._of("top_image"):
            ids = self._ids(part)
            for rows in read(part.path, rows=100_000):
                others = [name for name in rows.column_names if name not in BESIDE_TOP_IMAGES]
                self._insert("stored_top_image", rows.select(others), ids, part.path, assets.sql("recording/insert_top_images.sql"))

    def _unknown(self, rows: pa.Table, part: Part) -> pa.Table:
        """Leave out runs and annotations that the store has."""
        key = KEYS.get(part.table)
        if key is None:
            return rows
        if key not in rows.column_names:
            raise FileFormatError(f"{part.path} has no column {key!r}; it has {', '.join(rows.column_names)}.")
        return rows.filter(pc.invert(pc.is_in(rows[key], value_set=pa.array(self._stored_keys[key], rows[key].type))))

    def _read_by_image(self, part: Part, ids: dict[str, int]) -> None:
        """Insert images or predictions, after looking at what the site relies on."""
        rows = Numbered([part.path], str(part.path))
        expected = self._images(part)
        while (piece := rows.take(256)) is not None:
            column = {"image": "label", "prediction": "predicted"}[part.table]
            if column not in piece.column_names or not pa.types.is_integer(piece[column].type):
                raise FileFormatError(f"{part.path}: a column {column} of category ids is needed.")
            values = piece[column].fill_null(-1).to_numpy().astype(np.int64)
            require_categories(values, self._category_count(part), column, rows.images - len(piece), unknown=part.table == "image")
            for kind in ("thumbnail_type", "original_type"):
                if kind in piece.column_names:
                    unknown = set(piece[kind].unique().to_pylist()) - self._picture_types - {None}
                    if unknown:
                        raise FileFormatError(f"{part.path}: {kind} is {min(map(repr, unknown))}, which is no type of a picture.")
            self._insert(f"stored_{part.table}", piece, ids, part.path)
        if rows.images != expected:
            raise FileFormatError(f"{part.path} has {rows.images} images instead of {expected}.")

    def _read_activations(self) -> None:
        parts = self._of("activation")
        total = sum(self._images(part) for part in parts)
        with tqdm(total=total, unit=" images", desc="import", disable=None if self._progress else True) as bar:
            for part in parts:
                ids = self._ids(part)
                neurons = self._known(self._layers, (part.names["model"], part.names["layer"]), part)[1]
                writer = None
                rows = Numbered([part.path], str(part.path))
                while (piece := rows.take(512)) is not None:
                    matrix = matrix_of(piece, str(part.path))
                    if matrix.shape[1] != neurons:
                        raise FileFormatError(f"{part.path}: lists of {matrix.shape[1]} values, and the layer has {neurons} neurons.")
                    require_finite(matrix, part.names["layer"], rows.images - len(piece))
                    if writer is None:
                        writer = LayerWriter(ActivationWriter(self._connection), **ids, neurons=neurons, categories=None)
                    writer.add(matrix, np.full(len(matrix), -1))
                    bar.update(len(piece))
                if rows.images != self._images(part):
                    raise FileFormatError(f"{part.path} has {rows.images} images instead of {self._images(part)}.")
                checksum = "select checksum from stored_recorded_layer where recording_id = ? and layer_id = ?"
                stored = self._one(checksum, ids["recording_id"], ids["layer_id"])
                if stored is None or writer is None or writer.finish() != stored[0]:
                    raise FileFormatError(f"{part.path}: the activations are not those that were exported (their checksum differs).")

    def _require_checksums(self) -> None:
        for name in self._datasets.keys() - self._known_datasets:
            (stored,) = self._one("select checksum from stored_dataset where dataset_id = ?", self._datasets[name])
            if images_checksum(self._connection, self._datasets[name]) != stored:
                raise FileFormatError(f"{self._root}: the images of {name!r} are not those exported (their checksum differs).")
        mine = {recording["recording_id"] for recording in self._recordings.values()}
        for recording_id, title, checksum in self._connection.execute(assets.sql("store/select_recordings.sql")).fetchall():
            if recording_id in mine and recording_checksum(self._connection, recording_id) != checksum:
                raise FileFormatError(f"{self._root}: the predictions of {title} are not those exported (their checksum differs).")

    # Names and ids.

    def _of(self, table: str) -> list[Part]:
        return [part for part in self._parts if part.table == table]

    def _table(self, table: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
        return [row for part in self._of(table) for row in self._rows(part, needed)]

    def _rows(self, part: Part, needed: tuple[str, ...], exactly: int | None = None) -> list[dict[str, Any]]:
        rows = read_all(part.path)
        if exactly is not None and len(rows) != exactly:
            raise FileFormatError(f"{part.path} must hold {exactly} row; it holds {len(rows)}.")
        for name in needed:
            if rows and name not in rows[0]:
                raise FileFormatError(f"{part.path} has no column {name!r}; it has {', '.join(rows[0])}.")
        return rows

    def _known(self, known: Mapping[Any, Any], name: Any, part: Part) -> Any:
        if name not in known:
            raise FileFormatError(f"{part.path} speaks of {name!r}, which {self._root} does not hold.")
        return known[name]

    def _ids(self, part: Part) -> dict[str, int]:
        names = part.names
        ids = {}
        if {"model", "dataset"} <= names.keys():
            ids["recording_id"] = self._known(self._recordings, (names["model"], names["dataset"]), part)["recording_id"]
        elif "dataset" in names:
            ids["dataset_id"] = self._known(self._datasets, names["dataset"], part)
        if "layer" in names:
            ids["layer_id"] = self._known(self._layers, (names["model"], names["layer"]), part)[0]
        return ids

    def _with_ids(self, rows: pa.Table, part: Part) -> pa.Table:
        """Put ids in place of the names of other layers."""
        for name in [name for name in rows.column_names if name.endswith("_layer")]:
            ids = [self._known(self._layers, (part.names["model"], layer), part)[0] for layer in rows[name].to_pylist()]
            rows = rows.drop_columns([name]).append_column(f"{name}_id", pa.array(ids, pa.int32()))
        return rows

    def _images(self, part: Part) -> int:
        if "model" in part.names:
            return self._known(self._recordings, (part.names["model"], part.names["dataset"]), part)["images"]
        return self._one(
            "select images from stored_dataset where dataset_id = ?", self._known(self._datasets, part.names["dataset"], part)
        )[0]

    def _category_count(self, part: Part) -> int:
        table = "model" if "model" in part.names else "dataset"
        return self._one(
            f"select count(*) from stored_category join stored_{table} using (category_list_id) where stored_{table}.name = ?",
            part.names[table],
        )[0]

    def _names(self, column: str, table: str) -> list[str]:
        return [name for (name,) in self._connection.execute(f"select distinct {column} from stored_{table}").fetchall()]

    def _one(self, statement: str, *values: Any) -> tuple | None:
        return next(iter(self._connection.execute(statement, list(values)).fetchall()), None)

    def _insert(
        self, table: str, rows: pa.Table, ids: Mapping[str, int | None], path: Path | None = None, statement: str | None = None
    ) -> None:
        """Insert rows into a table with these ids, or by a statement that takes them from `incoming`."""
        unknown = set(rows.column_names) - set(self._columns[table])
        if unknown:
            raise FileFormatError(f"{path}: a store's table {table} has no column {min(unknown)!r}.")
        with explained(path or self._root):
            incoming = rows.combine_chunks()  # noqa: F841 - the statement names it
        if statement is None:
            values = "".join(f", ${name} as {name}" for name in ids)
            statement = f"insert into {table} by name select *{values} from incoming"
        self._connection.execute(statement, dict(ids))
