"""Writes recordings into the store, in a transaction: all of it becomes visible, or nothing."""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from deephys_sql import assets, scores
from deephys_sql.errors import (
    CategoriesDifferError,
    DatasetDiffersError,
    InvalidInputError,
    ModelDiffersError,
    RecordingExistsError,
)
from deephys_sql.recording.activations import ActivationWriter
from deephys_sql.recording.arrays import require_finite
from deephys_sql.recording.directions import load_directions, stored_directions
from deephys_sql.recording.layer_writer import LayerWriter
from deephys_sql.recording.outputs import predict
from deephys_sql.recording.places import FeatureMap, Field
from deephys_sql.recording.request import Batch, RecordingRequest

PREDICTION = np.dtype([("predicted", "<i4"), ("confidence", "<f8")])  # what the checksum of predictions goes over

VERSION = importlib.metadata.version("deephys-sql")

# DuckDB holds this much while recording, however large the recording is; it is not slower than without a limit.
WRITING_MEMORY = "300MB"

# Of all predictions, when layers are added: rounding on another device turns a few.
MOST_DIFFERING = 0.01

NAME_RUNS = "experiments/name_runs.sql"

# Every table with rows of a recording, by its id.
RECORDING_TABLES = (
    "stored_piece",
    "stored_prediction",
    "stored_neuron_summary",
    "stored_histogram",
    "stored_example",
    "stored_image_norm",
    "stored_top_image",
    "stored_feature_map",
    "stored_category_response",
    "stored_strongest_category",
    "stored_neuron_score",
    "stored_recorded_layer",
    "stored_recording",
)


class Transaction:
    """What is written from its beginning on: `commit` makes it visible, `abort` leaves the store as it was."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, memory: str):
        self.connection = connection
        self.failed = False  # a recording was left half-written
        connection.execute(f"set memory_limit = '{memory}'")
        connection.execute("begin transaction")

    def commit(self) -> None:
        self.connection.execute("commit")
        # What is left for the checkpoint at closing would be written without a limit.
        with suppress(duckdb.Error):  # another connection is in a transaction
            self.connection.execute("checkpoint")
        self.connection.execute("reset memory_limit")

    def abort(self) -> None:
        """Undo everything since the beginning."""
        # The checkpoint gives back the room that was taken in the file. What fails here was given up by DuckDB already, and
        # the next open sees none of it.
        for statement in ("rollback", "reset memory_limit", "checkpoint"):
            with suppress(duckdb.Error):
                self.connection.execute(statement)


class RecordingWriter:
    """Writes the batches of one recording inside a transaction; `finish` ends them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, request: RecordingRequest):
        self._connection = connection
        self.request = request
        self.images = 0
        self._broken = False
        self._activations = ActivationWriter(connection)
        self._layers: dict[str, LayerWriter] = {}
        self._layer_ids: dict[str, int] = {}
        self._categories: list[str] | None = None
        self._differing = 0
        self._begin()

    def begin_batch(self) -> None:
        """Call before a batch is made: unless `add` ends well after it, nothing of the recording can be kept any more."""
        self._require_unbroken()
        self._broken = True

    def add(self, batch: Batch) -> None:
        """Write the next images, after `begin_batch`."""
        batch.require_one_count()
        if len(batch):
            self._write(batch)
        self._broken = False

    def end_batches(self) -> None:
        """Take back `begin_batch`: there was no further batch."""
        self._broken = False

    def finish(self) -> None:
        """Check and summarise."""
        self._require_unbroken()
        if not self.images:
            raise InvalidInputError(f"no images were given for model {self.request.model!r} on {self.request.dataset!r}.")
        if self._stored_images is not None and self.images != self._stored_images:
            raise DatasetDiffersError(
                f"dataset {self.request.dataset!r} is stored with {self._stored_images} images; {self.images} were given. "
                f"Record all of them, or give the dataset another name."
            )
        for layer in self._layers.values():  # a layer before those that are made from it
            layer.end()
        for name, layer in self._layers.items():
            self._connection.execute(
                "insert into stored_recorded_layer values (?, ?, ?)", [self._recording_id, self._layer_ids[name], layer.finish()]
            )
            self._write_map(name)
        if self.request.add_layers:
            self._update_recording()
        else:
            self._insert_recording()
        self._connection.execute(assets.sql("recording/delete_unused_layers.sql"), {"model_id": self._model_id})
        for table in ("stored_directions", "stored_direction"):
            self._connection.execute(f"delete from {table} where layer_id not in (select layer_id from stored_layer)")
        derive(self._connection, self._model_id)

    def _require_unbroken(self) -> None:
        if self._broken:
            raise InvalidInputError(
                f"a batch of model {self.request.model!r} on {self.request.dataset!r} was refused, so the recording can't go on: "
                f"correct the batch, and record again from the first one."
            )

    def _write(self, batch: Batch) -> None:
        if self.request.add_layers:
            batch = self._without_output(batch)
        if not self._layers:
            if self._may_rewrite_images:
                self._rewrite_images(batch)
            self._create_layers(batch)
        for name, matrix in batch.layers.items():
            require_finite(matrix, name, self.images)
            if matrix.shape[1] != self._layers[name].neurons:
                raise InvalidInputError(
                    f"layer {name!r} had {self._layers[name].neurons} neurons in the first batch and has "
                    f"{matrix.shape[1]} at image {self.images}."
                )
        labels = self._write_images(batch)
        if not self.request.add_layers:
            self._write_predictions(batch, labels)
        for name, matrix in batch.layers.items():
            self._layers[name].add(matrix, labels, batch.places.get(name))
        self.images += len(batch)

    # The beginning: names become ids, and what is stored is compared with what is asked.

    def _begin(self) -> None:
        request = self.request
        model = self._row("select model_id, category_list_id from stored_model where name = ?", request.model)
        dataset = self._row("select dataset_id, category_list_id, images from stored_dataset where name = ?", request.dataset)
        for what, name, stored in (("model", request.model, model), ("dataset", request.dataset, dataset)):
            if stored is not None:
                self._use_categories(what, name, stored[1])
        if self._categories is None and request.categories is not None:
            self._categories = [str(name) for name in request.categories]
        self._model_id = model[0] if model else None
        self._dataset_id = dataset[0] if dataset else None
        self._stored_images = dataset[2] if dataset else None
        recording = self._row(
            "select recording_id from stored_recording where model_id = ? and dataset_id = ?", self._model_id, self._dataset_id
        )
        if request.add_layers and recording is None:
            raise InvalidInputError(
                f"model {request.model!r} was not recorded on dataset {request.dataset!r}, so there is nothing to add layers to: "
                f"record it without add_layers=True."
            )
        if recording is not None and not request.add_layers:
            if not request.replace:
                raise RecordingExistsError(
                    f"model {request.model!r} was recorded on dataset {request.dataset!r} already. Pass replace=True to "
                    f"record it again, add_layers=True to record more of its layers, or give another name."
                )
            delete_recording(self._connection, recording[0])
        used = self._row("select count(*) from stored_recording where dataset_id = ?", self._dataset_id)[0]
        self._may_rewrite_images = self._dataset_id is not None and not used
        self._require_same_weights()
        self._recording_id = recording[0] if request.add_layers else self._row("select nextval('recording_number')")[0]

    def _use_categories(self, what: str, name: str, category_list_id: int) -> None:
        rows = self._connection.execute(
            "select name from stored_category where category_list_id = ? order by category", [category_list_id]
        ).fetchall()
        stored = [row[0] for row in rows]
        given = stored if self.request.categories is None else [str(name) for name in self.request.categories]
        if self._categories not in (None, stored):
            given = self._categories
        if given != stored:
            place = next((i for i, pair in enumerate(zip(given, stored)) if pair[0] != pair[1]), min(len(given), len(stored)))
            raise CategoriesDifferError(
                f"{what} {name!r} is stored with {len(stored)} categories, {_excerpt(stored, place)}; got {len(given)}, "
                f"{_excerpt(given, place)}, which differ from category {place} on. Models and datasets that are compared "
                f"share one list: pass the same categories, in the same order, or use another name or store."
            )
        self._categories = stored

    def _require_same_weights(self) -> None:
        other = self._row(
            "select min(weights_checksum) from stored_recording where model_id = ? and weights_checksum != ?",
            self._model_id,
            self.request.weights_checksum,
        )
        if other[0] is not None:
            raise ModelDiffersError(
                f"model {self.request.model!r} is stored with weights {other[0][:12]}…; these are "
                f"{self.request.weights_checksum[:12]}…. A model is one set of weights: give this one another name."
            )

    # The first batch tells the layers' widths.

    def _create_layers(self, batch: Batch) -> None:
        if self._categories is None:
            self._categories = self._count_categories(batch)
        self._category_names = pa.array(self._categories, pa.string())
        output = batch.layers.get(self.request.output)
        if output is not None and output.shape[1] != len(self._categories):
            raise InvalidInputError(
                f"output {self.request.output!r} has {output.shape[1]} values an image, and there are "
                f"{len(self._categories)} categories ({_excerpt(self._categories, 0)}): they must be one for one."
            )
        category_list_id = create_category_list(self._connection, self._categories)
        if self._model_id is None:
            self._model_id = self._row("select nextval('model_number')")[0]
            self._connection.execute(
                "insert into stored_model values (?, ?, ?, null)", [self._model_id, self.request.model, category_list_id]
            )
        if self._dataset_id is None:
            self._dataset_id = self._row("select nextval('dataset_number')")[0]
            self._connection.execute(
                "insert into stored_dataset values (?, ?, ?, 0, '')", [self._dataset_id, self.request.dataset, category_list_id]
            )
        self._refuse_directions(batch.layers)
        if self.request.add_layers:
            self._refuse_recorded(batch.layers)
        for name, matrix in batch.layers.items():
            if not matrix.shape[1]:
                raise InvalidInputError(f"layer {name!r} has no neurons: shape {matrix.shape}.")
            self._layer_ids[name] = self._create_layer(name, matrix.shape[1])
            self._layers[name] = self._layer_writer(self._layer_ids[name], matrix.shape[1])
        self._derive_layers()

    def _layer_writer(self, layer_id: int, neurons: int) -> LayerWriter:
        return LayerWriter(
            self._activations, recording_id=self._recording_id, layer_id=layer_id, neurons=neurons, categories=len(self._categories)
        )

    def _refuse_directions(self, names: Iterable[str]) -> None:
        for _, name, source, *_ in stored_directions(self._connection, self._model_id):
            if name in names:
                raise ModelDiffersError(
                    f"layer {name!r} of model {self.request.model!r} is stored as directions of layer {source!r}: it is made from that "
                    f"one. Leave it out of what is recorded, or give the layer another name."
                )

    def _refuse_recorded(self, names: Iterable[str]) -> None:
        recorded = dict(
            self._connection.execute(assets.sql("recording/select_layer_checksums.sql"), {"recording_id": self._recording_id}).fetchall()
        )
        if there := [name for name in names if name in recorded]:
            raise RecordingExistsError(
                f"layer {there[0]!r} of model {self.request.model!r} is recorded on dataset {self.request.dataset!r} already. Leave it "
                f"out, or record all layers again with replace=True."
            )

    def _derive_layers(self) -> None:
        """Make the model's layers that are directions of a layer recorded here."""
        for layer_id, name, source, nonlinearity, neurons in stored_directions(self._connection, self._model_id):
            if source in self._layers:
                self._layer_ids[name] = layer_id
                self._layers[name] = self._layer_writer(layer_id, neurons)
                self._layers[source].derive(load_directions(self._connection, layer_id, nonlinearity, name), self._layers[name])

    def _count_categories(self, batch: Batch) -> list[str]:
        output = batch.layers.get(self.request.output)
        if output is None:
            raise InvalidInputError(
                f"categories of model {self.request.model!r} are not known: give categories=[names], or logits, whose "
                f"columns are then numbered."
            )
        return [str(category) for category in range(output.shape[1])]

    def _create_layer(self, name: str, neurons: int) -> int:
        description = [neurons, self.request.nonlinearity.get(name), self.request.pooling.get(name)]
        stored = self._row(
            "select layer_id, neurons, nonlinearity, pooling from stored_layer where model_id = ? and name = ?", self._model_id, name
        )
        if stored is None:
            (layer_id,) = self._row("select nextval('layer_number')")
            (position,) = self._row("select coalesce(max(position) + 1, 0) from stored_layer where model_id = ?", self._model_id)
            self._connection.execute(
                "insert into stored_layer values (?, ?, ?, ?, ?, ?, ?)",
                [layer_id, self._model_id, name, neurons, position, *description[1:]],
            )
            return layer_id
        used = self._row("select count(*) from stored_recorded_layer where layer_id = ?", stored[0])[0]
        if used and list(stored[1:]) != description:
            raise ModelDiffersError(
                f"layer {name!r} of model {self.request.model!r} is stored with (neurons, nonlinearity, pooling) = "
                f"{stored[1:]}; got {tuple(description)}. A layer is recorded alike on every dataset: record with the same "
                f"options, or give the layer or the model another name."
            )
        self._connection.execute(
            "update stored_layer set neurons = ?, nonlinearity = ?, pooling = ? where layer_id = ?", [*description, stored[0]]
        )
        return stored[0]

    # Images and predictions of a batch.

    def _write_images(self, batch: Batch) -> np.ndarray:
        """Write the images of a new dataset, or compare them with those stored; return their labels."""
        count = len(batch)
        labels = batch.labels
        if labels is not None:
            require_categories(labels, len(self._categories), "label", self.images)
        if self._stored_images is not None:
            return self._compare_images(batch)
        if labels is None:
            labels = np.full(count, -1)
        pictures = batch.pictures or [None] * count
        columns: dict[str, Any] = {
            "dataset_id": np.full(count, self._dataset_id, np.int32),
            "image": np.arange(self.images, self.images + count, dtype=np.int32),
            "label": pa.array(labels.astype(np.int32), mask=labels < 0),
        }
        types = {"width": pa.int32(), "height": pa.int32(), "thumbnail_type": pa.string(), "original_type": pa.string(), "uri": pa.string()}
        for name in ("width", "height", "thumbnail", "thumbnail_type", "original", "original_type", "uri"):
            columns[name] = pa.array([getattr(p, name, None) for p in pictures], types.get(name, pa.binary()))
        columns["metadata"] = pa.array(batch.metadata or [None] * count, pa.string())
        columns["pixels_checksum"] = pa.array([getattr(p, "pixels_checksum", None) for p in pictures], pa.binary())
        self._insert("stored_image", columns)
        return labels

    def _rewrite_images(self, batch: Batch) -> None:
        """Forget the images of a dataset that only the replaced recording used, if labels and pictures are given anew."""
        stored = self._row("select count(label), count(pixels_checksum) from stored_image where dataset_id = ?", self._dataset_id)
        given = (batch.labels, batch.pictures)
        if all(values is not None or not count for values, count in zip(given, stored)):
            self._connection.execute("delete from stored_image where dataset_id = ?", [self._dataset_id])
            self._stored_images = None

    def _compare_images(self, batch: Batch) -> np.ndarray:
        count = len(batch)
        name = self.request.dataset
        stored = self._connection.execute(
            assets.sql("recording/select_images.sql"),
            {"dataset_id": self._dataset_id, "first": self.images, "end": self.images + count},
        ).fetchall()
        if len(stored) < count:
            raise DatasetDiffersError(
                f"dataset {name!r} is stored with {self._stored_images} images; at least {self.images + count} were given. "
                f"Give the dataset another name."
            )
        labels = np.array([row[1] for row in stored])
        given = {
            "label": None if batch.labels is None else batch.labels.tolist(),
            "pixels": None if batch.pictures is None else [p.pixels_checksum for p in batch.pictures],
            "metadata": batch.metadata,
        }
        for column, (what, values) in enumerate(given.items(), start=1):
            if values is None:
                continue
            for row, value in zip(stored, values):
                same = row[column] == value
                if what == "metadata" and not same and row[column] and value:
                    same = json.loads(row[column]) == json.loads(value)
                if not same and row[column] in (None, -1):
                    raise DatasetDiffersError(
                        f"dataset {name!r} is stored without {what} of image {row[0]}, and they can't be added with another recording. "
                        f"Leave them out, give the dataset another name, or record its only recording again with replace=True."
                    )
                if not same:
                    found = "" if what == "pixels" else f" ({row[column]!r} is stored, {value!r} was given)"
                    raise DatasetDiffersError(
                        f"dataset {name!r} is stored with other images: image {row[0]} differs in its {what}{found}. "
                        f"Give the dataset another name, or leave out what is stored already; to replace the images of a dataset "
                        f"with one recording, give its labels and images anew."
                    )
        return labels

    def _write_predictions(self, batch: Batch, labels: np.ndarray) -> None:
        count = len(batch)
        if batch.predictions is not None:
            require_categories(batch.predictions, len(self._categories), "prediction", self.images, unknown=False)
        output = batch.layers.get(self.request.output)
        if output is None:
            predicted, confidence, top, probabilities = batch.predictions, None, None, None
        else:
            predicted, confidence, top, probabilities = predict(output, self.request.output_kind, batch.predictions)
        label = pa.array(labels.astype(np.int32), mask=labels < 0)
        predicted = pa.array(predicted.astype(np.int32))
        columns = {
            "recording_id": np.full(count, self._recording_id, np.int32),
            "image": np.arange(self.images, self.images + count, dtype=np.int32),
            "label": label,
            "label_name": self._category_names.take(label),
            "predicted": predicted,
            "predicted_name": self._category_names.take(predicted),
            "confidence": pa.nulls(count, pa.float64()) if confidence is None else confidence,
            "top_categories": pa.nulls(count, pa.list_(pa.int32())) if top is None else _lists(top.astype(np.int32)),
            "top_probabilities": pa.nulls(count, pa.list_(pa.float64())) if top is None else _lists(probabilities),
        }
        self._insert("stored_prediction", columns)

    def _without_output(self, batch: Batch) -> Batch:
        """Count the predictions that are not those recorded, and return the layers without the output, which is there."""
        output = batch.layers.get(self.request.output)
        layers = {name: matrix for name, matrix in batch.layers.items() if name != self.request.output}
        if not layers:
            raise InvalidInputError("no layers but the output were given, which is recorded: name the layers to add.")
        if output is not None:
            bounds = {"recording_id": self._recording_id, "first": self.images, "end": self.images + len(batch)}
            stored = self._connection.execute(assets.sql("recording/select_predicted.sql"), bounds).fetchnumpy()["predicted"]
            predicted = predict(output, self.request.output_kind).predicted[: len(stored)]
            self._differing += int(np.count_nonzero(predicted != stored[: len(predicted)]))
        return dataclasses.replace(batch, layers=layers)

    # The end.

    def _update_recording(self) -> None:
        """Take layers that were added into the recording, unless it was another."""
        if self._differing > self.images * MOST_DIFFERING:
            raise DatasetDiffersError(
                f"{self._differing} of {self.images} predictions of model {self.request.model!r} on {self.request.dataset!r} are not "
                f"those that are recorded: give the same images in the same order, to the same network in the same state."
            )
        renew_checksum(self._connection, self._recording_id)

    def _insert_recording(self) -> None:
        request = self.request
        self._connection.execute(
            "update stored_dataset set images = ?, checksum = ? where dataset_id = ?",
            [self.images, images_checksum(self._connection, self._dataset_id), self._dataset_id],
        )
        self._connection.execute(
            assets.sql("recording/insert_recording.sql"),
            {
                "recording_id": self._recording_id,
                "model_id": self._model_id,
                "dataset_id": self._dataset_id,
                "images": self.images,
                "output_layer_id": self._layer_ids.get(request.output),
                "output_kind": request.output_kind if request.output in self._layer_ids else None,
                "weights_checksum": request.weights_checksum,
                "torch_version": request.torch_version,
                "deephys_sql_version": VERSION,
                "arguments": json.dumps(request.arguments),
                "checksum": recording_checksum(self._connection, self._recording_id),
            },
        )
        if request.reference or self._row("select reference_dataset_id from stored_model where model_id = ?", self._model_id)[0] is None:
            self._connection.execute(
                "update stored_model set reference_dataset_id = ? where model_id = ?", [self._dataset_id, self._model_id]
            )

    def _write_map(self, name: str) -> None:
        """Keep the size of a layer's feature map, and what its places see of the input."""
        found = self.request.maps.get(name)
        if found is None:
            return
        down, across = found.fields or (None, None)
        self._connection.execute(
            assets.sql("recording/insert_feature_map.sql"),
            {
                "recording_id": self._recording_id,
                "layer_id": self._layer_ids[name],
                "map_rows": found.rows,
                "map_columns": found.columns,
                "leading_tokens": found.leading_tokens,
                **dict(zip(("input_height", "input_width"), found.input_size or (None, None))),
                **dict(zip(("field_top", "field_height", "stride_down"), down or [None] * 3)),
                **dict(zip(("field_left", "field_width", "stride_across"), across or [None] * 3)),
            },
        )

    def measured_fields(self, layer: str, found: FeatureMap, input_size: tuple[int, int]) -> tuple[Field, Field] | None:
        """Return what the places of a layer see of an input of this size, if it was measured for another recording."""
        if self._model_id is None:
            return None
        row = self._connection.execute(
            assets.sql("recording/select_feature_map.sql"),
            {
                "model_id": self._model_id,
                "layer": layer,
                "map_rows": found.rows,
                "map_columns": found.columns,
                **dict(zip(("input_height", "input_width"), input_size)),
            },
        ).fetchone()
        return None if row is None or None in row else (Field(*row[:3]), Field(*row[3:]))

    def _row(self, statement: str, *parameters: Any) -> tuple | None:
        return self._connection.execute(statement, list(parameters)).fetchone()

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        incoming = pa.table(columns)  # noqa: F841 - the statement names it
        self._connection.execute(f"insert into {table} by name select * from incoming")


Writing = Callable[[RecordingRequest], AbstractContextManager[RecordingWriter]]
"""Gives a writer for the length of a `with` block: `Store.writing`."""


def create_category_list(connection: duckdb.DuckDBPyConnection, categories: Sequence[str]) -> int:
    """Return the id of the list of these categories, which is made if it is not there."""
    checksum = hashlib.sha256("\0".join(categories).encode()).hexdigest()
    stored = connection.execute("select category_list_id from stored_category_list where checksum = ?", [checksum]).fetchone()
    if stored:
        return stored[0]
    (category_list_id,) = connection.execute("select nextval('category_list_number')").fetchone()
    connection.execute("insert into stored_category_list values (?, ?)", [category_list_id, checksum])
    numbers = np.arange(len(categories), dtype=np.int32)
    columns = {"category_list_id": np.full_like(numbers, category_list_id), "category": numbers, "name": list(categories)}
    incoming = pa.table(columns)  # noqa: F841 - the statement names it
    connection.execute("insert into stored_category by name select * from incoming")
    return category_list_id


def delete_recording(connection: duckdb.DuckDBPyConnection, recording_id: int) -> None:
    """Remove what was recorded, so that it is recorded again; its names stay until they are derived anew."""
    connection.execute(assets.sql("recording/delete_activations.sql"), {"recording_id": recording_id})
    for table in RECORDING_TABLES:
        connection.execute(f"delete from {table} where recording_id = ?", [recording_id])


def renew_checksum(connection: duckdb.DuckDBPyConnection, recording_id: int) -> None:
    """Take layers that a recording got into its checksum."""
    checksum = recording_checksum(connection, recording_id)
    connection.execute("update stored_recording set checksum = ? where recording_id = ?", [checksum, recording_id])


def derive(connection: duckdb.DuckDBPyConnection, model_id: int) -> None:
    """Derive names, models of runs, and what is kept of each neuron, anew, and the scores of a model that are missing.

    Scores are against its default reference.
    """
    connection.execute(assets.sql("recording/derive.sql"))
    connection.execute(assets.sql(NAME_RUNS))
    connection.execute(assets.sql("recording/delete_stale_scores.sql"), {"model_id": model_id})
    rows = connection.execute(assets.sql("recording/select_unscored_layers.sql"), {"model_id": model_id}).fetchall()
    for ids in rows:
        for incoming in scores.compute(connection, scores.Asked(*ids)):  # noqa: B007 - the statement names it
            connection.execute("insert into stored_neuron_score by name select * from incoming")


def images_checksum(connection: duckdb.DuckDBPyConnection, dataset_id: int) -> str:
    """Return the SHA-256 over labels, pixels and metadata of a dataset's images, in order."""
    checksum = hashlib.sha256()
    connection.execute(assets.sql("store/select_images.sql"), {"dataset_id": dataset_id})
    while batch := connection.fetchmany(10_000):
        for image, label, pixels, metadata in batch:
            checksum.update(f"{image} {label} {metadata} ".encode() + (pixels or b""))
    return checksum.hexdigest()


def recording_checksum(connection: duckdb.DuckDBPyConnection, recording_id: int) -> str | None:
    """Return the SHA-256 over the predictions of a recording and the checksums of its layers; None when images are missing."""
    statement = "select image, predicted, confidence from stored_prediction where recording_id = ? order by image"
    rows = connection.execute(statement, [recording_id]).fetchnumpy()
    if not np.array_equal(rows["image"], np.arange(len(rows["image"]))):
        return None
    pairs = np.zeros(len(rows["image"]), PREDICTION)
    pairs["predicted"] = rows["predicted"]
    pairs["confidence"] = np.ma.filled(rows["confidence"], np.nan)
    checksum = hashlib.sha256(pairs)
    for name, layer in connection.execute(assets.sql("recording/select_layer_checksums.sql"), {"recording_id": recording_id}).fetchall():
        checksum.update(f"{name} {layer}".encode())
    return checksum.hexdigest()


def require_categories(values: np.ndarray, categories: int, what: str, first_image: int, unknown: bool = True) -> None:
    """Raise `InvalidInputError` for the first label or prediction outside the categories; -1 is unknown."""
    wrong = (values < (-1 if unknown else 0)) | (values >= categories)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInputError(
            f"{what} of image {first_image + row} is {values[row]}; the {categories} categories are numbered 0 to "
            f"{categories - 1}{', and -1 or None means unknown' if unknown else ''}."
        )


def _lists(matrix: np.ndarray) -> pa.ListArray:
    rows, width = matrix.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), pa.array(matrix.ravel()))


def _excerpt(names: Sequence[str], place: int) -> str:
    shown = ", ".join(repr(name) for name in names[place : place + 3])
    return f"[{'… ' if place else ''}{shown}{', …' if place + 3 < len(names) else ''}]"
