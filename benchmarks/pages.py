"""How long do the site's pages take, how heavy are they, and do they grow with the number of images?

The script writes two stores that differ in the number of images alone, serves each with `deephys-sql serve`, and asks both in
turn: every round asks each kind of page once, about a neuron, image, category or confusion that no round before asked about, so
that nothing is answered from what the page before left behind. Then it starts the larger store anew for each kind of page, for
the first view after a start, and lets 20 clients at once walk at random for a minute.

The activations are those of a rectified layer: each category drives some neurons, some neurons are silent or constant, some only
in one dataset, and each dataset confuses some pairs of categories.

    python benchmarks/pages.py --folder build/pages                   (50,000 images, 2,048 neurons, 4 datasets: 4 GB, a quarter of an hour)
    python benchmarks/pages.py --folder build/pages --size small      (5,000 images, 256 neurons: two minutes)

Stores that are there already are used again. The report is Markdown.
"""

import dataclasses
import datetime
import http.client
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import duckdb
import numpy as np
from tqdm.auto import tqdm

import deephys_sql

MODEL, LAYER, OUTPUT = "network", "features", "output"
DATASETS = ("validation", "sketches", "night", "noise")  # the first is the reference
MISTAKEN = {"validation": 0.2, "sketches": 0.6, "night": 0.45, "noise": 0.7}  # share of the images
SORTS = ("spurious", "novelty", "response_loss", "activation_ratio", "share_positive", "max", "neuron")
BATCH = 500
SIDE = 72  # pixels of a picture; its thumbnail has 64
WALKERS = 20


@dataclass(frozen=True)
class Size:
    """How large a study is; `few` is the number of images of the smaller of the two stores."""

    few: int
    images: int
    neurons: int
    categories: int
    rounds: int
    seconds: int


SIZES = {"full": Size(10_000, 50_000, 2048, 1000, 40, 60), "small": Size(1_000, 5_000, 256, 100, 10, 10)}

# What a page may take in milliseconds, and weigh in bytes.
BOUNDS = {"home": 60, "layer": 150, "neuron, k=20": 60, "image": 60, "category": 60, "confusion": 60}
NEURON_BYTES = 500_000


# The stores.


@dataclass
class Study:
    """What a network did on its datasets, made up batch by batch from a seed."""

    size: Size
    images: int

    def __post_init__(self):
        rng = np.random.default_rng(0)
        neurons, categories = self.size.neurons, self.size.categories
        tuned = rng.random((categories, neurons), np.float32)
        self.drive = np.where(tuned > 0.9, 3 * tuned**8, 0.3 * tuned).astype(np.float32)  # a tenth of the categories drive a neuron
        self.bias = rng.normal(-0.1, 0.3, neurons).astype(np.float32)
        self.gain = rng.lognormal(0, 0.5, neurons).astype(np.float32)
        self.partner = rng.permutation(categories)  # what a category is most often taken for

    def labels(self, dataset: str) -> np.ndarray:
        return np.random.default_rng([1, DATASETS.index(dataset)]).permutation(np.arange(self.images) % self.size.categories)

    def seen(self, dataset: str) -> np.ndarray:
        """Return what the network takes each image for: its label, the label's partner, or anything."""
        rng = np.random.default_rng([2, DATASETS.index(dataset)])
        labels = self.labels(dataset)
        luck = rng.random(self.images) / MISTAKEN[dataset]
        anything = rng.integers(0, self.size.categories, self.images)
        return np.where(luck > 1, labels, np.where(luck > 0.4, self.partner[labels], anything))

    def activations(self, dataset: str) -> Iterator[np.ndarray]:
        number = DATASETS.index(dataset)
        rng = np.random.default_rng([3, number])
        seen, neurons = self.seen(dataset), np.arange(self.size.neurons)
        shift = np.float32(0.15 * number) * np.random.default_rng([4, number]).standard_normal(self.size.neurons, np.float32)
        for first in range(0, self.images, BATCH):
            drive = self.drive[seen[first : first + BATCH]]
            values = rng.standard_normal(drive.shape, np.float32)
            values = self.gain * np.maximum(drive + 0.25 * values + self.bias + shift, 0)
            values[:, neurons % 97 == 5] = 0
            values[:, neurons % 101 == 7] = 1
            if not number:
                values[:, neurons % 103 == 9] = 0  # silent in the reference alone
            yield values

    def logits(self, dataset: str) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([5, DATASETS.index(dataset)])
        seen, labels = self.seen(dataset), self.labels(dataset)
        for first in range(0, self.images, BATCH):
            part = slice(first, first + BATCH)
            values = rng.standard_normal((len(seen[part]), self.size.categories), np.float32)
            rows = np.arange(len(values))
            values[rows, labels[part]] = 4 + rng.random(len(values))
            values[rows, seen[part]] = 5 + 4 * rng.random(len(values))
            yield values

    def metadata(self, dataset: str) -> list[dict]:
        cameras = ("A1", "B2", "C3")
        return [{"file": f"{dataset}_{i:08}.jpg", "camera": cameras[i % 3], "exposure": i * 7 % 1000 / 1000} for i in range(self.images)]

    def record(self, path: Path) -> None:
        with deephys_sql.open(path) as store:
            for dataset in DATASETS:
                store.add_recording(
                    model=MODEL,
                    dataset=dataset,
                    activations={LAYER: self.activations(dataset)},
                    logits=self.logits(dataset),
                    labels=self.labels(dataset),
                    categories=[f"category {i}" for i in range(self.size.categories)],
                    images=Pictures(self.images, DATASETS.index(dataset)),
                    image_metadata=self.metadata(dataset),
                )


class Pictures(Sequence):
    """Soft gradients with a little noise; a thumbnail of one takes about a kilobyte."""

    def __init__(self, count: int, seed: int):
        self._count, self._seed = count, seed
        self._y, self._x = (np.mgrid[:SIDE, :SIDE] / SIDE).astype(np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, wanted):
        if isinstance(wanted, slice):
            return [self[i] for i in range(*wanted.indices(self._count))]
        rng = np.random.default_rng([6, self._seed, wanted])
        across, down, wave = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
        ripple = np.sin(rng.uniform(3, 14) * self._x + rng.uniform(3, 14) * self._y)
        picture = 0.5 + 0.35 * (across * self._x[..., None] + down * self._y[..., None]) + 0.15 * wave * ripple[..., None]
        picture += 0.03 * rng.standard_normal((SIDE, SIDE, 1), np.float32)
        return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def store_of(size: Size, images: int, folder: Path) -> Path:
    """Return the store of so many images, written unless it is there."""
    path = folder / f"pages_{images}_{size.neurons}_{size.categories}.duckdb"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished.duckdb")
        unfinished.unlink(missing_ok=True)
        Study(size, images).record(unfinished)
        unfinished.rename(path)
    return path


# The server, and a client.


class Server:
    """`deephys-sql serve` on a store, in a process of its own."""

    def __init__(self, store: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base = f"/{store.stem}/-"
        command = [sys.executable, "-c", "from deephys_sql.cli import main; main()", "serve", str(store), "--port", str(self.port)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it ends with the server
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        begin = time.perf_counter()
        while True:
            try:
                Client(self).get("/-/versions.json")
                break
            except OSError:
                if self._process.poll() is not None or time.perf_counter() - begin > 60:
                    self.stop()
                    raise SystemExit("the server did not start: " + self.log()) from None
                time.sleep(0.05)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-3000:]

    def megabytes(self, what: str = "VmRSS") -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what + ":"))

    def cpu_ms(self) -> float:
        """Return the processor time of all threads so far, in steps of a hundredth of a second."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1000

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class Client:
    """One connection, kept open."""

    def __init__(self, server: Server):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def get(self, address: str) -> tuple[float, int, int]:
        """Return milliseconds, status and bytes."""
        begin = time.perf_counter()
        self._connection.request("GET", address)
        response = self._connection.getresponse()
        body = response.read()
        return (time.perf_counter() - begin) * 1000, response.status, len(body)


# The pages.


class Addresses:
    """Addresses below a store's, a kind at a time; numbers come at random, each once before any comes again."""

    def __init__(self, store: Path, size: Size, images: int, seed: int):
        self._random = random.Random(seed)
        with duckdb.connect(str(store), read_only=True) as connection:
            pairs = connection.execute(
                "select label, predicted from confusion where dataset = ? and label != predicted order by all", [DATASETS[1]]
            ).fetchall()
        self._neurons, self._images, self._categories, self._pairs = (
            self._shuffled(list(what)) for what in (range(size.neurons), range(images), range(size.categories), pairs)
        )
        self._sorts = self._shuffled(list(SORTS))
        self._pages = self._shuffled(list(range(1, max(2, size.neurons // 50))))
        self._words = self._shuffled([f"category {i}" for i in range(size.categories)])
        of = f"/model/{MODEL}"
        self.kinds: dict[str, Callable[[], str]] = {
            "home": lambda: f"/home{self._dataset()}",
            "layer": lambda: f"{of}/layer/{LAYER}{self._dataset()}&sort={next(self._sorts)}&page={next(self._pages)}",
            "neuron, k=20": lambda: f"{of}/layer/{LAYER}/neuron/{next(self._neurons)}",
            "neuron, k=100": lambda: f"{of}/layer/{LAYER}/neuron/{next(self._neurons)}?k=100",
            "neuron: histogram": lambda: f"{of}/layer/{LAYER}/neuron/{next(self._neurons)}/histogram",
            "neuron: examples": lambda: f"{of}/layer/{LAYER}/neuron/{next(self._neurons)}/examples",
            "image": lambda: f"{of}/dataset/{self._random.choice(DATASETS)}/image/{next(self._images)}",
            "category": lambda: f"{of}/category/{next(self._categories)}{self._dataset()}",
            "category: neurons of mistakes": lambda: f"{of}/category/{next(self._categories)}/false_negatives{self._dataset()}",
            "confusion": lambda: "{}/confusion/{}/{}".format(of, *next(self._pairs)),
            "confusion matrix": lambda: f"{of}/dataset/{self._random.choice(DATASETS)}/confusion",
            "compare": lambda: f"{of}/compare{self._dataset()}",
            "search: a number": lambda: f"/search?q=neuron+{next(self._neurons)}&stay=1",
            "search: a name": lambda: f"/search?q={urllib.parse.quote_plus(next(self._words))}&stay=1",
            "search: in metadata": lambda: f"/search?q={next(self._images):08}.jpg&stay=1",
            "picture": lambda: f"/picture/{self._random.choice(DATASETS)}/{next(self._images)}",
        }

    def _shuffled(self, values: list) -> Iterator:
        while True:
            self._random.shuffle(values)
            yield from values

    def _dataset(self) -> str:
        return f"?dataset={self._random.choice(DATASETS[1:])}"


@dataclass
class Taken:
    """Measurements of one kind of page."""

    milliseconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def add(self, kind: str, answer: tuple[float, int, int], cpu: float) -> None:
        milliseconds, status, size = answer
        if status != 200:
            raise SystemExit(f"{kind}: status {status}")
        self.milliseconds.append(milliseconds)
        self.cpu.append(cpu)
        self.size.append(size)

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return float(np.quantile(self.milliseconds, 0.95))


def measure(stores: dict[int, Path], size: Size) -> tuple[dict[tuple[str, int], Taken], dict[int, int]]:
    """Return what each kind of page took, by (kind, images), warm and interleaved; and the megabytes of each server after it."""
    taken: dict[tuple[str, int], Taken] = {}
    servers = {images: Server(store) for images, store in stores.items()}
    try:
        clients = {images: Client(server) for images, server in servers.items()}
        addresses = {images: Addresses(store, size, images, seed=1) for images, store in stores.items()}
        for number in tqdm(range(-3, size.rounds), desc="rounds", disable=None):  # three to warm up
            for kind in next(iter(addresses.values())).kinds:
                for images, server in servers.items():
                    before = server.cpu_ms()
                    answer = clients[images].get(server.base + addresses[images].kinds[kind]())
                    if number >= 0:
                        taken.setdefault((kind, images), Taken()).add(kind, answer, server.cpu_ms() - before)
        return taken, {images: server.megabytes("VmHWM") for images, server in servers.items()}
    finally:
        for server in servers.values():
            server.stop()


def first_views(store: Path, size: Size, images: int) -> dict[str, float]:
    """Return how long each kind of page took as the first that a new server was asked for."""
    addresses = Addresses(store, size, images, seed=2)
    taken = {}
    for kind, address in tqdm(addresses.kinds.items(), desc="first views", disable=None):
        with Server(store) as server:
            taken[kind] = Client(server).get(server.base + address())[0]
    return taken


@dataclass
class Crowd:
    """What clients at once got."""

    seconds: float
    answers: list[float]
    errors: list[str]
    megabytes: int


def crowd(store: Path, size: Size, images: int) -> Crowd:
    """Let many clients at once ask pages of every kind, as fast as they are answered."""
    answers: list[float] = []
    errors: list[str] = []
    with Server(store) as server:
        end = time.perf_counter() + size.seconds

        def walk(number: int) -> None:
            addresses, client = Addresses(store, size, images, seed=100 + number), Client(server)
            chance = random.Random(number)
            while time.perf_counter() < end:
                kind = chance.choice(list(addresses.kinds))
                try:
                    milliseconds, status, _ = client.get(server.base + addresses.kinds[kind]())
                except OSError as error:
                    errors.append(f"{kind}: {error!r}")
                    client = Client(server)
                    continue
                answers.append(milliseconds)
                if status != 200:
                    errors.append(f"{kind}: status {status}")

        walkers = [threading.Thread(target=walk, args=[number]) for number in range(WALKERS)]
        begin = time.perf_counter()
        for walker in walkers:
            walker.start()
        for walker in walkers:
            walker.join()
        return Crowd(time.perf_counter() - begin, answers, errors, server.megabytes("VmHWM"))


# The report.


def report(size: Size, stores: dict[int, Path], taken, megabytes, firsts: dict[str, float], crowd: Crowd) -> str:
    few, many = sorted(stores)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"{datetime.date.today()}, {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB, Python {platform.python_version()}, "
        f"DuckDB {duckdb.__version__}. {size.neurons:,} neurons and {size.categories:,} logits, {len(DATASETS)} datasets, "
        f"{size.categories:,} categories, {size.rounds} rounds. Milliseconds from the request to the last byte, warm; "
        f"CPU: mean processor time of the server, all threads.",
        "",
        f"| page | bound | {many:,} images: median | p95 | slowest | CPU | {few:,} images: median | CPU | first view after a start | kB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in firsts:
        large, small = taken[kind, many], taken[kind, few]
        bound = BOUNDS.get(kind)
        median = f"{large.median:.0f}" + (" **over**" if bound and large.median > bound else "")
        lines.append(
            f"| {kind} | {bound or ''} | {median} | {large.p95:.0f} | {max(large.milliseconds):.0f} | {statistics.mean(large.cpu):.0f} "
            f"| {small.median:.0f} | {statistics.mean(small.cpu):.0f} | {firsts[kind]:.0f} | {statistics.median(large.size) / 1000:.0f} |"
        )
    heaviest = max(taken["neuron, k=20", many].size)
    lines += [
        "",
        f"The heaviest neuron page at k=20 has {heaviest / 1000:.0f} kB (bound {NEURON_BYTES / 1000:.0f} kB), uncompressed, "
        f"its pictures included.",
        f"Memory of the server after these pages: {megabytes[many]:,} MB at {many:,} images, {megabytes[few]:,} MB at {few:,}.",
        f"{WALKERS} clients at once for {crowd.seconds:.0f} s, every kind of page at random: {len(crowd.errors)} errors, "
        f"{len(crowd.answers) / crowd.seconds:.0f} pages a second, median {statistics.median(crowd.answers):.0f} ms, "
        f"p95 {float(np.quantile(crowd.answers, 0.95)):.0f} ms; memory {crowd.megabytes:,} MB.",
        *(f"- {error}" for error in sorted(set(crowd.errors))[:10]),
    ]
    return "\n".join(lines)


@click.command(help=__doc__.splitlines()[0])
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/pages"), show_default=True, help="Where the stores are.")
@click.option("--size", "named", type=click.Choice(list(SIZES)), default="full", show_default=True)
@click.option("--rounds", type=int, help="How often each kind of page is asked for; else as the size says.")
@click.option("--build-only", is_flag=True, help="Write the stores, measure nothing.")
def main(folder: Path, named: str, rounds: int | None, build_only: bool) -> None:
    size = SIZES[named]
    size = dataclasses.replace(size, rounds=rounds or size.rounds)
    folder.mkdir(parents=True, exist_ok=True)
    stores = {images: store_of(size, images, folder) for images in (size.few, size.images)}
    if build_only:
        return
    taken, megabytes = measure(stores, size)
    firsts = first_views(stores[size.images], size, size.images)
    print(report(size, stores, taken, megabytes, firsts, crowd(stores[size.images], size, size.images)))


if __name__ == "__main__":
    main()
