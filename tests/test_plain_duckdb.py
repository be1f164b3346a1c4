"""The file is the interface: any DuckDB client reads it without this package."""

import json
import re
import subprocess
import sys

import duckdb
import numpy as np
import pytest
import study as studies
import torch
from torch import nn

from deephys_sql import assets

VIEWS = [
    "activation",
    "response",
    "top_image",
    "category_response",
    "neuron_score",
    "prediction",
    "confusion",
    "accuracy",
    "dataset_accuracy",
    "image",
]
MACROS = [
    "top_images('net', 'fc', 3, 'shifted', 7)",
    "top_neurons('net', 'fc', 'shifted', 4, 7)",
    "top_neurons_of('net', 'fc', 'shifted', [1, 2, 5], 7)",
    "top_neurons_of('net', 'fc', 'shifted', (select list(image) from prediction where dataset = 'shifted' and not correct), 7)",
    "confusion_set('net', 'shifted', 1, 2)",
    "scores('net', 'fc', 'clean', 'shifted')",
    "similar_images('net', 'fc', 'shifted', 4, 'clean', 7)",
    "similar_images_on('net', 'fc', 'shifted', 4, [3, 5], 'clean', 7)",
]

CLIENT = """
import json, sys
import duckdb

path, how, statements = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if how == "direct":
    connection = duckdb.connect(path, read_only=True)
else:
    connection = duckdb.connect()
    connection.execute(f"attach '{path}' as other_name (read_only)")
    if how == "used":
        connection.execute("use other_name")
results = []
for statement in statements:
    results.append([list(map(str, row)) for row in connection.execute(statement).fetchall()])
assert not any("deephys" in name for name in sys.modules)
print(json.dumps(results))
"""


def ask(path, how, statements):
    """Run statements in a fresh process that knows DuckDB alone."""
    command = [sys.executable, "-I", "-c", CLIENT, str(path), how, json.dumps(statements)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def closed(study, tmp_path_factory):
    """The path of a store that nothing has open, and all it is asked with the answers from this package."""
    import deephys_sql as dp

    path = tmp_path_factory.mktemp("plain") / "study.duckdb"
    with dp.open(path) as store:
        study.record(store)
        studies.add_runs(store, path.parent)
        store.add_directions("fc", "half", np.eye(70) / 2, progress=False)
        maps = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten())
        dp.record(maps, [torch.rand(4, 1, 5, 5)], store=store, name="maps", dataset="noise", layers=["0"], progress=False)
        studies.add_annotations(store)
        store.embed_annotations()
        views = [row[0] for row in store.sql("select view_name from duckdb_views() where not internal order by 1").fetchall()]
        assert set(VIEWS) <= set(views)
        defined = (assets.folder("queries") / "views" / "60_macros.sql").read_text()
        assert set(re.findall(r"create macro (\w+)", defined)) == {macro.partition("(")[0] for macro in MACROS}
        macros = [f"select * from {macro}" for macro in MACROS]
        asked = {f"select * from {{}}{view} order by all": view for view in views}
        answers = {text: [list(map(str, row)) for row in store.sql(text.format("")).fetchall()] for text in [*asked, *macros]}
    return path, list(asked), macros, answers


def test_every_view_and_macro_from_duckdb_alone(closed):
    """In a process without deephys_sql, read-only, each view and macro gives what the package gives, and something."""
    path, views, macros, answers = closed
    found = ask(path, "direct", [text.format("") for text in [*views, *macros]])
    for text, rows in zip([*views, *macros], found, strict=True):
        assert rows == answers[text], text
        assert rows, text


def test_views_of_an_attached_store(closed):
    """Attached under another name, views work by that name."""
    path, views, _, answers = closed
    found = ask(path, "attached", [text.format("other_name.") for text in views])
    for text, rows in zip(views, found, strict=True):
        assert rows == answers[text], text


def test_macros_of_an_attached_store_that_is_used(closed):
    """Attached under another name and used, views and macros work by their own names."""
    path, views, macros, answers = closed
    found = ask(path, "used", [text.format("") for text in [*views, *macros]])
    for text, rows in zip([*views, *macros], found, strict=True):
        assert rows == answers[text], text


COMMENTED = {
    "tables": "select table_name, comment from duckdb_tables() where not internal",
    "views": "select view_name, comment from duckdb_views() where not internal",
    "macros": "select function_name, comment from duckdb_functions() where not internal and function_type like '%macro'",
    "columns of views": """
        select table_name || '.' || column_name, comment from duckdb_columns()
        where not internal and table_name in (select view_name from duckdb_views() where not internal)""",
    "columns of tables": """
        select table_name || '.' || column_name, comment from duckdb_columns()
        where not internal and table_name in (select table_name from duckdb_tables() where not internal)""",
}


@pytest.mark.parametrize("what", COMMENTED)
def test_everything_carries_a_comment(closed, what):
    """Every table, view, macro and column says what it is."""
    with duckdb.connect(str(closed[0]), read_only=True) as connection:
        rows = connection.execute(COMMENTED[what]).fetchall()
    assert rows
    assert [name for name, comment in rows if not (comment or "").strip()] == []
