"""deephys_sql.schema is the store's schema, and SQLAlchemy reads a store with it and by reflection.

`python tests/test_schema.py` writes the module anew after a migration or a view has changed.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
from sqlalchemy import func, select

import deephys_sql as dp
from deephys_sql import schema

MODULE = Path(schema.__file__)
TYPES = {
    "BIGINT": "BigInteger", "BLOB": "LargeBinary", "BOOLEAN": "Boolean", "DOUBLE": "Double", "DOUBLE[]": "ARRAY(Double)", "FLOAT": "REAL",
    "FLOAT[64]": "ARRAY(REAL)", "FLOAT[]": "ARRAY(REAL)",
    "HUGEINT": "Numeric(38, 0)", "INTEGER": "Integer", "INTEGER[]": "ARRAY(Integer)", "JSON": "JSON",
    "TIMESTAMP": "DateTime", "VARCHAR": "String", "VARCHAR[]": "ARRAY(String)",
}  # fmt: skip
MARK = "# Written by tests/test_schema.py from the migrations and views; don't edit below.\n"


def written(store):
    """The part of the module below the mark, from a store's catalogue."""
    keys = dict(
        store.sql("select table_name, constraint_column_names from duckdb_constraints() where constraint_type = 'PRIMARY KEY'").fetchall()
    )
    found = store.sql(
        "select view_name, comment, true from duckdb_views() where not internal union all "
        "select table_name, comment, false from duckdb_tables() where not internal order by 3 desc, 1"
    ).fetchall()
    text = MARK
    for name, comment, is_view in found:
        columns = store.sql(
            "select column_name, data_type, is_nullable, comment from duckdb_columns() where table_name = $name order by column_index",
            name=name,
        ).fetchall()
        text += f'\n{name} = Table(\n    "{name}", {"views" if is_view else "tables"},\n'
        for column, kind, nullable, said in columns:
            options = "" if nullable or is_view else ", nullable=False"
            options += ", primary_key=True" if column in keys.get(name, ()) else ""
            options += ", autoincrement=False" if column in keys.get(name, ()) else ""
            text += f'    Column("{column}", {TYPES[kind]}{options}, comment={json.dumps(said)}),\n'
        text += f"    comment={json.dumps(comment)},\n)\n"
    return text


def test_module_is_what_the_migrations_made(store):
    """Every view, table, column, type, key and comment; if not, run `make schema`."""
    assert MODULE.read_text().partition(MARK)[2] == written(store).partition(MARK)[2]


@pytest.fixture(scope="module")
def engine(study, tmp_path_factory):
    """SQLAlchemy's engine on a store that nothing else has open."""
    pytest.importorskip("duckdb_sqlalchemy")
    path = tmp_path_factory.mktemp("engine") / "a study.duckdb"
    with dp.open(path) as store:
        study.record(store)
    engine = sqlalchemy.create_engine(f"duckdb:///{path}", connect_args={"read_only": True})
    yield engine
    engine.dispose()


def test_expressions_give_what_sql_gives(engine, study):
    """select() on schema's tables: values, filters, joins and aggregates are those of NumPy."""
    a, p = schema.activation, schema.prediction
    chosen = (a.c.model == "net", a.c.layer == "fc", a.c.neuron == 3, a.c.dataset == "shifted")
    part = study.parts["shifted"]
    with engine.connect() as connection:
        values = connection.execute(select(a.c.value).where(*chosen).order_by(a.c.image)).scalars().all()
        assert np.array_equal(np.array(values, np.float32), part.activations["fc"][:, 3])
        joined = select(func.avg(a.c.value)).join(p, (p.c.model == a.c.model) & (p.c.dataset == a.c.dataset) & (p.c.image == a.c.image))
        (mean,) = connection.execute(joined.where(*chosen, p.c.label == 2)).one()
        assert abs(mean - part.activations["fc"][part.labels == 2, 3].mean(dtype=np.float64)) < 1e-6
        best = connection.execute(select(p.c.top_categories, p.c.top_probabilities).where(p.c.dataset == "shifted", p.c.image == 4)).one()
        assert len(best.top_categories) == len(best.top_probabilities) == 5
        row = connection.execute(select(schema.recording).where(schema.recording.c.dataset == "clean")).mappings().one()
        assert row["images"] == 60 and isinstance(row["arguments"], dict) and row["recorded_at"].year >= 2025


def test_every_table_can_be_selected(engine):
    """Each table of both collections is there, with all its columns."""
    with engine.connect() as connection:
        for table in [*schema.views.sorted_tables, *schema.tables.sorted_tables]:
            rows = connection.execute(select(table).limit(2))
            assert list(rows.keys()) == [column.name for column in table.columns]
            rows.fetchall()


def test_reflection(engine):
    """inspect() and autoload_with know views, tables, columns and keys; a reflected view reads as ours does."""
    inspector = sqlalchemy.inspect(engine)
    assert {table.name for table in schema.views.sorted_tables} <= set(inspector.get_view_names())
    assert {table.name for table in schema.tables.sorted_tables} <= set(inspector.get_table_names())
    for table in [*schema.views.sorted_tables, *schema.tables.sorted_tables]:
        assert [column["name"] for column in inspector.get_columns(table.name)] == [column.name for column in table.columns]
    assert inspector.get_pk_constraint("stored_category")["constrained_columns"] == ["category_list_id", "category"]
    reflected = sqlalchemy.Table("dataset_accuracy", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        ours = connection.execute(select(schema.dataset_accuracy).order_by("dataset")).fetchall()
        assert connection.execute(select(reflected).order_by("dataset")).fetchall() == ours and len(ours) == 3


def test_text_and_parameters(engine):
    """Plain SQL with bound parameters, a macro, and pandas."""
    import pandas

    with engine.connect() as connection:
        statement = sqlalchemy.text("select image from top_images('net', 'fc', :neuron, 'shifted', 5)")
        assert len(connection.execute(statement, {"neuron": 3}).fetchall()) == 5
        assert len(pandas.read_sql(select(schema.model), connection)) == 1
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.DBAPIError, match="read-only"):
        connection.execute(schema.tables.tables["stored_model"].delete())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, dp.open(Path(folder) / "new.duckdb") as opened:
        head = re.split(re.escape(MARK), MODULE.read_text())[0]
        MODULE.write_text(head + written(opened))
