"""Questions to a store beside the same questions to NumPy, torch, Polars on Parquet and HDF5.

    python benchmarks/questions.py --size full --folder build/questions     (four minutes, 9 GB of disk)
    python benchmarks/questions.py --size small                             (a minute)

All forms of a question are asked in turn, each turn about another neuron, image or category, and must give the same answer. What the
other tools hold is what somebody would save: images x neurons in one `.npy`, Parquet (a column a neuron) or HDF5 file (in chunks), with
labels, predictions and the largest activations of the reference beside it in memory. The store has everything else in it.
"""

import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import click
import duckdb
import h5py
import measure
import numpy as np
import polars
import scipy.sparse
import scipy.stats

import deephys_sql as dp
from deephys_sql import query

MODEL, LAYER = "net", "features"
TOP = 100  # images of a neuron that are asked for
DEEP_EVEREST = {1: 3, 3: 50, 10: 1458}  # milliseconds by neurons, the images most like an image, 10,000 x 512, measured on 2 cores


@dataclass(frozen=True)
class Size:
    """What is asked."""

    images: int
    neurons: int
    datasets: int
    categories: int
    turns: int
    fresh_turns: int


SIZES = {"full": Size(50_000, 2048, 4, 1000, 15, 5), "small": Size(5_000, 256, 2, 100, 7, 2)}


@dataclass(frozen=True)
class Study:
    """What a network did on datasets, made up from a seed: normals, more by the category that is predicted, positive parts."""

    images: int
    neurons: int
    datasets: int = 2
    categories: int = 100
    models: int = 1

    @property
    def names(self) -> list[str]:
        """The datasets; the first is the reference."""
        return [f"dataset {number}" for number in range(self.datasets)]

    @property
    def cameras(self) -> np.ndarray:
        """A field of the metadata: a tenth of the images is 1."""
        return np.random.default_rng(7).random(self.images) < 0.1

    def labels(self, number: int) -> np.ndarray:
        return np.random.default_rng([1, number]).permutation(np.arange(self.images) % self.categories)

    def predicted(self, number: int) -> np.ndarray:
        """Return the label, for a fifth of the images the category that it makes a pair with."""
        labels = self.labels(number)
        return np.where(np.random.default_rng([2, number]).random(self.images) < 0.8, labels, labels ^ 1).astype(labels.dtype)

    def batches(self, number: int) -> Iterator[np.ndarray]:
        drive = np.random.default_rng(3).random((self.categories, self.neurons), np.float32) ** 4 * 2
        random, predicted = np.random.default_rng([4, number]), self.predicted(number)
        for first in range(0, self.images, 1000):
            part = drive[predicted[first : first + 1000]]
            yield np.maximum(part + random.standard_normal(part.shape, np.float32) - 0.5, 0)

    def record(self, path: Path) -> None:
        sides = {False: {"camera": "right"}, True: {"camera": "left"}}
        with dp.open(path) as store, store.transaction():
            for model in range(self.models):
                for number, name in enumerate(self.names):
                    store.add_recording(
                        model=MODEL if not model else f"{MODEL} {model}",
                        dataset=name,
                        activations={LAYER: self.batches(number)},
                        labels=self.labels(number) if not model else None,
                        predictions=self.predicted(number),
                        categories=[f"category {c}" for c in range(self.categories)],
                        image_metadata=None if model else [sides[left] for left in self.cameras.tolist()],
                    )

    def path(self, folder: Path) -> Path:
        """Return the path of the store."""
        return folder / f"{self.images}x{self.neurons}x{self.datasets}x{self.models}.duckdb"

    def store(self, folder: Path) -> Path:
        """Return the path of the store, which is made unless it is there."""
        return measure.kept_store(self.path(folder), self.record)


class Asked:
    """A store, open, and one of its datasets."""

    def __init__(self, study: Study, path: Path):
        self.study, self.path = study, path
        self.dataset = study.names[-1]
        self._store = dp.open(path, read_only=True)
        self._plain = duckdb.connect(str(path), read_only=True)
        self._plain.execute("set enable_progress_bar = false")

    def query(self, name: str, **parameters: object) -> list[tuple]:
        """Run a named query of the package."""
        if "layer" in query.available()[name].parameters:
            parameters = {"layer": LAYER, **parameters}
        return self._store.query(name, model=MODEL, **parameters).fetchall()

    def scores(self, dataset: str, reference: str) -> list[tuple]:
        return self._store.scores(MODEL, LAYER, dataset=dataset, reference=reference).fetchall()

    def sql(self, text: str, *values: object) -> list[tuple]:
        """Run SQL as any client of DuckDB would."""
        return self._plain.execute(text, values).fetchall()


class Beside:
    """The last dataset of a study as other tools hold it."""

    def __init__(self, study: Study, folder: Path):
        self.study, number = study, study.datasets - 1
        self.labels, self.predicted, self.cameras = study.labels(number), study.predicted(number), study.cameras
        self.array = np.concatenate(list(study.batches(number)))
        self.maxima = np.max([batch.max(axis=0) for batch in study.batches(0)], axis=0)
        self.npy, self.parquet, self.hdf5 = (folder / f"{study.images}x{study.neurons}.{kind}" for kind in ("npy", "parquet", "h5"))
        if not self.hdf5.exists():
            np.save(self.npy, self.array)
            columns = {f"neuron_{neuron}": self.array[:, neuron] for neuron in range(study.neurons)}
            known = {"image": np.arange(study.images), "label": self.labels, "predicted": self.predicted, "left": self.cameras}
            polars.DataFrame({**known, **columns}).write_parquet(self.parquet)
            with h5py.File(self.hdf5, "w") as file:
                file.create_dataset("activations", data=self.array, chunks=(min(2048, study.images), min(16, study.neurons)))
        self.mapped = np.load(self.npy, mmap_mode="r")
        self.chunks = h5py.File(self.hdf5)["activations"]
        self.scanned = polars.scan_parquet(self.parquet)

    @cached_property
    def tensor(self):
        import torch

        return torch.from_numpy(self.array)

    def response_sums(self, number: int) -> np.ndarray:
        """Return categories x neurons, summed over the images of a category."""
        images, labels = self.study.images, self.study.labels(number)
        values = self.array if number == self.study.datasets - 1 else np.concatenate(list(self.study.batches(number)))
        return scipy.sparse.csr_matrix((np.ones(images), (labels, np.arange(images))), (self.study.categories, images)) @ values


def top(values: np.ndarray, k: int = TOP) -> list[int]:
    """Return where the largest positive values are, largest first."""
    k = min(k, len(values))
    chosen = np.argpartition(values, len(values) - k)[len(values) - k :]
    return [int(place) for place in chosen[np.lexsort((chosen, -values[chosen]))] if values[place] > 0]


def top_of(column: np.ndarray, images: np.ndarray) -> list[int]:
    """Return the images among these with the largest values."""
    return [int(images[place]) for place in top(column[images])]


@dataclass(frozen=True)
class Question:
    """A question in several forms, the first that of the store; the bound is in seconds, or times the form that it names."""

    title: str
    bound: float | None
    forms: dict[str, Callable[[int], object]]
    times: str | None = None


def firsts(rows: list[tuple], column: int = 0) -> list:
    return [row[column] for row in rows]


# The questions. Forms are called with the number of the turn; arguments differ from turn to turn.


def top_images(asked: Asked, beside: Beside | None) -> Iterator[Question]:
    study = asked.study
    arguments = {"dataset": asked.dataset, "k": TOP}

    def neuron(turn: int) -> int:
        return (11 + 37 * turn) % study.neurons

    def category(turn: int) -> int:
        return (5 + 8 * turn) % study.categories

    macro = f"select image, label_name from top_images('{MODEL}', '{LAYER}', ?, '{asked.dataset}', {TOP})"
    view = "select image from top_image where model = ? and layer = ? and neuron = ? and dataset = ? order by rank"
    forms = {
        "macro `top_images`": lambda turn: firsts(asked.sql(macro, neuron(turn))),
        "view `top_image`": lambda turn: firsts(asked.sql(view, MODEL, LAYER, neuron(turn), asked.dataset)),
        "`Store.query`": lambda turn: firsts(
            asked.query("top_images_of_neurons", neurons=str([neuron(turn)]), datasets=json.dumps([asked.dataset]), k=TOP), 3
        ),
    }
    if beside:
        forms |= {
            "NumPy": lambda turn: top(beside.array[:, neuron(turn)]),
            "memory map": lambda turn: top(beside.mapped[:, neuron(turn)]),
            "torch": lambda turn: beside.tensor[:, neuron(turn)].topk(TOP).indices.tolist(),
            "Polars": lambda turn: polars_top(beside, neuron(turn), None),
            "HDF5": lambda turn: top(beside.chunks[:, neuron(turn)]),
        }
    yield Question("top 100 images of a neuron, from the summary", 0.003, forms)
    conditions = {
        "label": (lambda c: f"label = {c}", lambda c: beside.labels == c, lambda c: polars.col("label") == c),
        "prediction": (
            lambda c: f"predicted = {c} and not correct",
            lambda c: (beside.predicted == c) & (beside.labels != c),
            lambda c: (polars.col("predicted") == c) & (polars.col("label") != c),
        ),
        "metadata": (lambda c: "metadata ->> 'camera' = 'left'", lambda c: beside.cameras, lambda c: polars.col("left")),
    }
    for title, (condition, mask, expression) in conditions.items():
        forms = {
            "`Store.query`": lambda turn, condition=condition: firsts(
                asked.query("top_images", neuron=neuron(turn), where=condition(category(turn)), **arguments), 1
            )
        }
        if beside:
            forms |= {
                "NumPy": lambda turn, mask=mask: top_of(beside.array[:, neuron(turn)], np.flatnonzero(mask(category(turn)))),
                "memory map": lambda turn, mask=mask: top_of(beside.mapped[:, neuron(turn)], np.flatnonzero(mask(category(turn)))),
                "Polars": lambda turn, expression=expression: polars_top(beside, neuron(turn), expression(category(turn))),
                "HDF5": lambda turn, mask=mask: top_of(beside.chunks[:, neuron(turn)], np.flatnonzero(mask(category(turn)))),
            }
        yield Question(f"top 100 images of a neuron, of one {title}", 0.010, forms)


def polars_top(beside: Beside, neuron: int, condition: polars.Expr | None) -> list[int]:
    column = f"neuron_{neuron}"
    rows = beside.scanned.filter(polars.col(column) > 0 if condition is None else (polars.col(column) > 0) & condition)
    return rows.select("image", column).top_k(TOP, by=column).collect().sort(column, "image", descending=[True, False])["image"].to_list()


def top_neurons(asked: Asked, beside: Beside | None) -> Iterator[Question]:
    study, k = asked.study, 20
    number = study.datasets - 1
    labels, predicted = study.labels(number), study.predicted(number)
    with np.errstate(divide="ignore"):
        inverse = beside and np.where(beside.maxima > 0, 1 / np.float64(beside.maxima), 0)

    def image(turn: int) -> int:
        return (17 + 997 * turn) % study.images

    def category(turn: int) -> int:
        return (6 + 8 * turn) % study.categories

    def confused(turn: int) -> np.ndarray:
        return np.flatnonzero((labels != predicted) & ((labels | 1) == (category(turn) | 1)))

    def of_category(turn: int) -> np.ndarray:
        return np.flatnonzero(labels == category(turn))

    def mean_of(source: object, images: np.ndarray) -> list[int]:
        return top(np.asarray(source[images], np.float64).mean(axis=0) * inverse, k)

    def tensor_mean(images: np.ndarray) -> list[int]:
        return (beside.tensor[images].double().mean(0).numpy() * inverse).argsort()[::-1][:k].tolist()

    def row_of(turn: int) -> np.ndarray:
        row = beside.scanned.slice(image(turn), 1).select(polars.col("^neuron_.*$")).collect().to_numpy()[0]
        return top(row * inverse, k)

    macro = f"select neuron from top_neurons('{MODEL}', '{LAYER}', '{asked.dataset}', ?, {k})"
    forms = {
        "macro `top_neurons`": lambda turn: firsts(asked.sql(macro, image(turn))),
        "`Store.query`": lambda turn: firsts(asked.query("top_neurons_of_image", dataset=asked.dataset, image=image(turn), k=k), 1),
    }
    if beside:
        forms |= {
            "NumPy": lambda turn: top(beside.array[image(turn)] * inverse, k),
            "memory map": lambda turn: top(beside.mapped[image(turn)] * inverse, k),
            "Polars": row_of,
            "HDF5": lambda turn: top(beside.chunks[image(turn)] * inverse, k),
        }
    yield Question("top neurons of an image", 0.005, forms)

    of = f"select neuron from top_neurons_of('{MODEL}', '{LAYER}', '{asked.dataset}', (select list(image) from {{}}), {k})"
    confusion = of.format(f"confusion_set('{MODEL}', '{asked.dataset}', ?, ?)")
    labelled = of.format(f"image where dataset = '{asked.dataset}' and label = ?")
    for title, bound, images, first in (
        (
            "top neurons of a confusion set",
            0.015,
            confused,
            {"macro `top_neurons_of`": lambda turn: firsts(asked.sql(confusion, category(turn), category(turn) ^ 1))},
        ),
        (
            "top neurons of a category",
            0.015,
            of_category,
            {
                "`Store.query`": lambda turn: firsts(
                    asked.query(
                        "top_neurons_of_category", category=f"category {category(turn)}", datasets=json.dumps([asked.dataset]), k=k
                    ),
                    2,
                ),
                "macro `top_neurons_of`": lambda turn: firsts(asked.sql(labelled, category(turn))),
            },
        ),
    ):
        forms = dict(first)
        if beside:
            forms |= {
                "NumPy": lambda turn, images=images: mean_of(beside.array, images(turn)),
                "memory map": lambda turn, images=images: mean_of(beside.mapped, images(turn)),
                "torch": lambda turn, images=images: tensor_mean(images(turn)),
                "HDF5": lambda turn, images=images: mean_of(beside.chunks, images(turn)),
            }
        yield Question(title, bound, forms)


def scores(asked: Asked, beside: Beside) -> Iterator[Question]:
    """Those against the default reference are kept; those of the first dataset against the last are computed."""
    study = asked.study
    first, last = 0, study.datasets - 1
    maxima = np.float64(beside.array.max(axis=0)[:, None])
    responses = [np.round(beside.response_sums(n).T / (np.bincount(study.labels(n)) * maxima), 9) for n in (first, last)]

    def rounded(values: object) -> list[float]:
        return [round(float(value), 6) for value in values]

    def by_neuron(turn: int) -> list[float]:
        return rounded(1 - abs(scipy.stats.spearmanr(a, b).statistic) for a, b in zip(*responses))

    def by_rows(turn: int) -> list[float]:
        left, right = (scipy.stats.rankdata(values, axis=1) - (study.categories + 1) / 2 for values in responses)
        return rounded(1 - abs((left * right).sum(1) / np.sqrt((left**2).sum(1) * (right**2).sum(1))))

    live = f"select spurious from scores('{MODEL}', '{LAYER}', '{study.names[first]}', '{study.names[last]}') order by neuron"
    kept = "select spurious, novelty, activation_ratio from neuron_score where model = ? and layer = ? and dataset = ? order by neuron"
    title = f"all scores of {study.neurons:,} neurons, {study.categories:,} categories"
    yield Question(
        f"{title}, kept",
        0.030,
        {
            "view `neuron_score`": lambda turn: rounded(firsts(asked.sql(kept, MODEL, LAYER, asked.dataset))),
            "`Store.scores`": lambda turn: rounded(firsts(asked.scores(asked.dataset, study.names[first]), 5)),
        },
    )
    beside_it = {"`rankdata` (spurious alone)": by_rows, "`spearmanr` by neuron (spurious alone)": by_neuron}
    yield Question(f"{title}, computed in SQL", 3, {"macro `scores`": lambda turn: rounded(firsts(asked.sql(live))), **beside_it})
    call = {"`Store.scores`": lambda turn: rounded(firsts(asked.scores(study.names[first], study.names[last]), 5))}
    yield Question(f"{title}, computed by a Python call", 0.7, call | beside_it)


def similar(asked: Asked, beside: Beside) -> Iterator[Question]:
    kept = np.linalg.norm(beside.array, axis=1)

    def image(turn: int) -> int:
        return (23 + 641 * turn) % asked.study.images

    def nearest(norms: np.ndarray, products: np.ndarray, number: int) -> list[int]:
        """Return the nearest images; the order among those that are nearest in single precision comes from double precision."""
        cosines = products / (norms * norms[number])
        cosines[number] = -1
        near = np.sort(top(cosines, 30))
        values = beside.array[near].astype(float)
        return [int(near[place]) for place in top(values @ beside.array[number] / np.linalg.norm(values, axis=1), 10)]

    def numpy_form(norms: Callable[[], np.ndarray], turn: int) -> list[int]:
        number = image(turn)
        return nearest(norms(), beside.array @ beside.array[number], number)

    def torch_form(turn: int) -> list[int]:
        number = image(turn)
        norms = beside.tensor.norm(dim=1).numpy()
        return nearest(norms, (beside.tensor @ beside.tensor[number]).numpy(), number)

    text = f"select image from similar_images('{MODEL}', '{LAYER}', '{asked.dataset}', ?, '{asked.dataset}', 10)"
    yield Question(
        "images nearest to an image by cosine, exact (bound: 2 times NumPy with norms computed)",
        2,
        {
            "macro `similar_images`": lambda turn: firsts(asked.sql(text, image(turn))),
            "NumPy, norms computed": partial(numpy_form, lambda: np.linalg.norm(beside.array, axis=1)),
            "NumPy, norms kept": partial(numpy_form, lambda: kept),
            "torch, norms computed": torch_form,
        },
        times="NumPy, norms computed",
    )


def similar_on(asked: Asked, beside: Beside) -> Iterator[Question]:
    """The images most like an image on some neurons; what DeepEverest answers."""

    def image(turn: int) -> int:
        return (23 + 641 * turn) % asked.study.images

    def neurons(count: int, turn: int) -> list[int]:
        return [(3 + 50 * number + turn) % asked.study.neurons for number in range(count)]

    def numpy_form(count: int, turn: int) -> list[float]:
        number, columns = image(turn), neurons(count, turn)
        differences = beside.array[:, columns].astype(float) - beside.array[number, columns]
        distances = np.delete(np.sqrt((differences**2).sum(axis=1)), number)
        return np.round(np.sort(np.partition(distances, 10)[:10]), 6).tolist()

    text = f"select distance from similar_images_on('{MODEL}', '{LAYER}', '{asked.dataset}', ?, ?, '{asked.dataset}', 10)"
    for count, bound in ((1, 0.005), (3, 0.010), (10, 0.020)):

        def macro(turn: int, count: int = count) -> list[float]:
            return [round(distance, 6) for distance in firsts(asked.sql(text, image(turn), neurons(count, turn)))]

        yield Question(
            f"10 images most like an image on {count} neuron{'s' * (count > 1)}, {asked.study.images:,} x {asked.study.neurons:,} "
            f"(DeepEverest: {DEEP_EVEREST[count]:,} ms at 10,000 x 512)",
            bound,
            {"macro `similar_images_on`": macro, "NumPy": partial(numpy_form, count)},
        )


# A process of its own.


def forget(path: Path) -> None:
    """Drop what the page cache has of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _ask_plain(path: Path, neuron: int, dataset: str) -> list[int]:
    text = f"select image, label_name from top_images('{MODEL}', '{LAYER}', ?, ?, {TOP})"
    return firsts(duckdb.connect(str(path), read_only=True).execute(text, [neuron, dataset]).fetchall())


def _ask_store(path: Path, neuron: int, dataset: str) -> list[int]:
    text = f"select image, label_name from top_images('{MODEL}', '{LAYER}', $neuron, $dataset, {TOP})"
    with dp.open(path, read_only=True) as store:
        return firsts(store.sql(text, neuron=neuron, dataset=dataset).fetchall())


def _ask_npy(path: Path, neuron: int, dataset: str, mapped: bool = False) -> list[int]:
    return top(np.load(path, mmap_mode="r" if mapped else None)[:, neuron])


def _ask_parquet(path: Path, neuron: int, dataset: str) -> list[int]:
    column = f"neuron_{neuron}"
    return polars.scan_parquet(path).select("image", column).top_k(TOP, by=column).collect()["image"].to_list()


def _ask_hdf5(path: Path, neuron: int, dataset: str) -> list[int]:
    return top(h5py.File(path)["activations"][:, neuron])


def _timed(*call: object) -> measure.Timing:
    return measure.timed(*call)[0]


def fresh(asked: Asked, beside: Beside) -> Iterator[Question]:
    """The first question that a process asks, when its modules are loaded."""
    holders = {
        "any DuckDB client": (_ask_plain, asked.path),
        "`deephys_sql.open`": (_ask_store, asked.path),
        "`np.load`": (_ask_npy, beside.npy),
        "memory map": (partial(_ask_npy, mapped=True), beside.npy),
        "Polars": (_ask_parquet, beside.parquet),
        "HDF5": (_ask_hdf5, beside.hdf5),
    }

    def ask(form: Callable, path: Path, cold: bool, turn: int) -> measure.Timing:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(os.getpid).result()
            if cold:
                forget(path)
            return pool.submit(_timed, form, path, (13 + 53 * turn) % asked.study.neurons, asked.dataset).result()

    for title, bound, cold in (("file in the page cache", 0.060, False), ("cold", 0.150, True)):
        forms = {name: partial(ask, form, path, cold) for name, (form, path) in holders.items()}
        yield Question(f"top 100 images of a neuron, from a fresh process, {title}", bound, forms)


def opening(folder: Path) -> Iterator[Question]:
    path = Study(500, 64, datasets=4, models=5).store(folder)

    def opened(turn: int, **options: object) -> int:
        with dp.open(path, **options) as store:
            return len(store.recordings().fetchall())

    def plain(turn: int) -> int:
        with duckdb.connect(str(path), read_only=True) as connection:
            return len(connection.execute("select * from recording").fetchall())

    forms = {"`deephys_sql.open`": opened, "read-only": partial(opened, read_only=True), "any DuckDB client": plain}
    yield Question("opening a store of 20 recordings, and listing them", 0.100, forms)


# The report.


def rows(question: Question, turns: int) -> Iterator[list[str]]:
    """Measure a question; give a row of the table a form."""
    taken = measure.interleaved(question.forms, turns)
    first = next(iter(taken.values()))
    bound = question.bound and question.bound * (taken[question.times].wall if question.times else 1)
    for name, form in taken.items():
        mark, ratio = ("", first.ratio(form)) if form is not first else (measure.over(bound, form.wall), "")
        yield [
            question.title if form is first else "",
            name,
            f"{measure.milliseconds(form.wall)}{mark}",
            measure.milliseconds(form.processor),
            measure.milliseconds(bound) if bound and form is first else "",
            ratio,
        ]


def report(size: Size, folder: Path) -> None:
    """Print the table, a question at a time."""
    study = Study(size.images, size.neurons, size.datasets, size.categories)
    print(
        f"{study.images:,} images x {study.neurons:,} neurons x {study.datasets} datasets, {study.categories:,} categories of "
        f"{study.images // study.categories} images. Milliseconds, "
        f"medians of {size.turns} turns ({size.fresh_turns} of fresh processes); the last column is the store's first form divided by the "
        f"form in the row, medians of the ratios of each turn.\n"
    )
    print(measure.table(["question", "form", "ms", "processor ms", "bound", "store / this (spread)"], []))
    asked, beside = Asked(study, study.store(folder)), Beside(study, folder)
    small = Study(10_000, 512)
    questions = itertools.chain(
        top_images(asked, beside),
        top_neurons(asked, beside),
        scores(asked, beside),
        similar(asked, beside),
        fresh(asked, beside),
        similar_on(Asked(small, small.store(folder)), Beside(small, folder)),
        opening(folder),
    )
    for question in questions:
        for row in rows(question, size.fresh_turns if "fresh process" in question.title else size.turns):
            print(measure.row(row), flush=True)


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", "named", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where stores and files are kept and used again; else a temporary folder.")
def main(named: str, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        report(SIZES[named], folder)


if __name__ == "__main__":
    main()
