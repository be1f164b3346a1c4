"""Runs of experiments come in from MLflow, SQL, tables and Hydra as they are there, and find their models."""

import contextlib
import datetime
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import sqlalchemy
from click.testing import CliRunner

import deephys_sql as dp
from deephys_sql.cli import main
from deephys_sql.errors import DeephysError, InvalidInputError, MissingExtraError, ReadOnlyError, SourceError, UnknownNameError
from deephys_sql.experiments.items import flat

STARTED = datetime.datetime(2026, 5, 1, 12, 0)


def write(path, text):
    path.write_text(text)
    return path


def record(store, *models, images=8):
    """Record models of one layer on a reference and on `night`; only the labels' fit differs."""
    labels = np.arange(images) % 4
    for number, model in enumerate(models):
        for dataset, wrong in (("day", 0), ("night", number + 1)):
            logits = np.eye(4)[np.where(np.arange(images) < wrong, (labels + 1) % 4, labels)]
            activations = np.random.default_rng([number, wrong]).normal(size=(images, 3)) + 1
            store.add_recording(
                model=model, dataset=dataset, activations={"fc": activations}, logits=logits, labels=labels,
                categories=["a", "b", "c", "d"], progress=False,
            )  # fmt: skip


def everything(store):
    """All that is stored of runs, but when it was imported."""
    return [  # as text, for NaN is not NaN
        repr(store.sql(f"select * {'exclude (imported_at)' if view == 'experiment' else ''} from {view} order by all").fetchall())
        for view in ("experiment", "experiment_param", "experiment_metric", "experiment_tag")
    ]


# MLflow.


@contextlib.contextmanager
def postgres():
    """The URL of an empty database of a server of our own, which runs as somebody without rights."""
    programs = [Path(found).parent for found in [shutil.which("initdb")] if found]
    programs += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not programs:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="deephys-postgres-"))
    user = {}
    if os.getuid() == 0:
        shutil.chown(folder, "nobody")
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        options = ["--auth=trust", "--username=tracker", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([programs[0] / "initdb", "-D", folder / "data", *options], check=True, capture_output=True, cwd=folder, **user)
        listen = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([programs[0] / "postgres", "-D", folder / "data", *listen], stderr=log, cwd=folder, **user)
        try:
            url = f"postgresql+psycopg://tracker@127.0.0.1:{port}/postgres"
            engine = sqlalchemy.create_engine(url)
            for _ in range(100):
                with contextlib.suppress(sqlalchemy.exc.OperationalError):
                    engine.connect().close()
                    break
                time.sleep(0.1)
            engine.dispose()
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for MLflow's connections
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def tracked(request, tmp_path_factory):
    """The URL of a database that MLflow itself made and filled, and the ids of its runs by name."""
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'deephys-sql[test]'")
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    with postgres() if request.param == "postgresql" else contextlib.nullcontext(f"sqlite:///{folder / 'mlflow.db'}") as url:
        client = MlflowClient(tracking_uri=url)
        ids = {}
        for study, names in (("weight decay", ["wd0", "wd1", "broken", "deleted"]), ("100% other's", ["elsewhere"])):
            experiment = client.create_experiment(study, artifact_location=str(folder))
            for i, name in enumerate(names):
                run = client.create_run(experiment, start_time=1_777_636_800_000 + 1000 * i, run_name=name)
                ids[name] = run.info.run_id
                client.log_param(ids[name], "weight_decay", 10.0**-i)
                client.log_param(ids[name], "opt izer", "sgd; drop table stored_model")
                for step in range(5):
                    client.log_metric(ids[name], "val/accuracy", 0.5 + step / 10, timestamp=1_777_636_800_500 + step, step=step)
                client.set_tag(ids[name], "model", {"wd0": "net-a", "broken": "no such model"}.get(name, ""))
                client.set_terminated(ids[name], "FAILED" if name == "broken" else "FINISHED", end_time=1_777_636_900_000)
        for value in (math.nan, math.inf, -math.inf):
            client.log_metric(ids["broken"], f"loss {value}", value, step=7)
        client.delete_run(ids["deleted"])
        yield url, ids, client


def test_mlflow_comes_in_as_it_is(tracked, store):
    """Runs that aren't deleted, with every parameter, step and tag; NaN and infinities as logged; times in UTC."""
    url, ids, _ = tracked
    record(store, "net-a", "wd1")
    report = store.add_experiments(url, progress=False)
    assert (report.added, report.updated) == (4, 0)
    assert report.matched == {ids["wd0"]: "net-a", ids["wd1"]: "wd1"}
    assert report.unmatched == {ids["broken"]: "broken", ids["elsewhere"]: "elsewhere"}
    rows = store.sql("select run, model, name, study, status, started, ended, matched_by from experiment").fetchall()
    later, ended = STARTED + datetime.timedelta(seconds=1), STARTED + datetime.timedelta(seconds=100)
    assert {row[0]: row[1:] for row in rows} == {
        ids["wd0"]: ("net-a", "wd0", "weight decay", "FINISHED", STARTED, ended, "model"),
        ids["wd1"]: ("wd1", "wd1", "weight decay", "FINISHED", later, ended, "name"),
        ids["broken"]: (None, "broken", "weight decay", "FAILED", later + datetime.timedelta(seconds=1), ended, None),
        ids["elsewhere"]: (None, "elsewhere", "100% other's", "FINISHED", STARTED, ended, None),
    }  # fmt: skip
    params = store.sql("select name, value, number from experiment_param where run = $run order by 1", run=ids["wd1"]).fetchall()
    assert params == [("opt izer", "sgd; drop table stored_model", None), ("weight_decay", "0.1", 0.1)]
    steps = store.sql("select step, recorded_at, value from experiment_metric where run = $run order by 1", run=ids["wd0"]).fetchall()
    assert steps == [(i, STARTED + datetime.timedelta(milliseconds=500 + i), 0.5 + i / 10) for i in range(5)]
    odd = dict(store.sql("select name, value from experiment_metric where name like 'loss%'").fetchall())
    assert math.isnan(odd["loss nan"]) and (odd["loss inf"], odd["loss -inf"]) == (math.inf, -math.inf)
    assert store.sql("select value from experiment_tag where name = 'model' and run = $run", run=ids["wd0"]).fetchall() == [("net-a",)]


def test_mlflow_again_is_an_update(tracked, store):
    """A second import changes nothing but what changed there: a new step, a new tag, a removed tag."""
    url, ids, client = tracked
    store.add_experiments(url, progress=False)
    before = everything(store)
    report = store.add_experiments(url, progress=False)
    assert (report.added, report.updated) == (0, 4) and everything(store) == before
    client.log_metric(ids["wd1"], "val/accuracy", 1.0, step=9)
    client.set_tag(ids["wd1"], "new", "x")
    store.add_experiments(url, progress=False)
    client.delete_tag(ids["wd1"], "new")
    assert store.sql("""select tag_new, "metric_val/accuracy" from experiment_wide where name = 'wd1'""").fetchall() == [("x", 1.0)]
    store.add_experiments(url, progress=False)
    assert "tag_new" not in store.sql("from experiment_wide").columns
    assert len(store.sql("from experiment").fetchall()) == 4


def test_one_experiment_of_mlflow(tracked, store):
    """experiment= takes the runs of that one; another name is an error that lists those there."""
    url, ids, _ = tracked
    report = store.add_experiments(url, experiment="100% other's", progress=False)
    assert list(report.unmatched) == [ids["elsewhere"]]
    with pytest.raises(SourceError, match="'weight'; there are:.*weight decay"):
        store.add_experiments(url, experiment="weight", progress=False)


def test_sql_of_any_database(tracked, store):
    """A query's rows are runs: percent signs and quotes are its own."""
    url, ids, _ = tracked
    query = """select run_uuid as run, status, '100%' as "params.share", start_time as started, 0.5 as "metrics.a%b" from runs
        where lifecycle_stage = 'active' and status like 'FIN%'"""
    store.add_experiments(url, query=query, progress=False)
    rows = store.sql("""select run, status, started, param_share, "metric_a%b" from experiment_wide""").fetchall()
    assert {row[0] for row in rows} == {ids["wd0"], ids["wd1"], ids["elsewhere"]}
    assert {row[1:2] + row[3:] for row in rows} == {("FINISHED", "100%", 0.5)} and STARTED in {row[2] for row in rows}


# Tables.

ROWS = [
    {"run": "a", "name": "first", "lr": 0.1, "optimizer": "sgd", "acc": 0.5, "started": "2026-05-01T12:00:00Z"},
    {"run": "b", "name": "second", "lr": 0.01, "optimizer": "adam", "acc": 0.75, "started": "2026-05-01T13:00:00Z"},
]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_tables_of_any_format_give_the_same(store, tmp_path, ending):
    """CSV, TSV, JSON lines, a JSON array and Parquet of the same rows."""
    path = tmp_path / f"runs.{ending}"
    if ending in ("csv", "tsv"):
        mark = "," if ending == "csv" else "\t"
        path.write_text("\n".join(mark.join(map(str, row)) for row in [ROWS[0].keys(), *(row.values() for row in ROWS)]) + "\n")
    elif ending == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_text("\n".join(map(json.dumps, ROWS)) if ending == "jsonl" else json.dumps(ROWS))
    report = store.add_experiments(path, metrics=["acc"], progress=False)
    assert (report.source, report.added) == (path.name, 2)
    assert store.sql("select run, name, started, param_lr, param_optimizer, metric_acc from experiment_wide order by run").fetchall() == [
        ("a", "first", STARTED, 0.1, "sgd", 0.5),
        ("b", "second", STARTED + datetime.timedelta(hours=1), 0.01, "adam", 0.75),
    ]


def test_exports_of_wandb(store, tmp_path):
    """The table that W&B's page exports, its API's JSON with nested config, summary and tags, and the history of a run."""
    path = write(tmp_path / "wandb.csv", 'Name,State,Created,Tags,lr,val/acc\nsunny-1,finished,2026-05-01T12:00:00.000Z,"x, y",0.1,0.9\n')
    store.add_experiments(path, metrics=["val/*"], progress=False)
    found = store.sql("""select name, status, started, param_lr, "metric_val/acc", tag_Tags from experiment_wide""").fetchall()
    assert found == [("sunny-1", "finished", STARTED, 0.1, 0.9, "x, y")]
    config = {"optimizer": {"name": "sgd"}, "lr": {"value": 0.1, "desc": None}, "_wandb": {"version": 1}}
    run = {"id": "x1", "name": "sunny-2", "config": config, "summary": {"acc": 0.9, "note": "ok"}, "tags": ["baseline"]}
    store.add_experiments(write(tmp_path / "api.jsonl", json.dumps(run) + "\n\n"), progress=False)
    assert store.sql("select name, value from experiment_param where run = 'x1' order by 1").fetchall() == [
        ("lr", "0.1"),
        ("optimizer.name", "sgd"),
    ]
    assert store.sql("select name, value from experiment_metric where run = 'x1'").fetchall() == [("acc", 0.9)]
    assert store.sql("select name, value from experiment_tag where run = 'x1' order by 1").fetchall() == [
        ("baseline", None),
        ("note", "ok"),
    ]
    history = write(
        tmp_path / "history.csv", "run,_step,_timestamp,loss,phase\nh,0,1777636800,2.5,train\nh,1,1777636801,,train\nh,2,,1.5,train\n"
    )
    store.add_experiments(history, progress=False)
    assert store.sql("select step, recorded_at, value from experiment_metric where run = 'h' order by 1").fetchall() == [
        (0, STARTED, 2.5),
        (2, None, 1.5),
    ]
    assert store.sql("select name, value from experiment_param where run = 'h'").fetchall() == [("phase", "train")]


def test_folders_of_hydra(store, tmp_path):
    """Each folder with .hydra/config.yaml is a run: nested parameters with dots, overrides as a tag."""
    for name, decay in (("0", 0.0), ("1", 1e-4)):
        folder = tmp_path / "multirun" / "2026-05-01" / name / ".hydra"
        folder.mkdir(parents=True)
        write(folder / "config.yaml", f"optimizer:\n  weight_decay: {decay}\nmodel: net-{name}\nempty: null\nsizes: [1, 2]\n")
        write(folder / "overrides.yaml", f"- optimizer.weight_decay={decay}\n")
        write(folder / "hydra.yaml", "hydra:\n  job:\n    name: train\n")
    record(store, "net-0")
    report = store.add_experiments(tmp_path / "multirun", progress=False)
    assert report.matched == {"2026-05-01/0": "net-0"} and list(report.unmatched) == ["2026-05-01/1"]
    found = store.sql(
        """select study, "param_optimizer.weight_decay", param_sizes, "tag_hydra.overrides" from experiment_wide order by run"""
    )
    assert found.fetchall() == [
        ("train", 0.0, "[1, 2]", "optimizer.weight_decay=0.0"),
        ("train", 1e-4, "[1, 2]", "optimizer.weight_decay=0.0001"),
    ]


# Matching.


def test_models_are_found_in_the_order_promised(store, tmp_path):
    """The model that a run names, else its weights, else its checkpoint's file, its name, its id; the first that is there."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 2)
    with store.record(net, "by weights", "torch day", layers=[], categories=["x", "y"]) as rec:
        rec(torch.eye(2), labels=[0, 1])
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    (checksum,) = store.sql("select weights_checksum from recording").fetchall()[0]
    record(store, "named", "epoch-3", "run name", "run-id")
    rows = [
        ("1", "run name", "named", str(tmp_path / "last.pt")),
        ("2", "run name", "not there", str(tmp_path / "last.pt")),
        ("3", "run name", "", checksum.upper()),
        ("4", "run name", "", "s3://bucket/epoch-3.ckpt"),
        ("5", "run name", "", "/nowhere/else.pt"),
        ("run-id", "x", "", ""),
        ("7", "x", "", "/dev/zero"),
    ]
    path = write(tmp_path / "runs.csv", "run,name,model,checkpoint\n" + "\n".join(map(",".join, rows)))
    store.add_experiments(path, progress=False)
    assert store.sql("select run, model, matched_by from experiment order by run").fetchall() == [
        ("1", "named", "model"),
        ("2", "by weights", "weights"),
        ("3", "by weights", "weights"),
        ("4", "epoch-3", "checkpoint"),
        ("5", "run name", "name"),
        ("7", None, None),
        ("run-id", "run-id", "run"),
    ]


def test_a_run_finds_a_model_that_is_recorded_later(store, tmp_path):
    """Runs without a model are kept, reported, and matched when their model comes."""
    path = write(tmp_path / "runs.csv", "run,network,lr\na,late,1\n")
    report = store.add_experiments(path, model="network", progress=False)
    assert report.unmatched == {"a": "a"} and "1 to none: a" in str(report)
    record(store, "late")
    assert store.sql("select model, matched_by, param_lr from experiment_wide").fetchall() == [("late", "model", 1.0)]


@pytest.mark.parametrize(
    "tampering",
    [
        "update stored_named_run set model_name = 'other'",
        "update stored_named_run set matched_by = 'name'",
        "delete from stored_named_run",
        "insert into stored_named_run values ('gone', 'net', 'model')",
        "update stored_experiment set model_name = null, name = null",
        "insert into stored_named_run from stored_named_run",
        "delete from stored_experiment where run = 'b'",
        "insert into stored_experiment from stored_experiment where run = 'b'",
        "insert into stored_experiment_metric values ('gone', 'accuracy', 0, null, 0.5), ('gone', 'accuracy', 1, null, 0.6)",
        "insert into stored_experiment_tag values ('gone', 'a', 'b'), ('gone', 'c', 'd')",
    ],
)
def test_check_finds_a_run_of_another_model(store, tmp_path, tampering):
    """check() names the runs whose model is not the one that they say; it is kept, as questions about runs join it."""
    record(store, "net")
    store.add_experiments(write(tmp_path / "runs.csv", "run,model,lr\na,net,1\nb,none,2\n"), progress=False)
    assert store.check() == []
    store.close()
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(tampering)
    with dp.open(store.path, read_only=True) as store:
        (problem,) = store.check()
    assert re.fullmatch(
        r"run (a|gone): stands with (no model|model \w+ \(by \w+\)), and belongs to (none|net \(by model\))\.|run a: stands with 2 models\."
        r"|rows of stored_experiment_(param|metric|tag) belong to no run: 2\.|run b: stands 2 times\.",
        problem,
    )


def test_what_is_undone_leaves_runs_as_they_were(store, tmp_path):
    """A run finds a model when its recording is complete, and not one that was undone."""
    store.add_experiments(write(tmp_path / "runs.csv", "run,model\na,late\n"), progress=False)
    models = "select model from experiment union all select model from experiment_wide"
    with pytest.raises(RuntimeError), store.transaction():
        record(store, "late")
        raise RuntimeError
    assert store.sql(models).fetchall() == [(None,), (None,)]
    record(store, "late")
    assert store.sql(models).fetchall() == [("late",), ("late",)]


# What must not come in.


@pytest.mark.parametrize(
    ("name", "text", "options", "error", "says"),
    [
        ("a.csv", "run,acc\na,high\n", {"metrics": ["acc"]}, InvalidInputError, "line 2, column acc is 'high', and a metric is a number"),
        ("a.csv", "run,lr\na,1\nb,1\na,2\n", {}, InvalidInputError, "run 'a' is there more than once in a.csv, as number 1 and 3"),
        ("a.csv", "lr,acc\n1,2\n", {}, InvalidInputError, "names no run.*lr, acc"),
        ("a.csv", "run,lr\n,2\n", {}, InvalidInputError, "line 2 names no run"),
        ("a.csv", "run,lr\na,2,3\n", {}, SourceError, "line 2 has 3 fields, and the first line names 2"),
        ("a.csv", "run,lr\na\n", {}, SourceError, "line 2 has 1 fields"),
        ("a.csv", "run,lr,lr\na,1,2\n", {}, SourceError, "two columns 'lr'"),
        ("a.csv", 'run,lr\na,"1\n', {}, SourceError, "a.csv can't be read"),
        ("a.csv", "run,started\na,yesterday\n", {}, InvalidInputError, "column started is 'yesterday', which is no time"),
        ("a.csv", "run,started\na,1e300\n", {}, InvalidInputError, "which is no time"),
        ("a.csv", "run,step,loss\na,1.5,2\n", {}, InvalidInputError, "column step is '1.5', and a step is a whole number"),
        ("a.csv", "run,step,loss\na,1e300,2\n", {}, InvalidInputError, "a step is a whole number"),
        ("a.csv", f"run,{'x' * 600}\na,2\n", {}, InvalidInputError, "can't be a name"),
        ("a.csv", "id,lr\na,2\n", {"run": "key"}, InvalidInputError, "no column 'key'.*id, lr"),
        ("a.jsonl", '{"run": "a"}\nnot json\n', {}, SourceError, "a.jsonl, line 2 is no JSON"),
        ("a.jsonl", "3\n", {}, SourceError, "line 1 is 3, and a row is an object"),
        ("a.json", '[{"run": "a"}, 3]', {}, SourceError, "object 2 is 3"),
        ("a.json", "[" * 100_000, {}, SourceError, "can't be read"),
        ("a.jsonl", '{"run": "a", "config": ' + '{"x": ' * 50 + "1" + "}" * 51, {}, InvalidInputError, "levels deep"),
        ("a.parquet", "no parquet", {}, SourceError, "a.parquet can't be read"),
        ("a.xlsx", "x", {}, SourceError, "none of the files that runs are read from"),
        ("a.db", "this is no database at all", {}, SourceError, "can't be read"),
        ("a.csv", "run\na\n", {"query": "select 1"}, InvalidInputError, "query= needs a database"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_written(store, tmp_path, name, text, options, error, says):
    """Wrong types, duplicates, damaged files: an error that says where and what, and the store as it was."""
    store.add_experiments(write(tmp_path / "before.csv", "run,lr\nold,1\n"), progress=False)
    before = everything(store)
    with pytest.raises(error, match=says):
        store.add_experiments(write(tmp_path / name, text), progress=False, **options)
    assert everything(store) == before
    assert store.sql("select table_name from duckdb_tables() where table_name like 'incoming%'").fetchall() == []


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("sqlite:////nowhere/mlflow.db", SourceError, "names the file /nowhere/mlflow.db, and it isn't there"),
        ("postgresql://me:geheim@127.0.0.1:1/mlflow", SourceError, "postgresql\\+psycopg://me@127.0.0.1:1/mlflow can't be read"),
        ("nosuch://me:geheim@host/x", MissingExtraError, "needs a driver that isn't installed"),
        ("://", SourceError, "no address of a database"),
        ("nowhere", SourceError, "no file or folder nowhere"),
    ],
)
def test_databases_that_are_not_there(store, address, error, says):
    """What is wrong with an address is said, without its password; no file is made."""
    with pytest.raises(error, match=says) as raised:
        store.add_experiments(address, progress=False)
    assert "geheim" not in str(raised.value) and not Path("/nowhere").exists()


def test_other_databases_are_told_from_mlflows(store, tmp_path):
    """A database without MLflow's tables says which tables it has, and what to give; a query that fails says why."""
    with contextlib.closing(__import__("sqlite3").connect(tmp_path / "lab.db")) as connection:
        connection.execute("create table trial (id text, lr real)")
        connection.execute("insert into trial values ('t1', 0.5)")
        connection.commit()
    with pytest.raises(SourceError, match="no table 'experiments'.*here are: trial"):
        store.add_experiments(tmp_path / "lab.db", progress=False)
    with pytest.raises(SourceError, match="no such table: nosuch"):
        store.add_experiments(tmp_path / "lab.db", query="select * from nosuch", progress=False)
    store.add_experiments(tmp_path / "lab.db", query="select * from trial", progress=False)
    assert store.sql("select run, param_lr from experiment_wide").fetchall() == [("t1", 0.5)]


def test_yaml_that_grows_or_runs(store, tmp_path):
    """A configuration of aliases in aliases, one that refers to itself, and one with Python in it are refused at once."""
    folder = tmp_path / "job" / ".hydra"
    folder.mkdir(parents=True)
    grows = "a0: &a0 {x: 1, y: 2}\n" + "".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}, z: *a{i - 1}}}\n" for i in range(1, 18))
    for text, says in (
        (grows, "more than 10,000 parameters"),
        ("a: &a\n  b: *a\n", "levels deep"),
        ("a: !!python/object/apply:os.system ['touch hacked']\n", "can't be read"),
        ("- 1\n", "a mapping was expected"),
        ("a: [1\n", "can't be read"),
    ):
        write(folder / "config.yaml", text)
        with pytest.raises(DeephysError, match=says):
            store.add_experiments(tmp_path / "job", progress=False)
    assert everything(store) == ["[]"] * 4


def test_the_same_id_in_two_sources(store, tmp_path):
    """It is refused, with both ways out: the same name= updates, a prefix= keeps both."""
    store.add_experiments(write(tmp_path / "one.csv", "run,lr\n1,0.1\n"), progress=False)
    other = write(tmp_path / "two.csv", "run,lr\n1,0.2\n")
    with pytest.raises(InvalidInputError, match="'1' was imported from 'one.csv' before, and 'two.csv'.*name='one.csv'.*prefix="):
        store.add_experiments(other, progress=False)
    store.add_experiments(other, prefix="two/", progress=False)
    assert store.sql("select run, param_lr from experiment_wide order by 1").fetchall() == [("1", 0.1), ("two/1", 0.2)]
    store.add_experiments(other, name="one.csv", progress=False)
    assert store.sql("select run, param_lr from experiment_wide order by 1").fetchall() == [("1", 0.2), ("two/1", 0.2)]


def test_names_are_text_and_never_sql(store, tmp_path):
    """Names of runs, parameters, metrics and tags with quotes, brackets and SQL are columns of experiment_wide, and no more."""
    evil = ['"); drop table stored_model; --', "it's", 'a"b', "$x", "x\0y", "<script>alert(1)</script>", "ä ö 💥", "half a sign \ud83d"]
    row = {"run": "'; drop table stored_model; --", "params": {}, "metrics": {}, "tags": {}}
    for name in evil:
        row["params"][name], row["metrics"][name], row["tags"][name] = name, 1.0, name
    store.add_experiments(write(tmp_path / "evil.jsonl", json.dumps(row)), progress=False)
    columns = store.sql("from experiment_wide").columns
    found = dict(zip(columns, store.sql("from experiment_wide").fetchall()[0], strict=True))
    for name in evil:
        clean = re.sub("[\0\ud83d]", "\N{REPLACEMENT CHARACTER}", name)  # what no column can hold
        assert (found[f"param_{clean}"], found[f"metric_{clean}"], found[f"tag_{clean}"]) == (clean, 1.0, clean)
    assert store.sql("select count(*) from stored_model").fetchall() == [(0,)]
    assert store.sql("select count(*) from duckdb_columns() where table_name = 'experiment_wide' and comment is null").fetchall() == [(0,)]


def test_names_that_differ_in_case_only_and_many_names(store, tmp_path):
    """SQL takes LR and lr for one column: that of most runs is it, both are in experiment_param; 500 columns of a kind."""
    rows = [{"run": "a", "params": {"LR": "x", "lr": 1} | {f"p{i}": i for i in range(700)}}, {"run": "b", "params": {"lr": 2}}]
    store.add_experiments(write(tmp_path / "runs.json", json.dumps(rows)), progress=False)
    assert store.sql("select run, param_lr from experiment_wide order by run").fetchall() == [("a", 1.0), ("b", 2.0)]
    assert store.sql("select value from experiment_param where run = 'a' and lower(name) = 'lr' order by 1").fetchall() == [("1",), ("x",)]
    assert sum(name.startswith("param_") for name in store.sql("from experiment_wide").columns) == 500


def test_the_wide_view_follows_the_imports(store, tmp_path):
    """A new parameter is a new column, a number that becomes a word is text, the last step of a metric is its value."""
    store.add_experiments(write(tmp_path / "1.csv", "run,step,lr,loss\na,1,0.1,5\na,3,0.1,4\na,2,0.1,9\n"), progress=False)
    assert store.sql("select metric_loss from experiment_wide").fetchall() == [(4.0,)]
    store.add_experiments(write(tmp_path / "2.csv", "run,lr,new\nb,auto,1\n"), progress=False)
    assert "param_lr" in store.sql("from experiment_wide").columns and "param_new" in store.sql("from experiment_wide").columns
    assert store.sql("select run, param_lr, metric_lr from experiment_wide order by 1").fetchall() == [
        ("a", None, 0.1),
        ("b", "auto", None),
    ]
    path = store.path
    store.close()
    with duckdb.connect(str(path)) as connection:  # an older package's views: they are defined anew, this one too
        connection.execute("update stored_views set checksum = 'older'")
    with dp.open(path) as again:
        assert again.sql("select run, param_new from experiment_wide order by 1").fetchall() == [("a", None), ("b", 1.0)]


def test_flat_values_keep_their_order():
    """Levels are joined by dots, in the order written."""
    assert list(flat({"b": {"y": 1, "x": {"z": None}}, "a": {}}, "")) == [("b.y", 1), ("b.x.z", None), ("a", {})]


def test_read_only_stores_take_no_runs(store, tmp_path):
    """As for any writing."""
    path = store.path
    store.close()
    with dp.open(path, read_only=True) as again, pytest.raises(ReadOnlyError, match="add experiments"):
        again.add_experiments(tmp_path / "runs.csv")


# Asking.


def test_worked_queries(store, tmp_path):
    """Scores by a parameter, checkpoints by drop, and a neuron over epochs, against NumPy."""
    record(store, "e1", "e2", "e3")
    path = write(tmp_path / "runs.csv", "run,model,study,weight_decay,epoch\n1,e1,s,0.1,1\n2,e2,s,0.1,2\n3,e3,s,0.5,3\n4,,s,9,9\n")
    store.add_experiments(path, progress=False)
    of_model = "select spurious from neuron_score where model = $model and layer = 'fc' order by neuron"
    scores = {name: np.array(store.sql(of_model, model=name).fetchall()) for name in ("e1", "e2", "e3")}
    found = store.query("scores_by_param", layer="fc").to_dicts()
    both = np.concatenate([scores["e1"], scores["e2"]]).ravel()
    assert [(row["value"], row["models"], row["neurons"]) for row in found] == [("0.1", 2, 6), ("0.5", 1, 3)]
    assert np.allclose([row["mean"] for row in found], [both.mean(), scores["e3"].mean()], atol=1e-9)
    assert np.allclose([row["median"] for row in found], [np.median(both), np.median(scores["e3"])])
    correlation = np.corrcoef(np.concatenate([both, scores["e3"].ravel()]), [0.1] * 6 + [0.5] * 3)[0, 1]
    assert np.allclose([row["correlation"] for row in found], correlation, atol=1e-8)
    drops = store.query("checkpoints_by_drop").to_dicts()
    places = [(row["place"], row["model"], row["run"], row["drop"]) for row in drops]
    assert places == [(1, "e1", "1", 0.125), (2, "e2", "2", 0.25), (3, "e3", "3", 0.375)]
    without_runs = dp.open(tmp_path / "without_runs.duckdb")
    record(without_runs, "e1")
    for other in (store, without_runs):
        with pytest.raises(UnknownNameError, match="no parameter of runs 'gone': (did you mean|there is none)"):
            other.query("scores_by_param", layer="fc", param="gone")
    assert without_runs.query("scores_by_param", layer="fc").fetchall() == []  # a default that isn't there finds nothing
    with pytest.raises(UnknownNameError, match="no parameter of runs 'weight_decy': did you mean 'weight_decay'"):
        store.query("scores_by_param", layer="fc", param="weight_decy")
    epochs = store.query("neuron_over_epochs", layer="fc", neuron=1).to_dicts()
    night = [row for row in epochs if row["dataset"] == "night"]
    assert [row["at"] for row in night] == [1.0, 2.0, 3.0] and night[0]["spurious_change"] is None
    assert np.allclose([row["spurious"] for row in night], [scores[m][1, 0] for m in scores])
    assert np.allclose([row["spurious_change"] for row in night[1:]], np.diff([row["spurious"] for row in night]))
    assert night[1]["category_changed"] == (night[0]["category"] != night[1]["category"])
    runs = store.query("runs_of_model", model="e3").to_dicts()
    items = [(row["kind"], row["key"], row["value"]) for row in runs]
    assert items == [("param", "epoch", "3"), ("param", "model", "e3"), ("param", "weight_decay", "0.5")]


def test_command_line(tmp_path):
    """experiments STORE SOURCE says what came in; a mistake is one line and status 2."""
    path = write(tmp_path / "runs.csv", "key,loss,note\na,0.5,x\n")
    arguments = ["experiments", str(tmp_path / "study.duckdb"), str(path)]
    done = CliRunner().invoke(main, [*arguments, "--run", "key", "--metric", "lo*", "--tag", "note", "--prefix", "p/", "--name", "mine"])
    assert done.exit_code == 0, done.output
    assert "1 run of mine: 1 new, 0 updated. 0 belong to a model of this store, 1 to none: p/a." in done.output
    with dp.open(tmp_path / "study.duckdb", read_only=True) as store:
        assert store.sql("select run, metric_loss, tag_note from experiment_wide").fetchall() == [("p/a", 0.5, "x")]
    failed = CliRunner().invoke(main, [*arguments, "--metric", "note", "--run", "key", "--name", "mine", "--prefix", "p/"])
    assert failed.exit_code == 2 and "a metric is a number" in failed.output


def test_a_pattern_that_matches_nothing_is_told(store, tmp_path):
    """Each is a line on standard error with the columns that are there; those that match are none."""
    path = write(tmp_path / "runs.csv", "run,loss,val/acc,note\na,0.5,0.9,x\n")
    for _ in range(2):
        imported = store.add_experiments(path, metrics=["val/*", "acuracy"], tags=["note", "N*"], progress=False)
        assert imported.remarks == (
            "metrics='acuracy' matches no column; columns are run, loss, val/acc, note.",
            "tags='N*' matches no column; columns are run, loss, val/acc, note.",
        )
    done = CliRunner().invoke(main, ["experiments", str(tmp_path / "other.duckdb"), str(path), "--metric", "acuracy"])
    assert done.exit_code == 0 and done.stderr == "--metric 'acuracy' matches no column; columns are run, loss, val/acc, note.\n"
    (tmp_path / "runs" / ".hydra").mkdir(parents=True)
    write(tmp_path / "runs" / ".hydra" / "config.yaml", "lr: 1\n")
    imported = store.add_experiments(tmp_path / "runs", metrics=["lr"], progress=False)
    assert imported.remarks == ("metrics='lr' matches no column; only tables and rows of a query have columns to match.",)
