"""A store's file may be replaced while it is served."""

import asyncio
import gc
import os
import shutil
import threading
import time

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
