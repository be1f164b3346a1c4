"""A store's file may be replaced while it is served."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import duckdb
import numpy as np

import deephys_sql as dp
from deephys_sql.site.database import Version


def published(path, number):
    """Write a version of the store with `number` more models beside it, and put it in its place."""
    new = path.with_suffix(f".new{number}")
    shutil.copy(path, new)
    with dp.open(new) as store:
        store.add_recording(
            model=f"net {number}", dataset="clean", activations={"fc": np.full((60, 1), number)}, predictions=[0] * 60, progress=False
        )
    os.replace(new, path)


def test_a_new_version_is_served_without_restart(new_site, store_path, tmp_path):
    """Tables, visitors' SQL and exports show the new rows as soon as the file is there."""
    path = shutil.copy(store_path, tmp_path / "store.duckdb")
    site = new_site(path)
    assert len(site.rows("/store/model.json")) == 1
    assert site.sql("select count(*) as n from model")["rows"] == [{"n": 1}]
    published(path, 1)
    assert [row["model"] for row in site.rows("/store/model.json")] == ["net", "net 1"]
    assert site.sql("select count(*) as n from model")["rows"] == [{"n": 2}]
    assert site.get("/store/-/export.csv?table=model").text.count("\n") == 3
    gc.collect()
    descriptors = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    still_open = [os.readlink(descriptor) for descriptor in descriptors if os.path.lexists(descriptor)]
    assert f"{path} (deleted)" not in still_open, "the version before is closed"
    assert str(path) in still_open


def test_a_new_schema_is_served_without_restart(new_site, store_path, tmp_path):
    """A view that a new version has gets its page."""
    import duckdb

    path = shutil.copy(store_path, tmp_path / "store.duckdb")
    site = new_site(path)
    site.get("/store/brightest", status=404)
    new = tmp_path / "new.duckdb"
    shutil.copy(path, new)
    with duckdb.connect(str(new)) as connection:
        connection.execute("create view brightest as select neuron, max(value) as value from activation group by neuron")
    os.replace(new, path)
    if site.is_1:
        time.sleep(1.1)  # Datasette 1.0 looks for new tables once a second
    assert len(site.rows("/store/brightest.json")) == 6


def test_a_broken_file_does_not_stop_the_site(new_site, store_path, tmp_path, capsys):
    """What isn't a store is not taken; the version before is served on, and a good one is taken again."""
    path = shutil.copy(store_path, tmp_path / "store.duckdb")
    site = new_site(path)
    broken = tmp_path / "broken"
    broken.write_bytes(b"not a database" * 1000)
    os.replace(broken, path)
    assert len(site.rows("/store/model.json")) == 1
    path.unlink()
    assert len(site.rows("/store/model.json")) == 1
    shutil.copy(store_path, tmp_path / "again")
    published(tmp_path / "again", 1)
    os.replace(tmp_path / "again", path)
    assert len(site.rows("/store/model.json")) == 2


def test_no_request_fails_while_the_file_is_replaced(new_site, store_path, tmp_path):
    """Under load, with a replacement every moment, each answer is a page, and is of one version from beginning to end."""
    path = shutil.copy(store_path, tmp_path / "store.duckdb")
    site = new_site(path, num_sql_threads=4)
    replacements = 5
    done = threading.Event()

    def replace():
        try:
            for number in range(1, replacements + 1):
                published(path, number)
        finally:
            done.set()

    async def load():
        answers = []
        addresses = ["/store/model.json?_shape=array", "/store/prediction.json?_size=5&_facet=model", "/store/activation?_size=3", "/store"]

        async def visitor(number):
            seen = 0
            while not done.is_set() or seen < 3:
                response = await site.datasette.client.get(addresses[(number + seen) % len(addresses)])
                answers.append((response.status_code, response.text[:300]))
                seen += 1
                await asyncio.sleep(0)

        await asyncio.gather(*(visitor(number) for number in range(4)))
        return answers

    thread = threading.Thread(target=replace)
    thread.start()
    answers = site.run(load())
    thread.join()
    assert len(answers) >= 12
    assert [answer for answer in answers if answer[0] != 200] == []
    assert len(site.rows("/store/model.json")) == replacements + 1


def test_a_failure_inside_duckdb_ends_one_answer_at_most(new_site, store_path, monkeypatch, capsys):
    """When an assertion of DuckDB fails, its engine answers nothing more: the store is opened again, and requests go on."""
    site = new_site(store_path)
    broken = site.datasette.get_database(store_path.stem).version()
    cursor = Version.cursor

    def fails(version, **options):
        if version is broken:
            raise duckdb.FatalException("database has been invalidated")
        return cursor(version, **options)

    monkeypatch.setattr(Version, "cursor", fails)
    assert [len(site.rows("/store/model.json")) for _ in range(2)] == [1, 1]
    assert capsys.readouterr().err.count("opened again") == 1


def fetched(address):
    with urllib.request.urlopen(address, timeout=60) as response:
        return response.read()


def test_recording_into_a_store_that_is_served(store_path, tmp_path):
    """A server answers everything that is asked of it while another process records three times into its store, and shows each."""
    path = shutil.copy(store_path, tmp_path / "store.duckdb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deephys_sql.cli", "serve", path, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        site = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                fetched(site)
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, server.stderr.read()
                time.sleep(0.1)
        visitors_sql = urllib.parse.urlencode({"sql": "select count(*) as n from recording"})
        versions = json.loads(fetched(f"{site}/-/versions.json"))
        sql_page = "store/-/query.json" if versions["datasette"]["version"].startswith("1.") else "store.json"
        addresses = ["", "store/recording.json?_shape=array", "store/activation?_size=3", f"{sql_page}?{visitors_sql}&_shape=array"]
        addresses += ["store/-/export.csv?table=recording"]
        failed, answers, done = [], [0] * len(addresses), threading.Event()

        def visit(number):
            while not done.is_set():
                try:
                    fetched(f"{site}/{addresses[number]}")
                    answers[number] += 1
                except OSError as error:
                    failed.append((addresses[number], error, getattr(error, "read", bytes)()))

        visitors = [threading.Thread(target=visit, args=(number,)) for number in range(len(addresses))]
        for visitor in visitors:
            visitor.start()
        try:
            with dp.open(path) as store:
                for number in range(1, 4):
                    before = list(answers)
                    store.add_recording(
                        model=f"net {number}", dataset="clean", activations={"fc": np.full((60, 1), number)}, predictions=[0] * 60,
                        progress=False,
                    )  # fmt: skip
                    shown = json.loads(fetched(f"{site}/store/recording.json?_shape=array"))
                    assert f"net {number}" in {row["model"] for row in shown}
                    while not all(now > then for now, then in zip(answers, before, strict=True)) and not failed:
                        time.sleep(0.05)
        finally:
            done.set()
            for visitor in visitors:
                visitor.join()
            server.send_signal(signal.SIGINT)
            _, written = server.communicate(timeout=30)
    assert failed == [] and min(answers) >= 3
    assert "can't be opened" not in written and "Traceback" not in written
