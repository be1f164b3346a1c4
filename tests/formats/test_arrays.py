"""Activations in NumPy's files come in as arrays do, whatever the file holds and however it is damaged."""

import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import deephys_sql as dp
from deephys_sql.cli import main
from deephys_sql.errors import DeephysError, FileFormatError, InvalidInputError
from deephys_sql.formats.arrays import ArrayFile

IMAGES = 1100  # more than are read at once


@pytest.fixture(scope="module")
def arrays():
    """Activations, logits and labels."""
    rng = np.random.default_rng(0)
    return {
        "hidden": rng.normal(size=(IMAGES, 5)).astype(np.float32),
        "logits": rng.normal(size=(IMAGES, 3)).astype(np.float32),
        "labels": rng.integers(0, 3, IMAGES),
    }


def activations(store, layer="hidden"):
    query = "select value from activation where layer = $layer order by image, neuron"
    return np.array(store.sql(query, layer=layer).fetchall(), np.float32).reshape(IMAGES, -1)


def saved(folder, arrays, kind):
    """Save as the kind says; return the paths of activations and logits."""
    if kind == "npy":
        np.save(folder / "hidden.npy", arrays["hidden"])
        np.save(folder / "logits.npy", arrays["logits"])
        return {"hidden": folder / "hidden.npy"}, folder / "logits.npy"
    if kind == "by columns, float64":
        np.save(folder / "hidden.npy", np.asfortranarray(arrays["hidden"].astype(np.float64)))
        np.save(folder / "logits.npy", arrays["logits"])
        return {"hidden": folder / "hidden.npy"}, folder / "logits.npy"
    save = np.savez if kind == "npz" else np.savez_compressed
    save(folder / "all.npz", hidden=arrays["hidden"], head=arrays["logits"])
    return {"hidden": f"{folder}/all.npz:hidden"}, f"{folder}/all.npz:head"


@pytest.mark.parametrize("kind", ["npy", "by columns, float64", "npz", "compressed npz"])
def test_files_give_what_arrays_give(store, tmp_path, arrays, kind, monkeypatch):
    """The values are those of the arrays, also when a compressed file is read in many pieces."""
    monkeypatch.setattr("deephys_sql.formats.arrays.BYTES_AT_ONCE", 700)
    layers, logits = saved(tmp_path, arrays, kind)
    (tmp_path / "labels.csv").write_text("\n".join(map(str, arrays["labels"])))
    dp.import_arrays(store, model="net", dataset="day", activations=layers, logits=logits, labels=tmp_path / "labels.csv", progress=False)
    assert np.array_equal(activations(store), arrays["hidden"]) and np.array_equal(activations(store, "output"), arrays["logits"])
    (accuracy,) = store.sql("select accuracy from dataset_accuracy").fetchall()[0]
    assert accuracy == pytest.approx((arrays["logits"].argmax(axis=1) == arrays["labels"]).mean())
    assert store.check() == []


def test_an_npz_of_layers(store, tmp_path, arrays):
    """Every array of one .npz is a layer."""
    np.savez(tmp_path / "layers.npz", hidden=arrays["hidden"], tail=arrays["logits"])
    np.save(tmp_path / "logits.npy", arrays["logits"])
    dp.import_arrays(store, model="net", dataset="day", activations=tmp_path / "layers.npz", logits=tmp_path / "logits.npy", progress=False)
    assert [row[1] for row in store.layers("net").fetchall()] == ["hidden", "tail", "output"]


def small(folder):
    """Three images, and pictures whose names order otherwise by number than by text."""
    np.save(folder / "hidden.npy", np.eye(3))
    np.save(folder / "logits.npy", np.eye(3))
    (folder / "photos").mkdir()
    for name, gray in (("2", 20), ("10", 100), ("11", 110)):
        Image.fromarray(np.full((4, 4), gray, np.uint8)).save(folder / "photos" / f"{name}.png")
    return {"model": "net", "dataset": "day", "activations": {"hidden": folder / "hidden.npy"}, "logits": folder / "logits.npy"}


def grays(store):
    rows = store.sql("select thumbnail from image order by image").fetchall()
    return [int(np.asarray(Image.open(io.BytesIO(row[0])))[0, 0].max()) for row in rows]


def test_names_metadata_and_pictures(store, tmp_path):
    """Rows in any order, labels by name, pictures by file, other columns as metadata."""
    (tmp_path / "labels.csv").write_text(
        '\ufefffile,image,label,camera\r\n11.png,2,,b\r\n10.png,0,owl,a\r\n2.png,1,cat,"x, y"\r\n', encoding="utf-8"
    )
    names = ["cat", "dog", "owl"]
    dp.import_arrays(store, **small(tmp_path), labels=tmp_path / "labels.csv", images=tmp_path / "photos", categories=names, progress=False)
    rows = store.sql("select label_name, metadata, uri from image order by image").fetchall()
    assert [row[0] for row in rows] == ["owl", "cat", None]
    assert [json.loads(row[1]) for row in rows] == [{"camera": "a"}, {"camera": "x, y"}, {"camera": "b"}]
    assert rows[0][2] == str(tmp_path / "photos" / "10.png") and grays(store) == [100, 20, 110]


def test_pictures_by_number(store, tmp_path):
    """Pictures that are called by numbers are taken in the order of these."""
    dp.import_arrays(store, **small(tmp_path), images=tmp_path / "photos", progress=False)
    assert grays(store) == [20, 100, 110]


def test_command_line(tmp_path):
    """import arrays is the function."""
    small(tmp_path)
    (tmp_path / "labels.csv").write_text("label,prediction\ncat,cat\ndog,cat\nowl,dog\n")
    (tmp_path / "names.txt").write_text("cat\ndog\nowl\n")
    files = ["--logits", f"{tmp_path}/logits.npy", "--labels", f"{tmp_path}/labels.csv", "--categories", f"{tmp_path}/names.txt"]
    command = ["import", "arrays", f"{tmp_path}/study.duckdb", "--model", "net", "--dataset", "day", *files]
    result = CliRunner().invoke(main, [*command, "--activations", f"hidden={tmp_path}/hidden.npy", "--images", f"{tmp_path}/photos"])
    assert result.exit_code == 0, result.output
    with dp.open(tmp_path / "study.duckdb") as store:
        rows = store.sql("select label_name, predicted_name from prediction order by image").fetchall()
        assert rows == [("cat", "cat"), ("dog", "cat"), ("owl", "dog")]
    assert CliRunner().invoke(main, [*command, "--activations", "hidden"]).exit_code == 2


CSVS = {
    "column label": "labels\n1\n2\n0\n",
    "comes twice": "image,label\n0,1\n1,1\n1,2\n",
    "image 1 is missing": "image,label\n0,1\n2,1\n3,2\n",
    "must hold the image's number": "image,label\nzero,1\n1,1\n2,2\n",
    "line 3: 3 values": "image,label\n0,1\n1,1,5\n2,2\n",
    "column twice": "label,label\n0,1\n1,1\n2,2\n",
    "is empty": "",
    "can't be read as a CSV": 'label\n"cat\n',
    "which is none of the 2 categories": "label\ncat\ndog\nbird\n",
    "same number of images": "label\n0\n1\n",
    "label of image 1 is 7": "label\n0\n7\n1\n",
    "is not in": "label,file\n0,../../etc/passwd\n1,2.png\n1,10.png\n",
    "image 0 .*1.png. can't be read": "label,file\n0,1.png\n1,2.png\n1,10.png\n",
}


@pytest.mark.parametrize("message", CSVS)
def test_tables_that_do_not_fit_are_refused(store, tmp_path, message):
    """The error says what is wrong; nothing is written."""
    given = small(tmp_path)
    (tmp_path / "labels.csv").write_text(CSVS[message])
    options = {"categories": ["cat", "dog"]} if "2 categories" in message else {}
    with pytest.raises(InvalidInputError, match=message):
        dp.import_arrays(store, **given, labels=tmp_path / "labels.csv", images=tmp_path / "photos", progress=False, **options)
    assert store.models().fetchall() == [] and store.datasets().fetchall() == []


def test_damaged_arrays_are_refused(store, tmp_path):
    """Files that are missing, cut off, no arrays, of objects, ambiguous or too wide."""
    given = small(tmp_path)
    whole = (tmp_path / "hidden.npy").read_bytes()
    np.savez(tmp_path / "two.npz", a=np.eye(3), b=np.eye(3))
    np.savez(tmp_path / "columns.npz", np.asfortranarray(np.arange(6.0).reshape(3, 2)))
    np.savez(tmp_path / "objects.npz", np.array([[{}]], dtype=object))
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object))
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no archive")
    content = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(content.replace(np.float64(1).tobytes(), np.float64(2).tobytes(), 1))
    for name, message in {
        "nowhere.npy": "there is no file",
        "cut.npy": "can't be read",
        "text.npy": "can't be read",
        "text.npz": "can't be read",
        "objects.npy": "can't be read",
        "objects.npz": "Python objects",
        "two.npz": "holds the arrays a, b",
        "two.npz:c": "holds the arrays a, b",
        "columns.npz": "column after column",
        "flipped.npz:a": "can't be read.*CRC",
    }.items():
        with pytest.raises(FileFormatError, match=message):
            dp.import_arrays(store, **(given | {"activations": {"hidden": f"{tmp_path}/{name}"}}), progress=False)
    assert store.models().fetchall() == []


def test_mutated_arrays(store, tmp_path):
    """Hundreds of arrays with flipped, lost or doubled bytes: our errors, or numbers; no crash."""
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    np.savez_compressed(tmp_path / "a.npz", np.arange(6.0).reshape(3, 2))
    rng = np.random.default_rng(0)
    for number in range(600):
        path = tmp_path / ("a.npy" if number % 2 else "a.npz")
        content = bytearray(path.read_bytes())
        place = int(rng.integers(len(content)))
        if number % 3 == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif number % 3 == 1:
            del content[place:]
        else:
            content[place:place] = content[place : place + 20]
        changed = tmp_path / f"changed{path.suffix}"
        changed.write_bytes(content)
        try:
            array = ArrayFile(changed)
            array[0:512]
        except DeephysError:
            pass
