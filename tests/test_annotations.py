"""Annotations: kept beside the store, joined in SQL, by many writers, with their history, embedded to be sent."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import study as studies
from click.testing import CliRunner

import deephys_sql as dp
from deephys_sql.annotations import Log
from deephys_sql.cli import main
from deephys_sql.errors import AnnotationError, InvalidInputError, ReadOnlyError, UnknownNameError

NEURON = {"model": "net", "layer": "fc", "neuron": 3}
IMAGE = {"dataset": "shifted", "image": 7}
SAID = "subject, model, layer, neuron, dataset, image, image_set, images, judgement, note, tags, author"


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    """A closed store with the small study, to copy."""
    path = tmp_path_factory.mktemp("made") / "study.duckdb"
    with dp.open(path) as store:
        study.record(store)
    return path


@pytest.fixture
def path(made, tmp_path):
    """A copy of it."""
    return Path(shutil.copy(made, tmp_path / "study.duckdb"))


@pytest.fixture
def reading(path):
    """The same, open for reading."""
    with dp.open(path, read_only=True) as store:
        yield store


def said(store, columns=SAID):
    return store.sql(f"select {columns} from annotation order by written_at").fetchall()


def test_what_is_said_is_read_at_once(reading, path):
    """On a store that is only read, from the connection that wrote and from another; the store's file stays as it was."""
    before = path.read_bytes()
    assert said(reading) == []
    reading.annotate(**NEURON, judgement="spurious", note="grass\nand <b>sky</b>", tags=["colour", "colour", "x y"], author="ada")
    reading.annotate(**IMAGE, judgement="a word of my own", author="bob")
    reading.annotate(dataset="clean", image_set="odd ones", images=[5, 3, 3, 1], note="odd", author="ada")
    expected = [
        ("neuron", "net", "fc", 3, None, None, None, None, "spurious", "grass\nand <b>sky</b>", ["colour", "x y"], "ada"),
        ("image", None, None, None, "shifted", 7, None, [7], "a word of my own", None, [], "bob"),
        ("images", None, None, None, "clean", None, "odd ones", [1, 3, 5], None, "odd", [], "ada"),
    ]
    assert said(reading) == expected
    with dp.open(path, read_only=True) as other:
        assert said(other) == expected
    assert path.read_bytes() == before


def test_a_later_entry_replaces_what_it_gives_and_history_keeps_all(reading):
    """What isn't given stays; "" and [] take back; another author's word stands beside; withdrawing takes all back."""
    reading.annotate(**NEURON, judgement="core", note="first", tags=["a"], author="ada")
    reading.annotate(**NEURON, judgement="unclear", author="bob")
    reading.annotate(**NEURON, judgement="spurious", author="ada")
    assert said(reading, "judgement, note, tags, author") == [("unclear", None, [], "bob"), ("spurious", "first", ["a"], "ada")]
    reading.annotate(**NEURON, judgement="spurious", author="ada")  # nothing new
    assert len(reading.annotations(history=True).fetchall()) == 3
    reading.annotate(**NEURON, note="", tags=[], author="ada")
    assert said(reading, "judgement, note, tags, author")[1] == ("spurious", None, [], "ada")
    reading.annotate(**NEURON, withdraw=True, author="ada")
    assert said(reading, "author") == [("bob",)]
    history = reading.sql("select judgement, note, author, withdrawn from annotation_history order by written_at").fetchall()
    assert history == [
        ("core", "first", "ada", False),
        ("unclear", None, "bob", False),
        ("spurious", "first", "ada", False),
        ("spurious", None, "ada", False),
        ("spurious", None, "ada", True),
    ]
    with pytest.raises(InvalidInputError, match="ada has said nothing"):
        reading.annotate(**NEURON, withdraw=True, author="ada")
    reading.annotate(**NEURON, note="again", author="ada")
    assert said(reading, "judgement, note")[1] == (None, "again")
    reading.annotate(**NEURON, note="", author="ada")  # the last word taken back is all taken back
    assert said(reading, "author") == [("bob",)]


def test_sets_are_told_by_their_names(reading):
    """A set's images come from numbers or SQL; later entries on the name may leave them out or change them."""
    query = "select image from prediction where dataset = 'shifted' and predicted = 1"
    images = sorted(row[0] for row in reading.sql(query).fetchall())
    reading.annotate(dataset="shifted", image_set="ones", images=query, note="ones", author="ada")
    reading.annotate(dataset="shifted", image_set="ones", judgement="core", author="ada")
    assert said(reading, "images, judgement, note") == [(images, "core", "ones")]
    reading.annotate(dataset="shifted", image_set="ones", images=[4], author="ada")
    assert said(reading, "images, judgement, note") == [([4], "core", "ones")]
    with pytest.raises(InvalidInputError, match="no set of images 'twos' by ada yet"):
        reading.annotate(dataset="shifted", image_set="twos", note="x", author="ada")


WRITER = """
import sys
import deephys_sql as dp
path, name = sys.argv[1:]
with dp.open(path, read_only=True) as store:
    for i in range(10):
        store.annotate(model="net", layer="fc", neuron=i, judgement="spurious", note=f"{name} {i}", author=name)
        store.annotate(model="net", layer="fc", neuron=0, note=f"again {i}", author=name)
"""


def test_many_writers_lose_nothing(reading, path):
    """Three processes that begin at once, on a file that none has made yet: every entry is there, each author's last one stands."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"w{i}"], stderr=subprocess.PIPE, env=environment) for i in range(3)
    ]
    failed = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert failed == [(b"", 0)] * 3
    assert reading.sql("select count(*), count(distinct annotation) from annotation_history").fetchall() == [(60, 60)]
    found = reading.sql("select author, count(*), max(note) filter (where neuron = 0) from annotation group by 1 order by 1").fetchall()
    assert found == [(f"w{i}", 10, "again 9") for i in range(3)]


def test_annotations_hold_by_names(study, path):
    """A store that is replaced, or whose model is recorded again, keeps them; ids play no part."""
    with dp.open(path, read_only=True) as store:
        store.annotate(**NEURON, judgement="core", author="ada")
    path.unlink()
    with dp.open(path) as store:
        other = studies.renamed(study, 1)
        other.record(store, "another")
        study.record(store)  # now with other ids
        joined = "select s.dataset, a.judgement from neuron_score as s join annotation as a using (model, layer, neuron) order by 1"
        assert store.sql(joined).fetchall() == [("shifted", "core"), ("unlabelled", "core")]


def test_one_file_that_can_be_sent(path, tmp_path):
    """Embedded, the entries are in the file alone, for any DuckDB client; the receiver's own and later ones join in; none twice."""
    with dp.open(path, read_only=True) as store:
        store.annotate(**NEURON, judgement="core", author="ada")
        with pytest.raises(ReadOnlyError):
            store.embed_annotations()
    with dp.open(path) as store:
        store.set_reference("net", "clean")  # whatever writes the store takes over what is written beside it
    with duckdb.connect(str(path), read_only=True) as plain:
        assert plain.execute("select count(*) from stored_annotation").fetchall() == [(1,)]
    with dp.open(path) as store:
        store.annotate(**NEURON, note="later", author="ada")
        assert (store.embed_annotations(), store.embed_annotations()) == (1, 0)
        assert said(store, "judgement, note") == [("core", "later")]
    sent = shutil.copy(path, tmp_path / "sent.duckdb")
    with duckdb.connect(str(sent), read_only=True) as plain:
        assert plain.execute("select judgement, note from annotation").fetchall() == [("core", "later")]
        assert plain.execute("select count(*) from annotation_history").fetchall() == [(2,)]
    with dp.open(sent, read_only=True) as received:
        received.annotate(**NEURON, judgement="spurious", author="ada")  # builds on what is embedded
        received.annotate(**NEURON, judgement="unclear", author="bob")
        assert said(received, "judgement, note, author") == [("spurious", "later", "ada"), ("unclear", None, "bob")]
    done = CliRunner().invoke(main, ["annotations", str(sent), "--embed", "--history", "--format", "json"])
    assert done.exit_code == 0 and len(json.loads(done.output)) == 4
    os.replace(sent, path)  # back again, beside the file of the sender
    with dp.open(path, read_only=True) as store:
        assert store.sql("select count(*) from annotation_history").fetchall() == [(4,)]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({**NEURON}, InvalidInputError, "nothing is said"),
        ({"note": "x"}, InvalidInputError, "name what is annotated.*Got nothing"),
        ({**NEURON, "dataset": "clean", "note": "x"}, InvalidInputError, "name what is annotated.*Got model, layer, neuron, dataset"),
        ({"model": "net", "neuron": 1, "note": "x"}, InvalidInputError, "name what is annotated"),
        ({**NEURON, "model": "nett", "note": "x"}, UnknownNameError, "did you mean 'net'"),
        ({**NEURON, "neuron": 70, "note": "x"}, UnknownNameError, "numbered 0 to 69"),
        ({**NEURON, "neuron": -1, "note": "x"}, InvalidInputError, "neuron must be a number from 0"),
        ({**NEURON, "neuron": True, "note": "x"}, InvalidInputError, "neuron must be a number"),
        ({**IMAGE, "image": 45, "note": "x"}, UnknownNameError, "numbered 0 to 44"),
        ({"dataset": "clean", "image_set": "s", "images": [60], "note": "x"}, UnknownNameError, "numbered 0 to 59"),
        ({"dataset": "clean", "image_set": "s", "images": [], "note": "x"}, InvalidInputError, "1 to 100,000 images; got 0"),
        ({"dataset": "clean", "image_set": " ", "images": [1], "note": "x"}, InvalidInputError, "needs a name"),
        ({"dataset": "clean", "image_set": "s", "images": "select 'x'", "note": "x"}, InvalidInputError, "image must be a number"),
        ({**NEURON, "note": "x" * 10_001}, InvalidInputError, "note has 10,001 characters"),
        ({**NEURON, "judgement": "two\nlines"}, InvalidInputError, "can't be printed"),
        ({**NEURON, "judgement": 7}, InvalidInputError, "judgement must be a text"),
        ({**NEURON, "note": "a\0b"}, InvalidInputError, "can't be printed"),
        ({**NEURON, "note": "\ud800"}, InvalidInputError, "no text in Unicode"),
        ({**NEURON, "tags": "colour"}, InvalidInputError, "tags must be a list"),
        ({**NEURON, "tags": [f"t{i}" for i in range(51)]}, InvalidInputError, "at most 50 tags"),
        ({**NEURON, "note": "x", "author": " "}, InvalidInputError, "needs an author"),
    ],
)
def test_what_cannot_be_said(reading, given, error, says):
    """Is refused, and nothing is written: not even a file."""
    with pytest.raises(error, match=says):
        reading.annotate(**{"author": "ada", **given})
    assert said(reading) == []


@pytest.mark.parametrize(
    "text", ["'; drop table entry; --", '"); drop table entry; --', "<script>alert(1)</script>", "💥 ä \\ % _ :x $x ?"]
)
def test_texts_are_text(reading, path, text):
    """SQL and markup are kept as they are, in every field, and nothing else happens."""
    reading.annotate(**NEURON, judgement=text, note=text, tags=[text], author=text)
    reading.annotate(dataset="clean", image_set=text, images=[1], note=text, author=text)
    assert said(reading, "judgement, note, tags, author")[0] == (text, text, [text], text)
    assert said(reading, "image_set, author")[1] == (text, text)
    assert len(Log(path).entries()) == 2


def test_files_that_are_no_annotations(reading, path):
    """A file of something else beside the store, or a folder: reading and writing say so, and the file stays as it is."""
    beside = Log(path).path
    beside.write_bytes(b"no database, but long enough to be looked at " * 50)
    with pytest.raises(AnnotationError, match="can't be read or written"):
        reading.sql("select 1")
    with pytest.raises(AnnotationError, match="can't be read or written"):
        reading.annotate(**NEURON, note="x", author="ada")
    assert beside.read_bytes().startswith(b"no database")
    beside.unlink()
    assert reading.sql("select 1 as x").fetchall() == [(1,)]


def test_a_file_that_goes_and_comes_back(reading, path):
    """Entries of a file that was deleted or replaced meanwhile are those of the file that is there."""
    beside = Log(path).path
    reading.annotate(**NEURON, note="one", author="ada")
    assert said(reading, "note") == [("one",)]
    for ending in ("", "-wal", "-shm"):
        beside.with_name(beside.name + ending).unlink(missing_ok=True)
    assert said(reading, "note") == []
    reading.annotate(**NEURON, note="two", author="ada")
    assert said(reading, "note") == [("two",)]


def test_the_file_can_be_copied_alone(reading, path, tmp_path):
    """What is written is in the file itself, not only in the log beside it, while others have it open."""
    said(reading)
    reading.annotate(**NEURON, note="x", author="ada")
    assert said(reading, "note") == [("x",)]
    reading.annotate(**NEURON, note="y", author="ada")
    copy = shutil.copy(Log(path).path, tmp_path / "copy.sqlite")
    with sqlite3.connect(copy) as connection:
        assert connection.execute("select note from entry order by written_at").fetchall() == [("x",), ("y",)]


def test_the_file_is_plain_sqlite(reading, path):
    """Other tools read it, and its entries are never changed: write-ahead log, one table, strict."""
    reading.annotate(**NEURON, note="x", author="ada")
    with sqlite3.connect(Log(path).path) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select subject, neuron, note, author from entry").fetchall() == [("neuron", 3, "x", "ada")]


def test_views_of_users_and_macros_see_them(path):
    """Whatever builds on the view annotation, in the store or in a query, reads what is written beside it."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("create view spurious_neuron as select neuron from annotation where judgement = 'spurious'")
        connection.execute("create macro said_of(n) as table select note from annotation where neuron = n")
    with dp.open(path, read_only=True) as store:
        store.annotate(**NEURON, judgement="spurious", note="x", author="ada")
        assert store.sql("from spurious_neuron").fetchall() == [(3,)]
        assert store.sql("from said_of(3)").fetchall() == [("x",)]


def test_accuracy_among_images_whose_top_neuron_is_marked_spurious(reading, study):
    """The worked query, against NumPy: ties to the lower neuron, positive responses only, labelled images only."""
    marked = {3: ["spurious"], 5: ["spurious", "core"], 6: ["core"], 12: ["spurious"]}
    for neuron, judgements in marked.items():
        for i, judgement in enumerate(judgements):
            reading.annotate(model="net", layer="fc", neuron=neuron, judgement=judgement, author=f"a{i}")
    reading.annotate(model="net", layer="conv", neuron=7, judgement="spurious", author="ada")  # of another layer
    expected = {}
    for dataset in ("clean", "shifted"):
        part = study.parts[dataset]
        with np.errstate(divide="ignore", invalid="ignore"):
            response = np.maximum(part.activations["fc"], 0) / np.maximum(study.parts["clean"].activations["fc"], 0).max(axis=0)
        response[~np.isfinite(response)] = 0
        top = response.argmax(axis=1)
        right = part.logits.argmax(axis=1) == part.labels
        for image in np.flatnonzero((part.labels >= 0) & (response.max(axis=1) > 0)):
            for judgement in marked.get(int(top[image]), [None]):
                expected.setdefault((dataset, judgement), []).append((int(top[image]), bool(right[image])))
    found = {
        (row["dataset"], row["judgement"]): (row["neurons"], row["images"], row["accuracy"])
        for row in reading.query("accuracy_by_judgement", model="net", layer="fc").to_dicts()
    }
    assert len(found) == 6
    assert found == {
        key: (len({neuron for neuron, _ in rows}), len(rows), sum(right for _, right in rows) / len(rows)) for key, rows in expected.items()
    }


def test_command_line(path):
    """annotate says, annotations lists, sql joins; mistakes are one line and status 2."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    neuron = ["annotate", path, "--model", "net", "--layer", "fc", "--neuron", 3]
    assert run(*neuron, "--judgement", "spurious", "--tag", "a", "--tag", "b", "--author", "ada").exit_code == 0
    assert run("annotate", path, "--dataset", "clean", "--set", "some", "--images", "3, 5,9", "--note", "x").exit_code == 0
    query = "select image from image where dataset = 'clean' and image < 2"
    assert run("annotate", path, "--dataset", "clean", "--set", "first", "--images", query, "--note", "y").exit_code == 0
    rows = json.loads(run("annotations", path, "--format", "json").output)
    assert [(row["judgement"], row["note"], row["tags"], row["images"]) for row in rows] == [
        ("spurious", None, ["a", "b"], None),
        (None, "x", [], [3, 5, 9]),
        (None, "y", [], [0, 1]),
    ]
    rows = json.loads(run("sql", path, "select count(*) as n from annotation where author = 'ada'", "--format", "json").output)
    assert rows == [{"n": 1}]
    assert run(*neuron, "--withdraw", "--author", "ada").exit_code == 0
    assert len(json.loads(run("annotations", path, "--format", "json").output)) == 2
    failed = run(*neuron, "--withdraw", "--author", "ada")
    assert failed.exit_code == 2 and "ada has said nothing" in failed.output


def test_command_line_prints_what_people_read(path):
    """A table has who, when, of what and how many images, no list and no id; annotate says what it did, or what is missing."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    neuron = ["annotate", path, "--model", "net", "--layer", "fc", "--neuron", 3, "--author", "ada"]
    done = run(*neuron, "--judgement", "spurious", "--tag", "a", "--tag", "b")
    assert done.output == "Kept what was said of neuron 3 of fc of net.\n"
    run("annotate", path, "--dataset", "clean", "--set", "some", "--images", "3,5,9", "--note", "x", "--author", "bob")
    lines = [[cell.strip() for cell in line.split("│")] for line in run("annotations", path).output.splitlines()]
    assert [line[2:-1] for line in lines if len(line) > 2 and line[2] in ("author", "ada", "bob")] == [
        ["author", "subject", "of_what", "images", "judgement", "tags", "note"],
        ["ada", "neuron", "3 of fc of net", "NULL", "spurious", "a, b", ""],
        ["bob", "images", "some of clean", "3", "", "", "x"],
    ]
    for before in ("said", "said before"):
        failed = run(*neuron)
        assert failed.exit_code == 2 and "give --judgement, --note or --tag, or --withdraw to" in failed.output, before
        assert "withdrawn" not in run("annotations", path, "--history").output
    assert run(*neuron, "--withdraw").output.startswith("Withdrew")
    assert "ada" not in run("annotations", path).output and "withdrawn" in run("annotations", path, "--history").output
    failed = run("annotate", path, "--note", "x")
    assert failed.exit_code == 2 and "--dataset, --set (its name) and --images" in failed.output


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_who_may_read_the_store_may_read_them(reading, path, mode):
    """The file beside a store, and SQLite's own files beside that, have the store's mode, whatever the umask; its owner may write it."""
    path.chmod(mode)
    before = os.umask(0)
    try:
        reading.annotate(**NEURON, note="secret", author="ada")
    finally:
        os.umask(before)
    files = list(path.parent.glob("*.annotations.sqlite*"))
    assert files and {file.stat().st_mode & 0o777 for file in files} == {mode | 0o600}
