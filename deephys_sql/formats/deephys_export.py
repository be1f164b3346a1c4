"""Writes a model and its recordings as files of the original Deephys."""

import contextlib
import io
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.errors import InvalidInputError
from deephys_sql.formats.cbor import ARRAY, BYTES, MAP, NULL, UINT, head, text
from deephys_sql.formats.deephys_files import BATCH_IMAGES, IMAGE_ID, THUMBNAIL_PIXELS, Frame, numbered
from deephys_sql.formats.unfinished import unfinished
from deephys_sql.names import require_name
from deephys_sql.recording.activations import read_images
from deephys_sql.recording.pictures import as_plain
from deephys_sql.store import Store, open

NAME_CHARACTERS = 40  # of a model or dataset, that the original application takes
LAYER_CHARACTERS = 30


class _Recording(NamedTuple):
    """A recording to be exported; the columns of select_recordings.sql."""

    recording_id: int
    dataset_id: int
    dataset: str
    output_layer_id: int | None
    output_kind: str | None
    images: int
    labels: int
    pictures: int
    sizes: int
    uris: int


class _Layer(NamedTuple):
    """A layer to be exported; the columns of select_layers.sql."""

    layer_id: int
    name: str
    neurons: int
    is_described: bool
    recordings: int


def export_deephys(
    store: Store | str | os.PathLike,
    model: str,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> list[str]:
    """Write a model and its recordings as files that the original Deephys opens: a `.model`, and a `.test` a dataset.

    >>> import deephys_sql as dp
    >>> dp.export_deephys("study.duckdb", "net", "for_deephys")  # doctest: +SKIP
    ["Layer 'fc' on 'day': 12 activations below 0 are written as 0."]

    The format allows names of 40 characters (layers: 30), activations that are not negative (but for the classification
    layer), labelled images in colour and of one size, and texts as metadata: what doesn't fit is cut, and told.

    Returns what is lost, a sentence each.
    Raises `UnknownNameError` for a model that isn't there, `InvalidInputError` when the files are there and not to be
    overwritten, or when a recording has no output or no labels, `StoreDamagedError` when activations are missing. Nothing
    is written when anything is raised.
    """
    with contextlib.nullcontext(store) if isinstance(store, Store) else open(store, read_only=True) as opened:
        return _Export(opened, model).write(Path(folder), overwrite, progress)


class _Export:
    """Writes the files of one model."""

    def __init__(self, store: Store, model: str):
        self._store = store
        self._lost: list[str] = []
        layers = [_Layer(*row) for row in self._rows("select_layers", model=model)]
        if not layers:
            require_name("model", model, [name for name, *_ in store.models().fetchall()])
        recordings = [_Recording(*row) for row in self._rows("select_recordings", model=model)]
        self._recordings = [recording for recording in recordings if recording.labels]
        self._lost += [f"Dataset {r.dataset!r} is left out: none of its images has a label." for r in recordings if not r.labels]
        if not self._recordings:
            raise InvalidInputError(f"no image that model {model!r} was recorded on has a label, and the files hold labelled images only.")
        self._categories = [name for (name,) in self._rows("select_categories", model=model)]
        self._layers = [layer for layer in layers if layer.recordings == len(recordings)]
        self._output = self._require_output(model)
        self._names(model, layers)

    def write(self, folder: Path, overwrite: bool, progress: bool) -> list[str]:
        """Write all files beside their places, then move them there."""
        taken: set[str] = set()
        model_file = _file_name(self._model, ".model", taken)
        files = {_file_name(name, ".test", taken): recording for name, recording in zip(self._datasets, self._recordings)}
        there = [name for name in (model_file, *files) if (folder / name).exists()]
        if there and not overwrite:
            raise InvalidInputError(f"{folder / there[0]} is there already. Choose another folder, or pass overwrite=True.")
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        try:
            with unfinished(folder / model_file) as partial:
                (partial / model_file).write_bytes(self._model_bytes())
                for (name, recording), title in zip(files.items(), self._datasets):
                    with (partial / name).open("wb") as file:
                        self._write_dataset(file, title, recording, progress)
                for name in (model_file, *files):
                    os.replace(partial / name, folder / name)
        except BaseException:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return self._lost

    def _rows(self, name: str, **parameters: Any) -> list[tuple]:
        return self._store.sql(assets.sql(f"deephys/{name}.sql"), **parameters).fetchall()

    def _require_output(self, model: str) -> _Layer:
        outputs = {recording.output_layer_id for recording in self._recordings}
        for layer in self._layers:
            if outputs == {layer.layer_id}:
                return layer
        raise InvalidInputError(
            f"model {model!r} has no output that was recorded on all of its datasets, and the files take predictions from one."
        )

    def _names(self, model: str, layers: Sequence[_Layer]) -> None:
        """Cut names to what the format allows, and tell what the files can't hold."""
        (self._model,) = self._cut("Model", [model], NAME_CHARACTERS)
        self._datasets = self._cut("Dataset", [recording.dataset for recording in self._recordings], NAME_CHARACTERS)
        self._layer_names = self._cut("Layer", [layer.name for layer in self._layers], LAYER_CHARACTERS)
        for layer in layers:
            if layer not in self._layers:
                self._lost.append(f"Layer {layer.name!r} is left out: it was not recorded on every dataset.")
            elif layer.is_described:
                self._lost.append(f"Layer {layer.name!r}: its non-linearity and pooling are not written.")
        if len(self._recordings) > 1:
            self._lost.append("Which dataset is the reference is not written.")

    def _cut(self, what: str, names: Sequence[str], limit: int) -> list[str]:
        """Shorten names that are too long, so that they stay different."""
        taken = {name for name in names if len(name) <= limit}
        short = []
        for name in names:
            if len(name) > limit:
                endings = itertools.chain([""], (f"~{number}" for number in itertools.count(2)))
                cut = next(cut for ending in endings if (cut := name[: limit - len(ending)] + ending) not in taken)
                taken.add(cut)
                self._lost.append(f"{what} {name!r} is called {cut!r}: the format has {limit} characters.")
                name = cut
            short.append(name)
        return short

    def _model_bytes(self) -> bytes:
        layers = [
            head(MAP, 2) + text("layerID") + text(name) + text("neurons") + head(ARRAY, layer.neurons) + head(MAP, 0) * layer.neurons
            for name, layer in zip(self._layer_names, self._layers)
        ]
        output = self._layer_names[self._layers.index(self._output)]
        before = head(MAP, 3) + text("name") + text(self._model) + text("layers") + head(ARRAY, len(layers))
        return before + b"".join(layers) + text("classification_layer") + text(output)

    def _write_dataset(self, file: io.BufferedWriter, name: str, recording: _Recording, progress: bool) -> None:
        file.write(head(MAP, 4) + text("name") + text(name) + text("dtype") + text("float32") + text("classes"))
        file.write(head(ARRAY, len(self._categories)) + b"".join(map(text, self._categories)))
        file.write(text("images") + head(ARRAY, recording.labels))
        lost: Counter = Counter()
        pictures = _Pictures(whole=recording.sizes == 1)
        with tqdm(total=recording.images, unit=" images", desc=f"writing {name}", disable=None if progress else True) as bar:
            for first in range(0, recording.images, BATCH_IMAGES):
                self._write_images(file, recording, first, min(first + BATCH_IMAGES, recording.images), pictures, lost)
                bar.update(min(first + BATCH_IMAGES, recording.images) - first)
        self._tell(recording, pictures, lost)

    def _write_images(
        self, file: io.BufferedWriter, recording: _Recording, first: int, end: int, pictures: "_Pictures", lost: Counter
    ) -> None:
        place = {"recording_id": recording.recording_id, "first": first, "end": end}
        rows = self._rows("select_images", dataset_id=recording.dataset_id, whole=pictures.whole, **place)
        with self._store.snapshot() as connection:
            matrices = [
                read_images(connection, {"recording_id": recording.recording_id, "layer_id": layer.layer_id}, layer.neurons, first, end)
                for layer in self._layers
            ]
        lost["predictions"] += int((matrices[self._layers.index(self._output)].argmax(axis=1) != [row[2] for row in rows]).sum())
        for layer, matrix in zip(self._layers, matrices):
            if layer is not self._output:
                lost[layer] += int((matrix < 0).sum())
                matrix[matrix < 0] = 0
        layer_heads = [head(BYTES, 4 * layer.neurons) for layer in self._layers]
        bulk = [matrix.astype(">f4") for matrix in matrices]
        before_layers = text("activations") + head(MAP, 1) + text("activations") + head(ARRAY, len(self._layers))
        blocks = pictures.blocks([row[4:] for row in rows])
        for row, (image, label, _, metadata, *_) in enumerate(rows):
            if label is None:
                continue
            image_id, features = _features(metadata, image, lost)
            file.write(head(MAP, 6) + text("imageID") + head(UINT, image_id) + text("categoryID") + head(UINT, label))
            file.write(text("category") + text(self._categories[label]) + text("data"))
            file.write(blocks[row])
            file.write(text("features") + features + before_layers)
            for layer_head, matrix in zip(layer_heads, bulk):
                file.write(layer_head)
                file.write(matrix[row])

    def _tell(self, recording: _Recording, pictures: "_Pictures", lost: Counter) -> None:
        name = recording.dataset
        told = [
            f"Layer {layer.name!r} on {name!r}: {lost[layer]} activations below 0 are written as 0."
            for layer in self._layers
            if layer is not self._output and lost[layer]
        ]
        if recording.labels < recording.images:
            told.append(f"{recording.images - recording.labels} images of {name!r} have no label and are left out.")
        if lost["predictions"]:
            told.append(f"{lost['predictions']} predictions on {name!r} were given, and are not the highest output.")
        if recording.output_kind != "logits":
            told.append(f"The output on {name!r} holds {recording.output_kind}; Deephys applies a softmax to it once more.")
        if lost["metadata"]:
            told.append(f"{lost['metadata']} metadata fields of {name!r} are no texts, and are written as JSON.")
        if recording.uris:
            told.append(f"{recording.uris} images of {name!r} have a uri, which is not written.")
        if not recording.pictures:
            told.append(f"{name!r} has no pictures: they are written black.")
        elif recording.pictures < recording.images:
            told.append(f"{recording.images - recording.pictures} images of {name!r} have no picture, and are written black.")
        if recording.sizes > 1:
            told.append(f"Pictures of {name!r} have {recording.sizes} sizes: they are written as thumbnails on {pictures.size} pixels.")
        elif pictures.scaled:
            told.append(f"Pictures of {name!r} were kept as thumbnails only: {pictures.size} pixels are written.")
        if pictures.transparent:
            told.append(f"{pictures.transparent} pictures of {name!r} are transparent, and are written on black.")
        self._lost += told


class _Pictures:
    """Brings pictures to one size: that of the first when they are alike (`whole`), else a square with the thumbnail inside."""

    def __init__(self, whole: bool):
        self.whole = whole
        self.scaled = 0
        self.transparent = 0
        self._size: tuple[int, int] | None = None if whole else (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)

    @property
    def size(self) -> str:
        return f"{self._size[0]} x {self._size[1]}"

    def blocks(self, rows: Iterable[tuple[bytes | None, int | None, int | None]]) -> np.ndarray:
        """Return the pictures as they lie in the file, from rows of (encoded picture, width, height of the original)."""
        canvases = [self._canvas(*row) for row in rows]
        width, height = self._size
        return Frame(height, width).blocks(np.stack(canvases))

    def _canvas(self, encoded: bytes | None, width: int | None, height: int | None) -> np.ndarray:
        if encoded is None:
            self._size = self._size or (width or 1, height or 1)
            return np.zeros((self._size[1], self._size[0], 3), np.uint8)
        picture = as_plain(Image.open(io.BytesIO(encoded)))
        self._size = self._size or picture.size
        self.scaled += picture.size != (width, height)
        self.transparent += picture.mode == "RGBA"
        canvas = Image.new("RGB", self._size)
        picture.thumbnail(self._size)
        corner = tuple((room - side) // 2 for room, side in zip(self._size, picture.size))
        canvas.paste(picture.convert("RGB"), corner, picture.getchannel("A") if picture.mode == "RGBA" else None)
        return np.asarray(canvas)


def _features(metadata: str | None, image: int, lost: Counter) -> tuple[int, bytes]:
    """Return an image's id, and its metadata as the item `features`."""
    fields = json.loads(metadata) if metadata is not None else None
    image_id = image
    if fields and type(fields.get(IMAGE_ID)) is int and 0 <= fields[IMAGE_ID] < 2**64:
        image_id = fields.pop(IMAGE_ID)
        fields = fields or None
    if fields is None:
        return image_id, bytes([NULL])
    lost["metadata"] += sum(not isinstance(value, str) for value in fields.values())
    texts = [text(key) + text(value if isinstance(value, str) else json.dumps(value)) for key, value in fields.items()]
    return image_id, head(MAP, len(texts)) + b"".join(texts)


def _file_name(name: str, ending: str, taken: set[str]) -> str:
    """Return a name that a file can have on any system, and none of `taken`, which it joins."""
    plain = "".join("_" if character in '/\\:*?"<>|' or not character.isprintable() else character for character in name).strip(" .") or "_"
    free = next(file for variant in numbered(plain) if (file := variant + ending).casefold() not in taken)
    taken.add(free.casefold())
    return free
