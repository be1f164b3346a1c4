"""The site starts from Python, and in a plain `datasette` that has the plugin."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import click
import duckdb
import pytest

import deephys_sql as dp
from deephys_sql.errors import NotAStoreError, PortTakenError, StoreNotFoundError, StoreVersionError
from deephys_sql.site.serve import free_port as port_to_listen_on
from deephys_sql.site.serve import serve


@pytest.fixture
def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def answers(process, address, patience=30.0):
    """Wait for a page; return its text."""
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                return response.read().decode()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"{address} did not answer: {process.stderr.read() if process.poll() is not None else ''}")


def stop(process):
    """Stop as Ctrl-C does, and return what it wrote."""
    process.send_signal(signal.SIGINT)
    _, written = process.communicate(timeout=20)
    return written


def test_serve_starts_datasette_on_stores(store_path, free_port):
    """`serve` passes settings and other options on, answers, runs visitors' SQL, and ends without leaving a process."""
    program = (
        f"from deephys_sql.site.serve import serve; serve([{str(store_path)!r}], ['--port', '{free_port}', "
        "'--setting', 'default_page_size', '11', '--cors'])"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    site = f"http://127.0.0.1:{free_port}"
    assert "/store" in answers(process, site)
    assert json.loads(answers(process, f"{site}/-/settings.json"))["default_page_size"] == 11
    assert len(json.loads(answers(process, f"{site}/store/prediction.json?_shape=objects"))["rows"]) == 11
    version = json.loads(answers(process, f"{site}/-/versions.json"))["datasette"]["version"]
    address = "/store/-/query.json" if version.startswith("1.") else "/store.json"
    assert json.loads(answers(process, f"{site}{address}?sql=select+1+as+a&_shape=array")) == [{"a": 1}]
    children = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
    assert "Traceback" not in stop(process)
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}/exe")], "the sandbox's processes ended too"


def test_a_plain_datasette_with_the_plugin_serves_a_store(store_path, free_port, tmp_path):
    """The plugin as a file of --plugins-dir, with its configuration in a file."""
    from datasette.app import Datasette

    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "stores.py").write_text("from deephys_sql.site.plugin import *\nfrom deephys_sql.site.plugin import settings, stores\n")
    configuration = tmp_path / "datasette.json"
    configuration.write_text(json.dumps({"plugins": {"deephys-sql": {"stores": [str(store_path)], "sandbox": False}}}))
    option = "--metadata" if hasattr(Datasette, "permission_allowed") else "--config"
    options = ["--port", str(free_port), "--plugins-dir", str(plugins), option, str(configuration)]
    command = [sys.executable, "-m", "datasette", "serve", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert "prediction" in answers(process, f"http://127.0.0.1:{free_port}/store")
    finally:
        stop(process)


def test_serve_says_what_is_wrong(tmp_path):
    """A file that isn't there, or is no store, is told before anything starts."""
    with pytest.raises(StoreNotFoundError):
        serve([tmp_path / "nope.duckdb"])
    with pytest.raises(StoreNotFoundError):
        serve([])
    with pytest.raises(click.UsageError, match="--prot"):
        serve([tmp_path / "nope.duckdb"], ["--prot", "8001"])
    (tmp_path / "text.duckdb").write_text("hello")
    with pytest.raises(NotAStoreError):
        serve([tmp_path / "text.duckdb"])


def command(*arguments):
    """Start `deephys-sql serve` as a user does."""
    line = [sys.executable, "-m", "deephys_sql.cli", "serve", *map(str, arguments)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_taken_port(store_path):
    """A port that is taken is told in one line, before anything starts; port 0 takes one that is free, and prints it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command(store_path, "--port", port)
        _, written = done.communicate(timeout=60)
        assert done.returncode == 2
        (error,) = [line for line in written.splitlines() if line.strip() and not line.startswith(("Usage:", "Try "))]
        assert error.startswith(f"Error: port {port} of 127.0.0.1 is taken") and "--port 0" in error
        with pytest.raises(PortTakenError):
            port_to_listen_on("127.0.0.1", port)
    process = command(store_path, "--port", "0")
    for line in process.stderr:
        if "http://127.0.0.1:" in line:
            address = line.split("running on ")[1].split()[0]
            break
    assert "prediction" in answers(process, f"{address}/store")
    assert "Traceback" not in stop(process)
    assert process.returncode == 0, "Ctrl-C is how it ends"


PLUGIN = """
from datasette import Response, hookimpl

@hookimpl
def register_routes():
    return [(r"^/-/extra$", lambda: Response.text("{}"))]
"""


def test_options_of_datasette(store_path, free_port, tmp_path):
    """Options of `datasette serve`, of either line, are taken before and after the stores, as they are there."""
    for folder in ("plugins", "templates", "files"):
        (tmp_path / folder).mkdir()
    (tmp_path / "plugins" / "extra.py").write_text(PLUGIN.format("from a plugin"))
    (tmp_path / "templates" / "extra.html").write_text("")
    (tmp_path / "files" / "note.txt").write_text("a static file")
    (tmp_path / "about.json").write_text(json.dumps({"title": "Our studies"}))
    process = command(
        "--plugins-dir", tmp_path / "plugins", "--template-dir", tmp_path / "templates", f"--static=files:{tmp_path / 'files'}",
        "-p", free_port, store_path, "-m", tmp_path / "about.json", "--cors", "--root", "--setting", "num_sql_threads", "2",
        "-h", "localhost",
    )  # fmt: skip
    site = f"http://localhost:{free_port}"
    assert "/store" in answers(process, site)
    assert answers(process, f"{site}/-/extra") == "from a plugin"
    assert answers(process, f"{site}/files/note.txt") == "a static file"
    assert json.loads(answers(process, f"{site}/-/settings.json"))["num_sql_threads"] == 2
    assert json.loads(answers(process, f"{site}/-/settings.json"))["sql_time_limit_ms"] == 5000
    assert urllib.request.urlopen(f"{site}/store.json").headers["access-control-allow-origin"] == "*"
    process.send_signal(signal.SIGINT)
    printed, written = process.communicate(timeout=30)
    assert f"http://localhost:{free_port}/-/auth-token?token=" in printed and "Traceback" not in written
    done = command("--help")
    text, _ = done.communicate(timeout=60)
    assert "--in-process" in text and "--template-dir" in text and "--ssl-keyfile" in text


@pytest.mark.slow
def test_reload(store_path, free_port, tmp_path):
    """With --reload a changed file of the plugins is taken without a restart by hand, at the same port; Ctrl-C ends it all."""
    (tmp_path / "extra.py").write_text(PLUGIN.format("before"))
    process = command(store_path, "--port", free_port, "--plugins-dir", tmp_path, "--reload")
    address = f"http://127.0.0.1:{free_port}/-/extra"
    try:
        assert answers(process, address) == "before"
        (tmp_path / "extra.py").write_text(PLUGIN.format("after it"))
        end = time.monotonic() + 40
        while answers(process, address) != "after it":
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        stop(process)
    with pytest.raises(OSError):
        urllib.request.urlopen(address)


def test_views_of_another_version(store_path, new_site, tmp_path, capfd):
    """A store whose views another version made is refused at start in a line that says what to do; as a new version of a file that
    is served, it waits until it was done."""
    path = shutil.copy(store_path, tmp_path / "older.duckdb")
    new = shutil.copy(store_path, tmp_path / "new.duckdb")
    with duckdb.connect(str(new)) as connection:
        connection.execute("update stored_views set checksum = 'another'")
    with pytest.raises(StoreVersionError, match="deephys-sql migrate"):
        serve([new])
    with pytest.raises(click.ClickException, match=r"new\.duckdb has views of another version.*`deephys-sql migrate .*new\.duckdb`"):
        new_site(new)
    site = new_site(path)
    os.replace(new, path)
    site.get("/older/-/home")
    assert "the version before is served on" in capfd.readouterr().err
    dp.migrate(path)
    site.get("/older/-/home")
    assert "the version before" not in capfd.readouterr().err
