"""Recordings from arrays: every kind of input arrives as it was given, and what is kept of it is right."""

import collections
import datetime
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

import deephys_sql as dp
from deephys_sql.errors import DatasetDiffersError, InvalidInputError, RecordingExistsError

IMAGES = 7
CATEGORIES = ["cat", "dog", "owl"]


def normal(images: int = IMAGES, neurons: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, neurons))


def add(store: dp.Store, **changes: Any) -> None:
    """Record something right with some arguments changed; `...` leaves one out."""
    arguments = {
        "model": "net",
        "dataset": "test",
        "activations": {"fc": normal()},
        "logits": normal(neurons=3, seed=1),
        "categories": CATEGORIES,
        "progress": False,
    } | changes
    store.add_recording(**{name: value for name, value in arguments.items() if value is not ...})


def stored(store: dp.Store, layer: str = "fc", dataset: str = "test", model: str = "net", view: str = "activation") -> np.ndarray:
    """The activations of a layer, images x neurons."""
    rows = store.sql(
        f"select image, neuron, value from {view} where model = $m and layer = $l and dataset = $d", m=model, l=layer, d=dataset
    ).fetchnumpy()
    matrix = np.full((rows["image"].max() + 1, rows["neuron"].max() + 1), np.nan, np.float32)
    matrix[rows["image"], rows["neuron"]] = rows["value"]
    assert len(rows["value"]) == matrix.size
    return matrix


def assert_stored(store: dp.Store, expected: np.ndarray, layer: str = "fc", **where: str) -> None:
    """Both views of activations show these values, bit for bit."""
    expected = np.ascontiguousarray(expected, np.float32)
    for view in ("activation", "response"):
        assert stored(store, layer, view=view, **where).tobytes() == expected.tobytes()


# --- Kinds of arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "order"),
    [(dtype, "C") for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint8, bool, ">f4", ">f8", np.longdouble)]
    + [(dtype, order) for dtype in (np.float16, np.float32) for order in ("F", "strided")],
)
def test_numpy(store: dp.Store, dtype: Any, order: str) -> None:
    """Arrays of any precision, byte order and memory order are stored as the nearest float32."""
    values = np.abs(normal(IMAGES * 2, 10) * 50).astype(dtype)
    values = values[::2, ::2] if order == "strided" else np.asarray(values[:IMAGES], order=order)
    add(store, activations={"fc": values})
    assert_stored(store, values.astype(np.float32))


def test_numbers_at_the_edge(store: dp.Store) -> None:
    """Negative zero, subnormal and the largest numbers are kept bit for bit; the caller's array is left alone."""
    values = np.array([[-0.0, 1e-45, -1e-45], [3.4028235e38, -3.4028235e38, 1.1754944e-38]], np.float32)
    kept = values.copy()
    add(store, activations={"fc": values}, logits=np.eye(3)[:2])
    assert_stored(store, kept)
    assert values.tobytes() == kept.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool"])
def test_torch(store: dp.Store, dtype: str) -> None:
    """Tensors of any precision, with a gradient or not, contiguous or not, are stored as the nearest float32."""
    torch = pytest.importorskip("torch")
    values = torch.from_numpy(normal(5, IMAGES) * 50).abs().to(getattr(torch, dtype)).T
    if values.dtype.is_floating_point:
        values.requires_grad_()
    add(store, activations={"fc": values}, logits=torch.from_numpy(normal(neurons=3)).requires_grad_(), labels=torch.arange(IMAGES) % 3)
    assert_stored(store, values.detach().float().numpy())


def test_memmap(store: dp.Store, tmp_path: Path) -> None:
    """Activations may lie in a file, larger than a block, and are read from there."""
    values = normal(5000, 3).astype(np.float32)
    np.save(tmp_path / "fc.npy", values)
    add(store, activations={"fc": np.load(tmp_path / "fc.npy", mmap_mode="r")}, logits=normal(5000, 3))
    assert_stored(store, values)


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [(sizes, "generator") for sizes in ([7], [1, 6], [0, 3, 0, 4, 0], [1] * 7)]
    + [([0, 3, 0, 4, 0], kind) for kind in ("list", "tuple", "tensors", "nested lists")],
)
def test_batches(store: dp.Store, sizes: list[int], kind: str) -> None:
    """Activations may come in batches of any size, empty ones too, from a list or from what is read once."""
    values = normal().astype(np.float32)
    pieces = np.split(values, np.cumsum(sizes)[:-1])
    if kind == "tensors":
        torch = pytest.importorskip("torch")
        pieces = [torch.from_numpy(piece) for piece in pieces]
    if kind == "nested lists":
        pieces = [piece.tolist() for piece in pieces if len(piece)]
    given = {"tuple": tuple(pieces), "generator": (piece for piece in pieces)}.get(kind, pieces)
    add(store, activations={"fc": given})
    assert_stored(store, values)


@pytest.mark.parametrize("size", [1, 100, 512, 700])
def test_batches_in_the_same_memory(store: dp.Store, size: int) -> None:
    """What reads files into one array again and again, for several layers, is recorded as it was read."""
    memory = np.empty((size, 3), np.float32)
    layers = {name: normal(images=2500, neurons=3, seed=seed) for seed, name in enumerate(("fc", "other"))}

    def read(values: np.ndarray) -> Iterator[np.ndarray]:
        for first in range(0, len(values), size):
            batch = memory[: len(values) - first]
            batch[:] = values[first : first + size]
            yield batch

    sources = {name: read(values) for name, values in layers.items()}
    store.add_recording(model="net", dataset="test", activations=sources, predictions=[0] * 2500, categories=["a"], progress=False)
    for name, values in layers.items():
        assert_stored(store, values, layer=name)


def test_layers_in_different_batches(store: dp.Store) -> None:
    """Each layer may have its own batches: what counts is the image."""
    values, more = normal(6000, 4), normal(6000, 2, seed=2)
    add(
        store,
        activations={"a": iter(np.split(values, [1, 2049, 2050, 5000])), "b": iter(np.split(more, 60))},
        logits=(normal(6000, 3)[i : i + 999] for i in range(0, 6000, 999)),
        labels=np.arange(6000) % 3,
    )
    assert_stored(store, values, "a")
    assert_stored(store, more, "b")


def test_data_frame_of_activations(store: dp.Store) -> None:
    """A DataFrame is a matrix too."""
    add(store, activations={"fc": pd.DataFrame(normal())})
    assert_stored(store, normal())


@pytest.mark.parametrize("neurons", [1, 32, 33, 63, 64, 65, 128, 129])
def test_widths(store: dp.Store, neurons: int) -> None:
    """Layers of any width are stored whole, and no padding is seen."""
    add(store, activations={"fc": normal(neurons=neurons)})
    assert_stored(store, normal(neurons=neurons))


# --- Pictures ----------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(3)
UINT8 = {
    "grayscale": RANDOM.integers(0, 256, (IMAGES, 9, 12)).astype(np.uint8),
    "one channel": RANDOM.integers(0, 256, (IMAGES, 9, 12, 1)).astype(np.uint8),
    "RGB": RANDOM.integers(0, 256, (IMAGES, 12, 9, 3)).astype(np.uint8),
    "RGBA": RANDOM.integers(1, 256, (IMAGES, 12, 9, 4)).astype(np.uint8),
    "RGBA with clear pixels": RANDOM.integers(0, 2, (IMAGES, 12, 9, 4)).astype(np.uint8) * 255,
    "one row": RANDOM.integers(0, 256, (IMAGES, 1, 50)).astype(np.uint8),
    "one pixel": RANDOM.integers(0, 256, (IMAGES, 1, 1, 3)).astype(np.uint8),
}


def decoded(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)))


def same_pixels(found: np.ndarray, expected: np.ndarray) -> bool:
    """Compare pixels; WebP knows no grayscale, so three equal channels are the same picture, and so is an opaque alpha."""
    expected = expected[..., 0] if expected.ndim == 3 and expected.shape[2] == 1 else expected
    if expected.ndim == 2 and found.ndim == 3:
        expected = np.repeat(expected[..., None], 3, axis=2)
    if expected.ndim == 3 and expected.shape[2] == 4 and found.shape[2] == 3 and (expected[..., 3] == 255).all():
        expected = expected[..., :3]
    return found.shape == expected.shape and bool((found == expected).all())


def pictures(store: dp.Store, columns: str = "thumbnail") -> list[Any]:
    return store.sql(f"select {columns} from image order by dataset, image").fetchall()


@pytest.mark.parametrize("format", ["webp", "png"])
@pytest.mark.parametrize("kind", UINT8)
def test_small_arrays(store: dp.Store, kind: str, format: str) -> None:
    """Pictures no larger than the thumbnail are kept pixel for pixel; width and height are theirs."""
    images = UINT8[kind]
    add(store, images=images, thumbnail_format=format)
    for image, (thumbnail, media, width, height) in enumerate(pictures(store, "thumbnail, thumbnail_type, width, height")):
        assert (height, width) == images.shape[1:3]
        assert media == f"image/{format}" and Image.open(io.BytesIO(thumbnail)).format == format.upper()
        assert same_pixels(decoded(thumbnail), images[image])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["grayscale", "RGB", "RGBA"])
def test_float_arrays(store: dp.Store, kind: str, dtype: Any) -> None:
    """Floats in 0..1 are the same pictures as their bytes, from 0 to 255."""
    add(store, images=UINT8[kind])
    add(store, images=(UINT8[kind] / 255).astype(dtype), model="second")
    assert len(pictures(store)) == IMAGES


def test_tensor_images(store: dp.Store) -> None:
    """Pictures may be tensors."""
    torch = pytest.importorskip("torch")
    add(store, images=torch.from_numpy(UINT8["RGB"]))
    assert all(same_pixels(decoded(t), image) for (t,), image in zip(pictures(store), UINT8["RGB"], strict=True))


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((100, 50), 64, (64, 32)),
        ((50, 100), 64, (32, 64)),
        ((640, 480), 64, (64, 48)),
        ((64, 64), 64, (64, 64)),
        ((65, 64), 64, (64, 63)),
        ((1000, 1), 64, (64, 1)),
        ((30, 20), 10, (10, 7)),
        ((30, 20), 1, (1, 1)),
        ((200, 100), 128, (128, 64)),
    ],
)
def test_thumbnail_size(store: dp.Store, size: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    """Larger pictures are made smaller so that the longest side fits, in proportion; width and height stay the original's."""
    modes = ["L", "RGB", "RGBA"] * 2 + ["L"]
    images = [Image.new(mode, size, 200 if mode == "L" else (200, 100, 50, 255)[: len(mode)]) for mode in modes]
    add(store, images=images, thumbnail_size=longest)
    for mode, (thumbnail, width, height) in zip(modes, pictures(store, "thumbnail, width, height"), strict=True):
        found = Image.open(io.BytesIO(thumbnail))
        assert (width, height) == size
        assert abs(found.width - expected[0]) <= 1 and abs(found.height - expected[1]) <= 1
        assert max(found.size) == min(longest, max(size))
        center = np.asarray(found.convert("RGB"))[found.height // 2, found.width // 2].astype(int)
        assert np.abs(center - ([200] * 3 if mode == "L" else [200, 100, 50])).max() <= 8


def bytes_of(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


RGB_PICTURES = [Image.fromarray(image) for image in UINT8["RGB"]]
RGB_BYTES = [bytes_of(picture, "PNG") for picture in RGB_PICTURES]


def test_pictures_of_every_kind_are_the_same(store: dp.Store, tmp_path: Path) -> None:
    """An array, PIL images, encoded bytes, paths and a mixture are the same images of the same dataset, if the pixels are."""
    paths = []
    for number, encoded in enumerate(RGB_BYTES):
        paths.append(tmp_path / f"{number} é'.png")
        paths[-1].write_bytes(encoded)
    add(store, images=UINT8["RGB"])
    kinds = {
        "PIL": RGB_PICTURES,
        "bytes": RGB_BYTES,
        "bytearrays": [bytearray(b) for b in RGB_BYTES],
        "paths": paths,
        "texts": [str(path) for path in paths],
        "arrays": list(UINT8["RGB"]),
        "float arrays": list(UINT8["RGB"] / 255),
        "bitmaps": [bytes_of(picture, "BMP") for picture in RGB_PICTURES],
        "mixture": [RGB_PICTURES[0], RGB_BYTES[1], paths[2], str(paths[3]), *UINT8["RGB"][4:]],
    }
    for kind, images in kinds.items():
        add(store, images=images, model=kind)
    assert len(pictures(store)) == IMAGES


def test_uri_and_originals(store: dp.Store, tmp_path: Path) -> None:
    """Of pictures from files the path is kept; with keep_originals the whole picture too, byte for byte as it came."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes_of(Image.new("RGB", (200, 100), (10, 200, 30)), "JPEG"))
    large = Image.fromarray(RANDOM.integers(0, 256, (80, 90, 3)).astype(np.uint8))
    images = [path, bytes_of(large, "WEBP"), bytes_of(large, "PNG"), large, np.asarray(large), Image.open(path), RGB_BYTES[0]]
    add(store, images=images, keep_originals=True)
    add(store, images=images, dataset="without")
    rows = pictures(store, "original, original_type, uri, width, height")
    assert [row[0] for row in rows[:3]] == [path.read_bytes(), images[1], images[2]] and rows[6][0] == RGB_BYTES[0]
    assert [row[1] for row in rows[:3]] == ["image/jpeg", "image/webp", "image/png"]
    assert [row[2] for row in rows[:IMAGES]] == [str(path)] + [None] * 6
    for row in rows[3:6]:
        assert row[1] == "image/png" and decoded(row[0]).shape == (row[4], row[3], 3)
    assert (decoded(rows[3][0]) == np.asarray(large)).all() and (decoded(rows[4][0]) == np.asarray(large)).all()
    assert all(row[:2] == (None, None) for row in rows[IMAGES:])


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "HSV", "YCbCr"])
def test_picture_modes(store: dp.Store, mode: str) -> None:
    """A picture of any mode becomes a thumbnail of its size and, roughly, its brightness."""
    gray = Image.fromarray(np.tile(np.linspace(0, 255, 20).astype(np.uint8), (10, 1)))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    else:
        picture = gray.convert("RGB").convert(mode) if mode in ("CMYK", "HSV", "YCbCr", "P") else gray.convert(mode)
    assert picture.mode == mode
    add(store, images=[picture] * IMAGES)
    found = decoded(pictures(store)[0][0])
    assert found.shape[:2] == (10, 20)
    brightness = np.asarray(Image.fromarray(found).convert("L")).mean(axis=0)
    assert brightness[0] < 40 and brightness[-1] > 215


def test_upright(store: dp.Store) -> None:
    """A photograph that its camera marked as turned is shown upright."""
    picture = Image.new("RGB", (20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    add(store, images=[bytes_of(picture, "JPEG", exif=exif)] * IMAGES)
    thumbnail, width, height = pictures(store, "thumbnail, width, height")[0]
    assert (width, height) == (10, 20) == decoded(thumbnail).shape[1::-1]


def test_pictures_of_different_sizes(store: dp.Store) -> None:
    """The images of a dataset may differ in size and mode."""
    sizes = [(1, 1), (3, 5), (64, 64), (65, 2), (300, 200), (5, 900), (7, 7)]
    add(store, images=[Image.new("L" if i % 2 else "RGB", size) for i, size in enumerate(sizes)])
    assert pictures(store, "width, height") == sizes


def test_more_pictures_than_a_block(store: dp.Store) -> None:
    """Pictures stay with their images over blocks."""
    images = np.arange(4100, dtype=np.uint16).view(np.uint8).reshape(4100, 1, 2)
    add(store, activations={"fc": normal(4100, 1)}, logits=normal(4100, 3), images=images, thumbnail_format="png")
    for image, (thumbnail,) in enumerate(pictures(store)):
        if image % 97 == 0 or image in (2047, 2048, 4095, 4096, 4099):
            assert (decoded(thumbnail) == images[image]).all()


# --- Metadata ----------------------------------------------------------------------------------------------------------

TEXTS = ["it's", 'a "quote"', "<b>&amp;</b>", "back\\slash", "line\nbreak\ttab", "naïve 数据 🙂", "$x ${y} ? ; -- drop table"]


def metadata(store: dp.Store) -> list[Any]:
    rows = store.sql("select metadata from image order by dataset, image").fetchall()
    return [None if row[0] is None else json.loads(row[0]) for row in rows]


def test_metadata_dicts(store: dp.Store) -> None:
    """Fields of any text, number and nesting come back as they were; NumPy's scalars are numbers; fields may differ by image."""
    given = [
        {"text": TEXTS[0], TEXTS[1]: TEXTS[2], "n": 1},
        {"text": TEXTS[1], "n": 1.5, "deep": {"a": [1, {"b": None}]}},
        {"text": TEXTS[2], "flag": True, "none": None},
        {},
        {"text": TEXTS[4], "np": np.float32(0.5), "int": np.int64(2**53 + 1), "array": np.arange(3), "bool": np.bool_(True)},
        {"text": TEXTS[5], "nan": float("nan"), "inf": -np.inf, "np nan": np.float32("nan"), "list": [1.0, float("nan")]},
        {"text": TEXTS[6], "": "empty", "a.b": 1, 7: "seven"},
    ]
    add(store, image_metadata=given)
    found = metadata(store)
    assert found[:4] == given[:4]
    assert found[4] == {"text": TEXTS[4], "np": 0.5, "int": 2**53 + 1, "array": [0, 1, 2], "bool": True}
    assert found[5] == {"text": TEXTS[5], "nan": None, "inf": None, "np nan": None, "list": [1.0, None]}
    assert found[6] == {"text": TEXTS[6], "": "empty", "a.b": 1, "7": "seven"}
    assert store.sql("select metadata ->> 'text' from image where image = 1").fetchall() == [(TEXTS[1],)]
    assert store.sql("select image from image where cast(metadata ->> 'n' as double) > 1").fetchall() == [(1,)]


def test_metadata_dates(store: dp.Store) -> None:
    """Dates and times become text that sorts and casts, whatever they come from."""
    moment = datetime.datetime(2020, 5, 17, 13, 45, 1)
    given = [
        {"at": moment},
        {"at": moment.date()},
        {"at": np.datetime64("2020-05-17T13:45:01", "s")},
        {"at": np.datetime64("2020-05-17T13:45:01", "ns")},
        {"at": pd.Timestamp(moment)},
        {"at": moment.replace(tzinfo=datetime.UTC)},
        {"at": moment.isoformat()},
    ]
    add(store, image_metadata=given)
    assert all(str(row["at"]).startswith("2020-05-17") for row in metadata(store)), metadata(store)
    found = store.sql("select distinct cast(cast(metadata ->> 'at' as timestamp) as date) from image").fetchall()
    assert found == [(moment.date(),)]


FRAME = pd.DataFrame(
    {
        "text": TEXTS,
        "score": [0.5, np.nan, 1, 2, 3, 4, -np.inf],
        "number": np.arange(IMAGES, dtype=np.int64),
        "flag": [True, False] * 3 + [True],
        "kind": pd.Categorical(["a", "b"] * 3 + ["a"]),
    }
)
EXPECTED = [
    {"text": text, "score": score, "number": i, "flag": i % 2 == 0, "kind": "ab"[i % 2]}
    for i, (text, score) in enumerate(zip(TEXTS, [0.5, None, 1.0, 2.0, 3.0, 4.0, None], strict=True))
]


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.set_index(pd.Index(list("gfedcba"))),
        pa.Table.from_pandas(FRAME),
        pa.Table.from_pandas(FRAME).to_batches()[0],
        FRAME.to_dict("records"),
        tuple(FRAME.to_dict("records")),
    ],
    ids=["DataFrame", "DataFrame with index", "Arrow table", "Arrow record batch", "dicts", "tuple of dicts"],
)
def test_metadata_tables(store: dp.Store, table: Any) -> None:
    """A DataFrame, an Arrow table and a list of dicts give the same fields, a row an image, in their order."""
    add(store, image_metadata=table)
    assert metadata(store) == EXPECTED


@pytest.mark.parametrize(
    "kind",
    [pd.DataFrame, pa.Table.from_pylist, pa.array, list, collections.deque, lambda fields: duckdb.from_arrow(pa.Table.from_pylist(fields))],
    ids=["DataFrame", "table", "array of structs", "dicts", "deque", "relation"],
)
def test_metadata_of_many_batches(store: dp.Store, kind: Any) -> None:
    """Fields stay with their images over the borders of batches, whatever they are taken from."""
    fields = [{"number": image} for image in range(5000)]
    batches = (np.ones((count, 2), np.float32) for count in (1, 1500, 2048, 1451))
    store.add_recording(
        model="net",
        dataset="d",
        activations={"fc": batches},
        logits=np.ones((5000, 2), np.float32),
        image_metadata=kind(fields),
        progress=False,
    )
    assert metadata(store) == fields


@pytest.mark.parametrize("kind", ["DataFrame", "dicts", "Arrow table"])
def test_metadata_missing_values(store: dp.Store, kind: str) -> None:
    """What is missing is null, whatever stands for it: None, NaN, NaT, NA."""
    frame = pd.DataFrame(
        {
            "float": [1.0, np.nan] + [2.0] * 5,
            "date": pd.to_datetime(["2020-01-01", None] + ["2021-01-01"] * 5),
            "int": pd.array([1, None, 3, 4, 5, 6, 7], "Int64"),
            "text": pd.array(["a", None, "c", "d", "e", "f", "g"], "string"),
        }
    )
    given = {"DataFrame": frame, "dicts": frame.to_dict("records"), "Arrow table": pa.Table.from_pandas(frame)}[kind]
    if kind == "dicts":
        given[1] |= {"int": pd.NA, "text": pd.NA}
    add(store, image_metadata=given)
    assert metadata(store)[1] == {"float": None, "date": None, "int": None, "text": None}
    assert metadata(store)[2]["int"] == 3 and metadata(store)[2]["date"].startswith("2021-01-01")


def test_without_metadata(store: dp.Store) -> None:
    """Without metadata, pictures and labels these are NULL, and the images are there all the same."""
    add(store)
    row = "metadata, thumbnail, thumbnail_type, original, original_type, uri, width, height, label, label_name"
    assert set(pictures(store, row)) == {(None,) * 10}
    assert len(pictures(store)) == IMAGES


# --- Labels and predictions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2, None, 0, 1, -1],
        [0, 1, 2, float("nan"), 0, 1, -1.0],
        np.array([0, 1, 2, np.nan, 0, 1, -1]),
        np.array([0, 1, 2, -1, 0, 1, -1], np.int8),
        np.array([0, 1, 2, None, 0, 1, None], object),
        pd.Series([0, 1, 2, None, 0, 1, None]),
        pd.Series([0, 1, 2, None, 0, 1, None], dtype="Int64"),
        pd.Series([0, 1, 2, pd.NA, 0, 1, pd.NA], dtype=object),
        pa.array([0, 1, 2, None, 0, 1, None]),
        [np.int64(0), np.int64(1), np.int64(2), None, np.int64(0), np.int64(1), np.int64(-1)],
        (0, 1, 2, -1, 0, 1, -1),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}",
)
def test_labels(store: dp.Store, labels: Any) -> None:
    """Labels may be unknown: None, -1, NaN or NA, in a list, an array, a Series or an Arrow array."""
    add(store, labels=labels)
    assert pictures(store, "label, label_name") == [
        (0, "cat"), (1, "dog"), (2, "owl"), (None, None), (0, "cat"), (1, "dog"), (None, None)
    ]  # fmt: skip
    assert store.sql("select correct is null from prediction order by image").fetchall() == [(i in (3, 6),) for i in range(IMAGES)]


def test_predictions_overrule_logits(store: dp.Store) -> None:
    """Predictions that are given count; confidence is their own probability, from the logits."""
    logits = normal(neurons=3)
    predictions = np.argsort(logits, axis=1)[:, 0]
    add(store, logits=logits, predictions=predictions, labels=predictions)
    rows = store.sql("select predicted, confidence, correct, top_categories from prediction order by image").fetchall()
    exact = np.exp(logits.astype(np.float32).astype(float))
    exact /= exact.sum(axis=1, keepdims=True)
    assert [row[0] for row in rows] == predictions.tolist() and all(row[2] for row in rows)
    np.testing.assert_allclose([row[1] for row in rows], exact[np.arange(IMAGES), predictions], rtol=1e-12)
    assert [row[3] for row in rows] == np.argsort(-logits, axis=1).tolist()


def test_predictions_without_logits(store: dp.Store) -> None:
    """Predictions alone suffice, with the categories: there is no output layer and no confidence."""
    add(store, logits=..., predictions=[0, 1, 2, 0, 1, 2, 0], labels=[0] * IMAGES)
    assert store.sql("select layer from layer").fetchall() == [("fc",)]
    assert store.sql("select output_layer, output_kind from recording").fetchall() == [(None, None)]
    assert store.sql("select distinct confidence, top_categories, top_probabilities from prediction").fetchall() == [(None, None, None)]
    assert store.sql("select accuracy from dataset_accuracy").fetchall() == [(3 / 7,)]


@pytest.mark.parametrize("kind", ["logits", "log_softmax", "probabilities"])
def test_output_kinds(store: dp.Store, kind: str) -> None:
    """Probabilities come out the same from logits, log-softmax and probabilities, with very large logits too."""
    logits = normal(neurons=3) * 400
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    add(store, logits={"logits": logits, "log_softmax": log_softmax, "probabilities": exact}[kind], output_kind=kind)
    rows = store.sql("select predicted, confidence from prediction order by image").fetchall()
    assert [row[0] for row in rows] == exact.argmax(axis=1).tolist()
    np.testing.assert_allclose([row[1] for row in rows], exact.max(axis=1), atol=1e-5)
    assert store.sql("select output_kind from recording").fetchall() == [(kind,)]


def test_prediction_of_ties(store: dp.Store) -> None:
    """Equal logits predict the lower category."""
    add(store, logits=[[[1.0, 1, 1], [0, 2, 2], [3, 0, 3]]], activations={"fc": normal(3)})
    assert store.sql("select predicted, top_categories from prediction order by image").fetchall() == [
        (0, [0, 1, 2]), (1, [1, 2, 0]), (0, [0, 2, 1])
    ]  # fmt: skip


def test_logits_alone(store: dp.Store) -> None:
    """Logits alone are a recording, with categories that are numbered when they have no names."""
    add(store, activations={}, categories=..., logits=normal(neurons=12), labels=[11] * IMAGES, output="fc")
    assert_stored(store, normal(neurons=12), "fc")
    assert pictures(store, "label_name")[0] == ("11",)
    assert store.sql("select category_name from category order by category").fetchall() == [(str(i),) for i in range(12)]


def test_category_names(store: dp.Store) -> None:
    """Categories may be any texts, from a list, an array or a Series."""
    names = np.array(["it's", '"<b>', "数据"])
    add(store, categories=names, labels=[2] * IMAGES)
    add(store, model="second", categories=pd.Series(names), labels=...)
    add(store, model="third", categories=...)
    assert pictures(store, "label_name")[0] == ("数据",)


# --- More than one recording -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("fields", [True, False])
def test_second_model(store: dp.Store, images: bool, labels: bool, fields: bool) -> None:
    """Another model on the same dataset may leave out pictures, labels and metadata, or give the same; they are stored once."""
    known = {"images": UINT8["RGB"], "labels": [0, 1, 2, None, 0, 1, -1], "image_metadata": FRAME}
    add(store, **known)
    given = {name: known[name] for name, wanted in (("images", images), ("labels", labels), ("image_metadata", fields)) if wanted}
    add(store, model="second", activations={"other": normal(neurons=2)}, **given)
    assert store.sql("select dataset, images from dataset").fetchall() == [("test", IMAGES)]
    assert len(pictures(store)) == IMAGES and metadata(store) == EXPECTED
    assert store.sql("select label from prediction where model = 'second' order by image").fetchall() == [
        (0,), (1,), (2,), (None,), (0,), (1,), (None,)
    ]  # fmt: skip
    assert_stored(store, normal(neurons=2), "other", model="second")
    counts = store.sql("select model, sum(images) from category_response where neuron = 0 and layer = 'output' group by model order by 1")
    assert counts.fetchall() == [("net", 5), ("second", 5)]


def test_fields_in_another_order_are_the_same_metadata(store: dp.Store) -> None:
    """Metadata is compared by what it says, not by the order of its fields."""
    add(store, image_metadata=FRAME)
    add(store, image_metadata=FRAME[FRAME.columns[::-1]], model="second")
    assert metadata(store) == EXPECTED


def test_replace(store: dp.Store) -> None:
    """replace=True leaves the new recording alone: values, images, labels, predictions, summaries, layers, for all views."""
    add(store, activations={"fc": normal(), "gone": normal()}, images=UINT8["RGB"], labels=[0] * IMAGES, image_metadata=FRAME)
    add(store, dataset="other")
    checksum = store.sql("select checksum from recording where dataset = 'other'").fetchall()
    values, logits = normal(4, 5, seed=8), normal(4, 3, seed=9)
    new = {"labels": [2, 1, 0, 1], "images": UINT8["grayscale"][:4], "image_metadata": FRAME[3:7]}
    add(store, activations={"fc": values}, logits=logits, replace=True, **new)
    assert_stored(store, values)
    assert pictures(store, "label, width")[-4:] == [(2, 12), (1, 12), (0, 12), (1, 12)]
    assert store.sql("select count(*) from image where dataset = 'test'").fetchall() == [(4,)]
    assert metadata(store)[-4:] == EXPECTED[3:]
    assert store.sql("select dataset, images from dataset order by 1").fetchall() == [("other", IMAGES), ("test", 4)]
    assert store.sql("select predicted from prediction where dataset = 'test' order by image").fetchall() == [
        (int(p),) for p in logits.argmax(axis=1)
    ]
    assert [row[1] for row in store.layers("net").fetchall()] == ["fc", "output"]
    tables = store.sql(
        "select table_name from duckdb_columns() where column_name = 'recording_id' and table_name like 'stored_%'"
    ).fetchall()
    assert len(tables) >= 9
    for (table,) in tables:
        assert store.sql(f"from {table} where recording_id not in (select recording_id from stored_recording)").fetchall() == [], table
    assert store.sql("select max from neuron_summary where dataset = 'test' and layer = 'fc' order by neuron").fetchall() == [
        (float(m),) for m in values.astype(np.float32).max(axis=0)
    ]
    assert store.sql("select dataset, is_reference from recording order by 1").fetchall() == [("other", False), ("test", True)]
    assert store.sql("select checksum from recording where dataset = 'other'").fetchall() == checksum


def test_replace_of_one_model_keeps_the_images_of_another(store: dp.Store) -> None:
    """Replacing what one model did leaves the pictures that another model's recording shares."""
    known = {"images": UINT8["RGB"], "labels": [0, 1, 2, None, 0, 1, -1]}
    add(store, **known)
    add(store, model="second")
    add(store, model="second", replace=True, activations={"fc": normal(seed=5)})
    add(store, replace=True)
    assert len([row for row in pictures(store) if row[0]]) == IMAGES
    assert_stored(store, normal(seed=5), model="second")


def test_replace_what_is_not_there(store: dp.Store) -> None:
    """replace=True records as well when there is nothing to replace, so that a script can be run again."""
    for _ in range(3):
        add(store, replace=True, labels=[0] * IMAGES)
    assert store.sql("select count(*) from recording").fetchall() == [(1,)]


def references(store: dp.Store) -> dict[str, str]:
    return dict(store.sql("select model, reference from model").fetchall())


def test_reference(store: dp.Store) -> None:
    """The first dataset of a model is its reference; reference=True, and set_reference, choose another; scores follow."""
    add(store, labels=[0, 1, 2, 0, 1, 2, 0])
    add(store, dataset="night", activations={"fc": np.abs(normal(seed=5))}, labels=[0, 1, 2, 0, 1, 2, 0])
    assert references(store) == {"net": "test"}
    assert {row[0] for row in store.sql("select reference from neuron_score").fetchall()} == {"test"}
    add(store, dataset="day", reference=True, activations={"fc": normal(seed=6)}, labels=[0, 1, 2, 0, 1, 2, 0])
    assert references(store) == {"net": "day"}
    assert {row for row in store.sql("select dataset, reference from neuron_score").fetchall()} == {("night", "day"), ("test", "day")}
    store.set_reference("net", "night")
    assert references(store) == {"net": "night"}
    assert {row for row in store.sql("select dataset, reference from neuron_score").fetchall()} == {("day", "night"), ("test", "night")}
    maximum = np.abs(normal(seed=5)).astype(np.float32).max(axis=0)
    rows = store.sql("select neuron, max(response) from response where dataset = 'test' and layer = 'fc' group by 1 order by 1").fetchall()
    expected = np.maximum(normal().astype(np.float32), 0).max(axis=0) / maximum
    np.testing.assert_allclose([row[1] for row in rows], expected, rtol=1e-6)


def test_replacing_the_reference(store: dp.Store) -> None:
    """When the reference is recorded again, responses and scores of every dataset follow."""
    labels = [0, 1, 2, 0, 1, 2, 0]
    add(store, labels=labels)
    add(store, dataset="night", activations={"fc": normal(seed=5)}, labels=labels)
    before = store.sql("select activation_ratio from neuron_score where layer = 'fc' order by neuron").fetchall()
    add(store, labels=labels, activations={"fc": normal() * 2}, replace=True)
    assert references(store) == {"net": "test"}
    after = store.sql("select activation_ratio from neuron_score where layer = 'fc' order by neuron").fetchall()
    np.testing.assert_allclose(np.array(after), np.array(before) / 2, rtol=1e-6)


def test_nonlinearity_and_pooling_are_kept(store: dp.Store) -> None:
    """What is said of a layer is kept with it, for all layers or by layer."""
    add(store, activations={"a": normal(), "b": normal()}, nonlinearity={"a": "relu"}, pooling="max")
    assert store.sql("select layer, nonlinearity, pooling from layer order by position").fetchall() == [
        ("a", "relu", "max"), ("b", None, "max"), ("output", None, None)
    ]  # fmt: skip


def test_names_of_any_kind(store: dp.Store) -> None:
    """Models, datasets and layers may have any name."""
    for name in [*TEXTS, "a" * 500, "select", "main", "activation"]:
        add(store, model=name, dataset=name, activations={name: normal()})
        assert_stored(store, normal(), name, model=name, dataset=name)
        assert len(store.query("top_images", model=name, layer=name, neuron=0, dataset=name, k=3).fetchall()) > 0


# --- Summaries of more than one block ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "neurons"), [(4500, 70), (2048, 3), (2049, 3), (99, 2), (100, 2), (101, 2)])
def test_summaries(store: dp.Store, images: int, neurons: int) -> None:
    """Count, extremes, mean, deviation, quantiles, share positive, top images and category responses, over blocks, with ties."""
    random = np.random.default_rng(11)
    values = np.round(random.normal(size=(images, neurons)) * 20).astype(np.float32) / 8  # many ties
    values[:, 0] = np.arange(images)  # the largest come last
    values[:, 1] = -np.abs(values[:, 1])  # silent
    labels = random.integers(-1, 3, images)
    add(store, activations={"fc": (batch for batch in np.array_split(values, 7))}, logits=random.normal(size=(images, 3)), labels=labels)
    assert_stored(store, values)
    exact = values.astype(np.float64)
    rows = store.sql("select * exclude (model, layer, dataset) from neuron_summary where layer = 'fc' order by neuron").df()
    assert (rows["images"] == images).all() and rows["neuron"].tolist() == list(range(neurons))
    assert (rows["min"] == exact.min(axis=0)).all() and (rows["max"] == exact.max(axis=0)).all()
    np.testing.assert_allclose(rows["mean"], exact.mean(axis=0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["std"], exact.std(axis=0), rtol=1e-9)
    for column, q in (("q01", 0.01), ("q05", 0.05), ("q25", 0.25), ("q50", 0.5), ("q75", 0.75), ("q95", 0.95), ("q99", 0.99)):
        np.testing.assert_allclose(rows[column], np.quantile(exact, q, axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(rows["share_positive"], (exact > 0).mean(axis=0), rtol=1e-12)
    assert rows["silent_in_reference"].tolist() == (exact.max(axis=0) <= 0).tolist()

    top = store.sql("select neuron, rank, image, value from top_image where layer = 'fc' order by neuron, rank").fetchall()
    expected = []
    for neuron in range(neurons):
        order = np.lexsort((np.arange(images), -exact[:, neuron]))[:100]
        order = order[exact[order, neuron] > 0]
        expected += [(neuron, rank, int(image), float(values[image, neuron])) for rank, image in enumerate(order, start=1)]
    assert top == expected

    maximum = np.maximum(exact, 0).max(axis=0)
    found = store.sql("select neuron, category, images, response from category_response where layer = 'fc' order by 1, 2").fetchall()
    assert len(found) == neurons * 3
    for neuron, category, count, response in found:
        members = np.maximum(exact[labels == category, neuron], 0)
        assert count == len(members)
        if maximum[neuron] == 0:
            assert response is None
        else:
            assert response == pytest.approx(members.mean() / maximum[neuron], abs=1e-9)


@pytest.mark.parametrize("neurons", [1, 2, 64, 65])
@pytest.mark.parametrize("images", [2048, 2049, 6200])
def test_widths_over_blocks(store: dp.Store, neurons: int, images: int) -> None:
    """Layers of any width, one neuron too, are stored as they are over blocks, and their quantiles are of those values."""
    values = normal(images, neurons).astype(np.float32)
    add(store, activations={"fc": values}, logits=normal(images, 3))
    assert_stored(store, values)
    found = store.sql("select q50 from neuron_summary where layer = 'fc' order by neuron").fetchnumpy()["q50"]
    np.testing.assert_allclose(found, np.median(values.astype(np.float64), axis=0), rtol=1e-12)


@pytest.mark.parametrize("at_once", [1, 10, 64, 128, 1000])
def test_neurons_read_some_at_a_time(store: dp.Store, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """However few neurons of a layer fit in memory, their quantiles, histograms and examples are those of their values."""
    values = normal(300, 129).astype(np.float32)
    with monkeypatch.context() as patched:
        patched.setattr("deephys_sql.recording.activations.VALUES_READ", 300 * at_once)
        add(store, activations={"fc": values}, logits=normal(300, 3))
    found = store.sql("select q50 from neuron_summary where layer = 'fc' order by neuron").fetchnumpy()["q50"]
    np.testing.assert_allclose(found, np.median(values.astype(np.float64), axis=0), rtol=1e-12)
    assert store.check() == []


@pytest.mark.parametrize("rows", [1, 7, 999, 1_000_000])
def test_inserted_some_rows_at_a_time(store: dp.Store, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Layers that fill one buffer together lose no row and have none twice, however many of their rows it holds."""
    monkeypatch.setattr("deephys_sql.recording.activations.ROWS_INSERTED", rows)
    monkeypatch.setattr("deephys_sql.recording.activations.BLOCK_IMAGES", 64)
    layers = {f"fc{width}": normal(300, width, seed=width).astype(np.float32) for width in (1, 65, 200)}
    add(store, activations=dict(list(layers.items())[:2]), logits=normal(300, 3), dataset="first")
    store.add_directions("fc65", "axes", np.eye(2, 65), model="net", progress=False)
    add(store, activations=layers, logits=normal(300, 3), replace=True)
    for name, values in layers.items():
        assert_stored(store, values, layer=name)
    assert_stored(store, layers["fc65"][:, :2], layer="axes")
    ((stored,),) = store.sql("select count(*) from stored_activation").fetchall()
    assert stored == 300 * (1 + 2 + 1 + 1) + 300 * (1 + 2 + 4 + 1 + 1)
    assert store.check() == []


def test_wide_layer(store: dp.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer so wide that it is written in smaller blocks, and in several inserts, is stored and summarised all the same."""
    monkeypatch.setattr("deephys_sql.recording.activations.BLOCK_VALUES", 2**14)
    monkeypatch.setattr("deephys_sql.recording.activations.ROWS_INSERTED", 999)
    monkeypatch.setattr("deephys_sql.recording.layer_writer.ROW_GROUP", 1000)
    values = np.random.default_rng(0).integers(-3, 4, (300, 1000), np.int8)
    labels = np.random.default_rng(1).integers(-1, 3, 300)
    add(store, activations={"fc": values}, logits=normal(300, 3), labels=labels)
    assert_stored(store, values)
    for category in range(3):
        found = store.sql(
            "select response * 3 as sum from category_response where layer = 'fc' and category = $c order by neuron", c=category
        )
        expected = np.maximum(values[labels == category], 0).mean(axis=0)
        np.testing.assert_allclose(found.fetchnumpy()["sum"], expected, atol=1e-9)
    found = store.sql("select max, mean from neuron_summary where layer = 'fc' order by neuron").fetchnumpy()
    assert (found["max"] == values.max(axis=0)).all()
    np.testing.assert_allclose(found["mean"], values.mean(axis=0), atol=1e-9)


class Packed(Sequence):
    """Pictures in one file, of which only one can be read at a time: what one thread looks for another would read."""

    def __init__(self, path: Path, images: np.ndarray):
        path.write_bytes(images.tobytes())
        self._file, self._shape = path.open("rb"), images.shape

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        size = int(np.prod(self._shape[1:]))
        self._file.seek(place * size)
        time.sleep(0.0002)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape[1:])


def test_pictures_are_asked_for_by_one_thread(store: dp.Store, tmp_path: Path) -> None:
    """Pictures that are read when they are asked for come one after the other, each beside its own image."""
    pictures = np.random.default_rng(0).integers(0, 256, (200, 6, 5, 3), np.uint8)
    add(store, activations={"fc": normal(200)}, logits=normal(200, 3), images=Packed(tmp_path / "pictures", pictures))
    stored = store.sql("select thumbnail from image order by image").fetchall()
    for expected, (found,) in zip(pictures, stored, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(found))), expected)


PEAK = """
import re, sys
import numpy as np
import deephys_sql as dp

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1000

def batches(seed):
    random = np.random.default_rng(seed)
    for _ in range(images // 100):
        yield random.standard_normal((100, 500), np.float32)

path, images = sys.argv[1], int(sys.argv[2])
before = peak()
with dp.open(path) as store:
    layers = {f"fc{number}": batches(number) for number in range(40)}
    store.add_recording(model="net", dataset="test", activations=layers, predictions=[0] * images, categories=["a"], progress=False)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no peak of memory")
def test_memory_with_many_layers(tmp_path: Path) -> None:
    """40 layers of 500 neurons, recorded side by side, take less than a gigabyte, though their activations are nearly as much."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path / "study.duckdb"), "12000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 900  # MB


# --- Layers that come later ---------------------------------------------------------------------------------------------


def _both(seed: int, images: int = 2500) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    layers = {name: np.maximum(random.standard_normal((images, width), np.float32), 0) for name, width in {"fc": 70, "later": 3}.items()}
    layers["later"][:, 1] = 0  # silent
    return {"activations": layers, "logits": random.standard_normal((images, 4), np.float32), "labels": random.integers(0, 4, images)}


def test_a_layer_added_later_is_as_recorded_with_the_others(tmp_path: Path) -> None:
    """Whatever a store says of a model is the same, whether its layers came together or one after the other, in any order of datasets."""
    views = ["activation", "response", "top_image", "neuron_summary", "neuron_score", "category_response", "prediction"]
    with dp.open(tmp_path / "together.duckdb") as together, dp.open(tmp_path / "apart.duckdb") as apart:
        given = {dataset: _both(seed) for seed, dataset in enumerate(("day", "night"))}
        for dataset, arrays in given.items():
            together.add_recording(model="net", dataset=dataset, **arrays, progress=False)
            first = arrays | {"activations": {"fc": arrays["activations"]["fc"]}}
            apart.add_recording(model="net", dataset=dataset, **first, progress=False)
        of_others = "select layer, dataset, recorded_at from recording join layer using (model) where layer != 'later' order by all"
        before = apart.sql(of_others).fetchall()
        for dataset in ("night", "day"):
            batches = np.array_split(given[dataset]["activations"]["later"], 3)
            apart.add_recording(model="net", dataset=dataset, activations={"later": batches}, add_layers=True, progress=False)
        assert apart.sql(of_others).fetchall() == before
        for view in views:
            text = f"select * from {view} order by all"
            assert apart.sql(text).fetchall() == together.sql(text).fetchall(), view
        assert apart.check() == together.check() == []


def test_what_is_written_when_a_layer_is_added(tmp_path: Path) -> None:
    """Adding a layer writes rows of that layer alone: those that are there stay where they lie in the file."""
    with dp.open(tmp_path / "study.duckdb", in_place=True) as store:
        arrays = _both(1)
        store.add_recording(model="net", dataset="day", **(arrays | {"activations": {"fc": arrays["activations"]["fc"]}}), progress=False)
        places = "select rowid, piece, image from stored_activation where piece in (select piece from stored_neuron) order by rowid"
        before = store.sql(places).fetchall()
        store.add_recording(
            model="net", dataset="day", activations={"later": arrays["activations"]["later"]}, add_layers=True, progress=False
        )
        after = store.sql(places).fetchall()
        assert after[: len(before)] == before and len(after) == len(before) + 2500


def test_layers_that_cannot_be_added(tmp_path: Path) -> None:
    """A layer that is there, other images, outputs, a recording that is not there, and replace= beside are refused; nothing is written."""
    with dp.open(tmp_path / "study.duckdb") as store:
        arrays = _both(1)
        store.add_recording(model="net", dataset="day", **arrays, progress=False)
        before = store.sql("select * exclude (recorded_at) from recording").fetchall(), store.layers("net").fetchall()
        new = {"model": "net", "dataset": "day", "activations": {"new": arrays["activations"]["fc"]}, "add_layers": True, "progress": False}
        for change, error, message in (
            ({"activations": {"later": arrays["activations"]["later"]}}, RecordingExistsError, "layer 'later' of model 'net' is recorded"),
            ({"activations": {"new": np.ones((3, 2))}}, DatasetDiffersError, "stored with 2500 images; 3 were given"),
            ({"labels": (arrays["labels"] + 1) % 4}, DatasetDiffersError, "image 0 differs in its label"),
            ({"logits": arrays["logits"]}, InvalidInputError, "logits and predictions are recorded already"),
            ({"dataset": "night"}, InvalidInputError, "'net' was not recorded on dataset 'night'"),
            ({"replace": True}, InvalidInputError, "give one of the two"),
        ):
            with pytest.raises(error, match=message):
                store.add_recording(**(new | change))
        with pytest.raises(RecordingExistsError, match="add_layers=True to record more of its layers"):
            store.add_recording(**(new | {"add_layers": False, "predictions": arrays["labels"]}))
        assert (store.sql("select * exclude (recorded_at) from recording").fetchall(), store.layers("net").fetchall()) == before
        assert store.check() == []
