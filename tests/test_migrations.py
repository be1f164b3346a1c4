"""Stores of earlier schemas become what this package would have recorded."""

from pathlib import Path

import duckdb
import numpy as np
import study as make

import deephys_sql as dp
from deephys_sql import assets

TABLES = ("stored_category_response", "stored_strongest_category")


def rows(path: Path) -> dict[str, list[tuple]]:
    """The rows of the tables that the migration touches, in the order in which they lie."""
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        return {table: connection.execute(f"from {table}").fetchall() for table in TABLES}


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
    assert dp.migrate(path) is not None
    assert rows(path) == wanted
    assert len(wanted["stored_strongest_category"]) == 2 * (8 + 20 + 6) + 2 * 20
    with dp.open(path) as store:
        assert store.check() == []
