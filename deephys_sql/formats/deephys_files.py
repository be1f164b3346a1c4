"""The files of the original Deephys: `.model`, the layers of a model, and `.test`, what it did on a dataset.

Both are one CBOR map. A data file is read some images at a time, and bulk values go to NumPy as they lie in the file, so that
memory depends neither on its length nor on what it declares. The versions differ in keys: 0.6 added `features`, 0.9 `dtype`,
0.10 `classes` and 0.11 `classification_layer`; `suffix` was dropped in 0.10.
"""

import itertools
import json
import os
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deephys_sql.formats.cbor import ARRAY, BYTES, MAP, UINT, Reader, head

MODEL_KEYS = ("name", "suffix", "layers", "classification_layer")
LAYER_KEYS = ("layerID", "neurons")
DATA_KEYS = ("name", "suffix", "dtype", "classes", "images")
IMAGE_KEYS = ("imageID", "categoryID", "category", "data", "features", "activations")
DTYPES = {"float32": np.dtype(">f4"), "float64": np.dtype(">f8")}

IMAGE_ID = "imageID"  # the field of metadata with the id that an image has in its file, an integer, where that isn't its number
THUMBNAIL_PIXELS = 64  # on the longest side; larger pictures are kept whole too

BATCH_IMAGES = 512
BATCH_BYTES = 2**22  # of the file, in a batch
FEATURES_BYTES = 2**16  # of one image
PICTURE_PIXELS = 2**23  # of one image: 25 MB
LAYERS = 1000
SUMMARY_BYTES = 2**28  # that a recording keeps of all neurons: 100 images of 8 bytes, and a sum of 8 bytes a category


@dataclass(frozen=True)
class ModelFile:
    """A model's name, its layers with their numbers of neurons, in order, and which of them classifies."""

    name: str
    layers: dict[str, int]
    classification_layer: str
    suffix: str | None = None

    @property
    def categories(self) -> int:
        return self.layers[self.classification_layer]


class ImageBatch(NamedTuple):
    """Some images: their ids, labels and category names, features as JSON, pictures, and float32 matrices by layer."""

    ids: list[int]
    labels: list[int]
    categories: list[str]
    features: list[str | None]
    pixels: np.ndarray  # images x height x width x 3, uint8
    layers: dict[str, np.ndarray]  # images x neurons


class Frame:
    """How a picture of one size lies in a file: 3 channels of rows of pixels, each with the head of its item.

    >>> frame = Frame(height=2, width=5)
    >>> pictures = np.arange(30, dtype=np.uint8).reshape(1, 2, 5, 3)
    >>> np.array_equal(frame.pictures([bytes(frame.blocks(pictures))]), pictures)
    True
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self._row = head(BYTES, width)
        self._channel = head(ARRAY, height)
        self.start = head(ARRAY, 3)
        stride = len(self._row) + width
        self._channel_size = len(self._channel) + height * stride
        self.size = len(self.start) + 3 * self._channel_size
        self._heads = [(slice(0, len(self.start)), self.start)]
        for channel in range(3):
            first = len(self.start) + channel * self._channel_size
            rows = first + len(self._channel)
            self._heads.append((slice(first, rows), self._channel))
            for offset, byte in enumerate(self._row):
                self._heads.append((slice(rows + offset, rows + height * stride, stride), bytes([byte]) * height))

    def first_mismatch(self, block: bytes) -> int | None:
        """Return the place of the first byte in a block that is not of a picture of this size."""
        wrong = [(place, expected) for place, expected in self._heads if block[place] != expected]
        places = [range(len(block))[place][i] for place, expected in wrong for i, byte in enumerate(block[place]) if byte != expected[i]]
        return min(places, default=None)

    def pictures(self, blocks: Sequence[bytes]) -> np.ndarray:
        """Return images x height x width x 3 as uint8, from blocks that match."""
        joined = np.frombuffer(b"".join(blocks), np.uint8).reshape(len(blocks), self.size)
        return np.ascontiguousarray(np.moveaxis(self._pixels(joined), 1, 3))

    def blocks(self, pictures: np.ndarray) -> np.ndarray:
        """Return images x `size` bytes, from images x height x width x 3."""
        blocks = np.zeros((len(pictures), self.size), np.uint8)
        for place, expected in self._heads:
            blocks[:, place] = np.frombuffer(expected, np.uint8)
        self._pixels(blocks)[:] = np.moveaxis(pictures, 3, 1)
        return blocks

    def _pixels(self, blocks: np.ndarray) -> np.ndarray:
        channels = blocks[:, len(self.start) :].reshape(len(blocks), 3, self._channel_size)
        rows = channels[:, :, len(self._channel) :].reshape(len(blocks), 3, self.height, -1)
        return rows[:, :, :, len(self._row) :]


def read_model(path: str | os.PathLike) -> ModelFile:
    """Read a `.model` file of any version back to 0.5.

    Raises `FileFormatError` with the place of what is not as it should be.
    """
    found: dict = {"suffix": None, "classification_layer": "classification"}
    with Reader(path) as reader:
        start = reader.position
        for key in _keys(reader, "a model file, a map", MODEL_KEYS, {"name", "layers"}):
            if key == "layers":
                found[key] = _read_layers(reader)
            elif key == "suffix":
                found[key] = None if reader.null() else reader.text("the suffix")
            else:
                found[key] = _read_name(reader, f"the {key}")
        reader.end()
        model = ModelFile(**found)
        if model.classification_layer not in model.layers:
            reader.fail(f"the classification layer among the layers {list(model.layers)[:10]}", f"{model.classification_layer!r}", start)
        kept = sum(model.layers.values()) * 8 * (100 + model.categories)
        if kept > SUMMARY_BYTES:
            reader.fail(
                f"a model whose summaries take at most {SUMMARY_BYTES >> 20} MB of memory",
                f"{sum(model.layers.values())} neurons, which take {kept >> 20} MB with {model.categories} categories",
                start,
            )
    return model


class DataFile:
    """A `.test` file of any version back to 0.5, open: what stands before its images; `batches` reads them, once.

    Raises `FileFormatError` with the place of what is not as it should be.
    """

    def __init__(self, path: str | os.PathLike, model: ModelFile):
        self.model = model
        self.name: str | None = None
        self.suffix: str | None = None
        self.dtype = "float32"
        self.classes: list[str] | None = None
        self._frame: Frame | None = None
        self._reader = Reader(path)
        try:
            self._read_beginning()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "DataFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._reader.__exit__()

    def batches(self) -> Iterator[ImageBatch]:
        """Give the images in order, in batches of a few megabytes."""
        reader, done = self._reader, 0
        while done < self.images:
            rows, places = [], []
            start = reader.position
            while done < self.images and len(rows) < BATCH_IMAGES and reader.position - start < BATCH_BYTES:
                reader.item = f", image {done}"
                image, place = self._read_image()
                rows.append(image)
                places.append(place)
                done += 1
            ids, labels, categories, features, blocks, activations = zip(*rows)
            layers = {
                name: self._as_matrix(name, values, [place[layer] for place in places], done - len(rows))
                for layer, (name, values) in enumerate(zip(self.model.layers, zip(*activations)))
            }
            yield ImageBatch(list(ids), list(labels), list(categories), list(features), self._frame.pictures(blocks), layers)
        reader.item = ""
        reader.end()

    def _read_beginning(self) -> None:
        reader = self._reader
        for key in _keys(reader, "a data file, a map", DATA_KEYS, {"name", "images"}, last="images"):
            if key == "name":
                self.name = _read_name(reader, "the dataset's name")
            elif key == "images":
                start = reader.position
                self.images = reader.length(ARRAY, "the images, an array")
                if not self.images:
                    reader.fail("at least one image", "none", start)
            elif key == "classes":
                self.classes = self._read_classes()
            elif key == "suffix":
                self.suffix = None if reader.null() else reader.text("the suffix")
            elif not reader.null():
                start = reader.position
                self.dtype = reader.text("the dtype", 20)
                if self.dtype not in DTYPES:
                    reader.fail("the dtype float32 or float64", repr(self.dtype), start)

    def _read_classes(self) -> list[str]:
        reader = self._reader
        start = reader.position
        count = reader.length(ARRAY, "the classes, an array of names")
        if count != self.model.categories:
            layer = self.model.classification_layer
            reader.fail(f"{self.model.categories} classes, as layer {layer!r} of the model has neurons", str(count), start)
        return [_read_name(reader, "a class's name", empty=True) for _ in range(count)]

    def _read_image(self) -> tuple[tuple, list[int]]:
        reader = self._reader
        found: dict = {"features": None}
        for key in _keys(reader, "an image, a map", IMAGE_KEYS, IMAGE_REQUIRED):
            if key == "imageID":
                found[key] = reader.head(UINT, "the imageID, an unsigned integer")
            elif key == "categoryID":
                found[key] = self._read_label()
            elif key == "category":
                place = reader.position
                found[key] = reader.text("the category, a text", 1024)
            elif key == "data":
                found[key] = self._read_picture()
            elif key == "features":
                found[key] = None if reader.null() else self._read_features()
            else:
                found[key], places = self._read_activations()
        label, category = found["categoryID"], found["category"]
        if self.classes is not None and self.classes[label] != category:
            reader.fail(f"the category {self.classes[label]!r}, which is class {label}", repr(category), place)
        return tuple(found[key] for key in ("imageID", "categoryID", "category", "features", "data", "activations")), places

    def _read_label(self) -> int:
        reader = self._reader
        start = reader.position
        label = reader.head(UINT, "the categoryID, an unsigned integer")
        if label >= self.model.categories:
            reader.fail(f"a categoryID of 0 to {self.model.categories - 1}", str(label), start)
        return label

    def _read_picture(self) -> bytes:
        """Return the block of a picture: the first one tells the size of all."""
        reader = self._reader
        start = reader.position
        if self._frame is None:
            channels = reader.head(ARRAY, "the picture, an array of 3 channels")
            if channels != 3:
                reader.fail("3 channels", str(channels), start)
            height = reader.length(ARRAY, "a channel, an array of rows")
            width = reader.length(BYTES, "a row of pixels, a byte string")
            if not 0 < height * width <= PICTURE_PIXELS:
                reader.fail(f"a picture of 1 to {PICTURE_PIXELS} pixels", f"{width} x {height}", start)
            self._frame = Frame(height, width)
            heads = head(ARRAY, 3) + head(ARRAY, height) + head(BYTES, width)
            if reader.position - start != len(heads):
                reader.fail("lengths in their shortest form", "longer ones", start)
            block = heads + reader.take(self._frame.size - len(heads))
        else:
            block = reader.take(self._frame.size)
        mismatch = self._frame.first_mismatch(block)
        if mismatch is not None:
            reader.fail(
                f"a picture of {self._frame.width} x {self._frame.height} pixels in 3 channels, as all of a dataset are",
                f"byte 0x{block[mismatch]:02x} where one of its rows or channels begins",
                start + mismatch,
            )
        return block

    def _read_features(self) -> str:
        reader = self._reader
        start = reader.position
        features: dict[str, str] = {}
        for _ in range(reader.length(MAP, "the features, a map of texts, or null", FEATURES_BYTES)):
            place = reader.position
            key = reader.text("the name of a feature, a text", FEATURES_BYTES)
            if key in features:
                reader.fail("every feature once", f"{key!r} again", place)
            features[key] = reader.text(f"the feature {key!r}, a text", FEATURES_BYTES)
            if reader.position - start > FEATURES_BYTES:
                reader.fail(f"at most {FEATURES_BYTES} bytes of features an image", "more", start)
        return json.dumps(features, ensure_ascii=False)

    def _read_activations(self) -> tuple[list[bytes], list[int]]:
        """Return the bytes of each layer, and their places in the file."""
        reader = self._reader
        start = reader.position
        values: list[bytes] = []
        places: list[int] = []
        for _ in _keys(reader, "the activations, a map", ("activations",), {"activations"}):
            layers = reader.head(ARRAY, "the activations, an array of a byte string a layer")
            if layers != len(self.model.layers):
                reader.fail(f"activations of the model's {len(self.model.layers)} layers", str(layers), start)
            for name, neurons in self.model.layers.items():
                place = reader.position
                length = reader.head(BYTES, ACTIVATIONS)
                if length != neurons * DTYPES[self.dtype].itemsize:
                    reader.fail(f"{neurons} {self.dtype} of layer {name!r}", f"{length} bytes", place)
                places.append(reader.position)
                values.append(reader.take(length))
        return values, places

    def _as_matrix(self, layer: str, values: Sequence[bytes], places: Sequence[int], first_image: int) -> np.ndarray:
        raw = np.frombuffer(b"".join(values), DTYPES[self.dtype]).reshape(len(values), -1)
        with np.errstate(over="ignore"):
            matrix = raw.astype(np.float32)
        finite = np.isfinite(matrix)
        if not finite.all():
            row, neuron = np.argwhere(~finite)[0]
            self._reader.item = f", image {first_image + row}"
            self._reader.fail(
                "finite activations that float32 can hold",
                f"{raw[row, neuron]} in neuron {neuron} of layer {layer!r}",
                places[row] + int(neuron) * raw.itemsize,
            )
        return matrix


ACTIVATIONS = "the activations of a layer, a byte string (files older than version 0.5 have lists, which are not read)"
IMAGE_REQUIRED = {key for key in IMAGE_KEYS if key != "features"}


def _keys(reader: Reader, what: str, known: Sequence[str], required: Set[str], last: str | None = None) -> Iterator[str]:
    """Read a map, yielding each key with the reader before its value; `last` must come last."""
    start = reader.position
    count = reader.head(MAP, what)
    if count > len(known):
        reader.fail(f"{what} of at most {len(known)} keys", str(count), start)
    seen = set()
    for number in range(count):
        place = reader.position
        key = reader.text("a key", 1024)
        if key not in known:
            reader.fail(f"one of the keys {', '.join(known)}", repr(key), place)
        if key in seen:
            reader.fail("every key once", f"{key!r} again", place)
        if key == last and number < count - 1:
            reader.fail(f"{key!r} as the last key", f"{count - 1 - number} keys more", place)
        seen.add(key)
        yield key
    if not required <= seen:
        reader.fail(f"{what} with the keys {', '.join(key for key in known if key in required)}", f"only {sorted(seen)}", start)


def _read_name(reader: Reader, what: str, empty: bool = False) -> str:
    start = reader.position
    name = reader.text(f"{what}, a text", 1024)
    if any(unicodedata.category(character) == "Cc" for character in name) or not (empty or name.strip()):
        reader.fail(f"{what} in printable characters", repr(name), start)
    return name


def _read_layers(reader: Reader) -> dict[str, int]:
    layers: dict[str, int] = {}
    for _ in range(reader.length(ARRAY, "the layers, an array", LAYERS)):
        place = reader.position
        found: dict = {}
        for key in _keys(reader, "a layer, a map", LAYER_KEYS, set(LAYER_KEYS)):
            found[key] = _read_name(reader, "the layerID") if key == "layerID" else _read_neurons(reader)
        if found["layerID"] in layers:
            reader.fail("every layer once", f"{found['layerID']!r} again", place)
        layers[found["layerID"]] = found["neurons"]
    return layers


def _read_neurons(reader: Reader) -> int:
    """Count the neurons of a layer, each an empty map."""
    start = reader.position
    count = reader.length(ARRAY, "the neurons, an array of empty maps", SUMMARY_BYTES // 800)
    if not count:
        reader.fail("at least one neuron", "none", start)
    place = reader.position
    maps = reader.take(count)
    other = len(maps) - len(maps.lstrip(head(MAP, 0)))
    if other < count:
        reader.fail("a neuron, an empty map", f"byte 0x{maps[other]:02x}", place + other)
    return count


def numbered(name: str) -> Iterator[str]:
    """Give a name, and what it can be called where that is taken.

    >>> names = numbered("day")
    >>> next(names), next(names)
    ('day', 'day (2)')
    """
    return itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
