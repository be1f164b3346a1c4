"""The named queries: their headers, their parameters, their results."""

import duckdb
import pytest

from deephys_sql import assets, query
from deephys_sql.errors import QueryError, UnknownNameError

QUERIES = query.available()
ARGUMENTS = {
    "model": "net",
    "layer": "fc",
    "dataset": "shifted",
    "neuron": 3,
    "image": 4,
    "category": "category 2",
    "a": "category 1",
    "b": "category 2",
    "label": "category 1",
    "predicted": "category 2",
    "reference": "clean",
    "lead": "shifted",
    "neurons": "[3, 4]",
    "datasets": '["shifted"]',
    "confusions": "[[1, 2], [2, 1]]",
    "among": "clean",
}
# How many rows at most of each dataset, place, kind or direction, and not of all.
K_OF_A_GROUP = {
    "examples_across_range",
    "images_of_confusions",
    "top_images_of_neurons",
    "top_neurons_of_category",
    "top_neurons_of_confusion",
}


def arguments(name):
    """The names of the small study, and the example of every other parameter."""
    unasked = {"dataset", "image", "image_set"} if name == "annotations_on" else set()  # it is asked for a neuron
    return {p: ARGUMENTS.get(p, parameter.example) for p, parameter in QUERIES[name].parameters.items() if p not in unasked}


def test_every_file_is_a_query():
    """available() holds each file of queries/*.sql, and there are some."""
    assert set(QUERIES) == {file.stem for file in assets.folder("queries").glob("*.sql")}
    assert len(QUERIES) >= 15


@pytest.mark.parametrize("name", QUERIES)
def test_header(name):
    """A title, a description, parameters with type, example and meaning, and columns; nothing unused."""
    found = QUERIES[name]
    assert found.title.strip() and not found.title.endswith(".")
    assert found.description.strip().endswith(".")
    assert found.columns
    for parameter in found.parameters.values():
        assert parameter.example is not None, parameter.name
        assert parameter.example is not query.REQUIRED, parameter.name
        assert parameter.description.strip()
        assert parameter.convert(parameter.example) == parameter.example
        assert f"${parameter.name}" in "\n".join(line for line in found.text.splitlines() if not line.startswith("--"))


@pytest.mark.parametrize("name", QUERIES)
def test_columns_are_those_of_the_header(recorded, name):
    """With its examples a query gives the columns that the header names, in that order, and rows."""
    relation = recorded.query(name, **arguments(name))
    assert relation.columns == list(QUERIES[name].columns)
    assert relation.fetchall()


@pytest.mark.parametrize("name", QUERIES)
def test_defaults_do(recorded, name):
    """A query runs with only what has no default."""
    needed = {p: value for p, value in arguments(name).items() if QUERIES[name].parameters[p].default is query.REQUIRED}
    assert recorded.query(name, **needed).fetchall()


@pytest.mark.parametrize("name", QUERIES)
def test_rows_are_ordered(name):
    """The outermost select ends in an order by, before any limit, so that rows never come by accident."""
    lines = [line for line in QUERIES[name].text.splitlines() if line and not line.startswith("--")]
    outermost = [line for line in lines if not line.startswith((" ", ")"))]
    clauses = [line.split()[0] for line in outermost]
    assert "order" in clauses
    assert clauses[clauses.index("order") :] in (["order"], ["order", "limit"])


@pytest.mark.parametrize("name", [name for name, found in QUERIES.items() if "k" in found.parameters and name not in K_OF_A_GROUP])
def test_k_limits_the_rows_to_the_first(recorded, name):
    """k = 2 gives the first two rows of k = 1000."""
    many = recorded.query(name, **arguments(name) | {"k": 1000}).fetchall()
    assert recorded.query(name, **arguments(name) | {"k": 2}).fetchall() == many[:2]


@pytest.mark.parametrize("name", sorted(K_OF_A_GROUP))
def test_k_limits_the_rows_of_each_group(recorded, name):
    """Where k counts the rows of each group, k = 1 gives the rows of rank 1 of k = 50, and there are more."""
    rank = list(QUERIES[name].columns).index("rank")
    given = {p: value for p, value in arguments(name).items() if p != "datasets"}
    many = recorded.query(name, **given | {"k": 50}).fetchall()
    assert recorded.query(name, **given | {"k": 1}).fetchall() == [row for row in many if row[rank] == 1]
    assert any(row[rank] > 1 for row in many)


@pytest.mark.parametrize("name", QUERIES)
def test_unknown_parameter(recorded, name):
    """A parameter that the query does not have is refused by name, with the nearest that are."""
    with pytest.raises(UnknownNameError, match="nuron"):
        recorded.query(name, **arguments(name), nuron=3)


@pytest.mark.parametrize(
    "name", [name for name, found in QUERIES.items() if "model" in found.parameters and found.parameters["model"].default is query.REQUIRED]
)
def test_missing_parameter(recorded, name):
    """A parameter without default that is not given is named, with its example."""
    given = arguments(name)
    del given["model"]
    with pytest.raises(QueryError, match="'model'.*colored_mnist"):
        recorded.query(name, **given)


def test_unknown_query(recorded):
    """A query that isn't there is refused, with the nearest that is."""
    with pytest.raises(UnknownNameError, match="did you mean 'top_images'"):
        recorded.query("top_image")


@pytest.mark.parametrize(("parameter", "value"), [("model", "nett"), ("layer", "fcc"), ("dataset", "shiftd")])
def test_unknown_names_in_the_store(recorded, parameter, value):
    """A model, layer or dataset that isn't stored is refused, with the nearest that is."""
    with pytest.raises(UnknownNameError, match=f"did you mean '{ARGUMENTS[parameter]}'"):
        recorded.query("top_images", **arguments("top_images") | {parameter: value})


@pytest.mark.parametrize("value", ["seven", 2.5, "2.5", True, [1], {}, float("nan"), float("inf"), b"3"])
@pytest.mark.parametrize("parameter", ["neuron", "k"])
def test_wrong_type(recorded, parameter, value):
    """An integer parameter takes whole numbers, or text that holds one; anything else is a QueryError naming it."""
    with pytest.raises(QueryError, match=f"'{parameter}' must be integer"):
        recorded.query("top_images", **arguments("top_images") | {parameter: value})


@pytest.mark.parametrize("value", [5, 0.5, True, ["label = 3"]])
def test_a_condition_is_a_text(recorded, value):
    """A number, which SQL would take for true or false, is no condition."""
    with pytest.raises(QueryError, match="'where' must be predicate, such as"):
        recorded.query("top_images", **arguments("top_images") | {"where": value})


@pytest.mark.parametrize("value", ["3", 3, 3.0])
def test_integers_are_read_from_text(recorded, value):
    """3, 3.0 and "3" are the same neuron: the command line and the page give texts."""
    expected = recorded.query("top_images", **arguments("top_images") | {"neuron": 3}).fetchall()
    assert recorded.query("top_images", **arguments("top_images") | {"neuron": value}).fetchall() == expected


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("top_images", {"k": -1}),
        ("top_images", {"k": 10**30}),
        ("ranked_neurons", {"score": "novel"}),
        ("ranked_neurons", {"order": "up"}),
        ("score_density", {"score": "novel"}),
        ("score_summary", {"variant": "note"}),
        ("top_neurons_of_confusion", {"direction": "a"}),
    ],
)
def test_values_that_cannot_be_right(recorded, name, wrong):
    """A choice that isn't one of those the header names, or a negative k, is refused, and no silent default."""
    with pytest.raises((QueryError, duckdb.Error)):
        recorded.query(name, **arguments(name) | wrong).fetchall()


INJECTIONS = [
    "true) or (1=1",
    "true] or [1=1",
    "1; drop table stored_model",
    "true; drop table stored_model; --",
    "(select 1",
    "true)",
    "true) --",
    "true) union all select 1",
    "true) order by 1 --",
    "true /*",
    "'",
    '"',
    "$$",
    "true limit 1",
    "select 1",
    "drop table stored_model",
    "true) as t, (select 1",
    "1 = 1 group by all",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injections_are_refused(recorded, text):
    """A predicate is one expression: text that closes brackets, ends statements or opens what it doesn't close is refused."""
    with pytest.raises(QueryError, match="condition in SQL"):
        recorded.query("top_images", **arguments("top_images") | {"where": text})
    assert recorded.sql("select count(*) from stored_model").fetchall() == [(1,)]


CONDITIONS_THAT_FAIL = [
    "nosuch = 1",
    "count(*) > 1",
    "$k = 1 and $other = 2",
    "row_number() over () = 1",
    "image = (select 1, 2)",
    "?",
    "true, true",
    "",
    "-- only a comment",
]


@pytest.mark.parametrize("text", CONDITIONS_THAT_FAIL)
def test_conditions_that_fail(recorded, text):
    """A condition that DuckDB refuses gives an error and no rows, from the query or when its rows are fetched."""
    with pytest.raises((QueryError, duckdb.Error)):
        recorded.query("top_images", **arguments("top_images") | {"where": text}).fetchall()


@pytest.mark.parametrize(
    ("condition", "keep"),
    [
        ("true", lambda row: True),
        ("false or label = 3", lambda row: row["label"] == 3),
        ("label = 3 or label = 2 -- a comment", lambda row: row["label"] in (2, 3)),
        ("label != predicted and confidence > 0.5", lambda row: row["label"] not in (None, row["predicted"]) and row["confidence"] > 0.5),
        ("label_name like '%) or (%' or image in (1, 2, 3)", lambda row: row["image"] in (1, 2, 3)),
        ("image in (select image from prediction where dataset = 'shifted' and predicted = 1)", lambda row: row["predicted"] == 1),
        ("not correct", lambda row: row["label"] not in (None, row["predicted"])),
    ],
)
def test_conditions_select_images(recorded, condition, keep):
    """A condition keeps the images for which it is true, ranked anew, whatever its own or and comments."""
    relation = recorded.query("top_images", **arguments("top_images") | {"where": "true", "k": 1000})
    everything = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    expected = [row["image"] for row in everything if keep(row)]
    found = recorded.query("top_images", **arguments("top_images") | {"where": condition, "k": 1000}).fetchall()
    assert [row[:2] for row in found] == list(enumerate(expected, start=1))


@pytest.mark.parametrize("value", ["'; drop table stored_model; --", "net' or '1'='1", "$k"])
def test_texts_are_bound_and_never_pasted(recorded, value):
    """A name is a value: SQL in it is looked for, and not found."""
    for name, parameter in (("top_images", "model"), ("top_neurons_of_category", "category")):
        with pytest.raises(UnknownNameError):
            recorded.query(name, **arguments(name) | {parameter: value})


def test_headers_that_are_not_understood():
    """A header line that looks like a parameter or column and isn't one is an error naming the file."""
    with pytest.raises(QueryError, match="mine"):
        query.parse("mine", "-- title: Mine\n-- parameter k integer\nselect 1")
    with pytest.raises(QueryError, match="type 'number'"):
        query.parse("mine", "-- title: Mine\n-- parameter k: number, example 1 - How many.\nselect 1")


def test_queries_of_an_empty_store(store):
    """Without recordings a query without names gives its columns and no rows."""
    assert store.query("recordings").fetchall() == []
    with pytest.raises(UnknownNameError, match="there is none"):
        store.query("accuracy_drop", model="net")
