"""Stores of earlier schemas become what this package would have recorded."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
import study as make

import deephys_sql as dp
from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError

TABLES = ("stored_category_response", "stored_strongest_category")
ADDED = [("stored_top_image", column) for column in ("place_row", "place_column")]
ADDED += [("stored_prediction", column) for column in ("label", "label_name", "predicted_name")]
DISTRIBUTIONS = ("stored_histogram", "stored_example")


def rows(path: Path, tables: tuple[str, ...] = TABLES) -> dict[str, list[tuple]]:
    """The rows of the tables that the migration touches, in the order in which they lie."""
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        return {table: connection.execute(f"from {table}").fetchall() for table in tables}


def undo_distributions(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as the migration that brings histograms and examples finds it."""
    for table in DISTRIBUTIONS:
        connection.execute(f"drop table {table}")
    connection.execute("delete from stored_migration where version >= 8")


def undo_since_places_and_directions(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a store as migration 5 finds it."""
    undo_distributions(connection)
    for table in ("stored_reference_maximum", "stored_feature_map", "stored_directions", "stored_direction"):
        connection.execute(f"drop table {table}")
    for table, column in ADDED:
        connection.execute(f"alter table {table} drop column {column}")
    connection.execute("delete from stored_migration where version >= 5")


def test_places_and_directions(tmp_path: Path) -> None:
    """Migrations 5 to 7 leave what was recorded as it was, without places; layers of directions can be made of it."""
    path = tmp_path / "study.duckdb"
    maxima = "select * from stored_reference_maximum order by all"
    predictions = "select * from prediction order by all"
    with dp.open(path) as store:
        make.random_study().record(store)
        wanted = store.sql("select * from top_image order by all").fetchall()
        layers = store.sql("select * from layer order by all").fetchall()
        reference_maxima = store.sql(maxima).fetchall()
        predicted = store.sql(predictions).fetchall()
    distributions = rows(path, DISTRIBUTIONS)
    with duckdb.connect(str(path)) as connection:
        undo_since_places_and_directions(connection)
    assert dp.migrate(path) is not None
    assert rows(path, DISTRIBUTIONS) == distributions
    with dp.open(path) as store:
        assert store.check() == []
        assert store.sql("select * from top_image order by all").fetchall() == wanted
        assert store.sql("select * from layer order by all").fetchall() == layers
        assert store.sql(maxima).fetchall() == reference_maxima != []
        assert store.sql(predictions).fetchall() == predicted
        assert {row[-6:] for row in wanted} == {(None,) * 6}
        store.add_directions("fc", "first", np.eye(1, 20), model="net", progress=False)
        values = "select list(value order by dataset, image) from activation where layer = $layer and neuron = 0"
        assert store.sql(values, layer="first").fetchall() == store.sql(values, layer="fc").fetchall()
        make.random_study().record(store, "other")


def test_strongest_category(tmp_path: Path) -> None:
    """Migration 4 gives an older store the strongest categories, and the order of responses, that a new one has."""
    rng = np.random.default_rng(0)
    categories = [f"category {i}" for i in range(300)]  # more than two chunks
    labels = rng.integers(-1, 300, 700)
    labels[labels == 130] = 131
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store, "other")
        for dataset in ("clean", "shifted"):
            activations = np.maximum(np.round(rng.normal(size=(700, 20))), 0).astype(np.float32)  # many equal means
            activations[:, 3] = 0
            store.add_recording(
                model="net", dataset=f"{dataset} too", activations={"fc": activations}, predictions=labels % 300, labels=labels,
                categories=categories, progress=False,
            )  # fmt: skip
    wanted = rows(path)
    with duckdb.connect(str(path)) as connection:  # as migration 1 left it
        connection.execute("create temp table kept as from stored_category_response")
        connection.execute("drop table stored_category_response")
        first = (assets.folder("migrations") / "0001_store.sql").read_text()
        start = first.index("create table stored_category_response")
        connection.execute(first[start : first.index("create table stored_neuron_score")])
        connection.execute("insert into stored_category_response from kept order by recording_id, layer_id, neuron, category")
        connection.execute("drop table stored_strongest_category")
        connection.execute("delete from stored_migration where version = 4")
        undo_since_places_and_directions(connection)
    assert dp.migrate(path) is not None
    assert rows(path) == wanted
    assert len(wanted["stored_strongest_category"]) == 2 * (8 + 20 + 6) + 2 * 20
    with dp.open(path) as store:
        assert store.check() == []


def test_distributions(tmp_path: Path) -> None:
    """Histograms and examples of what was recorded before they were kept are those that a recording gets now, over several blocks too."""
    rng = np.random.default_rng(0)
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store, "other")
        for dataset in ("clean", "shifted"):
            activations = np.maximum(rng.normal(size=(5000, 20)), 0).astype(np.float32)
            store.add_recording(
                model="net", dataset=f"{dataset} too", activations={"fc": activations}, predictions=[0] * 5000, categories=["a"],
                progress=False,
            )  # fmt: skip
        store.add_directions("fc", "axes", -np.eye(3, 20), model="net", progress=False)
    wanted = rows(path, DISTRIBUTIONS)
    assert len(wanted["stored_histogram"]) == 3 * (8 + 20 + 6) + 2 * (20 + 3)
    assert len(wanted["stored_example"]) == 8 * 5 * len(wanted["stored_histogram"])
    with duckdb.connect(str(path)) as connection:
        undo_distributions(connection)
    assert dp.migrate(path) is not None
    found = rows(path, DISTRIBUTIONS)
    assert {table: sorted(found[table]) for table in DISTRIBUTIONS} == {table: sorted(wanted[table]) for table in DISTRIBUTIONS}
    with dp.open(path) as store:
        assert store.check() == []


def test_distributions_of_a_damaged_store(tmp_path: Path) -> None:
    """A store that lacks activations is not migrated: the message says so, and the file stays as it is."""
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        make.random_study().record(store)
    with duckdb.connect(str(path)) as connection:
        undo_distributions(connection)
        connection.execute("delete from stored_activation where recording_id = 1 and neuron = 3 and image = 7")
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match="on .*, layer .*damaged"):
        dp.migrate(path)
    assert path.read_bytes() == before
