"""Every named query gives Arrow and pandas, also when it gives no row."""

import pyarrow as pa
import pytest

import deephys_sql as dp
from deephys_sql import query
from deephys_sql.query import REQUIRED

KNOWN = {
    "model": "net",
    "layer": "fc",
    "dataset": "shifted",
    "reference": "clean",
    "category": "category 0",
    "a": "category 0",
    "b": "category 1",
}


def arguments(named):
    """Parameters that fit the small study: its names, else the example in the query's header."""
    return {
        parameter.name: KNOWN.get(parameter.name, 0 if parameter.name in ("neuron", "image") else parameter.example)
        for parameter in named.parameters.values()
        if parameter.default is REQUIRED or parameter.name in KNOWN
    }


@pytest.mark.parametrize("name", query.available())
def test_arrow_and_pandas(recorded, name):
    """The frame and the table have the columns of the query's header, in its order, and the rows that fetchall gives."""
    named = query.available()[name]
    given = arguments(named)
    rows = recorded.query(name, **given).fetchall()
    frame = recorded.query(name, **given).df()
    table = recorded.query(name, **given).to_arrow_table()
    assert list(frame.columns) == table.column_names == list(named.columns)
    assert len(frame) == table.num_rows == len(rows)
    with recorded.query(name, **given).arrow() as batches:
        assert pa.Table.from_batches(batches, batches.schema).num_rows == len(rows)


@pytest.mark.parametrize("name", query.available())
def test_no_rows(recorded, name):
    """A result without rows keeps its columns and their types."""
    given = arguments(query.available()[name])
    full = recorded.query(name, **given)
    nothing = full.filter("false")
    assert nothing.to_arrow_table().schema == full.to_arrow_table().schema
    assert list(nothing.df().columns) == full.columns and nothing.df().empty


def test_an_empty_store(store, tmp_path):
    """A query that needs no names gives an empty frame and table of a store with nothing in it."""
    assert store.query("recordings").df().empty
    assert store.query("recordings").to_arrow_table().num_rows == 0
    assert dp.open(tmp_path / "other.duckdb").models().df().empty
