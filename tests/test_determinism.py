"""The same data gives byte-identical results, whatever the threads, the batches and the file."""

import hashlib

import duckdb
import numpy as np
import pyarrow.compute as pc
import pytest

import deephys_sql as dp
from deephys_sql import query

IMAGES, NEURONS, CATEGORIES = 2600, 70, 6  # two blocks of images
SINGLE = [f"single{i:02}" for i in range(22)]  # layers of one neuron: with them the rows of `wide` lie in two row groups
BATCHES = (1, 7, 1000, None)


def arrays(seed, shift):
    """Activations, logits and labels of one dataset; sums of these numbers depend on their order."""
    rng = np.random.default_rng(seed)
    wide = (rng.normal(size=(IMAGES, NEURONS)) * 10.0 ** rng.integers(-4, 4, NEURONS) + shift).astype(np.float32)
    return {
        "activations": {layer: rng.normal(size=(IMAGES, 1)).astype(np.float32) for layer in SINGLE} | {"wide": wide},
        "logits": (rng.normal(size=(IMAGES, CATEGORIES)) * 3).astype(np.float32),
        "labels": rng.integers(-1, CATEGORIES, IMAGES),
    }


DATA = {"clean": arrays(1, 0), "shifted": arrays(2, 0.25)}


def batches(values, size):
    return values if size is None else (values[start : start + size] for start in range(0, len(values), size))


def record(path, batch, threads):
    with dp.open(path) as store:
        store.sql(f"set threads = {threads}")
        for dataset, data in DATA.items():
            store.add_recording(
                model="net",
                dataset=dataset,
                activations={layer: batches(values, batch) for layer, values in data["activations"].items()},
                logits=batches(data["logits"], batch),
                labels=data["labels"],
                progress=False,
            )
    return path


def digest(relation):
    """SHA-256 of a result: column names, types, NULLs and the bits of every value, in order."""
    table = relation.to_arrow_table()
    total = hashlib.sha256(str(table.schema).encode())
    for column in table.columns:
        column = column.combine_chunks()
        if str(column.type) == "bool":
            column = column.cast("int8")
        if str(column.type) in ("float", "double", "int8", "int32", "int64"):
            total.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)))
            total.update(pc.fill_null(column, 0).to_numpy(zero_copy_only=False).tobytes())
        elif str(column.type) == "string":
            names = column.dictionary_encode()
            total.update(repr(names.dictionary.to_pylist()).encode() + names.indices.to_numpy(zero_copy_only=False).tobytes())
        else:
            total.update(repr(column.to_pylist()).encode())
    return total.hexdigest()


ARGUMENTS = {
    "reference": "clean",
    "lead": "shifted",
    "neurons": "[3, 4]",
    "among": "clean",
    "datasets": '["shifted"]',
    "confusions": "[[1, 4], [4, 1], [2, 3]]",
    "label": "1",
    "predicted": "4",
    "model": "net",
    "layer": "wide",
    "dataset": "shifted",
    "neuron": 3,
    "image": 2100,
    "category": "2",
    "a": "1",
    "b": "4",
    "k": 500,
}


MACROS = (
    "top_images('net', 'wide', 3, 'clean', 2000)",
    "top_neurons('net', 'wide', 'shifted', 2100, 40)",
    "top_neurons_of('net', 'wide', 'shifted', range(0, 2600, 3), 40)",
    "top_neurons_of('net', 'wide', 'shifted', (select list(image) from prediction where dataset = 'shifted' and correct), 40)",
    "confusion_set('net', 'shifted', 1, 4)",
    "scores('net', 'wide', 'clean', 'shifted')",
    "similar_images('net', 'wide', 'shifted', 2100, 'clean', 40)",
    "similar_images_on('net', 'wide', 'shifted', 2100, [3, 40], 'clean', 40)",
)


def results(path, threads):
    """The digest of every view, named query and macro, read by a fresh connection with so many threads."""
    found = {}
    with duckdb.connect(str(path), read_only=True, config={"threads": threads}) as connection:
        views = "select view_name from duckdb_views() where not internal order by 1"
        for (view,) in connection.execute(views).fetchall():
            columns = "* exclude (recorded_at)" if view == "recording" else "*"
            found[view] = digest(connection.sql(f"select {columns} from {view} order by all"))
        for name, known in query.available().items():
            text, bound = known.bind({parameter: value for parameter, value in ARGUMENTS.items() if parameter in known.parameters})
            if name == "recordings":
                text = f"select * exclude (recorded_at) from ({text})"
            found[name] = digest(connection.sql(text, params=bound))
        for macro in MACROS:
            found[macro] = digest(connection.sql(f"select * from {macro}"))
    return found


def checksums(path):
    with duckdb.connect(str(path), read_only=True) as connection:
        return (
            connection.execute("select checksum from recording order by dataset").fetchall()
            + connection.execute("select recording_id, layer_id, checksum from stored_recorded_layer order by all").fetchall()
        )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A store recorded from whole arrays with one thread, and its results read with one thread."""
    path = record(tmp_path_factory.mktemp("first") / "study.duckdb", None, 1)
    return path, results(path, 1)


def test_reading_with_more_threads_changes_nothing(first):
    """Every view, named query and macro gives the same bytes with one, two and four threads."""
    path, expected = first
    assert len(expected) > 20
    for threads in (2, 4):
        assert results(path, threads) == expected


@pytest.mark.parametrize("batch", BATCHES)
def test_recording_in_batches_changes_nothing(first, tmp_path, batch):
    """A second file of the same data, recorded with two threads in batches of any size: same bytes, same checksums."""
    path = record(tmp_path / "again.duckdb", batch, 2)
    assert checksums(path) == checksums(first[0])
    assert results(path, 2) == first[1]


def test_results_are_those_of_the_data(first):
    """What is compared is not empty, and the activations are the ones recorded, over several blocks and row groups."""
    path, _ = first
    with dp.open(path, read_only=True) as store:
        for dataset, data in DATA.items():
            for view in ("activation", "response"):
                found = store.sql(f"select value from {view} where layer = 'wide' and dataset = $d order by image, neuron", d=dataset)
                assert np.array_equal(found.to_arrow_table()["value"].to_numpy().reshape(IMAGES, NEURONS), data["activations"]["wide"])
        assert store.check() == []
        groups = "select count(distinct row_group_id) from pragma_storage_info('stored_activation')"
        assert store.sql(groups).fetchall()[0][0] > 1


@pytest.mark.parametrize("neurons", [1, 2, 63, 64, 65])
def test_layers_of_any_width_are_recorded_as_given(store, neurons):
    """Activations over several blocks come back as recorded, in both views, for one neuron as for sixty-five."""
    values = np.arange(IMAGES * neurons, dtype=np.float32).reshape(IMAGES, neurons)
    store.add_recording(
        model="net", dataset="clean", activations={"fc": values}, predictions=[0] * IMAGES, categories=["a"], progress=False
    )
    assert store.check() == []
    for view in ("activation", "response"):
        found = store.sql(f"select value from {view} order by image, neuron").to_arrow_table()["value"].to_numpy()
        assert np.array_equal(found.reshape(IMAGES, neurons), values)


def test_recording_again_gives_the_same(first, tmp_path):
    """Replacing a recording by itself leaves every result as it was."""
    path = record(tmp_path / "again.duckdb", None, 2)
    with dp.open(path) as store:
        for dataset, data in DATA.items():
            store.add_recording(
                model="net",
                dataset=dataset,
                activations=data["activations"],
                logits=data["logits"],
                labels=data["labels"],
                replace=True,
                progress=False,
            )
    found, expected = results(path, 2), first[1]
    changed = {name for name in expected if found[name] != expected[name]}
    assert changed <= {"recording", "stored_value"}  # its arguments tell that it replaced another, and it has another id


def test_means_over_many_images_do_not_depend_on_threads(tmp_path):
    """Sums over 40,000 images, which several threads share, come out the same each time; their order would show."""
    values = (np.random.default_rng(5).normal(size=(40_000, 50)) ** 5).astype(np.float32)
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        store.add_recording(
            model="net", dataset="clean", activations={"wide": values}, predictions=[0] * 40_000, categories=["a"], progress=False
        )
    found = set()
    for threads in (1, 2, 4, 4):
        with duckdb.connect(str(path), read_only=True, config={"threads": threads}) as connection:
            found.add(digest(connection.sql("select * from top_neurons_of('net', 'wide', 'clean', range(0, 40000, 2), 50)")))
    assert len(found) == 1
