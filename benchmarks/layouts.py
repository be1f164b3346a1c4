"""Which physical order of activations is safe behind one public view?

Users write SQL against `activation(model, layer, neuron, dataset, image, value)` and filter by
names. Underneath, the same numbers can lie in several orders ("copies"):

    B       tiles: a row per neuron and 2,048 images, `FLOAT[2048]`, in order of arrival
    A       images: a row per image, `FLOAT[n]`, one table for each width of layer
    A16/A64 images in blocks: a row per image and 16 or 64 neurons, one table for all widths
    C       long rows sorted by neuron within a dataset
    T       long rows in order of arrival, each batch of 2,048 images sorted by (neuron, image)
    E       long rows sorted by (image, neuron)
    P       the chosen one: a row per image and 64 neurons, found by one number, the piece; each batch of 2,048 images lies
            piece after piece

The script writes files holding one or more copies, in one transaction a dataset, by Arrow; then
asks every view the same questions, also careless ones, and every copy the questions about images
directly. A file has one row group size: DuckDB 2.0 sets it for an attachment, not for a table, and
merges smaller groups when somebody writes who attached the file without it.

Rounds are interleaved; a cell is the median in milliseconds, and `>` marks a question
that was interrupted. Answers are compared with each other: a `!` marks one that differs.

    python benchmarks/layouts.py --folder /tmp/layouts
    python benchmarks/layouts.py --folder /tmp/layouts --images 4096 --neurons 256 --datasets 2
"""

import math
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import click
import duckdb
import numpy as np
import pyarrow as pa

CHUNK = 2048  # images that arrive together; also DuckDB's vector size
WIDTH = 64  # neurons in a row of P
HEAD = 50  # a second, narrow layer: one table has to hold layers of any width
CATEGORIES = 1000
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class File:
    """A database file: its row group size, its copies, and which copies the view is tried on."""

    copies: tuple[str, ...]
    views: tuple[str, ...]
    row_group: int

    @property
    def name(self) -> str:
        return f"{'_'.join(self.copies)}_{self.row_group}"


FILES = {
    "T+E+A16+A64": File(("T", "E", "A16", "A64"), ("T",), 122_880),
    "A+B": File(("A", "B"), ("A", "B"), 2048),
    "T": File(("T",), ("T",), 122_880),
    "T61": File(("T",), ("T",), 61_440),
    "T20": File(("T",), ("T",), 20_480),
    "T+A16": File(("T", "A16"), ("T",), 122_880),
    "T+A64": File(("T", "A64"), ("T",), 122_880),
    "T+A": File(("T", "A"), ("T",), 20_480),
    "A+C": File(("A", "C"), ("C",), 20_480),
    "P": File(("P",), ("P",), 122_880),
}


@dataclass(frozen=True)
class Size:
    images: int
    neurons: int
    datasets: int

    @property
    def widths(self) -> dict[int, int]:
        """Layer id to number of neurons."""
        return {0: self.neurons, 1: HEAD}

    @property
    def activations(self) -> int:
        return self.images * self.datasets * sum(self.widths.values())

    def part(self, layer: int, dataset: int) -> int:
        """One layer of one recording: what a row of a physical table belongs to."""
        return dataset * len(self.widths) + layer

    @property
    def pieces(self) -> int:
        """How many numbers of pieces P sets aside for each part."""
        return math.ceil(max(self.widths.values()) / WIDTH)


def batches(size: Size, dataset: int, layer: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first image, images x neurons), reproducible, sparse like features after a ReLU."""
    width = size.widths[layer]
    of_layer = np.random.default_rng([layer])
    scale = of_layer.uniform(0.2, 3, width).astype("f4")
    shift = of_layer.uniform(-0.4, 0.4, width).astype("f4")
    for start in range(0, size.images, CHUNK):
        random = np.random.default_rng([dataset, layer, start])
        count = min(CHUNK, size.images - start)
        normal = random.standard_normal((count, width), dtype="f4")
        yield start, np.maximum(normal * scale + shift, 0)


# --- names ---------------------------------------------------------------------------------------

NAMES = """
create table model (model_id utinyint, name varchar);
create table layer (layer_id utinyint, model_id utinyint, name varchar, neurons int);
create table dataset (dataset_id utinyint, name varchar, images int);
create table part (part usmallint, layer_id utinyint, dataset_id utinyint);
create table image_label (dataset_id utinyint, image int, label smallint);
create table image_prediction
    (model_id utinyint, dataset_id utinyint, image int, predicted smallint);

create view part_name as
select part, model.name as model, layer.name as layer, dataset.name as dataset, neurons, images
from part join layer using (layer_id) join model using (model_id) join dataset using (dataset_id);

create view image as
select dataset.name as dataset, image, label
from image_label join dataset using (dataset_id);

create view prediction as
select model.name as model, dataset.name as dataset, image, label, predicted,
       label = predicted as correct
from image_prediction
join image_label using (dataset_id, image)
join dataset using (dataset_id)
join model using (model_id);
"""


def write_names(con: duckdb.DuckDBPyConnection, size: Size) -> None:
    con.execute(NAMES)
    con.execute("insert into model values (0, 'net')")
    con.execute("insert into layer values (0, 0, 'avgpool', ?), (1, 0, 'head', ?)", [size.neurons, HEAD])
    for dataset in range(size.datasets):
        con.execute("insert into dataset values (?, ?, ?)", [dataset, f"d{dataset}", size.images])
        for layer in size.widths:
            part = size.part(layer, dataset)
            con.execute("insert into part values (?, ?, ?)", [part, layer, dataset])
        random = np.random.default_rng([dataset, 99])
        label = random.integers(0, CATEGORIES, size.images)
        right = random.random(size.images) < 0.7
        answers = pa.table(  # noqa: F841 - the statement below names it
            {
                "image": np.arange(size.images, dtype="i4"),
                "label": label,
                "predicted": np.where(right, label, (label + 1) % CATEGORIES),
            }
        )
        con.execute(f"insert into image_label select {dataset}, image, label from answers")
        con.execute(f"insert into image_prediction select 0, {dataset}, image, predicted from answers")


# --- copies --------------------------------------------------------------------------------------

LONG = "(part usmallint, neuron usmallint, image int, value float)"


def block_width(copy: str) -> int:
    return int(copy[1:])


def table_sql(copy: str, size: Size) -> str:
    if copy in ("T", "E", "C"):
        return f"create table {copy} {LONG}"
    if copy == "B":
        return f"create table B (part usmallint, chunk int, neuron usmallint, v float[{CHUNK}])"
    if copy == "A":
        return ";".join(f"create table A_{n} (part usmallint, image int, v float[{n}])" for n in size.widths.values())
    if copy == "P":
        return f"""create table P (piece int, image int, v float[{WIDTH}]);
            create table P_neuron as
            select part, neuron::int as neuron, (part * {size.pieces} + neuron // {WIDTH})::int as piece,
                   (neuron % {WIDTH} + 1)::int as element
            from part join layer using (layer_id), range(neurons) as r(neuron)"""
    vector = f"float[{block_width(copy)}]"
    return f"create table {copy} (part usmallint, image int, block usmallint, v {vector})"


def fixed(array: np.ndarray) -> pa.Array:
    """Two dimensions as an Arrow array of fixed-size lists, without copying."""
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def rows_of(copy: str, size: Size, part: int, start: int, batch: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """The columns of one batch in the order of one copy."""
    count, width = batch.shape
    images = np.arange(start, start + count, dtype="i4")
    neurons = np.arange(width, dtype="u2")
    if copy in ("T", "C"):
        return {
            "part": np.full(batch.size, part, "u2"),
            "neuron": np.repeat(neurons, count),
            "image": np.tile(images, width),
            "value": np.ascontiguousarray(batch.T).reshape(-1),
        }
    if copy == "E":
        return {
            "part": np.full(batch.size, part, "u2"),
            "neuron": np.tile(neurons, count),
            "image": np.repeat(images, width),
            "value": batch.reshape(-1),
        }
    if copy == "B":
        tile = np.zeros((width, CHUNK), "f4")
        tile[:, :count] = batch.T
        return {
            "part": np.full(width, part, "u2"),
            "chunk": np.full(width, start // CHUNK, "i4"),
            "neuron": neurons,
            "v": fixed(tile),
        }
    if copy == "A":
        return {"part": np.full(count, part, "u2"), "image": images, "v": fixed(batch)}
    step = WIDTH if copy == "P" else block_width(copy)
    blocks = math.ceil(width / step)
    if width % step:
        batch = np.pad(batch, ((0, 0), (0, blocks * step - width)))
    if copy == "P":
        return {
            "piece": np.repeat(part * size.pieces + np.arange(blocks, dtype="i4"), count),
            "image": np.tile(images, blocks),
            "v": fixed(np.ascontiguousarray(batch.reshape(count, blocks, step).swapaxes(0, 1)).reshape(-1, step)),
        }
    return {
        "part": np.full(count * blocks, part, "u2"),
        "image": np.repeat(images, blocks),
        "block": np.tile(np.arange(blocks, dtype="u2"), count),
        "v": fixed(batch.reshape(count * blocks, step)),
    }


@dataclass
class Clock:
    wall: float = 0
    cpu: float = 0

    def __enter__(self) -> "Clock":
        self.started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self.started[0]
        self.cpu += time.process_time() - self.started[1]


class Appender:
    """Inserts whole row groups from contiguous arrays.

    Without either, A16 left a third of its file as free blocks (1.5 bytes an activation).
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, target: str, row_group: int) -> None:
        self.con, self.target, self.row_group = con, target, row_group
        self.waiting: pa.Table | None = None

    def add(self, rows: pa.Table) -> None:
        rows = pa.concat_tables([self.waiting, rows]) if self.waiting else rows
        whole = len(rows) // self.row_group * self.row_group
        self._insert(rows.slice(0, whole))
        self.waiting = rows.slice(whole)

    def flush(self) -> None:
        if self.waiting:
            self._insert(self.waiting)
        self.waiting = None

    def _insert(self, rows: pa.Table) -> None:
        if len(rows):
            rows = rows.combine_chunks()
            self.con.execute(f"insert into {self.target} from rows")


def settings(con: duckdb.DuckDBPyConnection, memory: str, folder: Path) -> None:
    con.execute(f"set memory_limit = '{memory}'; set enable_progress_bar = false; set threads = 2")
    con.execute(f"set temp_directory = '{folder / 'spill'}'")


@dataclass
class Written:
    clocks: dict[str, Clock]
    bytes_file: int
    bytes_copy: dict[str, int]
    peak_mb: float


def write(file: File, size: Size, folder: Path, memory: str) -> Written:
    path = folder / f"{file.name}.duckdb"
    path.unlink(missing_ok=True)
    con = duckdb.connect()
    settings(con, memory, folder)
    con.execute(f"attach '{path}' as store (row_group_size {file.row_group}); use store")
    write_names(con, size)
    clocks = {copy: Clock() for copy in (*file.copies, "commit")}
    for copy in file.copies:
        con.execute(table_sql(copy, size))
        if copy == "C":
            con.execute(f"create temp table unsorted {LONG}")
    for dataset in range(size.datasets):
        writers: dict[str, Appender] = {}
        con.execute("begin")
        for layer, width in size.widths.items():
            part = size.part(layer, dataset)
            for start, batch in batches(size, dataset, layer):
                for copy in file.copies:
                    target = {"A": f"A_{width}", "C": "temp.unsorted"}.get(copy, copy)
                    with clocks[copy]:
                        writers.setdefault(target, Appender(con, target, file.row_group)).add(
                            pa.table(rows_of(copy, size, part, start, batch))
                        )
        for target, writer in writers.items():
            with clocks[{"temp.unsorted": "C"}.get(target, target.split("_")[0])]:
                writer.flush()
        if "C" in file.copies:
            with clocks["C"]:
                con.execute("insert into C from temp.unsorted order by part, neuron, image")
                con.execute("truncate temp.unsorted")
        with clocks["commit"]:
            con.execute("commit")
    with clocks["commit"]:
        con.execute("checkpoint store")
    bytes_copy = {copy: copy_bytes(con, copy, size) for copy in file.copies}
    con.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Written(clocks, path.stat().st_size, bytes_copy, peak)


def copy_bytes(con: duckdb.DuckDBPyConnection, copy: str, size: Size) -> int:
    """Blocks that hold the copy's segments (a block can be shared: it is counted once a copy)."""
    tables = [f"A_{n}" for n in size.widths.values()] if copy == "A" else [copy]
    blocks = " union all ".join(f"select block_id, additional_block_ids from pragma_storage_info('store.{t}')" for t in tables)
    found = con.execute(
        f"""
        with segment as ({blocks}),
             block as (select block_id as b from segment
                       union all select unnest(additional_block_ids) from segment)
        select count(distinct b) * 262144 from block where b >= 0
        """
    ).fetchone()
    assert found
    return found[0]


# --- the public view -----------------------------------------------------------------------------

PUBLIC = "select model, layer, neuron::int as neuron, dataset, image, value from"


def view_sql(copy: str, size: Size) -> str:
    if copy in ("T", "C", "E"):
        return f"{PUBLIC} {copy} join part_name using (part)"
    if copy == "B":
        return f"""{PUBLIC} (
            select part, neuron, unnest(v) as value,
                   unnest(range(chunk * {CHUNK}, (chunk + 1) * {CHUNK}))::int as image
            from B) join part_name using (part) where image < images"""
    if copy == "P":
        return f"""{PUBLIC} (
            select part, neuron, image, v[element] as value
            from (select piece, image, v::float[] as v from P) join P_neuron using (piece)) join part_name using (part)"""
    if copy == "A":
        return " union all ".join(
            f"""{PUBLIC} (select part, i as neuron, image, v[i + 1] as value
                from A_{n} cross join range({n}) neuron(i)) join part_name using (part)"""
            for n in size.widths.values()
        )
    raise ValueError(copy)


# --- questions -----------------------------------------------------------------------------------

HERE = "model = 'net' and layer = 'avgpool' and dataset = 'd0'"
ONE_IMAGE = "image = 1234"
CONFUSED = """image in (select image from prediction
              where model = 'net' and dataset = 'd0' and label < 7 and not correct)"""
CATEGORY = "image in (select image from image where dataset = 'd0' and label = 5)"

VIEW_QUESTIONS = {
    "1 neuron: top 100, max_by": f"""
        select max_by(image, (value, -image), 100) from activation where {HERE} and neuron = 7""",
    "1 neuron: top 100, order by": f"""
        select image, value from activation where {HERE} and neuron = 7
        order by value desc, image limit 100""",
    "2 image: top 50": f"""
        select neuron, value from activation where {HERE} and {ONE_IMAGE}
        order by value desc limit 50""",
    "3 confusion set: means": f"""
        select neuron, avg(value) as mean from activation where {HERE} and {CONFUSED}
        group by neuron order by mean desc limit 25""",
    "4 category: means": f"""
        select neuron, avg(value) as mean from activation where {HERE} and {CATEGORY}
        group by neuron order by mean desc limit 25""",
    "a neurons in (select)": f"""
        select neuron, avg(value) from activation
        where {HERE} and neuron in (select neuron from chosen) group by neuron""",
    "b join image, one neuron by label": """
        select label, avg(value) from activation join prediction using (model, dataset, image)
        where layer = 'avgpool' and neuron = 7 and dataset = 'd0' group by label""",
    "c correlation of two neurons": """
        select corr(a.value, b.value)
        from activation a join activation b using (model, layer, dataset, image)
        where layer = 'avgpool' and dataset = 'd0' and a.neuron = 7 and b.neuron = 11""",
    "d histogram of a neuron": f"""
        select floor(value * 10) / 10 as bin, count(*) from activation
        where {HERE} and neuron = 7 group by bin""",
    "e one neuron, every dataset": """
        select dataset, avg(value) from activation
        where layer = 'avgpool' and neuron = 7 group by dataset""",
    "f two datasets, neurons 0 to 20": """
        select neuron, avg(value) filter (dataset = 'd1') - avg(value) filter (dataset = 'd0')
        from activation
        where layer = 'avgpool' and dataset in ('d0', 'd1') and neuron between 0 and 20
        group by neuron""",
    "g prediction join activation": """
        select predicted, avg(value)
        from prediction join activation using (model, dataset, image)
        where not prediction.correct and dataset = 'd0' and layer = 'avgpool' and neuron = 7
        group by predicted""",
    "h mean and max of all neurons": f"""
        select neuron, avg(value), max(value) from activation where {HERE} group by neuron""",
    "i top 10 of all neurons": f"""
        select neuron, max_by(image, (value, -image), 10) from activation where {HERE}
        group by neuron""",
    "j count of value > 3": f"select count(*) from activation where {HERE} and value > 3",
    "k image, no other filter": f"select count(*), sum(value) from activation where {ONE_IMAGE}",
    "l neurons and images between": f"""
        select count(*), sum(value) from activation
        where {HERE} and neuron between 10 and 19 and image between 1000 and 1999""",
    "m images in (select), neuron < 100": f"""
        select neuron, avg(value) from activation where {HERE} and neuron < 100 and {CATEGORY}
        group by neuron""",
    "n highest 10 of a dataset": f"""
        select neuron, image, value from activation where {HERE} order by value desc limit 10""",
}

PART = f"part = (select part from part_name where {HERE})"


def image_questions(copy: str, size: Size) -> dict[str, str]:
    """The questions about images, asked of a copy directly."""
    if copy == "A":
        source, step, neuron = f"A_{size.neurons}", size.neurons, "i"
    elif copy in ("A16", "A64"):
        step = block_width(copy)
        source, neuron = copy, f"block * {step} + i"
    else:
        step = 0
        source, neuron = copy, "neuron"
    value = "v[i + 1]" if step else "value"
    cross = f"cross join range({step}) element(i)" if step else ""

    def means(images: str) -> str:
        return f"""select {neuron} as n, avg({value}) as mean from {source} {cross}
            where {PART} and {images} group by n order by mean desc limit 25"""

    return {
        "2 image: top 50": f"""
            select {neuron} as n, {value} as value from {source} {cross}
            where {PART} and {ONE_IMAGE} order by value desc limit 50""",
        "3 confusion set: means": means(CONFUSED),
        "4 category: means": means(CATEGORY),
    }


# --- asking --------------------------------------------------------------------------------------


@dataclass
class Times:
    seconds: list[float] = field(default_factory=list)
    capped: bool = False
    sum: float = math.nan  # of every number in the answer

    def cell(self, reference: float) -> str:
        if not self.seconds:
            return "-"
        if self.capped:
            return f"> {self.seconds[0]:,.0f} s"
        median = statistics.median(self.seconds) * 1000
        differs = not math.isclose(self.sum, reference, rel_tol=1e-4, abs_tol=1e-3)
        return (f"{median:,.1f}" if median < 100 else f"{median:,.0f}") + (" !" if differs else "")


def total(answer: object) -> float:
    if isinstance(answer, list | tuple):
        return sum(map(total, answer))
    return float(answer) if isinstance(answer, int | float) else 0


def ask(con: duckdb.DuckDBPyConnection, sql: str, cap: float, times: Times) -> None:
    timer = threading.Timer(cap, con.interrupt)
    timer.start()
    started = time.perf_counter()
    try:
        answer = con.execute(sql).fetchall()
        times.sum = total(answer)
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        times.capped = True
    finally:
        timer.cancel()
    times.seconds.append(time.perf_counter() - started)


def open_file(path: Path, memory: str) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    settings(con, memory, path.parent)
    con.execute(f"attach '{path}' as store (read_only); use store")
    con.execute("create temp table chosen as select unnest([3, 500, 1200])::int as neuron")
    return con


def fresh(path: Path, view: str, memory: str) -> tuple[float, float, float]:
    """Seconds to open, for the first neuron and the first image."""
    started = time.perf_counter()
    con = open_file(path, memory)
    opened = time.perf_counter() - started
    con.execute(f"create temp view activation as {view}")
    seconds = []
    for question in ("1 neuron: top 100, max_by", "2 image: top 50"):
        times = Times()
        ask(con, VIEW_QUESTIONS[question], 60, times)
        seconds.append(times.seconds[0])
    return opened, seconds[0], seconds[1]


def alone(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Run in a process of its own, so that its memory and caches are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def label(file: File) -> str:
    return f"{'+'.join(file.copies)}, {file.row_group:,}"


def markdown(head: list[str], rows: dict[str, list[str]]) -> str:
    lines = ["| " + " | ".join(["", *head]) + " |", "|---" * (len(head) + 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join([name, *row]) + " |" for name, row in rows.items()])


@click.command(help=__doc__.splitlines()[0])
@click.option("--images", default=50_000)
@click.option("--neurons", default=2048)
@click.option("--datasets", default=4)
@click.option("--layouts", default="T+E+A16+A64,A+B,A+C,T20,P", help=f"of {', '.join(FILES)}")
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--memory", default="1GB", help="DuckDB's memory limit")
@click.option("--rounds", default=5)
@click.option("--cap", default=60.0, help="seconds after which a question is interrupted")
@click.option("--keep/--delete", default=False, help="the files, afterwards")
@click.option("--reuse", is_flag=True, help="files that are there already")
def main(
    images: int,
    neurons: int,
    datasets: int,
    layouts: str,
    folder: Path,
    memory: str,
    rounds: int,
    cap: float,
    keep: bool,
    reuse: bool,
) -> None:
    size = Size(images, neurons, datasets)
    files = [FILES[name] for name in layouts.split(",")]
    folder.mkdir(parents=True, exist_ok=True)

    copies: dict[str, list[str]] = {}
    for file in files:
        if reuse and (folder / f"{file.name}.duckdb").exists():
            continue
        written = alone(write, file, size, folder, memory)
        for copy in file.copies:
            clock = written.clocks[copy]
            copies[f"{copy} ({label(file)})"] = [
                f"{clock.wall / datasets:.1f}",
                f"{clock.cpu / datasets:.1f}",
                f"{written.clocks['commit'].wall / datasets:.1f}",
                f"{written.bytes_copy[copy] / size.activations:.2f}",
                f"{written.bytes_file / size.activations:.2f}",
                f"{written.peak_mb:,.0f}",
            ]
        click.echo(f"written {file.name}", err=True)
    head = ["s a dataset", "CPU s", "commits s", "bytes a copy", "bytes in the file", "peak MB"]
    click.echo(markdown(head, copies) + "\n")

    # A column for every view, and one for every copy that answers questions about images itself.
    connections: dict[str, duckdb.DuckDBPyConnection] = {}
    questions: dict[str, dict[str, str]] = {}
    starts: dict[str, list[str]] = {"open": [], "fresh neuron": [], "fresh image": []}
    direct: list[str] = []
    for file in files:
        path = folder / f"{file.name}.duckdb"
        for copy in file.views:
            view = view_sql(copy, size)
            for name, seconds in zip(starts, alone(fresh, path, view, memory), strict=True):
                starts[name].append(f"{seconds * 1000:,.0f}")
            column = f"view on {copy} ({label(file)})"
            connections[column] = open_file(path, memory)
            connections[column].execute(f"create temp view activation as {view}")
            questions[column] = VIEW_QUESTIONS
        for copy in file.copies:
            if copy not in ("B", "C", "P"):
                column = f"{copy} ({label(file)})"
                direct.append(column)
                connections[column] = open_file(path, memory)
                questions[column] = image_questions(copy, size)

    results = {(c, q): Times() for c in connections for q in questions[c]}
    for round_ in range(rounds):
        for question in VIEW_QUESTIONS:
            for column, con in connections.items():
                times = results.get((column, question))
                slow = times and times.seconds and times.seconds[0] > 2
                if times and not slow:
                    ask(con, questions[column][question], cap, times)
        click.echo(f"round {round_ + 1}", err=True)

    def reference(question: str) -> float:
        sums = [t.sum for (_, q), t in results.items() if q == question and not math.isnan(t.sum)]
        return statistics.median_low(sums) if sums else math.nan

    def table(columns: list[str]) -> dict[str, list[str]]:
        asked = [q for q in VIEW_QUESTIONS if any((c, q) in results for c in columns)]
        return {q: [results[c, q].cell(reference(q)) for c in columns] for q in asked}

    views = [column for column in connections if column not in direct]
    click.echo(markdown(views, starts | table(views)) + "\n")
    click.echo(markdown(direct, table(direct)))
    for con in connections.values():
        con.close()
    if not keep:
        for file in files:
            (folder / f"{file.name}.duckdb").unlink()


if __name__ == "__main__":
    main()
