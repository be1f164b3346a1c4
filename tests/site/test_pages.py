"""Datasette's own pages show the rows that DuckDB has."""

import base64
import html
import json
import math
import re

import numpy as np
import pytest

import deephys_sql as dp
from deephys_sql import query
from deephys_sql.site.plugin import stores
from deephys_sql.site.schema import KEYS, LONG_KEYS

NIGHT = "Night & Fog/ö, 100%"
NIGHT_PATH = "Night~20~26~20Fog~2F~C3~B6~2C~20100~25"


def plain(value):
    """A value as the site's JSON has it, floats as they are."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    return json.dumps(value) if isinstance(value, list | tuple | dict) else str(value)


def expected(truth, sql, parameters=()):
    cursor = truth.cursor().execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [{name: plain(value) for name, value in zip(names, row)} for row in cursor.fetchall()]


def without_blobs(rows):
    return [{key: value for key, value in row.items() if not isinstance(value, dict) and key != "rowid"} for row in rows]


def test_every_table_and_view_has_a_page_with_its_rows(site, truth):
    """Each table and view of the store, in HTML and JSON, with DuckDB's count of rows."""
    names = [name for (name,) in truth.execute("select table_name from information_schema.tables order by 1").fetchall()]
    assert set(KEYS | LONG_KEYS) <= set(names), "a key is stated for a view that isn't there"
    for name in names:
        page = site.get(f"/store/{name}").text
        columns = [column for (column, *_) in truth.execute(f"describe {name}").fetchall()]
        assert all(f">{column}" in page or f"{column}" in page for column in columns)
        (count,) = truth.execute(f"select count(*) from {name}").fetchone()
        assert len(site.rows(f"/store/{name}.json", _size="max", _nofacet=1)) == min(count, 2000)


def test_home_and_database_pages_list_views_and_hide_tables(site):
    """The home page names the store; its page lists views and named queries; stored_* tables are hidden."""
    assert "/store" in site.get("/").text
    page = site.get("/store").text
    assert all(f"/store/{name}" in page for name in [*KEYS, *LONG_KEYS])
    listed = json.loads(site.get("/store.json").text)["tables"]
    assert all(table["hidden"] == table["name"].startswith("stored_") for table in listed)
    counted = {table["name"]: table["count"] for table in listed}
    assert counted["prediction"] == 105 and counted["dataset"] == 2
    if site.is_1:  # pages of queries
        named = {found["name"] for found in site.all_pages("/store/-/queries.json", key="queries")}
        assert named == set(query.available())
    else:
        assert all(f"/store/{name}" in page for name in query.available())


@pytest.mark.parametrize("direction", ["_sort", "_sort_desc"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("prediction", "label"), ("prediction", "confidence"), ("prediction", "correct"), ("prediction", "top_probabilities"),
        ("prediction", "dataset"), ("neuron_score", "spurious"), ("neuron_score", "reason"), ("top_image", "value"),
        ("top_image", "label_name"), ("image", "metadata"), ("image", "label"), ("activation", "value"), ("response", "response"),
        ("category_response", "images"), ("recording", "recorded_at"), ("stored_image", "label"), ("stored_activation", "values"),
    ],
)  # fmt: skip
def test_sorted_pages_hold_every_row_once_in_order(site, truth, table, column, direction):
    """Following the pages gives each row once, sorted, NULLs first and last when descending, though values are tied."""
    rows = without_blobs(site.all_pages(f"/store/{table}.json", **{direction: column, "_size": 83, "_nofacet": 1, "_nosuggest": 1}))
    kinds = {name: kind for name, kind, *_ in truth.execute(f"describe {table}").fetchall()}
    columns = ", ".join(f'"{name}"' for name, kind in kinds.items() if kind != "BLOB")
    nulls = "desc nulls last" if direction == "_sort_desc" else "nulls first"
    wanted = expected(truth, f"select {columns} from {table} order by {column} {nulls}")
    assert len(rows) == len(wanted)
    assert sorted(map(repr, rows)) == sorted(map(repr, wanted)), "each row once"
    read = (
        (lambda text: text and json.loads(text)) if kinds[column].endswith("]") else lambda value: value
    )  # in lists 0 and -0 are equal, and come in any order
    assert [read(row[column]) for row in rows] == [read(row[column]) for row in wanted], "in order"


@pytest.mark.parametrize(
    "table",
    ["prediction", "neuron_summary", "top_image", "activation", "response", "stored_recorded_layer", "stored_top_image"],
)
@pytest.mark.parametrize("size", [7, 100])
def test_unsorted_pages_hold_every_row_once(site, truth, table, size):
    """Without a sort each row appears once too, whatever the size of a page; views in the order of their key."""
    if size == 7 and table in ("activation", "response", "stored_top_image", "top_image"):
        size = 31
    rows = without_blobs(site.all_pages(f"/store/{table}.json", _size=size, _nofacet=1, _nosuggest=1))
    order = f"order by {', '.join(KEYS[table])}" if table in KEYS else ""
    wanted = expected(truth, f"select * from {table} {order}")
    assert sorted(map(repr, rows)) == sorted(map(repr, wanted))
    if order:
        assert rows == wanted


FILTERS = [
    ("label__exact=2", lambda row: row["label"] == 2),
    ("label=2", lambda row: row["label"] == 2),
    ("label__not=2", lambda row: row["label"] not in (2, None)),
    ("label__gt=1", lambda row: row["label"] is not None and row["label"] > 1),
    ("label__gt=1.5", lambda row: row["label"] is not None and row["label"] > 1.5),
    ("label__lte=1.5", lambda row: row["label"] is not None and row["label"] <= 1.5),
    ("label__isnull=1", lambda row: row["label"] is None),
    ("label__notnull=1", lambda row: row["label"] is not None),
    ("label__isblank=1", lambda row: row["label"] is None),
    ("label__notblank=1", lambda row: row["label"] is not None),
    ("label__in=0,3", lambda row: row["label"] in (0, 3)),
    ("label__in=[0,3]", lambda row: row["label"] in (0, 3)),
    ("label__notin=0,3", lambda row: row["label"] not in (0, 3, None)),
    ("label__contains=3", lambda row: row["label"] == 3),
    ("label=nonsense", lambda row: False),
    ("label__gt=nonsense", lambda row: False),
    ("confidence__gt=0.5", lambda row: row["confidence"] > 0.5),
    ("confidence__lt=0.5", lambda row: row["confidence"] < 0.5),
    ("confidence__contains=9", lambda row: "9" in str(row["confidence"])),
    ("correct=True", lambda row: row["correct"] is True),
    ("correct=false", lambda row: row["correct"] is False),
    ("label_name=dog's", lambda row: row["label_name"] == "dog's"),
    ("label_name__contains=OWL", lambda row: row["label_name"] is not None and "owl" in row["label_name"]),
    ("label_name__startswith=<b>", lambda row: row["label_name"] is not None and row["label_name"].startswith("<b>")),
    ("label_name__endswith=t", lambda row: row["label_name"] == "cat"),
    ("label_name__like=c_t", lambda row: row["label_name"] == "cat"),
    ("label_name__notlike=c_t", lambda row: row["label_name"] not in ("cat", None)),
    ("label_name__glob=c*", lambda row: row["label_name"] == "cat"),
    ("label_name__isblank=1", lambda row: row["label_name"] is None),
    ("label_name__in=cat,dog's", lambda row: row["label_name"] in ("cat", "dog's")),
    ("top_categories__arraycontains=2", lambda row: 2 in json.loads(row["top_categories"])),
    ("top_categories__arraynotcontains=2", lambda row: 2 not in json.loads(row["top_categories"])),
    ("dataset=Night+%26+Fog%2F%C3%B6%2C+100%25&label=1", lambda row: row["dataset"] == NIGHT and row["label"] == 1),
    ("image__gte=40&image__lt=44", lambda row: 40 <= row["image"] < 44),
]


@pytest.mark.parametrize(("condition", "holds"), FILTERS, ids=[condition for condition, _ in FILTERS])
def test_filters_choose_the_rows_that_they_say(site, truth, condition, holds):
    """Each of Datasette's filters, on numbers, texts, booleans and lists, gives the rows that Python's condition gives."""
    rows = site.rows(f"/store/prediction.json?{condition}", _size="max")
    wanted = [row for row in expected(truth, "select * from prediction order by model, dataset, image") if holds(row)]
    assert rows == wanted


def test_filters_on_dates_and_json(site):
    """A timestamp is filtered by its date, a JSON column by text."""
    (first, *_) = site.rows("/store/recording.json")
    assert len(site.rows("/store/recording.json", recorded_at__date=first["recorded_at"][:10])) == 2
    assert site.rows("/store/recording.json", recorded_at__date="1999-01-01") == []
    assert len(site.rows("/store/image.json", metadata__contains="2025-01-03", _size="max", _nocol=["thumbnail", "original"])) == 12


def facet(site, path, **query):
    data = json.loads(site.get(path, _size=0, **query, **({"_extra": "facet_results"} if site.is_1 else {})).text)
    results = data["facet_results"]
    (found,) = results.get("results", results).values()
    return {item["value"]: item["count"] for item in found["results"]}


@pytest.mark.parametrize("column", ["label_name", "correct", "label", "dataset"])
def test_facets_count_as_group_by_does(site, truth, column):
    """A facet shows each value but NULL with its count, on a table page and under a filter."""
    for condition, where in (("", "true"), ("&image__lt=20", "image < 20")):
        statement = f"select {column}, count(*) from prediction where {column} is not null and {where} group by 1"
        wanted = dict(truth.execute(statement).fetchall())
        assert facet(site, f"/store/prediction.json?_facet={column}{condition}") == wanted


def test_facets_of_a_column_called_value(site, truth):
    """`value` and `count` are names that Datasette uses itself."""
    wanted = dict(truth.execute("select value, count(*) as n from activation where layer = 'fc' group by 1 order by n desc, 1").fetchall())
    found = facet(site, "/store/activation.json?_facet=value&layer=fc&_facet_size=max")
    assert found == wanted


def test_facets_by_array_and_by_date(site, truth):
    """Lists are counted by element, timestamps by day."""
    wanted = {str(k): n for k, n in truth.execute("select unnest(top_categories), count(*) from prediction group by 1").fetchall()}
    assert facet(site, "/store/prediction.json?_facet_array=top_categories") == wanted
    assert list(facet(site, "/store/recording.json?_facet_date=recorded_at").values()) == [2]


def test_facets_are_suggested(site):
    """Datasette suggests columns with few values."""
    extra = {"_extra": "suggested_facets"} if site.is_1 else {}
    data = json.loads(site.get("/store/prediction.json", **extra).text)
    assert {"dataset", "label_name", "correct"} <= {item["name"] for item in data["suggested_facets"]}


def test_row_pages_link_to_what_they_name(site, truth):
    """A row of a view with a key has a page, reached from the table; its model, dataset, layer and image are links."""
    page = site.get(f"/store/prediction/net,{NIGHT_PATH},3").text
    assert f'href="/store/dataset/{NIGHT_PATH}"' in page.replace("&amp;", "&") or NIGHT_PATH in page
    table = site.get("/store/neuron_score").text
    assert '"/store/model/net"' in table and '"/store/layer/net,conv~2F1"' in table
    addresses = re.findall(r'href="(/store/neuron_score/[^"?]+)"', table)
    assert len(addresses) >= 9
    for address in addresses[:4]:
        site.get(address)
    site.get("/store/prediction/net,clean,99999", status=404)
    site.get("/store/prediction/net,clean,nonsense", status=404)
    (row,) = json.loads(site.get("/store/layer/net,conv~2F1.json", _shape="objects").text)["rows"]
    assert row["neurons"] == 3
    assert "top_image" in site.get("/store/model/net").text, "rows that refer to this one"
    assert site.get("/store/stored_image/3").status_code == 200, "a table without a key has rows by number"


def test_labels_of_foreign_keys(site):
    """JSON with labels gives value and label of a name."""
    row = site.rows("/store/layer.json", _labels="on")[0]
    assert row["model"] == {"value": "net", "label": "net"}


def test_comments_are_shown(site, truth):
    """The comments of the store are the descriptions of tables and columns."""
    page = site.get("/store/neuron_score").text
    (comment,) = truth.execute("select comment from duckdb_views() where view_name = 'neuron_score'").fetchone()
    assert comment.replace("'", "&#39;") in page
    assert "Largest response in the dataset divided by the largest in the reference" in page
    definition = site.get("/store/neuron_score").text
    assert "CREATE VIEW neuron_score" in definition


def test_the_sql_page_speaks_duckdb(site, truth):
    """Macros, casts, `from`-less texts in strings, parameters written :name and $name, and DuckDB's order of NULLs."""
    found = site.sql("select image, value from top_images('net', 'fc', :n, :d, $k)", n="2", d="clean", k="5")["rows"]
    assert found == expected(truth, "select image, value from top_images('net', 'fc', 2, 'clean', 5)")
    (row,) = site.sql("select '12:30 :n' as a, 1::double as b, [1, 2] as c, {'x': date '2025-01-02'} as d, 1.5 as e")["rows"]
    assert row == {"a": "12:30 :n", "b": 1.0, "c": "[1, 2]", "d": '{"x": "2025-01-02"}', "e": 1.5}
    (row,) = site.sql("select timestamptz '2025-01-02 03:04:05+00' as t, uuid() as u, interval 1 day as i, 'a'::blob as b")["rows"]
    assert row["t"].startswith("2025-01-02") and len(row["u"]) == 36
    assert [row["a"] for row in site.sql("select unnest([2, null, 1]) as a order by a")["rows"]] == [1, 2, None]


def test_errors_on_the_sql_page_are_pages(site):
    """DuckDB's message, status 400, no trace; a write is refused."""
    assert "nope" in json.dumps(site.sql("select nope from model", status=400))
    status = 200 if site.is_1 else 400  # Datasette 1.0 answers 200 with the message above the form
    page = site.get("/store/-/query" if site.is_1 else "/store", status=status, sql="select * from prediction where label = 'x'").text
    assert "Could not convert" in page and "Traceback" not in page
    site.sql("delete from stored_model", status=400)
    site.sql("select 1; select 2", status=400)


def test_results_are_truncated(site):
    """At most max_returned_rows rows are returned, and the page says so."""
    data = site.sql("select * from range(5000)")
    assert len(data["rows"]) == 2000 and data["truncated"] is True


def test_long_queries_are_stopped(new_site, store_path):
    """A query that takes longer than sql_time_limit_ms ends in an error page, and the next one works."""
    site = new_site(store_path, sql_time_limit_ms=300)
    endless = "select sum(a.range * b.range) from range(10000000) as a, range(10000000) as b"
    assert "too long" in json.dumps(site.sql(endless, status=400)).lower()
    assert site.sql("select 1 as a")["rows"] == [{"a": 1}]


@pytest.mark.parametrize("name", sorted(query.available()))
def test_named_queries_are_pages_with_forms(site, truth, name):
    """Each named query has a page with its title, a field for each parameter with its default, and the rows of the library."""
    known = query.available()[name]
    values = {parameter.name: parameter.example for parameter in known.parameters.values() if parameter.type != "predicate"}
    values |= {"model": "net", "layer": "fc", "dataset": NIGHT, "neuron": 2, "a": "cat", "b": "dog's", "category": "cat"}
    values = {key: value for key, value in values.items() if key in known.parameters}
    page = site.get(f"/store/{name}").text if not known.parameters else site.get(f"/store/{name}", **values).text
    assert known.title in html.unescape(page)
    for parameter in known.parameters.values():
        assert (f'name="{parameter.name}"' in page) == (parameter.type != "predicate")
        if parameter.type == "predicate":
            assert "is fixed to true" in page
    rows = site.rows(f"/store/{name}.json", **values)
    text, bound = known.bind(values)
    wanted = expected(truth, text, bound)
    assert len(rows) == len(wanted)
    for row, other in zip(rows, wanted):
        assert row.keys() == other.keys()
        for key, value in row.items():
            assert value == other[key] or (isinstance(value, float) and math.isclose(value, other[key], rel_tol=1e-9))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"model": "nett"}, "There is no model 'nett': did you mean 'net'?"),
        ({"layer": "fcc"}, "There is no layer 'fcc': did you mean 'fc'"),
        ({"dataset": "claen"}, "There is no dataset 'claen': did you mean 'clean'?"),
        ({"neuron": 6}, "There is no neuron 6 in layer 'fc': they are numbered 0 to 5."),
        ({}, None),
    ],
)
def test_a_typo_in_a_form_is_told(site, wrong, hint):
    """The page of a named query that finds nothing says which name isn't in the store, and the nearest that are."""
    text = html.unescape(site.get("/store/top_images", **({"model": "net", "layer": "fc", "dataset": "clean", "neuron": 2} | wrong)).text)
    assert ("message-warning" in text) == (hint is not None)
    assert hint is None or hint in text


def test_hints_tell_no_names_to_whom_they_are_hidden(new_site, store_path):
    """Where the views that hold names are not for all, a typo is told to nobody."""
    block = {"tables": {"model": {"allow": {"id": "root"}}}}
    site = new_site(store_path, metadata={"databases": {"store": block}})
    text = site.get("/store/top_images", model="nett", layer="fc", dataset="clean", neuron=2).text
    assert "message-warning" not in text and "did you mean" not in text


@pytest.mark.parametrize("name", sorted(query.available()))
def test_named_queries_open_filled_in(site, name):
    """Without parameters the page of a query shows rows, with a form that is filled with what the store has; data must be asked for."""
    known = query.available()[name]
    text = html.unescape(site.get(f"/store/{name}").text)
    assert f"<title>{known.title} · store</title>" in text and known.description in text
    assert "message-error" not in text
    empty = name in (
        "annotations_on",
        "neuron_over_epochs",
        "runs_of_model",
        "scores_by_param",
    )  # no runs and annotations are in this store
    assert ("export-links" in text) != empty
    assert all(parameter.description in text for parameter in known.parameters.values() if parameter.type != "predicate")
    assert all(meaning in text for meaning in known.columns.values())
    required = [parameter.name for parameter in known.parameters.values() if parameter.default is query.REQUIRED]
    for parameter in required:
        assert re.search(rf'name="{parameter}"[^>]*value="[^"]', text), parameter
    site.get(f"/store/{name}.json", status=400 if required else 200)


def test_defaults_of_named_queries_are_prefilled(site):
    """The form shows the defaults, and a field left empty takes its default."""
    page = site.get("/store/top_images", model="net", layer="fc", neuron=2, dataset="clean").text
    assert re.search(r'name="k"[^>]*value="20"|value="20"[^>]*name="k"', page)
    rows = site.rows("/store/top_images.json", model="net", layer="fc", neuron=2, dataset="clean", k="")
    assert len(rows) == 20
    status = 200 if site.is_1 else 400
    assert "needs the parameter" in site.get("/store/top_images", status=status, model="net", layer="fc", neuron="").text
    assert "must be integer" in site.get("/store/top_images", status=status, model="net", layer="fc", neuron="x", dataset="clean").text


def test_conditions_of_visitors(site, truth):
    """`_where` takes a condition in DuckDB's SQL, runs in the sandbox, and pages stay whole."""
    rows = site.all_pages("/store/activation.json", _where="value > 0.5 and list_contains(['fc'], layer)", _size=50, _nofacet=1)
    wanted = expected(truth, "select * from activation where value > 0.5 and layer = 'fc'")
    assert sorted(map(repr, rows)) == sorted(map(repr, wanted))
    site.get("/store/model.json", status=400, _where="1 = 1) union all select current_setting('home_directory'), 'x', 1 --")


def test_nothing_of_sqlite_is_open(site):
    """The empty database that Datasette adds when it has no SQLite file is gone: SQL there would run unguarded."""
    assert [database.name for database in stores(site.datasette)] == ["store"]
    site.get("/_memory", status=404)
    site.get("/store.db", status=404)


def test_unsorted_pages_of_a_long_view_hold_each_row_once(new_site, tmp_path):
    """DuckDB with several threads gives rows without an order as they come; the site gives them as they are stored."""
    with dp.open(tmp_path / "store.duckdb") as store:
        for dataset in ("a", "b", "c", "d"):
            values = np.arange(60_000, dtype=np.float32).reshape(1000, 60)
            store.add_recording(model="net", dataset=dataset, activations={"fc": values}, logits=values[:, :2], progress=False)
    site = new_site(tmp_path / "store.duckdb", max_returned_rows=1000)
    seen = set()
    for offset in range(0, 24_000, 1000):
        page = json.loads(site.get("/store/activation.json", _shape="objects", _size=1000, _next=offset, _nofacet=1, _nocount=1).text)
        seen |= {(row["layer"], row["neuron"], row["dataset"], row["image"]) for row in page["rows"]}
    assert len(seen) == 24_000
