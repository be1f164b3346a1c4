"""Parquet: an export gives the same store back, any program reads it, and what is damaged is refused."""

import hashlib
import json
import re
import shutil

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import deephys_sql as dp
from deephys_sql.cli import main
from deephys_sql.errors import (
    CategoriesDifferError,
    DatasetDiffersError,
    DeephysError,
    FileFormatError,
    InvalidInputError,
    ModelDiffersError,
    RecordingExistsError,
    StoreVersionError,
)
from deephys_sql.formats import hive

# Names that paths, Hive's layout, URLs, globs or type guessing could take for something else.
NAMES = {"net": "net/été=1 %20?*", "clean": "007", "shifted": "shifted=day/2", "unlabelled": "..", "fc": "a b+c&d'\"#\\\t{x}[y]"}


@pytest.fixture(scope="module")
def source(tmp_path_factory, study):
    """A store with everything: pictures, originals, metadata, two models, given predictions, another reference, awkward names."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("source") / "study.duckdb"
    with dp.open(path) as store:
        for number, (dataset, part) in enumerate(study.parts.items()):
            pictures = rng.integers(0, 256, (part.images, 3, 4, 3), np.uint8) if number != 1 else None
            metadata = [{"camera": image, "été": None} for image in range(part.images)] if number != 2 else None
            store.add_recording(
                model=NAMES["net"],
                dataset=NAMES[dataset],
                activations={"conv": part.activations["conv"], NAMES["fc"]: part.activations["fc"]},
                logits=part.logits,
                labels=part.labels,
                categories=study.categories,
                images=pictures,
                image_metadata=metadata,
                nonlinearity={"conv": "relu"},
                pooling={"conv": "max"},
                keep_originals=number == 0,
                progress=False,
            )
        given = study.parts["clean"]
        store.add_recording(
            model="given",
            dataset=NAMES["clean"],
            activations={"conv": -abs(given.activations["conv"])},
            predictions=given.labels.clip(0),
            progress=False,
        )
        store.set_reference(NAMES["net"], NAMES["shifted"])
        (path.parent / "runs.csv").write_text("run,model,lr,acc\na,given,0.1,0.9\nb,other,0.01,0.8\n")
        store.add_experiments(path.parent / "runs.csv", metrics=["acc"], progress=False)
        yield store


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    """The Parquet tree of `source`; copy it before you change it."""
    folder = tmp_path_factory.mktemp("exported") / "tree"
    dp.export_parquet(source, folder, progress=False)
    return folder


@pytest.fixture
def tree(exported, tmp_path):
    """A copy of the tree, to be damaged."""
    return shutil.copytree(exported, tmp_path / "tree")


def contents(store):
    """All rows of all tables and views, without ids, which each store gives as they come."""
    found = {}
    tables = store.sql("select table_name, list(column_name) from duckdb_columns() where not internal group by 1 order by 1").fetchall()
    for table, columns in tables:
        if table in ("stored_migration", "stored_views"):
            continue
        ids = [name for name in columns if name.endswith("_id") or name in ("category_list", "piece", "first_piece")]
        exclude = f"exclude ({', '.join(ids)})" if ids else ""
        if len(ids) < len(columns):
            found[table] = store.sql(f'select * {exclude} from "{table}" order by all').fetchall()
    return found


def empty(store):
    return all(store.sql(f"select count(*) from {table}").fetchall() == [(0,)] for table in ("model", "dataset", "recording", "layer"))


def test_round_trip(source, exported, tmp_path):
    """Every row of every table and view comes back: pictures, metadata, provenance, checksums, scores; and check finds it whole."""
    expected = contents(source)
    assert len(expected) > 25 and all(expected[name] for name in ("stored_neuron_score", "stored_top_image", "image", "prediction"))
    dp.import_parquet(tmp_path / "copy.duckdb", exported, progress=False)
    with dp.open(tmp_path / "copy.duckdb", read_only=True) as copy:
        found = contents(copy)
        assert found.keys() == expected.keys()
        for table, rows in expected.items():
            assert found[table] == rows, table
        assert copy.check() == []
        dp.export_parquet(copy, tmp_path / "again", progress=False)
    for path in exported.rglob("*.parquet"):
        assert pq.read_table(path).equals(pq.read_table(tmp_path / "again" / path.relative_to(exported))), path


def test_every_table_travels(source, exported):
    """A table that a later migration brings is in an export, or is named here as one that an import makes anew."""
    tables = {name for (name,) in source.sql("select table_name from duckdb_tables() where table_name like 'stored_%'").fetchall()}
    elsewhere = {"migration", "views", "category_list", "category", "piece", "neuron", "named_recording", "named_layer", "named_run"}
    filled = {t for t in tables if source.sql(f"select count(*) from {t}").fetchall() != [(0,)]}
    assert {t.removeprefix("stored_") for t in filled} - elsewhere == {path.name for path in exported.iterdir() if path.is_dir()}


def test_annotations_travel(study, tmp_path):
    """What people said is exported with the store, whether it is embedded or written beside it."""
    with dp.open(tmp_path / "study.duckdb") as store:
        study.record(store)
        store.annotate(model="net", layer="fc", neuron=1, judgement="spurious", note="grass", author="ada")
        store.embed_annotations()
        store.annotate(dataset="clean", image_set="first", images=[0, 1], tags=["blurry"], author="bob")
        said = store.annotations().fetchall()
        dp.export_parquet(store, tmp_path / "tree", progress=False)
    dp.import_parquet(tmp_path / "copy.duckdb", tmp_path / "tree", progress=False)
    with dp.open(tmp_path / "copy.duckdb", read_only=True) as copy:
        assert copy.annotations().fetchall() == said and len(said) == 2


def test_into_a_store_that_holds_other_things(source, exported, tmp_path, study):
    """Models and datasets that are there keep their ids and rows; the others come beside them."""
    with dp.open(tmp_path / "study.duckdb") as store:
        study.record(store, model="another")
        before = store.sql("select * from response where model = 'another' order by all").fetchall()
        dp.import_parquet(store, exported, progress=False)
        assert store.check() == []
        assert store.sql("select * from response where model = 'another' order by all").fetchall() == before
        rows = "select * from neuron_score where model != 'another' order by all"
        assert store.sql(rows).fetchall() == source.sql(rows).fetchall()


def test_a_second_model_of_a_stored_dataset(study, tmp_path):
    """A dataset that both have is taken as one when its images are the same, and refused when they are not."""
    with dp.open(tmp_path / "a.duckdb") as a, dp.open(tmp_path / "b.duckdb") as b, dp.open(tmp_path / "c.duckdb") as c:
        study.record(a, model="a")
        study.record(b, model="b")
        dp.export_parquet(b, tmp_path / "b", progress=False)
        dp.import_parquet(a, tmp_path / "b", progress=False)
        assert a.sql("select count(*), count(distinct model), count(distinct dataset) from recording").fetchall() == [(6, 2, 3)]
        assert a.check() == []
        part = study.parts["clean"]
        c.add_recording(
            model="c", dataset="clean", activations={}, logits=part.logits[::-1], labels=part.labels[::-1], categories=study.categories
        )
        before = contents(c)
        with pytest.raises(DatasetDiffersError, match="'clean' is stored with other images"):
            dp.import_parquet(c, tmp_path / "b", progress=False)
        assert contents(c) == before


def test_what_is_recorded_needs_replace(source, exported, tmp_path):
    """Recordings that are there are kept unless replace is said; then the rows are the same."""
    dp.import_parquet(tmp_path / "copy.duckdb", exported, progress=False)
    with dp.open(tmp_path / "copy.duckdb") as copy:
        with pytest.raises(RecordingExistsError, match="replace=True"):
            dp.import_parquet(copy, exported, progress=False)
        dp.import_parquet(copy, exported, replace=True, progress=False)
        assert contents(copy) == contents(source) and copy.check() == []


def test_models_that_differ_are_refused(study, exported, tmp_path):
    """Other categories or layers under the same name are refused, and nothing is written."""
    for message, error, categories, layer in (
        ("other categories", CategoriesDifferError, list("abcdef"), np.zeros((2, 8))),
        ("'neurons': 3", ModelDiffersError, study.categories, np.zeros((2, 3))),
    ):
        with dp.open(tmp_path / f"{layer.shape[1]}.duckdb") as store:
            store.add_recording(
                model=NAMES["net"],
                dataset="mine",
                activations={"conv": layer},
                logits=np.zeros((2, 6)),
                categories=categories,
                progress=False,
            )
            before = contents(store)
            with pytest.raises(error, match=message):
                dp.import_parquet(store, exported, progress=False)
            assert contents(store) == before


def test_duckdb_reads_it(source, exported):
    """DuckDB finds the names in the paths and the activations as lists."""
    query = (
        "select model, layer, dataset, image, unnest(values) as value, generate_subscripts(values, 1) - 1 as neuron "
        f"from read_parquet('{exported}/activation/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    )
    found = duckdb.sql(f"select model, layer, neuron, dataset, image, value from ({query}) order by all").fetchall()
    assert found == source.sql("select model, layer, neuron, dataset, image, value from activation order by all").fetchall()


def test_pandas_and_arrow_read_it(source, exported):
    """So do pandas and Arrow, with the decoded names as columns."""
    frame = pd.read_parquet(exported / "neuron_score")
    expected = source.sql("select * from neuron_score").df()
    key = ["model", "layer", "dataset", "neuron"]
    frame = frame.astype(dict.fromkeys(key[:3], str)).sort_values(key, ignore_index=True)[list(expected.columns)]
    expected = expected.sort_values(key, ignore_index=True)
    assert len(frame) and frame[key].equals(expected[key]) and np.array_equal(frame.novelty, expected.novelty, equal_nan=True)
    partitioning = pyarrow.dataset.partitioning(pa.schema([(n, pa.string()) for n in ("model", "layer", "dataset")]), flavor="hive")
    found = pyarrow.dataset.dataset(exported / "activation", partitioning=partitioning).to_table(columns=["layer", "dataset"])
    names = {(layer, dataset) for layer in ("conv", NAMES["fc"], "output") for dataset in (NAMES["clean"], NAMES["shifted"], "..")}
    assert {tuple(row.values()) for row in found.to_pylist()} == names


def test_the_readme_runs(tmp_path, monkeypatch, request, study):
    """The blocks of README.md on Parquet run: what reads an export, and the shards of two processes."""
    section = (request.config.rootpath / "README.md").read_text().split("## Bring data in, take it out")[1].split("\n## ")[0]
    reading, shards = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with dp.open("demo.duckdb") as store:
        study.record(store)
        dp.export_parquet(store, "demo_parquet", progress=False)
    exec(reading, {"pandas": pd, "duckdb": duckdb})
    part = study.parts["clean"]
    for rank in range(2):
        batches = [(range(start, start + 5), None, part.labels[start : start + 5]) for start in range(5 * rank, part.images, 10)]
        names = {"dp": dp, "rank": rank, "world_size": 2, "hidden": part.activations["fc"][:5], "logits": part.logits[:5]}
        exec(shards, names | {"batches": batches})
    dp.import_parquet("study.duckdb", "shards", progress=False)
    with dp.open("study.duckdb") as store:
        assert store.sql("select images from recording").fetchall() == [(part.images,)]


@pytest.mark.parametrize("name", [*NAMES.values(), "__HIVE_DEFAULT_PARTITION__", "=", "%41", "日本語", "a\nb", "\x7f", "ナ", "🦉"])
def test_names_come_back_from_paths(name):
    """A name makes one folder, and is read from it again."""
    place = hive.place("image", {"dataset": name})
    assert len(place.parts) == 2 and place.parts[1].isprintable()
    assert duckdb.sql("select $1", params=[name]).fetchall() == [(name,)]
    key, _, encoded = place.parts[1].partition("=")
    assert (key, hive._decode(encoded, place)) == ("dataset", name)


def test_a_name_too_long_for_a_folder(store, tmp_path):
    """It is said so; no folder is left."""
    store.add_recording(model="é" * 130, dataset="day", activations={}, logits=np.eye(2), progress=False)
    with pytest.raises(InvalidInputError, match="too long"):
        dp.export_parquet(store, tmp_path / "tree", progress=False)
    assert [path.name for path in tmp_path.iterdir() if "tree" in path.name] == []


def test_an_export_is_whole_or_not_there(source, exported, tmp_path, monkeypatch):
    """A folder that is there is left alone; an export that fails midway leaves none."""
    before = sorted(exported.rglob("*"))
    with pytest.raises(InvalidInputError, match="is there already"):
        dp.export_parquet(source, exported, progress=False)
    with pytest.raises(InvalidInputError, match="no folder"):
        dp.export_parquet(source, tmp_path / "no" / "tree", progress=False)
    assert sorted(exported.rglob("*")) == before

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("deephys_sql.formats.parquet_export.read_images", fail)
    with pytest.raises(KeyboardInterrupt):
        dp.export_parquet(source, tmp_path / "tree", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_command_line(exported, tmp_path):
    """import parquet and export parquet are the functions."""
    store, folder = str(tmp_path / "copy.duckdb"), tmp_path / "again"
    done = CliRunner().invoke(main, ["import", "parquet", store, str(exported)])
    assert done.exit_code == 0 and re.fullmatch(rf"Imported {exported}\. {store} holds \d+ recordings\.\n", done.stdout)
    done = CliRunner().invoke(main, ["export", "parquet", store, str(folder)])
    assert (done.exit_code, done.stdout) == (0, f"Wrote {store} into {folder}.\n")
    assert {p.relative_to(folder) for p in folder.rglob("*")} == {p.relative_to(exported) for p in exported.rglob("*")}
    again = CliRunner().invoke(main, ["import", "parquet", store, str(exported)])
    assert again.exit_code == 2 and "Pass --replace to take" in again.output
    assert CliRunner().invoke(main, ["import", "parquet", store, str(exported), "--replace"]).exit_code == 0


# Damage.


def rewritten(path, change):
    """Write a file again with other rows, as many."""
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table), path)


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))


def first(tree, pattern):
    return min(tree.glob(pattern))


def change_values(tree):
    path = first(tree, "activation/*/layer=conv/*/*.parquet")
    rewritten(path, lambda t: with_column(t, "values", [[v + 1 for v in row] for row in t["values"].to_pylist()]))


def change_label(tree):
    rewritten(first(tree, "image/*/*.parquet"), lambda t: with_column(t, "label", [0] * len(t)))


def too_high_label(tree):
    rewritten(first(tree, "image/*/*.parquet"), lambda t: with_column(t, "label", [6] * len(t)))


def change_prediction(tree):
    path = first(tree, "prediction/model=net*/*/*.parquet")
    rewritten(path, lambda t: with_column(t, "predicted", [(v + 1) % 6 for v in t["predicted"].to_pylist()]))


def not_finite(tree):
    path = first(tree, "activation/*/layer=conv/*/*.parquet")
    rewritten(path, lambda t: with_column(t, "values", [[float("nan"), *row[1:]] for row in t["values"].to_pylist()]))


def ragged(tree):
    path = first(tree, "activation/*/layer=conv/*/*.parquet")
    rewritten(path, lambda t: with_column(t, "values", [row[: 8 - n % 2] for n, row in enumerate(t["values"].to_pylist())]))


def null_values(tree):
    path = first(tree, "activation/*/layer=conv/*/*.parquet")
    rewritten(path, lambda t: with_column(t, "values", [[None] * 8] * len(t)))


def markup_as_picture(tree):
    rewritten(first(tree, "image/dataset=007/*.parquet"), lambda t: with_column(t, "thumbnail_type", ["text/html"] * len(t)))


def no_neurons(tree):
    rewritten(first(tree, "layer/model=net*/*.parquet"), lambda t: with_column(t, "neurons", [10**9] * len(t)))


def other_column(tree):
    rewritten(first(tree, "top_image/*/*/*/*.parquet"), lambda t: t.append_column("x; drop table stored_model", t["image"]))


def not_a_number(tree):
    path = first(tree, "neuron_summary/*/*/*/*.parquet")
    rewritten(path, lambda t: t.drop_columns(["images"]).append_column("images", pa.array(["many"] * len(t))))


def null_where_none_may_be(tree):
    rewritten(first(tree, "neuron_summary/*/*/*/*.parquet"), lambda t: with_column(t, "mean", [None] * len(t)))


def no_such_table(tree):
    first(tree, "neuron_summary").rename(tree / "secrets")
    text = (tree / "_deephys_sql.json").read_text().replace('"neuron_summary/', '"secrets/')
    (tree / "_deephys_sql.json").write_text(text)


def fewer_rows(tree):
    rewritten(first(tree, "image/*/*.parquet"), lambda t: t.slice(1))


def lost_file(tree):
    first(tree, "top_image/*/*/*/*.parquet").unlink()


def stray_file(tree):
    shutil.copy(first(tree, "image/*/*.parquet"), first(tree, "image/*") / "part-1.parquet")


def misplaced_file(tree):
    shutil.copy(first(tree, "image/*/*.parquet"), tree / "image" / "part-1.parquet")


def cut_off(tree):
    path = first(tree, "image/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-100])


def flipped(tree):
    path = first(tree, "activation/*/layer=conv/*/*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def manifest_is_no_json(tree):
    (tree / "_deephys_sql.json").write_text("{")


def manifest_of_something_else(tree):
    (tree / "_deephys_sql.json").write_text('{"files": [1], "format": 1, "schema": []}')


DAMAGES = {
    change_values: "activations are not those",
    change_label: "images of .* are not those",
    too_high_label: "label of image 0 is 6",
    change_prediction: "predictions of .* are not those",
    not_finite: "layer 'conv', image 0, neuron 0 is nan",
    ragged: "different lengths, 7 and 8",
    null_values: "holds NULL",
    markup_as_picture: "'text/html', which is no type of a picture",
    no_neurons: "values, and the layer has 1000000000 neurons",
    other_column: "top_image has no column",
    not_a_number: "rows that a store can't.*many",
    null_where_none_may_be: "rows that a store can't.*NOT NULL.*mean",
    no_such_table: "no table 'secrets'",
    fewer_rows: "image 0 is missing",
    lost_file: "is missing",
    stray_file: "is not in _deephys_sql.json",
    misplaced_file: "folders image/dataset=…",
    cut_off: "can't be read as Parquet",
    flipped: "can't be read as Parquet|not those",
    manifest_is_no_json: "not the list of files",
    manifest_of_something_else: "not the list of files",
}


def sign(tree):
    """List the files as they are now, as somebody who means harm would."""
    try:
        manifest = json.loads((tree / "_deephys_sql.json").read_text())
        files = {path: {"sha256": hashlib.sha256((tree / path).read_bytes()).hexdigest()} for path in manifest["files"]}
    except (ValueError, OSError, TypeError):
        return
    (tree / "_deephys_sql.json").write_text(json.dumps(manifest | {"files": files}))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_trees_are_refused(tree, store, damage):
    """The error names the file and what is wrong with it, also where the list of files was made to fit; nothing is written."""
    damage(tree)
    with pytest.raises(FileFormatError, match="SHA-256 differs|is missing|not in _deephys|not the list|folders image|no table"):
        dp.import_parquet(store, tree, progress=False)
    sign(tree)
    with pytest.raises(InvalidInputError, match=DAMAGES[damage]):
        dp.import_parquet(store, tree, progress=False)
    assert empty(store) and store.check() == []


@pytest.mark.parametrize("lacking", [("histogram", "example", "image_norm"), ("image_norm",)])
def test_exports_of_older_versions(source, tree, store, lacking):
    """An export without what is kept since, and with maxima in the reference, which were kept before, is made whole when imported."""
    for table in lacking:
        shutil.rmtree(tree / table)
    since = ["label", "label_name", "predicted", "predicted_name"]
    since += ["place_row", "place_column"] if "histogram" in lacking else []
    for part in sorted((tree / "top_image").rglob("*.parquet")):
        rewritten(part, lambda table: table.drop_columns(since))
    for part in sorted((tree / "neuron_summary").rglob("*.parquet")):
        older = tree / "reference_maximum" / part.relative_to(tree / "neuron_summary")
        older.parent.mkdir(parents=True)
        shutil.copy(part, older)
    manifest = json.loads((tree / "_deephys_sql.json").read_text())
    manifest["files"] |= {path.relative_to(tree).as_posix(): {} for path in (tree / "reference_maximum").rglob("*.parquet")}
    files = {path: told for path, told in manifest["files"].items() if not path.startswith(tuple(f"{table}/" for table in lacking))}
    schema = manifest["schema"][: 4 if "histogram" in lacking else 9]
    (tree / "_deephys_sql.json").write_text(json.dumps(manifest | {"files": files, "schema": schema}))
    sign(tree)
    dp.import_parquet(store, tree, progress=False)
    assert store.check() == []
    expected, found = contents(source), contents(store)
    for table in ("stored_histogram", "stored_example", "stored_image_norm", "stored_top_image"):
        assert found[table] == expected[table] != []


def test_exports_of_newer_versions_are_refused(tree, store):
    """An export with a migration that this version does not know says what to do."""
    manifest = json.loads((tree / "_deephys_sql.json").read_text())
    manifest["schema"].append("0999_later")
    (tree / "_deephys_sql.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreVersionError, match="newer deephys-sql"):
        dp.import_parquet(store, tree, progress=False)


def test_no_tree(store, tmp_path):
    """A folder that isn't there, is empty, or is a file."""
    (tmp_path / "file").write_text("x")
    for name in ("nowhere", ".", "file"):
        with pytest.raises(FileFormatError, match="no folder|holds no Parquet"):
            dp.import_parquet(store, tmp_path / name, progress=False)


@pytest.mark.slow
def test_mutated_files_are_refused(tmp_path):
    """Files with flipped, lost or doubled bytes, also with a list of files that fits: our errors and nothing written; no crash."""
    with dp.open(tmp_path / "source.duckdb") as store:
        store.add_recording(model="m", dataset="d", activations={}, logits=np.eye(3), labels=[0, 1, None], progress=False)
        dp.export_parquet(store, tmp_path / "tree", progress=False)
        expected = contents(store)
    rng = np.random.default_rng(0)
    files = sorted(path for path in (tmp_path / "tree").rglob("*") if path.is_file())
    manifest = (tmp_path / "tree" / "_deephys_sql.json").read_bytes()
    targets = iter(range(MUTATIONS))
    target = dp.open(tmp_path / "target.duckdb")
    accepted = 0
    for number in range(MUTATIONS):
        path = files[number % len(files)]
        signed = number % 7 == 0
        good = path.read_bytes()
        path.write_bytes(mutated(good, int(rng.integers(3)), rng))
        if signed:
            sign(tmp_path / "tree")
        try:
            dp.import_parquet(target, tmp_path / "tree", progress=False)
        except DeephysError:
            pass
        else:
            accepted += 1
            assert signed or (path.suffix == ".json" and contents(target) == expected)
            target.close()
            target = dp.open(tmp_path / f"target-{next(targets)}.duckdb")
        assert empty(target)
        path.write_bytes(good)
        (tmp_path / "tree" / "_deephys_sql.json").write_bytes(manifest)
    target.close()
    assert accepted < MUTATIONS / 8


MUTATIONS = 1000


def mutated(content, kind, rng):
    changed = bytearray(content)
    place = int(rng.integers(len(changed)))
    if kind % 3 == 0:
        changed[place] ^= 1 << int(rng.integers(8))
    elif kind % 3 == 1:
        del changed[place : place + int(rng.integers(1, 2 * len(changed)))]
    else:
        changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
    return bytes(changed)
