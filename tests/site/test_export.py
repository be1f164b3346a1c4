"""Exports hold the rows that DuckDB has, stream, and are guarded."""

import csv
import io
import json
import pickle
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from deephys_sql.site import streaming


def parquet(response):
    return pq.read_table(io.BytesIO(response.content))


@pytest.mark.parametrize("table", ["prediction", "neuron_score", "activation", "recording", "stored_top_image"])
def test_tables_are_exported_whole(site, truth, table):
    """CSV and Parquet of a table or view hold every row."""
    wanted = truth.execute(f"select * from {table}").fetchall()
    read = parquet(site.get(f"/store/-/export.parquet?table={table}"))
    assert sorted(map(repr, (tuple(row.values()) for row in read.to_pylist()))) == sorted(map(repr, wanted))
    response = site.get(f"/store/-/export.csv?table={table}")
    assert response.headers["content-type"] == "text/csv; charset=utf-8" and response.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.reader(io.StringIO(response.text)))
    assert rows[0] == read.column_names and len(rows) == len(wanted) + 1


def test_queries_are_exported_with_their_parameters(site, truth):
    """A named query, and a visitor's SQL, run with the parameters of the address."""
    wanted = truth.execute("select image, value from top_images('net', 'fc', 2, 'clean', 7)").fetchall()
    named = parquet(site.get("/store/-/export.parquet", query="top_images", model="net", layer="fc", neuron=2, dataset="clean", k=7))
    assert list(zip(named["image"].to_pylist(), named["value"].to_pylist())) == wanted
    own = site.get("/store/-/export.csv", sql="select image, value from top_images('net', 'fc', :n, 'clean', $k); ", n=2, k=7)
    assert [(int(image), float(value)) for image, value in list(csv.reader(io.StringIO(own.text)))[1:]] == wanted


def test_nested_values_are_json_and_blobs_base64_in_csv(site):
    """CSV has text for what it has no form of."""
    statement = "select [1, 2] as a, {'x': 'y'} as b, 'hi'::blob as c, 1.50 as d, null as e, 'a,\"b' as f"
    _, row = csv.reader(io.StringIO(site.get("/store/-/export.csv", sql=statement).text))
    assert row == ["[1,2]", '{"x":"y"}', "aGk=", "1.50", "", 'a,"b']


@pytest.mark.parametrize(
    "statement",
    [
        "copy model to 'x.csv'", "select 1; select 2", "select * from read_csv('/etc/passwd')", "attach 'x'", "select getenv('HOME')",
        "nonsense", "select nope",
    ],
)  # fmt: skip
def test_only_a_harmless_select_is_exported(site, statement):
    """What the SQL page refuses is refused here, with the reason and status 400."""
    response = site.get("/store/-/export.csv", status=400, sql=statement)
    assert "Traceback" not in response.text and len(response.text) > 10
    site.get("/store/-/export.csv", status=400)
    site.get("/store/-/export.csv?table=nope", status=404)
    site.get("/nope/-/export.csv?table=model", status=404)


def test_a_memory_bomb_ends_its_process_only(site):
    """A scalar that needs gigabytes is refused; the site goes on."""
    assert "memory" in site.get("/store/-/export.csv", status=400, sql="select repeat('x', 4000000000) as a").text
    assert site.get("/store/-/export.csv?table=model").text.count("\n") == 2


def test_exports_past_the_time_limit_are_stopped(site, monkeypatch):
    """The process is killed, and the answer says why."""
    monkeypatch.setattr(streaming, "TIME_LIMIT_S", 2.0)
    start = time.monotonic()
    response = site.get("/store/-/export.csv", status=400, sql="select sum(a.range * b.range) from range(10000000) a, range(10000000) b")
    assert "stopped after 2 s" in response.text and time.monotonic() - start < 6


def test_private_databases_are_private_here_too(new_site, store_path):
    """Whoever may not see the database or run SQL may not export it."""
    locked = new_site(store_path, metadata={"databases": {"store": {"allow": {"id": "root"}}}})
    for asked in ("table=model", "query=recordings", "sql=select+1"):
        locked.get(f"/store/-/export.csv?{asked}", status=403)
    no_sql = new_site(store_path, metadata={"databases": {"store": {"allow_sql": {"id": "root"}}}})
    no_sql.get("/store/-/export.csv?sql=select+1", status=403)
    no_sql.get("/store/-/export.csv?table=model")
    one = new_site(store_path, metadata={"databases": {"store": {"tables": {"model": {"allow": False}}}}})
    one.get("/store/-/export.csv?table=model", status=403)
    one.get("/store/-/export.csv?table=MODEL", status=404)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_millions_of_rows_stream_in_bounded_memory(site, store_path, form):
    """Neither the server nor its process holds the result: 3,000,000 rows take no more memory than 300,000."""
    statement = "select range as a, random() as b, 'row ' || range as c from range({})"

    async def pull(rows):
        total, most = 0, 0
        async for piece in streaming.stream(store_path, statement.format(rows), {}, form, by_visitor=True):
            total, most = total + len(piece), max(most, len(piece))
        return total, most

    total, most = site.run(pull(1_000_000))
    assert total > 10_000_000 and most <= streaming.PIECE_BYTES
    script = (
        "import resource, subprocess, sys, pickle; job = pickle.load(open(sys.argv[1], 'rb'))\n"
        "process = subprocess.Popen([sys.executable, '-I', sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        "process.communicate(pickle.dumps(job)); print(process.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks = []
    for rows in (300_000, 3_000_000):
        job = streaming.job(store_path, statement.format(rows), {}, form, by_visitor=True)
        file = store_path.with_name("job")
        file.write_bytes(pickle.dumps(job))
        worker = streaming.__file__.replace("streaming.py", "export_worker.py")
        done = subprocess.run([sys.executable, "-c", script, str(file), worker], capture_output=True, text=True, check=True)
        status, peak = map(int, done.stdout.split())
        assert status == 0
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 150_000, f"kilobytes at 0.3 and 3 million rows: {json.dumps(peaks)}"
