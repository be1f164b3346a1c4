"""What is refused: by which error, in which words, and with nothing written."""

import gc
import io
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

import deephys_sql as dp
from deephys_sql.errors import (
    CategoriesDifferError,
    DatasetDiffersError,
    DeephysError,
    InvalidInputError,
    ModelDiffersError,
    NotAStoreError,
    NotFiniteError,
    ReadOnlyError,
    RecordingExistsError,
    RecordingInProgressError,
    StoreLockedError,
    StoreNotFoundError,
    UnknownNameError,
)
from deephys_sql.recording.summary import LayerSummary

CATEGORIES = ["cat", "dog", "owl"]
IMAGES = 5
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 6, 3)).astype(np.uint8)
LABELS = [0, 1, 2, 1, 0]
METADATA = [{"camera": i} for i in range(IMAGES)]


def values(neurons: int = 4, images: int = IMAGES, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, neurons)).astype(np.float32)


def good(**changes: Any) -> dict[str, Any]:
    """Arguments of a recording that is right, with some of them changed; `...` leaves one out."""
    arguments = {
        "model": "net",
        "dataset": "new",
        "activations": {"fc": values()},
        "logits": values(3),
        "labels": LABELS,
        "categories": CATEGORIES,
        "progress": False,
    }
    arguments |= changes
    return {name: value for name, value in arguments.items() if value is not ...}


def dump(store: dp.Store) -> dict[str, list[str]]:
    """Every row of every table, and the setting that recording changes."""
    tables = [name for (name,) in store.sql("select table_name from duckdb_tables() order by 1").fetchall()]
    contents = {name: sorted(map(repr, store.sql(f'select * from "{name}"').fetchall())) for name in tables}
    return contents | {"memory_limit": store.sql("select current_setting('memory_limit')").fetchall()}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one recording: model `net` on dataset `test`, with pictures, labels and metadata."""
    path = tmp_path_factory.mktemp("template") / "study.duckdb"
    with dp.open(path) as store:
        store.add_recording(**good(dataset="test", images=PIXELS, image_metadata=METADATA))
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[dp.Store]:
    """A copy of the template, open."""
    with dp.open(shutil.copy(template, tmp_path)) as opened:
        yield opened


def refused(store: dp.Store, action: Callable[[], Any], error: type[DeephysError], *said: str) -> str:
    """Do what must be refused, and check error, words, that nothing was written, and that recording works afterwards."""
    before = dump(store)
    with pytest.raises(error) as raised:
        action()
    message = str(raised.value)
    assert isinstance(raised.value, DeephysError)
    for words in said:
        assert re.search(words, message), f"{words!r} is not said in: {message}"
    assert dump(store) == before
    store.add_recording(**good(dataset="afterwards"))
    assert ("net", "afterwards", IMAGES) in store.sql("select model, dataset, images from recording").fetchall()
    assert store.check() == []
    return message


def batches(*matrices: Any) -> Iterator[Any]:
    yield from matrices


def with_value(value: float, image: int, neuron: int, dtype: Any = np.float32, images: int = IMAGES) -> np.ndarray:
    matrix = values(images=images).astype(dtype)
    matrix[image, neuron] = value
    return matrix


# --- NaN and infinity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite_activation(store: dp.Store, value: float, dtype: Any) -> None:
    """A NaN or an infinity in a layer is refused with layer, image and neuron, whatever the precision."""
    refused(
        store,
        lambda: store.add_recording(**good(activations={"conv": values(), "fc": with_value(value, 3, 2, dtype)})),
        NotFiniteError,
        "'fc'",
        "image 3",
        "neuron 2",
        str(np.float32(value)),
    )


def test_not_finite_float64_overflow(store: dp.Store) -> None:
    """A float64 too large for float32 would be stored as infinity, so it is refused by name."""
    arguments = good(activations={"fc": with_value(1e39, 1, 0, np.float64)})
    refused(store, lambda: store.add_recording(**arguments), NotFiniteError, "'fc'", "image 1", "neuron 0")


def test_not_finite_in_a_later_batch(store: dp.Store) -> None:
    """The image number counts from the beginning of the recording, over batches and blocks, and earlier blocks are undone."""
    images = 4500
    arguments = good(
        activations={"fc": batches(values(images=1000), values(images=3000), with_value(np.nan, 321, 3, images=500))},
        logits=values(3, images),
        labels=[0] * images,
    )
    refused(store, lambda: store.add_recording(**arguments), NotFiniteError, "'fc'", "image 4321", "neuron 3")


def test_not_finite_logits(store: dp.Store) -> None:
    """The output is held to the same."""
    logits = values(3)
    logits[4, 1] = np.nan
    refused(store, lambda: store.add_recording(**good(logits=logits)), NotFiniteError, "'output'", "image 4", "neuron 1")


# --- Shapes ------------------------------------------------------------------------------------------------------------

SHAPES = {
    "fewer logits than activations": (dict(logits=values(3, 4)), "4", "5"),
    "more logits than activations": (dict(logits=values(3, 6)), "5", "6"),
    "layers of different lengths": (dict(activations={"a": values(), "b": values(images=7)}), "'a'", "'b'", "5", "7"),
    "more logits than categories": (dict(logits=values(4), model="other", dataset="new"), "4", "3 categories"),
    "fewer logits than categories": (dict(logits=values(2)), "'output'", "2", "3 categories"),
    "one-dimensional activations": (dict(activations={"fc": np.ones(IMAGES)}), "'fc'", r"\(5,\)", "images x neurons"),
    "feature maps": (dict(activations={"conv": np.ones((IMAGES, 4, 2, 2))}), "'conv'", r"\(5, 4, 2, 2\)", "[Pp]ool"),
    "feature maps in batches": (dict(activations={"conv": [np.ones((IMAGES, 4, 2))]}), "'conv'", r"\(5, 4, 2\)"),
    "a scalar array": (dict(activations={"fc": np.float32(1)}), "'fc'", "images x neurons"),
    "no neurons": (dict(activations={"fc": np.ones((IMAGES, 0))}), "'fc'", "no neurons"),
    "one-dimensional logits": (dict(logits=np.ones(IMAGES)), "'output'", r"\(5,\)"),
    "too few labels": (dict(labels=[0, 1]), "labels", "2", "5"),
    "too many labels": (dict(labels=[0] * 6), "labels", "6", "5"),
    "too few predictions": (dict(predictions=[0, 1]), "predictions", "2", "5"),
    "too few images": (dict(images=PIXELS[:3]), "images", "3", "5"),
    "too many images": (dict(images=[*PIXELS, PIXELS[0]]), "images", "6", "5"),
    "too little metadata": (dict(image_metadata=METADATA[:1]), "metadata", "1", "5"),
    "width changes between batches": (
        dict(activations={"fc": [values(4, 3), values(5, 2)]}), "'fc'", "4", "5"),
    "width changes between blocks": (
        dict(activations={"fc": batches(values(4, 2048), values(6, 10))}, logits=values(3, 2058), labels=...), "'fc'", "4", "6"),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_fit(store: dp.Store, case: str) -> None:
    """Shapes that don't fit are refused, with what was given and the sizes that were found."""
    changes, *said = SHAPES[case]
    refused(store, lambda: store.add_recording(**good(**changes)), InvalidInputError, *said)


@pytest.mark.parametrize("images", [0, 2])
def test_nothing_to_record(store: dp.Store, images: int) -> None:
    """A recording without images is refused: from an empty array, no batches, or batches of no images."""
    empty = [values(images=0)] * images
    arguments = good(activations={"fc": empty}, logits=values(3, 0), labels=[])
    refused(store, lambda: store.add_recording(**arguments), InvalidInputError, "no images", "'net'", "'new'")


# --- Iterators that end early or late ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(activations={"fc": lambda: batches(values(images=3))}), ["'fc'", "3", "5"]),
        (dict(activations={"fc": lambda: batches(values(), values())}), ["5", "10|more"]),
        (dict(activations={"a": lambda: batches(values(), values()), "b": lambda: batches(values())}, logits=..., predictions=LABELS),
         ["'b'", "5", "10|more"]),
        (dict(activations={"fc": lambda: batches(values(images=3))}, logits=..., predictions=LABELS), ["3", "5"]),
        (dict(activations={"fc": lambda: batches(values(images=9))}, logits=..., predictions=LABELS), ["9|8", "5"]),
        (dict(activations={"fc": lambda: batches(values(images=2048), values(images=2))}, logits=..., predictions=[0] * 2048,
              labels=...), ["2049", "2048"]),
        (dict(activations={"fc": lambda: batches(values(images=2048))}, logits=..., predictions=[0] * 2050, labels=...),
         ["2048", "2050"]),
        (dict(activations={"fc": lambda: batches(values(images=3))}, logits=..., predictions=..., labels=LABELS[:3],
              image_metadata=METADATA[:3]), ["logits", "predictions"]),
    ],
)  # fmt: skip
def test_iterator_ends_early_or_late(store: dp.Store, given: dict[str, Any], said: list[str]) -> None:
    """An iterator that gives fewer or more images than the labels, the logits or another layer is refused."""
    given = given | {"activations": {name: make() for name, make in given["activations"].items()}}
    refused(store, lambda: store.add_recording(**good(**given)), InvalidInputError, *said)


def test_endless_iterator(store: dp.Store) -> None:
    """An iterator that never ends is noticed when there are more activations than labels."""

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield values(images=1000)

    arguments = good(activations={"fc": endless()}, logits=..., predictions=[0] * 3000, labels=...)
    refused(store, lambda: store.add_recording(**arguments), InvalidInputError, "3000")


def test_iterator_that_raises(store: dp.Store) -> None:
    """What an iterator raises comes out as it is, and nothing is written."""

    def broken() -> Iterator[np.ndarray]:
        yield values(images=2500)
        raise LookupError("the disk with the features is gone")

    before = dump(store)
    with pytest.raises(LookupError, match="is gone"):
        store.add_recording(**good(activations={"fc": broken()}, logits=values(3, 5000), labels=...))
    assert dump(store) == before
    store.add_recording(**good())


# --- Labels, predictions, categories -----------------------------------------------------------------------------------

LABEL_CASES = {
    "beyond the categories": ([0, 1, 3, 1, 0], "image 2", "3", "0 to 2"),
    "below -1": ([0, -2, 1, 1, 0], "image 1", "-2"),
    "of torch's ignore_index": ([0, 1, 1, 1, -100], "image 4", "-100"),
    "a fraction": ([0, 1, 0.5, 1, 0], "image 2", "0.5"),
    "infinity": ([0, 1, float("inf"), 1, 0], "image 2", "inf"),
    "names": (["cat", "dog", "owl", "cat", "cat"], "label", "integer"),
    "names and None": (["cat", None, "owl", "cat", "cat"], "image 0", "cat"),
    "booleans": ([True, False, True, True, False], "bool"),
    "one-hot": (np.eye(5, 3, dtype=int), r"\(5, 3\)"),
    "one-hot floats": (np.eye(5, 3), "image 0|5, 3"),
    "a column": (np.zeros((5, 1), int), r"\(5, 1\)"),
    "ragged": ([[0], [0, 1], [2], [1], [0]], "label"),
    "one number": (1, "label"),
    "one fraction": (1.5, "label"),
    "larger than int64": (np.array([0, 1, 2**64 - 1, 1, 0], np.uint64), "image 2|18446744073709551615"),
    "larger than int32": ([0, 1, 2**32, 1, 0], "image 2", "4294967296"),
    "a dict by image": ({0: 1, 1: 0, 2: 1, 3: 0, 4: 0}, "label", "dict"),
    "a set": ({0, 1, 2, 3, 4}, "label", "set"),
    "dates": (pd.to_datetime(["2020-01-01"] * 5).to_numpy(), "label"),
}


@pytest.mark.parametrize("case", LABEL_CASES)
def test_labels(store: dp.Store, case: str) -> None:
    """Labels that are no category ids, one an image, are refused with the image and the value."""
    labels, *said = LABEL_CASES[case]
    refused(store, lambda: store.add_recording(**good(labels=labels)), InvalidInputError, *said)


@pytest.mark.parametrize("wrong", [3, -1, -2, None])
@pytest.mark.parametrize("with_logits", [True, False])
def test_predictions(store: dp.Store, wrong: int | None, with_logits: bool) -> None:
    """A prediction is one of the categories; it can't be unknown."""
    arguments = good(predictions=[0, 1, wrong, 1, 0], logits=values(3) if with_logits else ...)
    refused(store, lambda: store.add_recording(**arguments), InvalidInputError, "prediction", "image 2", "0 to 2")


def test_categories_unknown(store: dp.Store) -> None:
    """Predictions alone don't tell the categories of a new model and dataset: it is said what to give."""
    arguments = good(model="other", categories=..., logits=..., predictions=LABELS)
    refused(store, lambda: store.add_recording(**arguments), InvalidInputError, "categories", "'other'", "logits")


@pytest.mark.parametrize("categories", [[], "cat dog", ["cat", "cat", "owl"], 3, ["1", 1, "2"], b"abc", ["cat", "\ud800", "owl"]])
def test_categories_that_are_no_list_of_names(store: dp.Store, categories: Any) -> None:
    """Categories are distinct names in a list."""
    arguments = good(model="other", categories=categories)
    refused(store, lambda: store.add_recording(**arguments), InvalidInputError, "categories")


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        (["cat", "dog"], ["2"]),
        (["cat", "dog", "owl", "cow"], ["4", "'cow'"]),
        (["cat", "owl", "dog"], ["'owl'", "'dog'", "1"]),
        (["cat", "dog", "Owl"], ["'Owl'", "'owl'"]),
        (["kitten", "dog", "owl"], ["'kitten'", "'cat'"]),
    ],
)
@pytest.mark.parametrize(("model", "dataset"), [("net", "new"), ("other", "test")])
def test_other_categories(store: dp.Store, categories: list[str], said: list[str], model: str, dataset: str) -> None:
    """A stored model, and a stored dataset, keep their list of categories: another list is refused, and the place is named."""
    arguments = good(model=model, dataset=dataset, categories=categories, logits=values(len(categories)), labels=...)
    known = "net" if model == "net" else "test"
    message = refused(store, lambda: store.add_recording(**arguments), CategoriesDifferError, f"'{known}'", *said)
    assert "3 categories" in message


def test_model_and_dataset_of_other_categories(store: dp.Store) -> None:
    """A stored model is not recorded on a dataset whose categories are others, even when none are given."""
    store.add_recording(**good(model="letters", dataset="letters", categories=["a", "b", "c"]))
    arguments = good(model="letters", dataset="test", categories=...)
    refused(store, lambda: store.add_recording(**arguments), CategoriesDifferError, "'cat'", "'a'")


# --- A dataset, a model, a recording that is there already -------------------------------------------------------------


def test_recording_exists(store: dp.Store) -> None:
    """Recording the same model on the same dataset needs replace=True, and the message says so."""
    refused(
        store, lambda: store.add_recording(**good(dataset="test")), RecordingExistsError, "'net'", "'test'", r"replace=True"
    )  # fmt: skip


OTHER_PIXELS = PIXELS.copy()
OTHER_PIXELS[3, 0, 0, 0] ^= 1
OTHER_IMAGES = {
    "fewer images": (dict(activations={"fc": values(images=4)}, logits=values(3, 4), labels=LABELS[:4]), "5", "4"),
    "more images": (dict(activations={"fc": values(images=6)}, logits=values(3, 6), labels=[*LABELS, 0]), "5", "6"),
    "another label": (dict(labels=[0, 1, 2, 1, 1]), "image 4", "label"),
    "an unknown label": (dict(labels=[0, 1, 2, 1, -1]), "image 4", "label"),
    "one bit of one pixel": (dict(images=OTHER_PIXELS), "image 3", "pixel"),
    "channels swapped": (dict(images=PIXELS[..., ::-1]), "image 0", "pixel"),
    "images in another order": (dict(images=PIXELS[::-1]), "image 0", "pixel"),
    "other metadata": (dict(image_metadata=[*METADATA[:2], {"camera": 9}, *METADATA[3:]]), "image 2", "metadata"),
}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("case", OTHER_IMAGES)
def test_dataset_with_other_images(store: dp.Store, case: str, replace: bool) -> None:
    """Another model can't bring other images under a stored dataset's name; nor can it when it replaces its own recording."""
    if replace:
        store.add_recording(**good(model="second", dataset="test", labels=...))
    changes, *said = OTHER_IMAGES[case]
    arguments = good(model="second", dataset="test", replace=replace, **changes)
    refused(store, lambda: store.add_recording(**arguments), DatasetDiffersError, "'test'", *said)


def test_layer_with_another_width(store: dp.Store) -> None:
    """A layer of a model has one width on every dataset."""
    refused(
        store, lambda: store.add_recording(**good(activations={"fc": values(9)})), ModelDiffersError, "'fc'", "'net'", "4", "9"
    )  # fmt: skip


def test_layer_with_another_nonlinearity(store: dp.Store) -> None:
    """A layer's values come out of one non-linearity and pooling on every dataset."""
    arguments = good(nonlinearity="relu")
    refused(store, lambda: store.add_recording(**arguments), ModelDiffersError, "'fc'", "'net'", "relu")


def test_failed_replacement_keeps_the_old_recording(store: dp.Store) -> None:
    """replace=True that fails, early or late, leaves the recording that was to be replaced."""
    for arguments in (
        good(dataset="test", replace=True, labels=[9] * 5),
        good(dataset="test", replace=True, activations={"fc": batches(values(images=3))}),
        good(dataset="test", replace=True, activations={"fc": with_value(np.nan, 4, 0)}),
    ):
        before = dump(store)
        with pytest.raises(DeephysError):
            store.add_recording(**arguments)
        assert dump(store) == before
        assert store.check() == []


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_failed_summary(store: dp.Store, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """What fails where any block is summarised, beside its insertion, ends the recording as any other failure does, its threads too."""
    monkeypatch.setattr("deephys_sql.recording.activations.BLOCK_IMAGES", 1)
    summarised = []

    def fail(summary: LayerSummary, *arguments: object, **named: object) -> None:
        if len(summarised) == failing:
            raise MemoryError("no room for a block")
        summarised.append(add(summary, *arguments, **named))

    before, threads, add = dump(store), threading.active_count(), LayerSummary.add
    with monkeypatch.context() as patched:
        patched.setattr(LayerSummary, "add", fail)
        with pytest.raises(MemoryError, match="no room for a block"):
            store.add_recording(**good())
    assert dump(store) == before
    gc.collect()
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    store.add_recording(**good())


# --- Pictures ----------------------------------------------------------------------------------------------------------


def encoded(format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(buffer, format)
    return buffer.getvalue()


def closed_picture() -> Image.Image:
    picture = Image.fromarray(PIXELS[0])
    picture.close()
    return picture


GOOD_PICTURE = Image.fromarray(PIXELS[0])
PICTURES = {
    "channels first": (np.zeros((IMAGES, 3, 8, 8), np.uint8), r"\(5, 3, 8, 8\)", "channels first"),
    "two channels": (np.zeros((IMAGES, 8, 8, 2), np.uint8), r"\(5, 8, 8, 2\)"),
    "one picture": (PIXELS[0, :, :, 0], r"\(4, 6\)"),
    "no pixels": (np.zeros((IMAGES, 0, 8), np.uint8), "pixel"),
    "integers wider than a byte": (np.zeros((IMAGES, 8, 8), np.int64), "int64", "uint8"),
    "booleans": (np.zeros((IMAGES, 8, 8), bool), "bool"),
    "floats to 255": (PIXELS.astype(np.float32), "0..1", "255"),
    "floats below 0": (PIXELS / 255 - 0.5, "0..1", "-0.5"),
    "NaN": (np.full((IMAGES, 8, 8), np.nan), "nan"),
    "text": ("images/", "str"),
    "a missing path": ([GOOD_PICTURE] * 3 + ["/no/such/picture.png"] * 2, "image 3", "/no/such/picture.png"),
    "a folder": ([GOOD_PICTURE, "/"] + [GOOD_PICTURE] * 3, "image 1"),
    "a path with a NUL": (["a\0b.png"] * IMAGES, "image 0"),
    "bytes that are no picture": ([encoded()] * 4 + [b"not a picture"], "image 4"),
    "no bytes": ([b""] * IMAGES, "image 0"),
    "half a PNG": ([encoded()] * 2 + [encoded()[: len(encoded()) // 2]] * 3, "image 2"),
    "a PNG with a broken header": ([encoded()[:11] + b"\x05" + encoded()[12:]] * IMAGES, "image 0"),
    "a PPM with letters for numbers": ([b"P6\n4 x\n255\n" + b"0" * 72] * IMAGES, "image 0"),
    "None": ([GOOD_PICTURE, None] + [GOOD_PICTURE] * 3, "image 1", "NoneType"),
    "a closed picture": ([GOOD_PICTURE, closed_picture()] + [GOOD_PICTURE] * 3, "image 1"),
    "arrays that are no pictures": ([np.zeros(4, np.uint8)] * IMAGES, "image 0", r"\(4,\)"),
    "float arrays beyond 1": ([np.full((4, 4), 2.0)] * IMAGES, "image 0", "0..1"),
    "an array of objects": (np.array([GOOD_PICTURE] * IMAGES, object), r"images"),
}  # fmt: skip


@pytest.mark.parametrize("case", PICTURES)
def test_pictures(store: dp.Store, case: str) -> None:
    """Images that are no pictures are refused, with the first of them named."""
    images, *said = PICTURES[case]
    refused(store, lambda: store.add_recording(**good(images=images)), InvalidInputError, *said)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_pictures(format: str) -> None:
    """Whatever bytes are damaged, a picture is read or refused with its number: nothing else comes out."""
    from deephys_sql.recording.pictures import Encoder

    random = np.random.default_rng(0)
    whole = encoded(format)
    for attempt in range(120):
        damaged = bytearray(whole[: random.integers(1, len(whole))] if attempt % 4 == 0 else whole)
        for place in random.integers(0, len(damaged) if attempt % 2 else min(60, len(damaged)), 4):
            damaged[place] = random.integers(256)
        try:
            Encoder().encode_all([bytes(damaged)], first_image=7)
        except InvalidInputError as error:
            assert "image 7" in str(error)


@pytest.mark.parametrize(
    "options",
    [
        dict(thumbnail_size=0),
        dict(thumbnail_size=-3),
        dict(thumbnail_size="64"),
        dict(thumbnail_size=None),
        dict(thumbnail_format="gif"),
        dict(thumbnail_format=None),
        dict(thumbnail_format=["webp"]),
    ],
    ids=str,
)
def test_thumbnail_options(store: dp.Store, options: dict[str, Any]) -> None:
    """A thumbnail's size is a number of pixels, its format webp or png."""
    (name, value) = next(iter(options.items()))
    refused(store, lambda: store.add_recording(**good(images=PIXELS, **options)), InvalidInputError, name, re.escape(repr(value)))


# --- Metadata ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        "camera",
        {"camera": [1, 2, 3, 4, 5]},
        [1, 2, 3, 4, 5],
        [{"camera": 1}, None, {}, {}, {}],
        np.array([{}] * IMAGES),
        pd.Series([1, 2, 3, 4, 5]),
        pd.Series([{}] * 5),
        pa.array([1, 2, 3, 4, 5]),
        SimpleNamespace(__arrow_c_stream__=pa.chunked_array([[1, 2, 3, 4, 5]]).__arrow_c_stream__),
        7,
    ],
    ids=lambda value: type(value).__name__,
)
def test_metadata_that_is_no_table(store: dp.Store, metadata: Any) -> None:
    """Metadata is a list of dicts, a DataFrame or an Arrow table."""
    refused(store, lambda: store.add_recording(**good(image_metadata=metadata)), InvalidInputError, "metadata", "dict")


def test_metadata_with_half_a_character(store: dp.Store) -> None:
    """Text that is not Unicode, such as a file's name that the system could not decode, is refused with its image, or kept."""
    metadata = [*METADATA[:3], {"file": "photo-\udcff.png"}, METADATA[4]]
    before = dump(store)
    try:
        store.add_recording(**good(image_metadata=metadata))
    except InvalidInputError as error:
        assert "image 3" in str(error)
        assert dump(store) == before
    store.add_recording(**good(dataset="afterwards"))
    assert store.check() == []


def test_metadata_of_a_later_batch_is_named(store: dp.Store, torch: Any) -> None:
    """A message has the image's number in the dataset, whichever batch it came in."""
    before = dump(store)
    fields = [{"file": "a"}] * 2500 + [{"file": "\udcff"}]
    batches = (np.ones((count, 2), np.float32) for count in (2048, 453))
    with pytest.raises(InvalidInputError, match="metadata of image 2500 "):
        store.add_recording(
            model="m",
            dataset="d",
            activations={"fc": batches},
            logits=np.ones((2501, 2), np.float32),
            image_metadata=fields,
            progress=False,
        )
    net = torch.nn.Linear(2, 2)
    for wrong, message in (({"file": "\udcff"}, "metadata of image 3 is"), (7, "metadata of image 3 must be a dict")):
        with pytest.raises(InvalidInputError, match=message), store.record(net, name="m", dataset="d", layers=[]) as rec:
            rec(torch.ones(2, 2), metadata=[{}, {}])
            rec(torch.ones(2, 2), metadata=[{}, wrong])
    assert dump(store) == before


# --- Names and other arguments -----------------------------------------------------------------------------------------

ARGUMENTS = {
    "no model name": (dict(model=""), "model", "''"),
    "a model that is no name": (dict(model=None), "model", "None"),
    "a name of half a character": (dict(model="\ud800"), "model"),
    "a blank dataset name": (dict(dataset="  "), "dataset", "'  '"),
    "a path as dataset name": (dict(dataset=Path("test")), "dataset"),
    "a layer without name": (dict(activations={"": values()}), "layer", "''"),
    "a numbered layer": (dict(activations={3: values()}), "layer", "3"),
    "activations that are no dict": (dict(activations=values()), "activations", "dict"),
    "no activations": (dict(activations={}, logits=..., predictions=LABELS), "activations", "at least one"),
    "neither logits nor predictions": (dict(logits=...), "logits", "predictions"),
    "logits under a layer's name": (dict(activations={"output": values()}), "'output'", "output="),
    "an unknown kind of output": (dict(output_kind="softmax"), "'softmax'", "'log_softmax'", "'probabilities'"),
    "logits called probabilities": (dict(output_kind="probabilities", logits=values(3) * 5), "probabilities", "logits"),
    "logits called log_softmax": (dict(output_kind="log_softmax", logits=values(3) * 5), "log_softmax", "logits"),
    "nonlinearity of no layer": (dict(nonlinearity={"fx": "relu"}), "'fx'", "'fc'"),
    "pooling of no layer": (dict(pooling={"fx": "max"}), "'fx'", "'fc'"),
    "complex numbers": (dict(activations={"fc": values() * 1j}), "'fc'", "complex"),
    "text for numbers": (dict(activations={"fc": values().astype(str)}), "'fc'", "<U"),
    "objects for numbers": (dict(activations={"fc": values().astype(object)}), "'fc'", "object"),
    "None for activations": (dict(activations={"fc": None}), "'fc'", "NoneType"),
    "text for activations": (dict(activations={"fc": "fc.npy"}), "'fc'", "str"),
    "one number for activations": (dict(activations={"fc": 3.5}), "'fc'", "float"),
    "ragged batches": (dict(activations={"fc": [[[1.0, 2.0], [3.0]]]}), "'fc'"),
    "a dict of a layer's batches": (dict(activations={"fc": {"a": values()}}), "'fc'", "dict"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(store: dp.Store, case: str) -> None:
    """Names and options that can't be right are refused, with what was found and what is needed."""
    changes, *said = ARGUMENTS[case]
    refused(store, lambda: store.add_recording(**good(**changes)), InvalidInputError, *said)


def test_set_reference_to_what_is_not_there(store: dp.Store) -> None:
    """A reference is a dataset that the model was recorded on; the nearest names are given."""
    store.add_recording(**good(dataset="night"))
    store.add_recording(**good(model="other", dataset="day"))
    before = dump(store)
    for model, dataset, near in (("nett", "night", "'net'"), ("net", "nihgt", "'night'"), ("net", "day", "'test'|'night'")):
        with pytest.raises(UnknownNameError, match=near):
            store.set_reference(model, dataset)
    assert dump(store) == before


def test_unknown_names(store: dp.Store) -> None:
    """Names asked of the store that aren't there are answered with the nearest."""
    with pytest.raises(UnknownNameError, match="'nett'.*'net'"):
        store.layers("nett")
    with pytest.raises(UnknownNameError, match="'top_imges'.*'top_images'"):
        store.query("top_imges")


# --- A recording inside a recording, a store closed or read-only -------------------------------------------------------


def test_read_only_store_refuses_to_record(store: dp.Store) -> None:
    """A store opened read-only refuses to record or set a reference, and stays readable."""
    path = store.path
    before = dump(store)
    store.close()
    with dp.open(path, read_only=True) as closed_to_writing:
        for action in (
            lambda: closed_to_writing.add_recording(**good()),
            lambda: closed_to_writing.set_reference("net", "test"),
        ):
            with pytest.raises(ReadOnlyError, match="read-only"):
                action()
        assert dump(closed_to_writing) == before
    with dp.open(path) as again:
        again.add_recording(**good())


def test_missing_and_wrong_paths(tmp_path: Path) -> None:
    """A path without a store is refused by name, and nothing is made there."""
    with pytest.raises(StoreNotFoundError, match=r"there"):
        dp.open(tmp_path / "none.duckdb", read_only=True)
    with pytest.raises(StoreNotFoundError, match=r"folder .*no"):
        dp.open(tmp_path / "no" / "study.duckdb")
    (tmp_path / "notes.txt").write_text("not a store, but longer than a header")
    with pytest.raises(NotAStoreError, match=r"notes\.txt"):
        dp.open(tmp_path / "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


HOLDER = """
import sys, deephys_sql as dp
with dp.open(sys.argv[1], in_place=True) as store:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_store_open_elsewhere(tmp_path: Path) -> None:
    """A store that another process has open for writing is refused with that process's number."""
    path = tmp_path / "study.duckdb"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"open\n"
        for read_only in (False, True):
            with pytest.raises(StoreLockedError) as raised:
                dp.open(path, read_only=read_only)
            assert str(holder.pid) in str(raised.value) and str(path) in str(raised.value)
        holder.stdin.close()
    with dp.open(path) as store:
        store.add_recording(**good())


# --- Models ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def network(torch: Any) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)
    )  # fmt: skip


@pytest.fixture
def inputs(torch: Any) -> Any:
    return torch.rand(IMAGES, 6)


MODEL_CASES = {
    "an unknown layer": (dict(layers=["3"]), UnknownNameError, "'3'", "'0', '1', '2'"),
    "an unknown output": (dict(output="fc"), UnknownNameError, "'fc'", "'0', '1', '2'"),
    "the model itself": (dict(layers=[""]), DeephysError, "layer"),
    "an unknown pooling": (dict(pooling="median"), InvalidInputError, "'median'", "'mean'"),
    "no pooling": (dict(pooling=None), InvalidInputError, "None", "'mean'"),
    "pooling of no layer": (dict(pooling={"9": "max"}), InvalidInputError, "'9'"),
    "nonlinearity of no layer": (dict(nonlinearity={"9": "relu"}), InvalidInputError, "'9'"),
    "an unknown kind of output": (dict(output_kind="softmax"), InvalidInputError, "'softmax'"),
    "logits called probabilities": (dict(output_kind="probabilities"), InvalidInputError, "probabilities"),
    "another number of categories": (dict(categories=["a", "b"]), InvalidInputError, "2", "3"),
    "no name": (dict(name=""), InvalidInputError, "model"),
    "no dataset": (dict(dataset=""), InvalidInputError, "dataset"),
    "no list of layers": (dict(layers=None), InvalidInputError, "layers"),
    "one layer as a text": (dict(layers="0.linear"), DeephysError, "0.linear"),
    "no model": (dict(model=lambda inputs: inputs), InvalidInputError, "model", "function"),
    "labels outside the categories": (dict(labels=[0, 1, 2, 3, 0]), InvalidInputError, "image 3", "0 to 2"),
    "too few labels": (dict(labels=[0]), InvalidInputError, "labels: 1", "5"),
    "too few images": (dict(images=PIXELS[:2]), InvalidInputError, "images: 2", "5"),
    "normalised inputs as images": (dict(images=PIXELS / 128 - 1.0), InvalidInputError, "0..1", "normalis"),
    "too little metadata": (dict(metadata=METADATA[:2]), InvalidInputError, "metadata: 2", "5"),
}  # fmt: skip


@pytest.mark.parametrize("case", MODEL_CASES)
def test_model_arguments(store: dp.Store, network: Any, inputs: Any, case: str) -> None:
    """What can't be right about recording a model is refused, and leaves no hook."""
    changes, error, *said = MODEL_CASES[case]
    arguments = {"model": network, "name": "torch", "dataset": "new", "layers": ["0"], "output": "2"} | changes
    batch = {name: arguments.pop(name) for name in ("labels", "images", "metadata") if name in arguments}

    def record() -> None:
        with store.record(**arguments) as rec:
            rec(inputs, **batch)

    refused(store, record, error, *said)
    assert not any(module._forward_hooks for module in network.modules())


def test_model_nothing_recorded(store: dp.Store, network: Any) -> None:
    """A block in which no batch was recorded is refused at its end."""

    def record() -> None:
        with store.record(network, "torch", "new", layers=["0"], output="2"):
            pass

    refused(store, record, InvalidInputError, "no images", "'torch'", "'new'")


def test_model_not_finite(store: dp.Store, torch: Any, network: Any, inputs: Any) -> None:
    """A NaN that a model makes in a later batch is named with layer, image and neuron."""
    spoiled = inputs.clone()
    spoiled[2] = float("inf")

    def record() -> None:
        with store.record(network, "torch", "new", layers=["0"], output="2") as rec:
            rec(inputs)
            rec(spoiled)

    refused(store, record, NotFiniteError, "layer '[02]'", "image 7", "neuron 0")


def test_model_refused_batch_is_not_kept_when_the_error_is_caught(store: dp.Store, network: Any, inputs: Any) -> None:
    """After a batch was refused, the recording holds all good batches and no part of that one, or it can't go on."""
    spoiled = inputs.clone()
    spoiled[2] = float("nan")
    before = dump(store)
    try:
        with store.record(network, "torch", "new", layers=["0"], output="2") as rec:
            rec(inputs)
            with pytest.raises(NotFiniteError):
                rec(spoiled)
            rec(inputs)
    except DeephysError:
        assert dump(store) == before
    else:
        assert store.sql("select image from image where dataset = 'new' order by 1").fetchall() == [(i,) for i in range(10)]
        assert store.sql("select image from prediction where dataset = 'new' order by 1").fetchall() == [(i,) for i in range(10)]
    assert store.check() == []


def test_model_returns_no_logits(store: dp.Store, torch: Any, inputs: Any) -> None:
    """A model that returns no matrix needs the name of the module that gives the logits."""

    class Maps(torch.nn.Module):
        def __init__(self, returned: Any):
            super().__init__()
            self.fc = torch.nn.Linear(6, 4)
            self.returned = returned

        def forward(self, values: Any) -> Any:
            self.fc(values)
            return self.returned

    before = dump(store)
    for returned, found in ((torch.zeros(IMAGES, 2, 2), r"\(5, 2, 2\)"), (None, "NoneType"), ({}, "dict"), ("text", "str"), ((), "tuple")):
        with pytest.raises(InvalidInputError, match=found) as raised, store.record(Maps(returned), "torch", "new", layers=["fc"]) as rec:
            rec(inputs)
        assert "output=" in str(raised.value)
        assert dump(store) == before


def test_model_layer_gives_no_floats(store: dp.Store, torch: Any, inputs: Any) -> None:
    """A layer that gives integers, one value an image, or no tensor, is refused with what it gives."""

    class Gives(torch.nn.Module):
        def __init__(self, make: Any):
            super().__init__()
            self.make = make

        def forward(self, values: Any) -> Any:
            return self.make(values)

    for make, found in (
        (lambda values: values.argmax(1, keepdim=True), "int64"),
        (lambda values: values.sum(1), r"\(5,\)"),
        (lambda values: None, "NoneType"),
    ):
        side = Gives(make)

        class Net(torch.nn.Module):
            def __init__(self, side: Any):
                super().__init__()
                self.side, self.fc = side, torch.nn.Linear(6, 3)

            def forward(self, values: Any) -> Any:
                self.side(values)
                return self.fc(values)

        before = dump(store)
        with pytest.raises(InvalidInputError, match=found) as raised, store.record(Net(side), "torch", "new", layers=["side"]) as rec:
            rec(inputs)
        assert "'side'" in str(raised.value)
        assert dump(store) == before


def test_model_pooling_first_needs_tokens(store: dp.Store, torch: Any) -> None:
    """The first token can't be taken of a feature map."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))

    def record() -> None:
        with store.record(network, "torch", "new", layers=["0"], pooling="first") as rec:
            rec(torch.rand(IMAGES, 1, 4, 4))

    refused(store, record, InvalidInputError, "'first'", r"\(5, 2, 2, 2\)")


def test_model_outside_its_block(store: dp.Store, network: Any, inputs: Any) -> None:
    """Batches are recorded inside the block; before and after it, the message shows how."""
    recorder = store.record(network, "torch", "new", layers=["0"])
    with pytest.raises(InvalidInputError, match="with store.record"):
        recorder(inputs)
    with recorder as rec:
        rec(inputs)
    with pytest.raises(InvalidInputError, match="with store.record"):
        recorder(inputs)
    assert store.check() == []


def test_one_recording_at_a_time(store: dp.Store, network: Any, inputs: Any) -> None:
    """Inside a recording, another one and a change of reference are refused by name, and the first goes on."""
    with store.record(network, "torch", "new", layers=["0"]) as rec:
        rec(inputs)
        for action in (
            lambda: store.add_recording(**good()),
            lambda: store.record(network, "torch", "newer", layers=["0"]).__enter__(),
            lambda: store.set_reference("net", "test"),
        ):
            with pytest.raises(RecordingInProgressError, match="'torch'.*'new'"):
                action()
        rec(inputs)
    assert store.sql("select images from recording where model = 'torch'").fetchall() == [(10,)]
    assert store.check() == []


def test_store_closed_inside_a_recording(store: dp.Store, network: Any, inputs: Any) -> None:
    """Closing the store undoes the recording in progress, and the end of the block says so in words of ours."""
    before = dump(store)
    with pytest.raises(DeephysError), store.record(network, "torch", "new", layers=["0"]) as rec:
        rec(inputs)
        store.close()
    with dp.open(store.path) as again:
        assert dump(again) == before


def test_two_stores_on_one_file_in_one_process(store: dp.Store, network: Any, inputs: Any) -> None:
    """Two stores of one process that record the same thing at once: the first wins, the second is refused in words of ours."""
    with dp.open(store.path) as second, store.record(network, "torch", "new", layers=["0"]) as rec:
        rec(inputs)
        with pytest.raises(StoreLockedError, match="is being written by"):
            second.add_recording(**good(model="torch", dataset="new"))
    with dp.open(store.path, read_only=True) as third:
        assert third.check() == []
        assert third.sql("select count(*) from recording where dataset = 'new'").fetchall() == [(1,)]
    store.add_recording(**good(dataset="afterwards"))
    assert store.check() == []


LOADERS = {
    "no batches": ([], "no images"),
    "batches of NumPy arrays": ([np.zeros((5, 6), np.float32)], "ndarray|tensor"),
    "numbers": ([1, 2, 3], "int|tensor"),
    "None": ([None], "None|tensor"),
}


@pytest.mark.parametrize("case", LOADERS)
def test_loader(store: dp.Store, network: Any, case: str) -> None:
    """A loader that gives no tensors is refused with what it gives."""
    loader, said = LOADERS[case]
    refused(
        store,
        lambda: dp.record(network, loader, store=store, name="torch", dataset="new", layers=["0"], progress=False),
        InvalidInputError,
        said,
    )


@pytest.mark.parametrize("extra", ["images", "metadata"])
@pytest.mark.parametrize("count", [7, 13])
def test_loader_that_ends_early_or_late(store: dp.Store, network: Any, inputs: Any, extra: str, count: int) -> None:
    """A loader with fewer or more images than there are pictures or rows of metadata is refused."""
    given = {"images": np.zeros((count, 4, 4), np.uint8), "metadata": [{}] * count}[extra]
    refused(
        store,
        lambda: dp.record(
            network, [inputs, inputs], store=store, name="torch", dataset="new", layers=["0"], progress=False, **{extra: given}
        ),
        InvalidInputError,
        extra,
        "7|2" if count == 7 else "13",
    )


def test_object_with_logits_that_are_no_tensor(store: dp.Store, torch: Any, network: Any, inputs: Any) -> None:
    """An object whose `.logits` is no tensor is described, not taken."""

    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, values: Any) -> Any:
            self.net(values)
            return SimpleNamespace(logits="none")

    def record() -> None:
        with store.record(Odd(), "torch", "new", layers=["net.0"]) as rec:
            rec(inputs)

    refused(store, record, InvalidInputError, "SimpleNamespace|str", "logits")
