"""Questions as users write them beside the best form of each: times, rows scanned, memory.

    python benchmarks/shapes.py --images 50000 --neurons 2048 --store build/shapes.duckdb

The questions are those of shapes.sql; both forms are run in turns on one store, and must give the same rows.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import duckdb
import numpy as np

import deephys_sql as dp

CATEGORIES = 100


class Shape(NamedTuple):
    """A question, as asked and in its best form."""

    title: str
    asked: str
    best: str


def shapes() -> list[Shape]:
    """Read shapes.sql."""
    parts = (Path(__file__).parent / "shapes.sql").read_text().split("-- shape: ")[1:]
    found = []
    for part in parts:
        title, rest = part.split("\n-- asked\n")
        asked, best = rest.split("\n-- best\n")
        found.append(Shape(title, asked.strip(), best.strip()))
    return found


def build(path: Path, images: int, neurons: int) -> None:
    """Record `net` on `day` and `night`: positive parts of normals, some neurons silent, a metadata row an image."""

    def activations(seed: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(seed)
        for first in range(0, images, 1000):
            batch = np.maximum(random.standard_normal((min(1000, images - first), neurons), dtype=np.float32), 0)
            batch[:, 13::97] = 0
            yield batch

    with dp.open(path) as store:
        for number, dataset in enumerate(("day", "night")):
            random = np.random.default_rng(10 + number)
            labels = random.integers(0, CATEGORIES, images)
            store.add_recording(
                model="net",
                dataset=dataset,
                activations={"features": activations(number)},
                labels=labels,
                predictions=np.where(random.random(images) < 0.7, labels, random.integers(0, CATEGORIES, images)),
                categories=[f"category {c}" for c in range(CATEGORIES)],
                image_metadata=[
                    {"camera": "left" if left else "right", "brightness": round(float(light), 3)}
                    for left, light in zip(random.random(images) < 0.1, random.random(images))
                ],
            )
        runs = Path(tempfile.mkdtemp()) / "runs.csv"
        runs.write_text("run,model,param.weight_decay\none,net,0.1\n")
        store.add_experiments(runs)


class Asker:
    """Runs a statement on a store and tells what it took."""

    def __init__(self, path: Path, threads: int | None = None):
        self.connection = duckdb.connect(str(path), read_only=True)
        self.connection.execute("set enable_progress_bar = false")
        if threads:
            self.connection.execute(f"set threads = {threads}")
        self._profile = Path(tempfile.mkdtemp()) / "profile.json"
        self._numbers = self._read_numbers()

    def rows(self, statement: str) -> list[tuple]:
        """Return the rows, floats rounded, in an order of their own."""
        rows = self.connection.execute(self._bind(statement)).fetchall()
        return sorted(map(str, (tuple(_rounded(value) for value in row) for row in rows)))

    def seconds(self, statement: str) -> float:
        start = time.perf_counter()
        self.connection.execute(self._bind(statement)).fetchall()
        return time.perf_counter() - start

    def profile(self, statement: str) -> dict[str, int]:
        """Return DuckDB's own counts: rows scanned, rows that operators handed on, and bytes of memory at most."""
        self.connection.execute(f"pragma enable_profiling = 'json'; pragma profiling_output = '{self._profile}'")
        self.connection.execute(self._bind(statement)).fetchall()
        self.connection.execute("pragma disable_profiling")
        found = json.loads(self._profile.read_text())
        return {
            "scanned": found["query"]["total_rows_scanned"],
            "handed_on": found["query"]["total_intermediate_rows"],
            "bytes": found["system"]["peak_buffer_memory"],
        }

    def _read_numbers(self) -> dict[str, int]:
        """Return the ids of the store that `build` makes; names that begin like others come first."""
        numbers = {"$night_set": 2}
        for name, recording in {"$day": 1, "$night": 2}.items():
            first, last = self.connection.execute(
                "select min(piece), max(piece) from stored_neuron where recording_id = ? and layer_id = 1", [recording]
            ).fetchone()
            numbers |= {f"{name}_piece": first, f"{name}_last": last, name: recording}
        return {**numbers, "$features": 1}

    def _bind(self, statement: str) -> str:
        """Put numbers in the place of their names."""
        for name, number in self._numbers.items():
            statement = statement.replace(name, str(number))
        return statement


def _rounded(value: object) -> object:
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.5g}")


@click.command()
@click.option("--store", type=click.Path(path_type=Path), required=True, help="Where to build the store, if it isn't there.")
@click.option("--images", default=5_000)
@click.option("--neurons", default=256)
@click.option("--turns", default=5)
def main(store: Path, images: int, neurons: int, turns: int) -> None:
    """Print a Markdown table: what users write beside the best form."""
    if not store.exists():
        build(store, images, neurons)
    asker = Asker(store)
    print("| question | ms | best ms | ratio | rows scanned | best | MB |\n|---|---|---|---|---|---|---|")
    ratios = []
    for shape in shapes():
        taken = [(asker.seconds(shape.asked), asker.seconds(shape.best)) for _ in range(turns + 1)][1:]
        asked, best = (statistics.median(times) for times in zip(*taken))
        ratios.append(asked / best)
        profile, best_profile = asker.profile(shape.asked), asker.profile(shape.best)
        same = "" if asker.rows(shape.asked) == asker.rows(shape.best) else " (OTHER ROWS)"
        print(
            f"| {shape.title}{same} | {asked * 1e3:.1f} | {best * 1e3:.1f} | {asked / best:.2f} | {profile['scanned']:,} | "
            f"{best_profile['scanned']:,} | {profile['bytes'] / 1e6:.0f} |",
            flush=True,
        )
    images, neurons = asker.connection.execute(
        "select d.images, l.neurons from dataset as d, layer as l where d.dataset = 'day'"
    ).fetchone()
    print(f"\n{len(ratios)} questions, {images:,} images x {neurons:,} neurons x 2 datasets: ratio at most {max(ratios):.2f}, ", end="")
    print(f"median {statistics.median(ratios):.2f}.")


if __name__ == "__main__":
    main()
