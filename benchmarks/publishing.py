"""What a recording costs on a copy of the store, and in place: `python benchmarks/publishing.py FOLDER`."""

import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np

import deephys_sql as dp
from deephys_sql import publishing

IMAGES, NEURONS, BATCH = 30_000, 2048, 512  # a recording takes about 400 MB in the store
SPENT = {"copy": 0.0, "publish": 0.0}


def timed(what, function):
    def run(*arguments):
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            SPENT[what] += time.perf_counter() - start

    return run


def record(path, dataset, **options):
    """Record random activations; return the seconds of it, and of the copy and of the publishing in it."""
    SPENT.update(copy=0.0, publish=0.0)
    random = np.random.default_rng(len(dataset))
    batches = (random.gamma(0.5, size=(min(BATCH, IMAGES - first), NEURONS)).astype("f4") for first in range(0, IMAGES, BATCH))
    start = time.perf_counter()
    with dp.open(path, **options) as store:
        store.add_recording(
            model="net", dataset=dataset, activations={"wide": batches}, predictions=np.arange(IMAGES) % 10, labels=np.arange(IMAGES) % 10,
            categories=[str(c) for c in range(10)], progress=False,
        )  # fmt: skip
    return time.perf_counter() - start, SPENT["copy"], SPENT["publish"]


def main():
    folder = Path(sys.argv[1])
    publishing._copy = timed("copy", publishing._copy)
    publishing.NewVersion.publish = timed("publish", publishing.NewVersion.publish)
    path = folder / "study.duckdb"
    for datasets in range(5):
        size = path.stat().st_size / 1e6 if path.exists() else 0
        if datasets in (1, 4):
            for turn in range(2):
                for options in ({}, {"in_place": True}):
                    trial = Path(shutil.copy(path, folder / "trial.duckdb"))
                    os.sync()
                    total, copying, publishing_ = record(trial, f"new {turn}", **options)
                    print(
                        f"{size:,.0f} MB {options or 'on a copy'}: {total:.1f} s, copy {copying:.2f} s, publish {publishing_:.2f} s",
                        flush=True,
                    )
                    trial.unlink()
        if datasets < 4:
            record(path, f"dataset {datasets}", in_place=True)


main()
