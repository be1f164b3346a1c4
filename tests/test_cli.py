"""The command line is the library: each command is one call, and mistakes are one line and exit status 2."""

import json
import shutil
import subprocess
import sys

import click
import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import deephys_sql as dp
from deephys_sql.cli import main


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A store of one model on two datasets: six images, two neurons, three categories."""
    path = tmp_path_factory.mktemp("cli") / "a study.duckdb"
    labels = [0, 0, 1, 1, 2, 2]
    with dp.open(path) as store:
        for dataset, shift in (("day", 0), ("night", 1)):
            activations = np.stack([np.arange(6) + shift, np.roll(np.arange(6), shift)], axis=1)
            store.add_recording(
                model="net",
                dataset=dataset,
                activations={"fc1": activations},
                logits=np.eye(3)[np.roll(labels, shift)],
                labels=labels,
                categories=["cat", "dog", "owl"],
            )
    return str(path)


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def commands(group=main, path=()):
    """Yield the name, such as `export deephys`, and the command, of every command and group."""
    for name, command in group.commands.items():
        yield " ".join([*path, name]), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_has_a_help_with_an_example():
    """--help of each command shows how it is called."""
    for name, command in commands():
        text = run(*name.split(), "--help").output
        assert "Example:" in text and f"deephys-sql {name}" in text, name
        assert command.help.splitlines()[0].endswith("."), name


def test_every_command_is_in_the_readme(request):
    """README.md names each command."""
    text = (request.config.rootpath / "README.md").read_text()
    for name, _ in commands():
        assert f"deephys-sql {name}" in text or f"`deephys-sql {name}" in text, name


def test_info_lists_recordings(study):
    """info gives the recordings with accuracy, drop and layers."""
    rows = json.loads(run("info", study, "--format", "json").output)
    assert [(r["dataset"], r["is_reference"], r["accuracy"], r["layers"]) for r in rows] == [
        ("day", True, 1.0, "fc1 (2), output (3)"),
        ("night", False, 0.5, "fc1 (2), output (3)"),
    ]


def test_query_gives_what_the_library_gives(study):
    """query NAME --param value is store.query(name, param=value)."""
    result = run(
        "query", study, "top_images", "--model", "net", "--layer=fc1", "--neuron", "0", "--dataset", "night", "--k=2", "--format", "json"
    )
    assert result.exit_code == 0, result.output
    with dp.open(study, read_only=True) as store:
        expected = store.query("top_images", model="net", layer="fc1", neuron=0, dataset="night", k=2).to_dicts()
    assert json.loads(result.output) == expected
    assert [row["image"] for row in expected] == [5, 4]


def test_formats_hold_the_same_rows(study, tmp_path):
    """table, csv, json and parquet are the same result, to standard output or to a file."""
    statement = "select dataset, image, label_name, [label, predicted] as pair from prediction order by dataset, image"
    rows = json.loads(run("sql", study, statement, "--format", "json").output)
    assert len(rows) == 12 and rows[0] == {"dataset": "day", "image": 0, "label_name": "cat", "pair": [0, 0]}
    lines = run("sql", study, statement, "--format", "csv").output.splitlines()
    assert lines[:2] == ["dataset,image,label_name,pair", 'day,0,cat,"[0, 0]"'] and len(lines) == 13
    table = run("sql", study, statement).output
    assert table.count("night") == 6 and "label_name" in table
    for format in ("csv", "json", "table", "parquet"):
        path = tmp_path / f"rows.{format}"
        assert run("sql", study, statement, "--format", format, "--output", str(path)).exit_code == 0
        if format == "parquet":
            assert pyarrow.parquet.read_table(path).to_pylist() == rows
        else:
            assert path.read_text() == run("sql", study, statement, "--format", format).output


@pytest.mark.parametrize("ending", ["json", "csv", "parquet", "txt"])
def test_a_wrong_statement_leaves_the_file(study, tmp_path, ending):
    """A condition on a column that isn't there is refused before the file of the output is touched."""
    path = tmp_path / f"kept.{ending}"
    path.write_text("precious")
    given = ("--model", "net", "--layer", "fc1", "--neuron", "1", "--dataset", "day", "--where", "nosuch = 1")
    assert run("query", study, "top_images", *given, "--output", str(path)).exit_code == 2
    assert path.read_text() == "precious"


def test_an_empty_result_is_valid_json(study):
    """No rows are an empty array."""
    assert json.loads(run("sql", study, "select 1 as a where false", "--format", "json").output) == []


def test_queries_lists_and_describes():
    """queries lists all names; queries NAME gives parameters, columns and SQL."""
    assert "top_images" in run("queries").output
    text = run("queries", "top_images").output
    assert "--neuron integer" in text and "select" in text and "activation descending" in text


def test_layers_shows_the_layers(study):
    """layers gives name and width of each layer."""
    rows = json.loads(run("layers", study, "net", "--format", "json").output)
    assert [(r["layer"], r["neurons"]) for r in rows] == [("fc1", 2), ("output", 3)]


def test_check_and_migrate_say_that_all_is_well(study):
    """check and migrate of a whole, current store succeed."""
    assert run("check", study).output.strip().endswith("is whole.")
    assert run("migrate", study).output.strip().endswith("is up to date.")


def test_check_of_a_damaged_store_fails(study, tmp_path):
    """check names what is wrong and exits with 1."""
    import shutil

    import duckdb

    damaged = tmp_path / "damaged.duckdb"
    shutil.copy(study, damaged)
    with duckdb.connect(str(damaged)) as connection:
        connection.execute("delete from stored_prediction where image = 3")
    result = run("check", str(damaged))
    assert result.exit_code == 1 and "5 predictions instead of 6" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "absent.duckdb"], "there is no file absent.duckdb"),
        (["query", "{study}", "top_imagse"], "did you mean 'top_images'"),
        (["query", "{study}", "top_images", "--modell", "net"], "did you mean 'model'"),
        (["query", "{study}", "top_images", "--model", "nett"], "needs the parameter 'layer'"),
        (["query", "{study}", "accuracy_drop", "--model", "nett"], "there is no model 'nett': did you mean 'net'?"),
        (["query", "{study}", "top_images", "--neuron", "seven"], "needs the parameter"),
        (["query", "{study}", "accuracy_drop", "net"], "where an option of the query was expected"),
        (["query", "{study}", "accuracy_drop", "--model"], "needs a value"),
        (["sql", "{study}", "selec 1"], "syntax error"),
        (["sql", "{study}", "delete from stored_model"], "read-only"),
        (["sql", "{study}", "select error('at run time')"], "at run time"),
        (["sql", "{study}", "select 1", "--format", "parquet"], "--output FILE"),
        (["layers", "{study}", "nett"], "there is no model 'nett'"),
        (["queries", "nope"], "there is no query 'nope'"),
        (["migrate", "absent.duckdb"], "there is no file absent.duckdb"),
    ],
)
def test_mistakes_are_one_line_and_status_2(study, arguments, says):
    """A user's mistake gives exit status 2 and one line that says what was asked, what was found, and what to do."""
    result = run(*(argument.replace("{study}", study) for argument in arguments))
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and says in errors[0]
    assert "Traceback" not in result.output


def test_errors_name_the_options_of_the_command(study, tmp_path):
    """What Python is told of `replace=True` the command line says of --replace, and SQL that is quoted stays as it is."""
    store = shutil.copy(study, tmp_path / "study.duckdb")
    np.save(tmp_path / "hidden.npy", np.ones((6, 2)))
    (tmp_path / "labels.csv").write_text("label,prediction\n" + "0,0\n" * 6)
    names = ["--model", "net", "--dataset", "dusk", "--labels", str(tmp_path / "labels.csv")]
    command = ["import", "arrays", str(store), *names, "--activations", f"fc1={tmp_path / 'hidden.npy'}"]
    done = run(*command)
    assert (done.exit_code, done.stdout) == (0, f"Recorded net on dusk. {store} holds 3 recordings.\n")
    again = run(*command)
    assert again.exit_code == 2 and "Pass --replace to record it again" in again.output and "=True" not in again.output
    assert run(*command, "--replace").exit_code == 0
    assert "format='x'" in run("sql", str(store), "select 1; select format='x'").output


def test_drops_have_no_noise(tmp_path):
    """A drop from 0.7 to 0.4 is 0.3, also where 0.7 - 0.4 is 0.29999999999999993."""
    path, labels = tmp_path / "study.duckdb", np.zeros(10, int)
    with dp.open(path) as store:
        for dataset, right in (("day", 7), ("night", 4)):
            given = {"activations": {"fc": np.ones((10, 1))}, "predictions": (np.arange(10) >= right).astype(int), "labels": labels}
            store.add_recording(model="net", dataset=dataset, categories=["a", "b"], progress=False, **given)
    for command in (["info", path], ["query", path, "checkpoints_by_drop"], ["query", path, "accuracy_drop", "--model", "net"]):
        rows = json.loads(run(*map(str, command), "--format", "json").output)
        assert 0.3 in [row["drop"] for row in rows], command


def test_a_real_process_prints_no_traceback(study):
    """The installed command, as a process: exit status 2, nothing on standard output, one line on standard error."""
    done = subprocess.run([sys.executable, "-m", "deephys_sql.cli", "info", "absent.duckdb"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line for line in done.stderr.splitlines() if line.strip()] == [done.stderr.strip()]


def test_every_click_parameter_is_described():
    """Each option of each command has a help text."""
    for name, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "help":
                assert parameter.help, f"{name} {parameter.name}"


def test_directions(study, tmp_path):
    """`directions` is add_directions, with its arrays from files; a file that is no array is refused."""
    store = shutil.copy(study, tmp_path / "study.duckdb")
    np.save(tmp_path / "matrix.npy", np.array([[1, -1], [0, 2]]))
    np.save(tmp_path / "bias.npy", np.array([0.5, -1]))
    files = [str(tmp_path / "matrix.npy"), "--bias", str(tmp_path / "bias.npy"), "--relu"]
    done = run("directions", str(store), "fc1", "pair", *files)
    assert (done.exit_code, done.stdout) == (0, f"Made layer pair of 2 neurons from fc1. {store} holds 2 recordings.\n")
    with dp.open(store, read_only=True) as opened:
        text = "select value from activation where dataset = 'day' and layer = $layer order by image, neuron"
        source, made = (opened.sql(text, layer=layer).fetchnumpy()["value"].reshape(6, 2) for layer in ("fc1", "pair"))
        np.testing.assert_allclose(made, np.maximum(source @ np.array([[1, 0], [-1, 2]]) + [0.5, -1], 0))
    (tmp_path / "text.npy").write_text("1 2 3")
    done = run("directions", str(store), "fc1", "other", str(tmp_path / "text.npy"))
    assert done.exit_code == 2 and "no .npy file" in done.output
