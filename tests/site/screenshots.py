"""Takes the pictures of the site that README.md shows, with headless Chromium.

    python tests/site/screenshots.py demo.duckdb examples

It serves the store on a free port of this machine, and writes `site-home.png` and `site-neuron.png` into the folder.
"""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PAGES = {"home": ("home", 1000, 1180), "neuron": ("model/colored_mnist/layer/linear1/neuron/22?k=10", 1000, 900)}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--hide-scrollbars"]


def take(store: Path, folder: Path) -> None:
    """Serve a store and write a picture of each page into a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "deephys_sql.cli", "serve", str(store), "--port", str(port)])
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/")
                break
            except OSError:
                time.sleep(0.2)
        for name, (address, width, height) in PAGES.items():
            url = f"http://127.0.0.1:{port}/{store.stem}/-/{address}"
            with tempfile.TemporaryDirectory() as profile:
                options = [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
                subprocess.run(["chromium", *options, f"--screenshot={folder / f'site-{name}.png'}", url], check=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
