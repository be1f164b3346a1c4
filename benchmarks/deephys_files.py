"""Importing a data file of the original Deephys, beside the package `deephys` that writes it.

    python benchmarks/deephys_files.py [--images 10000] [--runs 5]

Each run writes a `.test` file with the package and imports it into a new store; the two take turns, so that a busy machine slows
both. Prints a row of a Markdown table: medians, the ratio's median and spread, and the processor time that each took.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import deephys as original
import numpy as np
from PIL import Image

import deephys_sql as dp

LAYERS = {"hidden": 512, "output": 10}
CLASSES = [f"class {category}" for category in range(LAYERS["output"])]


def make(images: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[int]]:
    """Return activity by layer, pictures with as much detail as small photographs have, and labels."""
    random = np.random.default_rng(0)
    activity = {name: random.standard_normal((images, neurons), np.float32) for name, neurons in LAYERS.items()}
    np.maximum(activity["hidden"], 0, out=activity["hidden"])
    coarse = random.integers(0, 256, (images, 8, 8, 3), dtype=np.uint8)
    smooth = np.stack([np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC)) for picture in coarse])
    grain = random.integers(0, 8, smooth.shape, dtype=np.uint8)
    pictures = np.moveaxis((smooth // 8 * 8 + grain) / np.float32(255), 3, 1)
    return activity, pictures, random.integers(0, len(CLASSES), images).tolist()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and processor seconds that a call took."""
    wall, processor = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        call()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    activity, pictures, labels = make(options.images)
    written, imported = [], []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = original.model("net", LAYERS, "output")
            with contextlib.redirect_stdout(io.StringIO()):
                model.save(str(folder / "net.model"))

            def write(folder=folder, model=model):
                original.dataset_activity("day", CLASSES, dict(activity), model, pictures, labels).save(str(folder / "day.test"))

            def read(folder=folder):
                dp.import_deephys(folder / "study.duckdb", folder / "net.model", folder / "day.test", progress=False)

            written.append(timed(write))
            imported.append(timed(read))
    ratios = [reading[0] / writing[0] for writing, reading in zip(written, imported)]
    cells = [
        f"{options.images:,} images 32x32, {' + '.join(map(str, LAYERS.values()))} neurons",
        *(f"{statistics.median(wall for wall, _ in runs):.2f} s" for runs in (written, imported)),
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        *(f"{statistics.median(processor for _, processor in runs):.2f} s" for runs in (written, imported)),
    ]
    print("| data file | `deephys` writes | `import_deephys` | ratio (spread) | processor: writes | imports |")
    print("|---|---|---|---|---|---|")
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
