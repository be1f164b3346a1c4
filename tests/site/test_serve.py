"""The site starts from Python, and in a plain `datasette` that has the plugin."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from deephys_sql.errors import NotAStoreError, StoreNotFoundError
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
        f"from deephys_sql.site.serve import serve; serve([{str(store_path)!r}], port={free_port}, "
        "settings=[('default_page_size', 11)], options=['--cors'])"
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
    (tmp_path / "text.duckdb").write_text("hello")
    with pytest.raises(NotAStoreError):
        serve([tmp_path / "text.duckdb"])
