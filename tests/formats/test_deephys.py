"""Files of the original Deephys go in and come out whole: those of the package `deephys`, of its older versions, and damaged ones."""

import contextlib
import copy
import io
import json
import random
import struct
import subprocess
import sys
import tracemalloc

import cbor2
import deephys as original
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import deephys_sql as dp
from deephys_sql.cli import main
from deephys_sql.errors import (
    CategoriesDifferError,
    FileFormatError,
    InvalidInputError,
    RecordingExistsError,
    UnknownNameError,
)
from deephys_sql.formats.cbor import ARRAY, MAP, TEXT, UINT, head
from deephys_sql.formats.deephys_files import DataFile, read_model

CLASSES = ["cat", "dog", "owl"]
ROWS = (
    "select * exclude (thumbnail, original), md5(thumbnail) as thumbnail, md5(original) as original from image order by dataset, image",
    "select * from prediction order by dataset, image",
    "select * from activation order by dataset, layer, neuron, image",
    "select * exclude (recorded_at, arguments) from recording order by dataset",
    "select * from layer order by position",
    "select * from category order by all",
)


def by_package(folder, datasets=("day", "night"), images=7, layers=None, size=(5, 4), dtype="float32", model="net", seed=0):
    """Write files with the package `deephys`; return the paths, model first, and what was written."""
    random_ = np.random.default_rng(seed)
    layers = layers or {"fc": 6, "out": 3}
    classes = [f"class {category}" for category in range(layers["out"])] if layers["out"] != 3 else CLASSES
    paths, contents = [folder / "in.model"], {}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        written = original.model(model, layers, "out")
        written.save(str(paths[0]))
        for number, dataset in enumerate(datasets):
            activity = {name: random_.standard_normal((images, width)).astype(dtype) for name, width in layers.items()}
            activity = {name: values if name == "out" else np.maximum(values, 0) for name, values in activity.items()}
            pixels = random_.random((images, 3, *size))
            labels = random_.integers(0, len(classes), images).tolist()
            data = original.dataset_activity(dataset, classes, dict(activity), written, pixels, labels, dtype)
            paths.append(folder / f"{number}.test")
            data.save(str(paths[-1]))
            contents[dataset] = {"activity": activity, "labels": labels, "pixels": (np.moveaxis(pixels, 1, 3) * 255).astype(np.uint8)}
    return paths, contents


def content(version=(0, 14), images=4, dataset="day", classes=CLASSES, **image):
    """Return what the two files of a version hold, as Python values; `image` changes every image."""
    model = {"name": "net", "layers": [{"layerID": name, "neurons": [{}] * width} for name, width in (("fc", 2), ("classification", 3))]}
    data = {"name": dataset, "images": []}
    for number in range(images):
        label = number % len(classes)
        values = [[number, number / 3], [0.5, float(number), -1.0]]
        row = {
            "imageID": number,
            "categoryID": label,
            "category": classes[label],
            "data": [[bytes([number % 256, channel, line]) for line in range(2)] for channel in range(3)],
            "features": None,
            "activations": {"activations": [np.array(layer, ">f4").tobytes() for layer in values]},
        } | image
        if version < (0, 6):
            del row["features"]
        data["images"].append(row)
    if version < (0, 10):
        for file in (model, data):
            file["suffix"] = None
    if version >= (0, 9):
        data["dtype"] = "float32"
    if version >= (0, 10):
        data["classes"] = classes
    if version >= (0, 11):
        model["classification_layer"] = "classification"
    order = ("name", "suffix", "dtype", "classes", "images", "layers", "classification_layer")
    return tuple({key: file[key] for key in order if key in file} for file in (model, data))


def write(folder, model, *datasets):
    """Write values as files; return the paths, model first."""
    paths = [folder / "in.model", *(folder / f"{number}.test" for number in range(len(datasets)))]
    for path, value in zip(paths, (model, *datasets)):
        path.write_bytes(value if isinstance(value, bytes) else cbor2.dumps(value))
    return paths


def load(store, paths, **options):
    return dp.import_deephys(store, paths[0], paths[1:], progress=False, **options)


def rows(store):
    return [store.sql(statement).fetchall() for statement in ROWS]


def matrix(store, dataset, layer):
    values = store.sql(
        "select value from activation where dataset = $dataset and layer = $layer order by image, neuron", dataset=dataset, layer=layer
    ).fetchnumpy()["value"]
    return values.reshape(store.sql("select images from dataset where dataset = $dataset", dataset=dataset).fetchall()[0][0], -1)


def pictures(store, dataset, column="thumbnail"):
    encoded = store.sql(f"select {column} from image where dataset = $dataset order by image", dataset=dataset).fetchall()
    return np.stack([np.asarray(Image.open(io.BytesIO(picture))) for (picture,) in encoded])


# What the package wrote.


def test_the_packages_files_are_recorded(store, tmp_path):
    """Activations, labels, names, pictures (truncated, not rounded), and predictions as the highest output."""
    paths, written = by_package(tmp_path)
    assert load(store, paths, reference="night") == []
    assert store.sql("select layer, neurons from layer order by position").fetchall() == [("fc", 6), ("out", 3)]
    assert store.sql("select dataset, is_reference from recording order by dataset").fetchall() == [("day", False), ("night", True)]
    for dataset, expected in written.items():
        for layer, values in expected["activity"].items():
            assert np.array_equal(matrix(store, dataset, layer), values)
        found = store.sql("select label, label_name, predicted from prediction where dataset = $d order by image", d=dataset).fetchall()
        predicted = expected["activity"]["out"].argmax(axis=1).tolist()
        assert found == [(label, CLASSES[label], guess) for label, guess in zip(expected["labels"], predicted)]
        assert np.array_equal(pictures(store, dataset), expected["pixels"])
    assert store.check() == []


@pytest.mark.parametrize(
    ("images", "size", "layers"),
    [
        (1, (1, 1), {"out": 2}),
        (300, (3, 24), {"fc": 5, "out": 3}),
        (4, (70, 30), {"out": 30, "late": 1}),
        (3, (256, 2), {"a": 100, "out": 3, "b": 17}),
    ],
)
def test_the_packages_files_come_back_byte_for_byte(store, tmp_path, images, size, layers):
    """Import and export give the bytes that the package wrote, for pictures of any size and layers in any order."""
    paths, _ = by_package(tmp_path, images=images, size=size, layers=layers)
    load(store, paths)
    lost = dp.export_deephys(store, "net", tmp_path / "out", progress=False)
    assert lost == ["Which dataset is the reference is not written."]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["day.test", "net.model", "night.test"]
    for path, name in zip(paths, ("net.model", "day.test", "night.test")):
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes()


def test_float64_is_rounded_and_said(store, tmp_path):
    """Activity of float64 becomes the nearest float32."""
    paths, written = by_package(tmp_path, datasets=("day",), dtype="float64")
    assert load(store, paths) == [f"{paths[1]}: activations of float64 were rounded to float32."]
    assert np.array_equal(matrix(store, "day", "fc"), written["day"]["activity"]["fc"].astype(np.float32))


# Older versions, written by hand after the description of the format.


@pytest.mark.parametrize("version", [(0, 5), (0, 6), (0, 9), (0, 10), (0, 11), (0, 14)])
def test_every_version_gives_the_same_rows(store, tmp_path, version):
    """A file of an older version, without the keys that came later, is the same recording."""
    load(store, write(tmp_path, *content(version)))
    with dp.open(tmp_path / "newest.duckdb") as newest:
        load(newest, write(tmp_path, *content()))
        assert rows(store) == rows(newest)


def test_categories_of_old_files_come_from_all_images(store, tmp_path):
    """The names are gathered over all files; one that no image shows is its number, or else what is free."""
    model, day = content((0, 5), images=1)
    _, night = content((0, 5), images=1, dataset="night", categoryID=2, category="1")
    load(store, write(tmp_path, model, day, night))
    assert store.sql("select category, category_name from category order by 1").fetchall() == [(0, "cat"), (1, "1 (2)"), (2, "1")]


def test_categories_that_contradict_each_other_are_refused(store, tmp_path):
    """One number, one name: within a file, and between files."""
    model, day = content((0, 9), images=4)
    day["images"][3]["category"] = "fox"
    with pytest.raises(CategoriesDifferError, match="category 0 is called 'fox', and 'cat' before"):
        load(store, write(tmp_path, model, day))
    with pytest.raises(CategoriesDifferError, match="class 1 is 'fox' in .*1.test and 'dog' in .*0.test"):
        load(store, write(tmp_path, content()[0], content()[1], content(dataset="night", classes=["cat", "fox", "owl"])[1]))


def test_a_suffix_is_left_out_and_said(store, tmp_path):
    """`suffix`, which version 0.10 dropped, is told."""
    model, day = content((0, 9))
    model["suffix"], day["suffix"] = "a", "b"
    paths = write(tmp_path, model, day)
    assert load(store, paths) == [f"{paths[1]}: the suffix 'b' was left out.", f"{paths[0]}: the suffix 'a' was left out."]


def test_features_and_ids_are_metadata_and_come_back(store, tmp_path):
    """`features` are the images' metadata; an imageID that isn't the place is kept beside them."""
    model, day = content(images=3)
    for image, (image_id, features) in zip(day["images"], [(7, {"camera": "ü\n", "": ""}), (1, {}), (2**40, None)]):
        image |= {"imageID": image_id, "features": features}
    paths = write(tmp_path, model, day)
    load(store, paths)
    found = [json.loads(text) if text else None for (text,) in store.sql("select metadata from image order by image").fetchall()]
    assert found == [{"camera": "ü\n", "": "", "imageID": 7}, {}, {"imageID": 2**40}]
    assert store.sql("select metadata ->> 'camera' from image where image = 0").fetchall() == [("ü\n",)]
    dp.export_deephys(store, "net", tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "day.test").read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        ([[0.5, 0.25, 0.25], [1, 0, 0]], "probabilities"),
        (np.log([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]), "log_softmax"),
        ([[0.5, 0.25, 0.25], [1, 0, 0.5]], "logits"),
        ([[100.0, -100.0, 0.0], [0, 0, 0]], "logits"),
    ],
)
def test_softmax_is_not_applied_twice(store, tmp_path, outputs, kind):
    """Outputs that sum to 1 are taken as the probabilities that they are, and that is said; the caller can say otherwise."""
    model, day = content(images=2)
    for image, values in zip(day["images"], outputs):
        image["activations"]["activations"][1] = np.array(values, ">f4").tobytes()
    notes = load(store, write(tmp_path, model, day))
    assert (notes != []) == (kind != "logits") and all(kind in note for note in notes)
    assert store.sql("select output_kind from stored_recording").fetchall() == [(kind,)]
    assert load(store, write(tmp_path, model, day), output_kind="logits", replace=True) == []
    assert store.sql("select output_kind from stored_recording").fetchall() == [("logits",)]


# Round trips of any content.

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(str.strip)


@st.composite
def contents(draw):
    """A model and one or two datasets, as the newest version has them."""
    layers = draw(st.dictionaries(names, st.integers(1, 40), min_size=1, max_size=3))
    output = draw(st.sampled_from(sorted(layers)))
    classes = draw(st.lists(names, min_size=layers[output], max_size=layers[output], unique=True))
    model = {
        "name": draw(names),
        "layers": [{"layerID": name, "neurons": [{}] * width} for name, width in layers.items()],
        "classification_layer": output,
    }
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    special = np.array([0.0, -0.0, 1e-45, 3.4e38, 1.5], np.float32)
    datasets = []
    for dataset in draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        height, width = draw(st.integers(1, 30)), draw(st.integers(1, 70))
        images = []
        for image in range(draw(st.integers(1, 5))):
            label = draw(st.integers(0, len(classes) - 1))
            values = [numbers.choice(special, size) * numbers.integers(-1 if name == output else 0, 2) for name, size in layers.items()]
            images.append(
                {
                    "imageID": image,
                    "categoryID": label,
                    "category": classes[label],
                    "data": [[numbers.bytes(width) for _ in range(height)] for _ in range(3)],
                    "features": draw(st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)),
                    "activations": {"activations": [row.astype(">f4").tobytes() for row in values]},
                }
            )
        datasets.append({"name": dataset, "dtype": "float32", "classes": classes, "images": images})
    return model, *datasets


@given(contents())
def test_any_files_come_back_byte_for_byte(tmp_path_factory, written):
    """Whatever fits the format is given back as it was, and a second import gives the same rows."""
    folder = tmp_path_factory.mktemp("any")
    paths = write(folder, *written)
    with dp.open(folder / "study.duckdb") as store, dp.open(folder / "again.duckdb") as again:
        load(store, paths, output_kind="logits")
        dp.export_deephys(store, written[0]["name"], folder / "out", progress=False)
        found = {cbor2.loads(path.read_bytes())["name"] + path.suffix: path for path in (folder / "out").iterdir()}
        back = [found[written[0]["name"] + ".model"], *(found[data["name"] + ".test"] for data in written[1:])]
        assert [path.read_bytes() for path in back] == [path.read_bytes() for path in paths]
        load(again, back, output_kind="logits")
        assert rows(store) == rows(again)


@given(st.integers(0, 2**64 - 1), st.text(max_size=300))
def test_heads_are_those_of_cbor2(number, text):
    """What is written agrees with the package cbor2."""
    assert head(UINT, number) == cbor2.dumps(number)
    assert head(TEXT, len(text.encode())) + text.encode() == cbor2.dumps(text)
    assert head(ARRAY, len(text)) + head(MAP, 0) * len(text) == cbor2.dumps([{}] * len(text))


# What the original can't hold.


def test_what_the_format_cannot_hold_is_cut_and_told(store, tmp_path):
    """Long names, negative activity, images without a label, other metadata, grayscale: adapted, and each told."""
    long = "a" * 39
    options = {"model": "net/../" + "x" * 40, "categories": CLASSES, "progress": False, "nonlinearity": {"tanh": "tanh"}}
    activations = {"tanh": np.array([[-1, 0.5], [0.25, -0.0], [-2, 3]]), "l" * 30 + "1": np.ones((3, 1)), "l" * 30 + "2": np.ones((3, 1))}
    logits = np.eye(3)
    for dataset in (long + "bc", long + "bd"):
        store.add_recording(
            dataset=dataset, activations=activations, logits=logits, labels=[0, None, 2], predictions=[0, 1, 1],
            images=[Image.new("L", (90, 10), 7)] * 3, image_metadata=[{"blur": 3, "camera": "left"}, {}, {}], **options,
        )  # fmt: skip
    store.add_recording(
        dataset="..", activations=activations | {"only": np.ones((3, 2))}, logits=logits, labels=[0, 1, 2],
        **options | {"nonlinearity": {"tanh": "tanh"}},
    )  # fmt: skip
    lost = dp.export_deephys(store, options["model"], tmp_path / "out", progress=False)
    assert "\n".join(lost) == (
        f"Model 'net/../{'x' * 40}' is called 'net/../{'x' * 33}': the format has 40 characters.\n"
        f"Dataset '{long}bc' is called '{long}b': the format has 40 characters.\n"
        f"Dataset '{long}bd' is called '{'a' * 38}~2': the format has 40 characters.\n"
        f"Layer '{'l' * 30}1' is called '{'l' * 30}': the format has 30 characters.\n"
        f"Layer '{'l' * 30}2' is called '{'l' * 28}~2': the format has 30 characters.\n"
        "Layer 'tanh': its non-linearity and pooling are not written.\n"
        "Layer 'only' is left out: it was not recorded on every dataset.\n"
        "Which dataset is the reference is not written.\n"
        + "".join(
            f"Layer 'tanh' on '{name}': 2 activations below 0 are written as 0.\n"
            f"1 images of '{name}' have no label and are left out.\n"
            f"1 predictions on '{name}' were given, and are not the highest output.\n"
            f"1 metadata fields of '{name}' are no texts, and are written as JSON.\n"
            f"Pictures of '{name}' were kept as thumbnails only: 64 x 7 pixels are written.\n"
            for name in (long + "bc", long + "bd")
        )
        + "Layer 'tanh' on '..': 2 activations below 0 are written as 0.\n"
        "'..' has no pictures: they are written black."
    )
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["_.test", f"{long}b.test", f"{'a' * 38}~2.test", f"net_.._{'x' * 33}.model"]
    model = cbor2.loads((tmp_path / "out" / files[3]).read_bytes())
    assert [len(layer["neurons"]) for layer in model["layers"]] == [2, 1, 1, 3] and model["classification_layer"] == "output"
    data = cbor2.loads((tmp_path / "out" / files[1]).read_bytes())
    assert list(data) == ["name", "dtype", "classes", "images"] and data["dtype"] == "float32"
    assert [(image["imageID"], image["category"]) for image in data["images"]] == [(0, "cat"), (2, "owl")]
    assert [image["features"] for image in data["images"]] == [{"blur": "3", "camera": "left"}, {}]
    first = data["images"][0]
    assert list(first) == ["imageID", "categoryID", "category", "data", "features", "activations"]
    assert first["data"] == [[b"\7" * 64] * 7] * 3
    assert np.frombuffer(first["activations"]["activations"][0], ">f4").tolist() == [0, 0.5]


def test_pictures_of_different_sizes_get_one(store, tmp_path):
    """The reader needs one size: thumbnails stand on black squares, a missing picture is black."""
    sizes = [(100, 50), (10, 30)]
    colours = [(255, 0, 0), (0, 0, 255, 128)]
    images = [Image.new("RGB" if len(colour) == 3 else "RGBA", size, colour) for size, colour in zip(sizes, colours)]
    store.add_recording(
        model="net", dataset="day", activations={}, logits=np.eye(2), labels=[0, 1], images=images, keep_originals=True, progress=False
    )
    lost = dp.export_deephys(store, "net", tmp_path / "out", progress=False)
    assert "Pictures of 'day' have 2 sizes: they are written as thumbnails on 64 x 64 pixels." in lost
    written = [np.frombuffer(b"".join(b"".join(rows) for rows in image["data"]), np.uint8).reshape(3, 64, 64)
               for image in cbor2.loads((tmp_path / "out" / "day.test").read_bytes())["images"]]  # fmt: skip
    assert abs(written[0][0][16:48].astype(int) - 255).max() < 8 and written[0][:, :16].max() == 0
    assert abs(written[1][2, 17:47, 27:37].astype(int) - 128).max() < 3 and written[1].sum() == written[1][2, 17:47, 27:37].sum()


def test_stores_of_other_origin_come_back_too(store, study, tmp_path):
    """A store that this package recorded keeps its numbers over export and import, where nothing was told as lost."""
    study.record(store)
    lost = dp.export_deephys(store, "net", tmp_path / "out", progress=False)
    assert "Dataset 'unlabelled' is left out: none of its images has a label." in lost
    with dp.open(tmp_path / "again.duckdb") as again:
        load(again, [tmp_path / "out" / "net.model", *sorted((tmp_path / "out").glob("*.test"))], output_kind="logits")
        assert again.check() == []
        dp.export_deephys(again, "net", tmp_path / "twice", progress=False)
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()


def test_an_export_is_all_or_nothing(store, tmp_path):
    """Files that are there stay unless overwriting is asked for; a model that can't be written leaves no folder."""
    load(store, write(tmp_path, *content()))
    store.add_recording(model="silent", dataset="day", activations={"fc": np.ones((4, 2))}, predictions=[0] * 4, progress=False)
    store.add_recording(model="unknown", dataset="dusk", activations={}, logits=np.eye(3), categories=CLASSES, progress=False)
    for model, says in (("silent", "no output"), ("unknown", "no image that model 'unknown' .* has a label")):
        with pytest.raises(InvalidInputError, match=says):
            dp.export_deephys(store, model, tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UnknownNameError, match="did you mean 'net'"):
        dp.export_deephys(store, "nett", tmp_path / "out", progress=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "day.test").write_text("mine")
    with pytest.raises(InvalidInputError, match="day.test is there already"):
        dp.export_deephys(store, "net", tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "day.test").read_text() == "mine"
    dp.export_deephys(store, "net", tmp_path / "out", overwrite=True, progress=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["day.test", "net.model"]
    assert (tmp_path / "out" / "day.test").read_bytes() == (tmp_path / "0.test").read_bytes()


# Damaged and hostile files.


def changed(file, *path, to):
    """Return the newest version's model (0) or data (1) with the value at the path replaced."""
    files = copy.deepcopy(content())
    place = files[file]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return files


def replaced(file, old, new):
    """Return the newest version's files, with bytes of one replaced."""
    files = [cbor2.dumps(value) for value in content()]
    assert old in files[file]
    files[file] = files[file].replace(old, new, 1)
    return files


NAN = struct.pack(">f", float("nan"))
IMAGE = ("images", 2)
HOSTILE = {
    "empty": ([b"", content()[1]], r"in.model, byte 0: expected a model file, a map, found the end of the file"),
    "text file": ([b"hello", content()[1]], "byte 0: expected a model file, a map, found a text"),
    "files swapped": (content()[::-1], "byte 1.*found 'dtype'|expected one of the keys name, suffix, layers"),
    "bytes after the end": ([cbor2.dumps(content()[0]) + b"\0", content()[1]], "expected the end of the file, found 1 bytes more"),
    "bytes after the images": ([content()[0], cbor2.dumps(content()[1]) + b"\0\0"], "expected the end of the file, found 2 bytes more"),
    "name of null": (changed(0, "name", to=None), "byte 6: expected the name, a text, found null"),
    "name too long": (changed(0, "name", to="a" * 5000), "of at most 1024, found a text of length 5000"),
    "name of control characters": (changed(0, "name", to="\x1b[2J"), r"in printable characters, found '\\x1b"),
    "blank name": (changed(1, "name", to=" "), "the dataset's name in printable characters, found ' '"),
    "no layers": (changed(0, "layers", to=[]), "the classification layer among the layers"),
    "other classification layer": (changed(0, "classification_layer", to="head"), "among the layers .*, found 'head'"),
    "layer of no neurons": (changed(0, "layers", 0, "neurons", to=[]), "expected at least one neuron, found none"),
    "neuron of text": (changed(0, "layers", 0, "neurons", to=[{}, "a"]), "byte 40: expected a neuron, an empty map, found byte 0x61"),
    "two layers of a name": (changed(0, "layers", 1, "layerID", to="fc"), "expected every layer once, found 'fc' again"),
    "layer without neurons": (changed(0, "layers", 0, to={"layerID": "fc"}), r"with the keys layerID, neurons, found only \['layerID'\]"),
    "too many neurons": (changed(0, "layers", 0, "neurons", to=[{}] * 330_000), "at most 256 MB of memory"),
    "too many layers": (changed(0, "layers", to=[{"layerID": str(n), "neurons": [{}]} for n in range(1001)]), "of at most 1000"),
    "unknown key": (changed(1, "extra", to=1), "a data file, a map of at most 5 keys|images. as the last key"),
    "unknown key of an image": (changed(1, *IMAGE, "depth", to=1), "image 2: expected an image, a map of at most 6 keys, found 7"),
    "image without category": (replaced(1, b"\xa6gimageID\x01jcategoryID\x01hcategorycdog", b"\xa5gimageID\x01jcategoryID\x01"),
                               "image 1: expected an image, a map with the keys imageID, categoryID, category"),
    "key twice": (replaced(1, b"jcategoryID\x01", b"gimageID\x01\x01"), "image 1: expected every key once, found 'imageID' again"),
    "key of a number": (replaced(1, b"jcategoryID\x01", b"\x01\x01"), "image 1: expected a key, found an unsigned integer"),
    "images not last": (({**content()[0]}, {"images": content()[1]["images"], "name": "day"}), "'images' as the last key, found 1 keys"),
    "no images": (changed(1, "images", to=[]), "expected at least one image, found none"),
    "image is null": (changed(1, *IMAGE, to=None), "image 2: expected an image, a map, found null"),
    "another dtype": (changed(1, "dtype", to="int8"), "expected the dtype float32 or float64, found 'int8'"),
    "dtype of the other size": (changed(1, "dtype", to="float64"), "expected 2 float64 of layer 'fc', found 8 bytes"),
    "too few classes": (changed(1, "classes", to=["cat"]), "expected 3 classes, as layer 'classification' .*, found 1"),
    "class of a number": (changed(1, "classes", to=[0, 1, 2]), "expected a class's name, a text, found an unsigned integer"),
    "classes of one name": (changed(1, "classes", to=["cat", "dog", "dog"]), "appear twice|expected the category 'dog'"),
    "imageID below 0": (changed(1, *IMAGE, "imageID", to=-1), "image 2: expected the imageID, an unsigned integer, found a negative"),
    "label of -1": (changed(1, *IMAGE, "categoryID", to=-1), "image 2: expected the categoryID, an unsigned integer, found a negative"),
    "label of float": (changed(1, *IMAGE, "categoryID", to=1.0), "found a simple value or float"),
    "label too large": (changed(1, *IMAGE, "categoryID", to=3), "image 2: expected a categoryID of 0 to 2, found 3"),
    "label of 2^70": (changed(1, *IMAGE, "categoryID", to=2**70), "expected the categoryID, an unsigned integer, found a tag"),
    "another category": (changed(1, *IMAGE, "category", to="dog"), "image 2: expected the category 'owl', which is class 2, found 'dog'"),
    "two channels": (changed(1, "images", 0, "data", to=[[b"abc"]] * 2), "image 0: expected 3 channels, found 2"),
    "channels of other heights": (changed(1, "images", 0, "data", 2, to=[b"abc"] * 3), "image 0: expected a picture of 3 x 2 pixels"),
    "rows of other widths": (changed(1, "images", 0, "data", 1, to=[b"abc", b"ab"]), "expected a picture of 3 x 2 pixels"),
    "another picture size": (changed(1, *IMAGE, "data", to=[[b"abcd"] * 2] * 3), "image 2: expected a picture of 3 x 2 pixels"),
    "picture of floats": (changed(1, *IMAGE, "data", to=[[[0.5] * 3] * 2] * 3), "image 2: expected a picture of 3 x 2 pixels"),
    "no pixels": (changed(1, "images", 0, "data", to=[[b""]] * 3), "expected a picture of 1 to 8388608 pixels, found 0 x 1"),
    "features of numbers": (changed(1, *IMAGE, "features", to={"blur": 3}), "image 2: expected the feature 'blur', a text, found an uns"),
    "features of a list": (changed(1, *IMAGE, "features", to=[]), "expected the features, a map of texts, or null, found an array"),
    "features too large": (changed(1, *IMAGE, "features", to={str(n): "x" * 1000 for n in range(70)}), "at most 65536 bytes of features"),
    "activations of one layer": (changed(1, *IMAGE, "activations", "activations", to=[b"12345678"]), "of the model's 2 layers, found 1"),
    "too few activations": (changed(1, *IMAGE, "activations", "activations", 0, to=b"1234"), "expected 2 float32 of layer 'fc', found 4 b"),
    "version 0.4": (changed(1, *IMAGE, "activations", "activations", to=[[0.5, 1.0], [1.0, 2.0, 3.0]]), "older than version 0.5"),
    "nan": (changed(1, *IMAGE, "activations", "activations", 1, to=NAN * 3), "image 2: expected finite .*, found nan in neuron 0 of layer"),
    "half a character": (replaced(1, b"hcategorycdog", b"hcategoryc\xffog"), "image 1: expected the category, a text, found bytes"),
    "key of indefinite length": (replaced(1, b"gimageID\x01", b"\x7fgimageID\xff\x01"), "found a text of indefinite or reserved length"),
    "images of indefinite length": (replaced(1, b"fimages\x84", b"fimages\x9f"), "found an array of indefinite or reserved length"),
    "huge text": (replaced(1, b"dnamecday", b"dname\x7b" + b"\xff" * 8), "found a text of length 18446744073709551615, with .* bytes left"),
    "huge array": (replaced(1, b"fimages\x84", b"fimages\x9b" + b"\x7f" * 8), "found an array of length .*, with .* bytes left"),
    "more images than there are": (replaced(1, b"fimages\x84", b"fimages\x85"), "image 4: expected an image, a map, found the end"),
    "fewer images than there are": (replaced(1, b"fimages\x84", b"fimages\x83"), "expected the end of the file, found"),
    "nested arrays": ([content()[0], b"\xa1dname" + b"\x81" * 100_000], "expected the dataset's name, a text, found an array"),
    "nested features": (changed(1, *IMAGE, "features", to={"a": {"b": {}}}), "expected the feature 'a', a text, found a map"),
    "tag": (replaced(1, b"fimages\x84", b"fimages\xd8\x1c\x84"), "expected the images, an array, found a tag"),
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store that holds something, and the rows in it."""
    with dp.open(tmp_path_factory.mktemp("filled") / "study.duckdb") as store:
        folder = tmp_path_factory.mktemp("files")
        load(store, write(folder, *content(dataset="first")))
        yield store, rows(store)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_the_place(filled, tmp_path, name):
    """Each is refused with what was expected, what was found and where; and nothing is written, of the good file neither."""
    store, before = filled
    (model, data), says = HOSTILE[name]
    good = cbor2.dumps(content(dataset="good")[1])
    paths = write(tmp_path, model, good, data)
    with pytest.raises((FileFormatError, CategoriesDifferError, InvalidInputError), match=says) as raised:
        load(store, paths)
    assert "byte " in str(raised.value) or "twice" in str(raised.value) or isinstance(raised.value, CategoriesDifferError)
    assert rows(store) == before and store.check() == []


def test_nan_is_found_at_its_byte(tmp_path):
    """The place that is told is where the value lies."""
    files = write(tmp_path, *changed(1, *IMAGE, "activations", "activations", 1, to=b"\0" * 4 + NAN + b"\0" * 4))
    place = files[1].read_bytes().index(NAN)
    with pytest.raises(FileFormatError, match=f"byte {place}, image 2: .* found nan in neuron 1 of layer 'classification'"):
        read(files)


def read(paths):
    model = read_model(paths[0])
    for path in paths[1:]:
        with DataFile(path, model) as file:
            for _ in file.batches():
                pass


def test_a_file_cut_anywhere_is_refused(tmp_path):
    """Every beginning of a file that isn't the whole is refused with the place."""
    whole = [cbor2.dumps(value) for value in content()]
    for number in (0, 1):
        for length in range(len(whole[number])):
            files = list(whole)
            files[number] = files[number][:length]
            with pytest.raises(FileFormatError, match=r"byte \d+"):
                read(write(tmp_path, *files))


def test_mutated_files_are_read_or_refused(filled, tmp_path):
    """2,000 files with bytes changed, left out, doubled or moved: read, or refused as damaged; never another error."""
    random_ = random.Random(0)
    whole = [cbor2.dumps(value) for value in content(features={"a": "b"})]
    model = read_model(write(tmp_path, *whole)[0])
    outcomes = {True: [], False: []}
    for _ in range(2000):
        number = random_.choice((0, 1, 1, 1))
        files = list(whole)
        mutated = bytearray(files[number])
        for _ in range(random_.choice((1, 1, 2, 5))):
            place, other = random_.randrange(len(mutated)), random_.randrange(len(mutated))
            piece = mutated[other : other + random_.randrange(1, 30)]
            kind = random_.randrange(4)
            if kind == 0:
                mutated[place] = random_.randrange(256)
            elif kind == 1:
                mutated[place] ^= 1 << random_.randrange(8)
            elif kind == 2:
                del mutated[place : place + len(piece)]
            else:
                mutated[place:place] = piece
            mutated = mutated or bytearray(b"\0")
        files[number] = bytes(mutated)
        (tmp_path / "m").write_bytes(files[number])
        try:
            if number == 0:
                read_model(tmp_path / "m")
            else:
                read([write(tmp_path, whole[0])[0], tmp_path / "m"])
            outcomes[True].append(files)
        except FileFormatError:
            outcomes[False].append(files)
    assert len(outcomes[True]) > 100 and len(outcomes[False]) > 1000
    assert model == read_model(write(tmp_path, *whole)[0])
    store, before = filled
    for files in outcomes[False][:: len(outcomes[False]) // 20]:
        with pytest.raises(InvalidInputError):
            load(store, write(tmp_path, *files))
    assert rows(store) == before


def test_what_is_declared_takes_no_memory(tmp_path):
    """Lengths that a file of 4 GB declares and has are refused before they are read."""
    beginnings = {
        "name": b"\xa1dname\x7a\xf0\x00\x00\x00",
        "classes": b"\xa2dnamecdaygclasses\x9a\xf0\x00\x00\x00",
        "row": b"\xa2dnamecdayfimages\x81\xa6ddata\x83\x99\x10\x00\x5a\x0f\x00\x00\x00",
        "features": b"\xa2dnamecdayfimages\x81\xa6hfeatures\xba\xf0\x00\x00\x00",
        "feature": b"\xa2dnamecdayfimages\x81\xa6hfeatures\xa1\x7a\xf0\x00\x00\x00",
    }
    model = write(tmp_path, content()[0])[0]
    for name, beginning in beginnings.items():
        path = tmp_path / f"{name}.test"
        with path.open("wb") as file:
            file.write(beginning)
            file.truncate(2**32)  # no room is taken on the disk
        tracemalloc.start()
        with pytest.raises(FileFormatError, match=r"byte \d+"):
            read([model, path])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000, name
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no peak of memory")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """A file of 120 MB, of pictures that don't compress, takes less than 500 MB above the interpreter, store closed included."""
    random_ = np.random.default_rng(0)
    layers = {"fc": 512, "out": 1000}
    model = {"name": "net", "layers": [{"layerID": name, "neurons": [{}] * width} for name, width in layers.items()]}
    (tmp_path / "net.model").write_bytes(cbor2.dumps(model | {"classification_layer": "out"}))
    images = 6400
    with (tmp_path / "day.test").open("wb") as file:
        classes = [f"class {number}" for number in range(1000)]
        file.write(head(MAP, 3) + b"".join(map(cbor2.dumps, ("name", "day", "classes", classes, "images"))) + head(ARRAY, images))
        for number in range(images):
            values = [random_.standard_normal(width).astype(">f4").tobytes() for width in layers.values()]
            image = {"imageID": number, "categoryID": number % 1000, "category": classes[number % 1000]}
            image["data"] = [[random_.bytes(64) for _ in range(64)] for _ in range(3)]
            file.write(cbor2.dumps(image | {"activations": {"activations": values}}))
    assert (tmp_path / "day.test").stat().st_size > 1.15e8
    program = """
import re, sys
import deephys_sql as dp

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1000

before = peak()
dp.import_deephys(sys.argv[1], sys.argv[2], sys.argv[3], progress=False)
print(peak() - before)
"""
    files = [str(tmp_path / name) for name in ("study.duckdb", "net.model", "day.test")]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 500  # MB; before it, DuckDB may show its progress


# All or nothing.


def test_nothing_is_written_when_the_last_image_of_the_last_file_is_damaged(tmp_path):
    """All files are one transaction; a store that was made for them is removed again, one that was there stays as it was."""
    model, day = content(images=1000)
    night = cbor2.dumps(content(images=1000, dataset="night")[1])[:-1]
    paths = write(tmp_path, model, day, night)
    with pytest.raises(FileFormatError, match="image 999: expected 12 bytes, found the end of the file after 11"):
        load(tmp_path / "new.duckdb", paths)
    assert not list(tmp_path.glob("new.duckdb*"))
    dp.open(tmp_path / "there.duckdb").close()
    with pytest.raises(FileFormatError):
        load(tmp_path / "there.duckdb", paths)
    with dp.open(tmp_path / "there.duckdb") as store:
        assert not any(rows(store)) and store.sql("select count(*) from stored_activation").fetchall() == [(0,)]


def test_a_dataset_that_is_recorded_needs_replace(store, tmp_path):
    """The same files again are refused, or replace what is there; a new dataset joins the model."""
    paths = write(tmp_path, *content(), content(dataset="night")[1])
    load(store, paths[:2])
    with pytest.raises(RecordingExistsError):
        load(store, [paths[0], paths[2], paths[1]])
    assert store.sql("select dataset from recording").fetchall() == [("day",)]
    load(store, [paths[0], paths[2]])
    before = rows(store)
    load(store, paths, replace=True)
    assert rows(store) == before


def test_mistakes_in_the_call_are_said(store, tmp_path):
    """No files, one dataset twice, a reference that isn't there, folders and paths that lead nowhere."""
    paths = write(tmp_path, *content())
    for tests, options, says in (
        ([], {}, "no data files"),
        ([paths[1], paths[1]], {}, "two files hold a dataset named 'day'"),
        ([paths[1]], {"reference": "dya"}, "did you mean 'day'"),
        ([tmp_path], {}, "is not a file"),
        ([tmp_path / "absent.test"], {}, "there is no file"),
        ([paths[1]], {"output_kind": "softmax"}, "output_kind must be one of"),
    ):
        with pytest.raises(dp.DeephysError, match=says):
            dp.import_deephys(store, paths[0], tests, progress=False, **options)
    dp.import_deephys(store, str(paths[0]), str(paths[1]), progress=False)
    assert rows(store)[3]


def test_the_command_line_imports_and_exports(tmp_path):
    """`import deephys` and `export deephys` are the library's calls, and print what was changed or lost."""
    paths = [str(path) for path in write(tmp_path, *content((0, 9)), content((0, 9), dataset="night")[1])]
    store = str(tmp_path / "study.duckdb")
    done = CliRunner().invoke(main, ["import", "deephys", store, *paths, "--reference", "night"])
    assert done.exit_code == 0 and "suffix" not in done.output and done.stdout.endswith(f"{store} holds 2 recordings.\n")
    with dp.open(store, read_only=True) as opened:
        assert opened.sql("select dataset from recording where is_reference").fetchall() == [("night",)]
    done = CliRunner().invoke(main, ["export", "deephys", store, "net", str(tmp_path / "out")])
    said = f"Which dataset is the reference is not written.\nWrote net into {tmp_path / 'out'}.\n"
    assert (done.exit_code, done.stdout) == (0, said)
    done = CliRunner().invoke(main, ["export", "deephys", store, "net", str(tmp_path / "out")])
    assert done.exit_code == 2 and "--overwrite" in done.output
    done = CliRunner().invoke(main, ["import", "deephys", store, paths[1], paths[1]])
    assert done.exit_code == 2 and "byte" in done.output and "Traceback" not in done.output
