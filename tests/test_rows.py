"""What `Store.sql` and `Store.query` give: rows computed when they are read, and the DuckDB relation behind them."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pytest

import deephys_sql as dp
from deephys_sql.errors import QueryError
from deephys_sql.rows import LONGEST_KEPT, parsed

TOP = {"model": "net", "layer": "fc", "neuron": 0, "dataset": "clean"}


def test_each_way_of_reading_runs_the_statement(recorded) -> None:
    """Each method gives the same rows, as often as it is called, and those that the relation gives."""
    rows = recorded.query("top_images", **TOP, k=5)
    expected = rows.relation.fetchall()
    assert len(expected) == len(rows) == 5
    for _ in range(2):
        assert rows.fetchall() == expected
        assert rows.df()["image"].tolist() == [row[1] for row in expected]
        assert rows.fetchnumpy()["image"].tolist() == [row[1] for row in expected]
        assert rows.to_arrow_table()["image"].to_pylist() == [row[1] for row in expected]


def test_whatever_a_relation_has(recorded, tmp_path) -> None:
    """What isn't defined for rows is the relation's: columns, filters, files, how it looks, and reading it from DuckDB."""
    rows = recorded.query("top_images", **TOP, k=5)
    assert rows.columns == rows.relation.columns
    assert {"columns", "fetchall", "show"} <= set(dir(rows))
    assert rows.df(date_as_object=True).equals(rows.df())
    assert rows.relation.union(rows.relation).fetchall() == rows.fetchall() * 2
    assert "image" in rows and "nosuch" not in rows
    assert rows.filter("rank = 1").fetchall() == rows.fetchall()[:1]
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    assert duckdb.read_parquet(str(tmp_path / "rows.parquet")).fetchall() == rows.fetchall()
    assert repr(rows) == repr(rows.relation)
    assert rows._repr_mimebundle_()["text/html"].startswith("<table")
    assert duckdb.sql("select count(*) from rows").fetchall() == [(5,)]
    assert rows["image"].fetchall() == [(row[1],) for row in rows.fetchall()]
    with pytest.raises(AttributeError, match="nosuch"):
        _ = rows.nosuch


def test_errors_are_ours(recorded) -> None:
    """What can't be parsed or prepared is said at once, a condition's mistakes and what fails on the way when rows are read."""
    for text in ("select * from nosuch", "selec 1", "select $x", "", "select 1; select 2"):
        with pytest.raises(QueryError):
            recorded.sql(text)
    failing = recorded.sql("select error('out now') from range(2)")
    mistaken = recorded.query("top_images", **TOP, where="nosuch = 1")
    for read in ("fetchall", "df", "fetchnumpy"):
        with pytest.raises(QueryError, match="out now"):
            getattr(failing, read)()
        with pytest.raises(QueryError, match="nosuch"):
            getattr(mistaken, read)()
    with pytest.raises(QueryError, match="nosuch"):
        _ = mistaken.columns
    with pytest.raises(QueryError, match="it is empty"):
        recorded.query("top_images", **TOP, where=" ")


def test_threads_read_all_rows(recorded) -> None:
    """Rows that several threads read are whole in each."""
    rows = recorded.sql("select neuron, image from activation")
    expected = sorted(rows.fetchall())
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: sorted(rows.fetchall()), range(24)):
            assert found == expected
        for frame in pool.map(lambda _: rows.df(), range(24)):
            assert len(frame) == len(expected)


def test_parameters_stay_as_they_were(recorded) -> None:
    """A list that is changed afterwards does not change the rows that were asked for with it."""
    numbers = [1, 2]
    rows = recorded.sql("select unnest($numbers)", numbers=numbers)
    numbers.append(3)
    assert rows.fetchall() == rows.relation.fetchall() == [(1,), (2,)]


def test_parameters_of_numpy(recorded) -> None:
    """Scalars of NumPy, as a cell of a data frame is, are taken for the numbers and texts that they are."""
    given = {"i": np.int64(3), "f": np.float32(0.5), "t": np.str_("x"), "b": np.bool_(True), "list": [1, 2]}
    assert recorded.sql("select $i, $f, $t, $b, $list", **given).fetchall() == [(3, 0.5, "x", True, [1, 2])]


def test_what_is_no_select_runs_at_once(recorded, tmp_path) -> None:
    """A statement that isn't a SELECT has its effect without being read."""
    recorded.sql(f"copy (select 7 as n) to '{tmp_path / 'n.csv'}'")
    assert (tmp_path / "n.csv").read_text() == "n\n7\n"
    assert recorded.sql("describe model").fetchall()


def test_a_statement_that_writes_runs_once(tmp_path) -> None:
    """What is no SELECT has its effect when it is given, and not again when its result is read."""
    with dp.open(tmp_path / "study.duckdb", in_place=True) as store:
        store.sql("create table mine (n integer)")
        given = store.sql("insert into mine values (1)")
        for _ in range(2):
            given.fetchall()
        assert store.sql("select count(*) from mine").fetchall() == [(1,)]


@pytest.mark.parametrize("text", ["from 'nosuch.csv'", "copy (select 1) to '/nonexistent/x.csv'", "attach '/nonexistent/x.duckdb' as q"])
def test_files_that_are_not_there(recorded, text) -> None:
    """A statement on a file that can't be opened is an error of ours when it is given."""
    with pytest.raises(QueryError, match="nosuch|nonexistent"):
        recorded.sql(text)


@pytest.mark.parametrize("value", [object(), (n for n in range(3)), threading.Lock()], ids=["object", "generator", "lock"])
def test_parameters_of_no_type_of_sql(recorded, value) -> None:
    """What DuckDB can't take is refused by it, in our words."""
    with pytest.raises(QueryError):
        recorded.sql("select $x", x=value)


def test_parameters_of_duckdb(recorded) -> None:
    """DuckDB's own values are handed on."""
    assert recorded.sql("select typeof($x)", x=duckdb.Value(3, duckdb.type("TINYINT"))).fetchall() == [("TINYINT",)]


def test_long_statements_are_not_kept() -> None:
    """A statement with a long list is parsed and let go."""
    short, long = "select 1 as kept", f"select {[1] * LONGEST_KEPT} as let_go"
    assert parsed(short) is parsed(short)
    assert parsed(long) is not parsed(long)


def test_rows_of_a_closed_store(tmp_path) -> None:
    """Rows that are read after the store was closed say so."""
    with dp.open(tmp_path / "study.duckdb") as store:
        rows = store.query("recordings")
    with pytest.raises(QueryError, match="closed"):
        rows.fetchall()


def test_rows_are_copied_and_not_pickled(recorded) -> None:
    """A connection can't be pickled; the error says so, and copying asks the same connection."""
    rows = recorded.query("recordings")
    assert copy.copy(rows).fetchall() == rows.fetchall()
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(rows)


def test_rows_stay_those_of_their_version(tmp_path) -> None:
    """Rows that somebody holds read the version of the store that they were asked of."""
    with dp.open(tmp_path / "study.duckdb") as store:
        rows = store.sql("select dataset from recording order by dataset")
        for dataset in ("day", "night"):
            store.add_recording(model="net", dataset=dataset, activations={}, logits=np.eye(3), progress=False)
        assert rows.fetchall() == []
        assert store.sql("select dataset from recording order by dataset").fetchall() == [("day",), ("night",)]
