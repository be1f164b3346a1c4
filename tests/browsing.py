"""A served store and headless Chromium, for the tests of the site and for the pictures in README.md."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "Left out: the tests in a browser, tests/site/test_browser.py. They need Chromium; on Debian: apt-get install chromium"


@contextlib.contextmanager
def served(*stores: Path):
    """Serve stores with `deephys-sql serve` on a free port of this machine; gives the address without a slash at its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deephys_sql.cli", "serve", *map(str, stores), "--port", str(port)]
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
    server = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address).close()
                break
            if server.poll() is not None:
                said.seek(0)
                raise RuntimeError(f"`{' '.join(command)}` ended: {said.read().decode()}")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()
        said.close()


@contextlib.contextmanager
def chromium():
    """Start Debian's Chromium; gives Playwright's browser."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root, which continuous integration is
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()
