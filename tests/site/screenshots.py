"""Takes the pictures of the site that README.md shows, with headless Chromium.

    PYTHONPATH=tests python tests/site/screenshots.py demo.duckdb examples

It serves the store on a free port of this machine, and writes `site-home.png` and `site-neuron.png` into the folder.
"""

import sys
from pathlib import Path

from browsing import CHROMIUM, chromium, served

PAGES = {"home": ("home", 1000, 1180), "neuron": ("model/colored_mnist/layer/linear1/neuron/22?k=10", 1000, 900)}


def take(store: Path, folder: Path) -> None:
    """Serve a store and write a picture of each page into a folder."""
    with served(store) as site, chromium() as browser:
        for name, (address, width, height) in PAGES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{site}/{store.stem}/-/{address}", wait_until="networkidle")
            page.screenshot(path=folder / f"site-{name}.png")
            page.close()


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("The pictures need Chromium. On Debian: apt-get install chromium")
    take(Path(sys.argv[1]), Path(sys.argv[2]))
