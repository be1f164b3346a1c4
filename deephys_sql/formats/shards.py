"""Recordings whose images were recorded by several processes: each writes a shard, and an import puts them together."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql.errors import FileFormatError, InvalidInputError
from deephys_sql.formats import hive
from deephys_sql.formats.hive import Part
from deephys_sql.formats.parquet import File, Numbered, activation_rows, matrix_of, read_all
from deephys_sql.formats.unfinished import made, remove_left
from deephys_sql.recording.arrays import as_matrix, require_finite
from deephys_sql.recording.inputs import Records, as_json, as_labels, by_layer
from deephys_sql.recording.pictures import Encoder, Picture
from deephys_sql.recording.request import Batch, RecordingRequest
from deephys_sql.store import Store

ROWS = 512  # of a shard that are written together
IMAGES = pa.schema(
    [
        ("image", pa.int32()),
        ("label", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("thumbnail", pa.binary()),
        ("thumbnail_type", pa.string()),
        ("original", pa.binary()),
        ("original_type", pa.string()),
        ("uri", pa.string()),
        ("metadata", pa.string()),
        ("pixels_checksum", pa.binary()),
    ]
)
PICTURE = ("width", "height", "thumbnail", "thumbnail_type", "original", "original_type", "uri", "pixels_checksum")
PREDICTIONS = pa.schema([("image", pa.int32()), ("predicted", pa.int32())])
# What one shard says of the recording; all shards must say the same but for their number and images.
SHARD = pa.schema(
    [
        ("shard", pa.int32()),
        ("shards", pa.int32()),
        ("images", pa.int32()),
        ("layers", pa.list_(pa.string())),
        ("output_layer", pa.string()),
        ("output_kind", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("nonlinearity", pa.string()),
        ("pooling", pa.string()),
        ("reference", pa.bool_()),
    ]
)


class ShardWriter:
    """Writes some images of a recording, of which other processes write the others: a context manager.

    >>> import deephys_sql as dp, tempfile
    >>> root = tempfile.mkdtemp()
    >>> for shard in range(2):                                      # each in a process of its own, as many as there are
    ...     with dp.ShardWriter(root + "/shards", model="net", dataset="test", shard=shard, shards=2) as writer:
    ...         numbers = range(shard, 6, 2)                        # every second image
    ...         writer.add(numbers, activations={"fc": np.ones((3, 4))}, logits=np.eye(3), labels=[0, 1, 2])
    >>> dp.import_parquet(root + "/study.duckdb", root + "/shards", progress=False)
    >>> with dp.open(root + "/study.duckdb") as store:
    ...     store.sql("select dataset, images, accuracy from dataset_accuracy").fetchall()
    [('test', 6, 1.0)]

    folder: the same for all processes, and for all models and datasets that are imported together.
    shard, shards: the number of this process, from 0, and how many there are.
    output, output_kind, categories, nonlinearity, pooling, reference, thumbnail_size, thumbnail_format, keep_originals: as in
        `Store.add_recording`, the same in every process.

    A shard is there when its block ends, and not at all when it is left by an exception. The files are Parquet that any program may
    write: `activation/model=net/layer=fc/dataset=test/*.parquet` with the columns `image` (ascending) and `values` (a list of
    numbers), `image/dataset=test/*.parquet` with `image`, `label`, `picture` (encoded), `uri`, `metadata` (JSON), and, where there is
    no layer `output`, `prediction/model=net/dataset=test/*.parquet` with `image` and `predicted`.
    Raises `InvalidInputError` for a shard that is there already, and for what `Store.add_recording` refuses of a batch.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        model: str,
        dataset: str,
        shard: int,
        shards: int,
        output: str = "output",
        output_kind: str = "logits",
        categories: Sequence[str] | None = None,
        nonlinearity: str | Mapping[str, str] | None = None,
        pooling: str | Mapping[str, str] | None = None,
        reference: bool = False,
        thumbnail_size: int = 64,
        thumbnail_format: str = "webp",
        keep_originals: bool = False,
    ):
        if not (isinstance(shard, int) and isinstance(shards, int) and 0 <= shard < shards):
            raise InvalidInputError(f"shard must be a number from 0 and less than shards; got shard={shard!r}, shards={shards!r}.")
        self._folder = Path(folder)
        self._names = {"model": model, "dataset": dataset}
        self._file = f"part-{shard:05d}-of-{shards:05d}.parquet"
        self._told = {"shard": shard, "shards": shards, "output_kind": output_kind, "reference": reference}
        self._told["categories"] = None if categories is None else [str(name) for name in categories]
        self._output = output
        self._by_layer = {"nonlinearity": nonlinearity, "pooling": pooling}
        self._encoder = Encoder(thumbnail_size, thumbnail_format, keep_originals)
        RecordingRequest(model=model, dataset=dataset, layers=[output], output=output, output_kind=output_kind, categories=categories)
        self._layers: list[str] | None = None
        self._kinds: list[str] = []
        self._locks = contextlib.ExitStack()  # of the partial files, until they are moved to their place
        self._open: dict[Path, File] = {}
        self._waiting: dict[Path, list[pa.Table]] = {}
        self._last = -1
        self._images = 0
        if self._final(hive.place("recording", self._names)).exists():
            raise InvalidInputError(f"{self._final(hive.place('recording', self._names))} is there already. Remove it, or write elsewhere.")

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: Any, *_) -> None:
        if kind is None:
            try:
                self._finish()
                return
            except BaseException:
                self._remove()
                raise
        self._remove()

    def add(
        self,
        numbers: Sequence[int] | np.ndarray,
        *,
        activations: Mapping[str, Any],
        logits: Any = None,
        labels: Any = None,
        images: Any = None,
        image_metadata: Any = None,
        predictions: Any = None,
    ) -> None:
        """Write a batch: `numbers` are those of its images in the dataset, ascending; the rest is as in `Store.add_recording`.

        Labels, images and metadata are of the dataset: leave them out with all models but one.
        """
        numbers = as_labels(np.asarray(numbers), "image number")
        if not len(numbers):
            return
        if numbers[0] <= self._last or (np.diff(numbers) <= 0).any():
            raise InvalidInputError(f"the images of a shard must ascend: {numbers[:5].tolist()}… come after image {self._last}.")
        sources = dict(activations) | ({} if logits is None else {self._output: logits})
        if logits is not None and self._output in activations:
            raise InvalidInputError(f"layer {self._output!r} is in activations, and logits are stored under that name: give output=.")
        if logits is None and predictions is None:
            raise InvalidInputError("give logits (images x categories), or predictions (a category id an image): one is needed.")
        matrices = {name: as_matrix(values, f"layer {name!r}") for name, values in sources.items()}
        given = {"labels": labels, "images": images, "image_metadata": image_metadata, "predictions": predictions, "logits": logits}
        kinds = [name for name, values in given.items() if values is not None]
        if self._layers is None:
            self._layers, self._kinds = list(matrices), kinds
        if self._layers != list(matrices) or self._kinds != kinds:
            raise InvalidInputError(f"a batch must hold {[*self._layers, *self._kinds]}, as the first one; got {[*matrices, *kinds]}.")
        batch = Batch(
            matrices,
            labels=None if labels is None else as_labels(labels),
            predictions=None if predictions is None else as_labels(predictions, "prediction"),
            pictures=None if images is None else self._encoder.encode_all(images, int(numbers[0])),
            metadata=None if image_metadata is None else as_json(Records(image_metadata, numbers)[:], numbers),
        )
        batch.require_one_count()
        if len(batch) != len(numbers):
            raise InvalidInputError(f"{len(numbers)} image numbers were given for a batch of {len(batch)} images.")
        for name, matrix in matrices.items():
            finite = np.isfinite(matrix).all(axis=1)
            if not finite.all():  # the image is named by its number in the dataset
                row = int(np.argmin(finite))
                require_finite(matrix[row : row + 1], name, int(numbers[row]))
        for name, matrix in matrices.items():
            model, dataset = self._names["model"], self._names["dataset"]
            self._write(hive.place("activation", {"model": model, "layer": name, "dataset": dataset}), activation_rows(numbers, matrix))
        if any(values is not None for values in (labels, images, image_metadata)):
            self._write(hive.place("image", {"dataset": self._names["dataset"]}), _image_rows(numbers, batch))
        if batch.predictions is not None:
            columns = {"image": numbers.astype(np.int32), "predicted": batch.predictions.astype(np.int32)}
            self._write(hive.place("prediction", self._names), pa.table(columns, schema=PREDICTIONS))
        self._last = int(numbers[-1])
        self._images += len(numbers)

    def _write(self, place: Path, rows: pa.Table) -> None:
        waiting = self._waiting.setdefault(place, [])
        waiting.append(rows)
        if sum(map(len, waiting)) >= ROWS:
            self._flush(place)

    def _flush(self, place: Path) -> None:
        if self._waiting[place]:
            rows = pa.concat_tables(self._waiting[place]).combine_chunks()
            if place not in self._open:
                if self._final(place).exists():
                    raise InvalidInputError(
                        f"{self._final(place)} is there already. Another process, or another model's, wrote it: labels, images and "
                        f"metadata of a dataset are given with one model only. If it was this one's, killed as it ended, remove the file."
                    )
                partial = self._partial(place)
                partial.parent.mkdir(parents=True, exist_ok=True)
                remove_left(self._final(place))
                self._locks.enter_context(made(partial, lambda: partial.touch(exist_ok=False)))
                self._open[place] = File(partial, rows.schema)
            self._open[place].write(rows)
            self._waiting[place] = []

    def _finish(self) -> None:
        place = hive.place("recording", self._names)
        layers = self._layers or []
        told = self._told | {"images": self._images, "layers": layers, "output_layer": self._output if "logits" in self._kinds else None}
        told |= {what: json.dumps(by_layer(value, layers, what)) for what, value in self._by_layer.items()}
        self._write(place, pa.Table.from_pylist([told], schema=SHARD))
        for each in list(self._waiting):
            self._flush(each)
        for each, file in self._open.items():
            file.__exit__()
            with open(self._partial(each), "rb") as written:
                os.fsync(written.fileno())
        for each in sorted(self._open, key=lambda each: each == place):  # what tells of the shard comes last
            self._partial(each).rename(self._final(each))
        self._locks.close()

    def _remove(self) -> None:
        for place, file in self._open.items():
            with contextlib.suppress(Exception):
                file.__exit__()
            self._partial(place).unlink(missing_ok=True)
        self._locks.close()

    def _final(self, place: Path) -> Path:
        return self._folder / place / self._file

    def _partial(self, place: Path) -> Path:
        return self._folder / place / f".{self._file}.{os.getpid()}.partial"


def _image_rows(numbers: np.ndarray, batch: Batch) -> pa.Table:
    labels = np.full(len(numbers), -1) if batch.labels is None else batch.labels
    columns: dict[str, Any] = {"image": numbers.astype(np.int32), "label": pa.array(labels.astype(np.int32), mask=labels < 0)}
    for name in PICTURE:
        columns[name] = pa.array(
            [getattr(picture, name) for picture in batch.pictures or []] or [None] * len(numbers), IMAGES.field(name).type
        )
    columns["metadata"] = pa.array(batch.metadata or [None] * len(numbers), pa.string())
    return pa.table({field.name: columns[field.name] for field in IMAGES}, schema=IMAGES)


def import_shards(store: Store, parts: list[Part], *, replace: bool, progress: bool) -> None:
    """Record what a tree of shards holds: every model and dataset that it has activations of."""
    recordings = dict.fromkeys((part.names["model"], part.names["dataset"]) for part in parts if part.table == "activation")
    if not recordings:
        raise FileFormatError(f"{parts[0].path} and the files beside it hold no activations: activation/model=…/layer=…/dataset=…")
    with store.transaction():
        for model, dataset in recordings:
            _Shards(parts, model, dataset, replace).record(store, progress)


class _Shards:
    """The shards of one recording."""

    def __init__(self, parts: list[Part], model: str, dataset: str, replace: bool):
        self._title = f"{model} on {dataset}"
        mine = [part for part in parts if {"model": model, "dataset": dataset}.items() >= part.names.items() - _layer(part)]
        told = self._agreed([part for part in mine if part.table == "recording"])
        found: dict[str, list[Path]] = {}
        for part in mine:
            if part.table == "activation":
                found.setdefault(part.names["layer"], []).append(part.path)
        order = told.get("layers") or sorted(found)
        if set(order) != set(found):
            raise FileFormatError(f"{self._title}: the shards speak of the layers {order}, and there are files of {sorted(found)}.")
        self._layers = {name: Numbered(found[name], f"{self._title}, layer {name}") for name in order}
        self._images = self._numbered(mine, "image")
        self._predictions = self._numbered(mine, "prediction")
        output = told["output_layer"] if told else "output"
        self._request = RecordingRequest(
            model=model,
            dataset=dataset,
            layers=order,
            categories=told.get("categories"),
            output=output if output in found else None,
            output_kind=told.get("output_kind") or "logits",
            nonlinearity=_object(told, "nonlinearity"),
            pooling=_object(told, "pooling"),
            reference=bool(told.get("reference")),
            replace=replace,
            call="import_parquet",
            predictions_given=self._predictions is not None,
        )
        if self._request.output is None and self._predictions is None:
            raise FileFormatError(
                f"{self._title}: there is neither a layer {output!r} with the logits nor prediction/model=…/dataset=… with predicted."
            )
        self._expected = told.get("images")

    def record(self, store: Store, progress: bool) -> None:
        """Check that every image is there once, and record them."""
        sources = {
            **{f"layer {name!r}": rows for name, rows in self._layers.items()},
            "image": self._images,
            "prediction": self._predictions,
        }
        counts = {what: rows.count() for what, rows in sources.items() if rows is not None}
        if self._expected is not None:
            counts["what the shards tell"] = self._expected
        if len(set(counts.values())) > 1:
            raise FileFormatError(f"{self._title}: all must have the same number of images; got {counts}.")
        total = next(iter(counts.values()))
        with (
            store.writing(self._request) as writer,
            tqdm(total=total, unit=" images", desc=self._title, disable=None if progress else True) as bar,
        ):
            while writer.images < total:
                writer.begin_batch()
                first = writer.images
                layers = {name: matrix_of(rows.take(ROWS), f"{self._title}, layer {name}") for name, rows in self._layers.items()}
                given = None if self._images is None else self._images.take(ROWS)
                predictions = None if self._predictions is None else self._column(self._predictions.take(ROWS), "predicted")
                writer.add(
                    Batch(
                        layers,
                        labels=None if given is None or "label" not in given.column_names else self._column(given, "label"),
                        predictions=predictions,
                        pictures=None if given is None else self._pictures(given, first),
                        metadata=None if given is None else self._metadata(given),
                    )
                )
                bar.update(len(next(iter(layers.values()))))

    def _agreed(self, parts: list[Part]) -> dict[str, Any]:
        """Return what all shards tell of the recording, after checking that none is missing."""
        if not parts:
            return {}
        told = [row for part in parts for row in read_all(part.path)]
        if any(row.keys() != {field.name for field in SHARD} for row in told) or not told:
            raise FileFormatError(f"{parts[0].path}: a shard's file of the recording has the columns {', '.join(SHARD.names)}.")
        first = told[0]
        for row in told:
            for name in first:
                if name not in ("shard", "images") and row[name] != first[name]:
                    raise FileFormatError(
                        f"{self._title}: the shards disagree in {name}: {first[name]!r} in shard {first['shard']}, {row[name]!r} in shard "
                        f"{row['shard']}. Write all of them with the same arguments."
                    )
        numbers = sorted(row["shard"] for row in told)
        if numbers != list(range(first["shards"] if len(told) <= (first["shards"] or 0) else len(told))):
            raise FileFormatError(f"{self._title}: {first['shards']} shards belong to it, and these are here: {numbers}.")
        return first | {"images": sum(row["images"] for row in told)}

    def _numbered(self, parts: list[Part], table: str) -> Numbered | None:
        paths = [part.path for part in parts if part.table == table]
        return Numbered(paths, f"{self._title}, {table}") if paths else None

    def _column(self, rows: pa.Table, name: str) -> np.ndarray:
        if name not in rows.column_names or not (pa.types.is_integer(rows[name].type) or pa.types.is_null(rows[name].type)):
            raise FileFormatError(f"{self._title}: a column {name} of category ids is needed; got {', '.join(rows.column_names)}.")
        return as_labels(rows[name].to_pylist(), name)

    def _pictures(self, rows: pa.Table, first: int) -> list[Picture] | None:
        names = rows.column_names
        if unknown := set(names) - {*IMAGES.names, "picture"}:
            raise FileFormatError(
                f"{self._title}: images have no column {min(unknown)!r}; known are {', '.join(IMAGES.names)} and picture."
            )
        if "picture" in names and rows["picture"].null_count < len(rows):
            return self._request.encoder.encode_all(rows["picture"].to_pylist(), first)
        columns = {name: rows[name].to_pylist() if name in names else [None] * len(rows) for name in PICTURE}
        if all(value is None for column in columns.values() for value in column):
            return None
        return [Picture(**dict(zip(columns, values))) for values in zip(*columns.values())]

    def _metadata(self, rows: pa.Table) -> list[str | None] | None:
        if "metadata" not in rows.column_names or rows["metadata"].null_count == len(rows):
            return None
        texts = rows["metadata"].to_pylist()
        for text in texts:
            try:
                good = text is None or isinstance(json.loads(text), dict)
            except (ValueError, TypeError, RecursionError):
                good = False
            if not good:
                raise FileFormatError(f"{self._title}: metadata must be a JSON object; got {str(text)[:60]!r}.")
        return texts


def _layer(part: Part) -> set[tuple[str, str]]:
    return {(key, name) for key, name in part.names.items() if key == "layer"}


def _object(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(told.get(name) or "{}"))
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"the shards' {name} must be a JSON object by layer; got {told[name]!r}.") from error
