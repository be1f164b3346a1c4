"""Shards of several processes become one recording, the same as if one process had recorded it."""

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import deephys_sql as dp
from deephys_sql.errors import FileFormatError, InvalidInputError, NotFiniteError
from deephys_sql.formats.unfinished import made, remove_left

SHARDS = 3
IMAGES = 1300  # more than are read at once
CATEGORIES = ["cat", "dog", "owl"]

PROCESS = """
import sys
import numpy as np
import deephys_sql as dp
sys.path.insert(0, sys.argv[3])
from test_shards import CATEGORIES, IMAGES, SHARDS, everything, rows

data = everything()
shard = int(sys.argv[1])
with dp.ShardWriter(sys.argv[2], model="net/1", dataset="day", shard=shard, shards=SHARDS, categories=CATEGORIES) as writer:
    for first in range(shard, IMAGES, 100 * SHARDS):
        numbers = range(first, min(IMAGES, first + 100 * SHARDS), SHARDS)
        writer.add(numbers, **rows(data, list(numbers)))
"""


def everything():
    """What one process would record."""
    rng = np.random.default_rng(0)
    return {
        "activations": {"fc": rng.normal(size=(IMAGES, 6)).astype(np.float32), "conv": np.round(rng.normal(size=(IMAGES, 3)))},
        "logits": rng.normal(size=(IMAGES, 3)).astype(np.float32),
        "labels": rng.integers(-1, 3, IMAGES),
        "images": rng.integers(0, 256, (IMAGES, 2, 2, 3), np.uint8),
        "image_metadata": [{"camera": number} for number in range(IMAGES)],
    }


def rows(data, numbers):
    """The same of some images."""
    taken = {name: values[numbers] for name, values in data.items() if isinstance(values, np.ndarray)}
    taken["activations"] = {layer: matrix[numbers] for layer, matrix in data["activations"].items()}
    return taken | {"image_metadata": [data["image_metadata"][number] for number in numbers]}


def write(folder, shard, numbers, shards=2, **options):
    """Write one small shard."""
    count = len(numbers)
    given = {"activations": {"fc": np.ones((count, 4))}, "logits": np.eye(3)[np.arange(count) % 3], "labels": [0] * count}
    changed = {name: value for name, value in options.items() if name in (*given, "images")}
    others = {name: value for name, value in options.items() if name not in changed}
    with dp.ShardWriter(folder, **({"model": "net", "dataset": "day", "shard": shard, "shards": shards} | others)) as writer:
        writer.add(numbers, **(given | changed))


def test_two_writers_of_one_shard(tmp_path):
    """What a living writer has open is let be: a second one of the same shard is refused, and the first one's shard is whole."""
    writers = [dp.ShardWriter(tmp_path / "shards", model="net", dataset="day", shard=0, shards=1) for _ in range(2)]
    given = {"activations": {"fc": np.ones((600, 4))}, "logits": np.ones((600, 3))}  # more rows than wait for their file
    with writers[0] as first:
        first.add(range(600), **given)
        with pytest.raises(InvalidInputError, match="being written"), writers[1] as second:
            second.add(range(600), **given)
        first.add(range(600, 1200), **given)
    dp.import_parquet(tmp_path / "study.duckdb", tmp_path / "shards", progress=False)
    with dp.open(tmp_path / "study.duckdb") as store:
        assert store.sql("select images from recording").fetchall() == [(1200,)]


def test_a_writer_lets_other_processes_files_be(tmp_path):
    """Of the hidden files of a shard, those that nobody has open go; one that another process writes stays."""
    left = tmp_path / "shards/activation/model=net/layer=fc/dataset=day/.part-00000-of-00002.parquet.1.partial"
    left.parent.mkdir(parents=True)
    living = left.with_name(left.name.replace(".1.", ".2."))
    left.touch()
    with made(living, living.touch):
        write(tmp_path / "shards", 0, [0, 1])
        assert living.exists() and not left.exists()
    write(tmp_path / "shards", 1, [2, 3])
    assert living.exists(), "it is another shard's"


def test_a_folder_is_made_again_that_was_removed_before_its_lock(tmp_path):
    """Whoever takes a new folder for one left behind only delays its maker; one that is held is refused."""
    target, taken = tmp_path / "tree", []

    def make():
        folder.mkdir()
        if not taken:
            taken.append(folder.rmdir())

    folder = tmp_path / ".tree.1.partial"
    with made(folder, make):
        assert folder.exists() and taken
        remove_left(target)
        assert folder.exists()
        with pytest.raises(InvalidInputError, match="being written"), made(folder, folder.mkdir):
            pass
    remove_left(target)
    assert not folder.exists()


def test_processes_record_together(store, tmp_path, request):
    """Three processes that each take every third image give the recording that one gives."""
    here = str(request.path.parent)
    processes = [subprocess.Popen([sys.executable, "-c", PROCESS, str(n), str(tmp_path / "shards"), here]) for n in range(SHARDS)]
    assert [process.wait() for process in processes] == [0] * SHARDS
    dp.import_parquet(store, tmp_path / "shards", progress=False)
    assert store.check() == []
    with dp.open(tmp_path / "one.duckdb") as one:
        one.add_recording(model="net/1", dataset="day", categories=CATEGORIES, progress=False, **everything())
        for view in ("activation", "prediction", "image", "neuron_summary", "top_image", "category_response"):
            query = f"select * from {view} order by all"
            assert store.sql(query).fetchall() == one.sql(query).fetchall(), view
        checksum = "select checksum from recording"
        assert store.sql(checksum).fetchall() == one.sql(checksum).fetchall()


def lost(folder):
    write(folder, 0, [0, 1, 2])


def gap(folder):
    write(folder, 0, [0, 1, 2])
    write(folder, 1, [4, 5])


def twice(folder):
    write(folder, 0, [0, 1, 2])
    write(folder, 1, [2, 3])


def other_categories(folder):
    write(folder, 0, [0, 1], categories=["a", "b", "c"])
    write(folder, 1, [2, 3], categories=["a", "b", "d"])


def other_layers(folder):
    write(folder, 0, [0, 1])
    write(folder, 1, [2, 3], activations={"fc": np.ones((2, 4)), "conv": np.ones((2, 4))})


def other_widths(folder):
    write(folder, 0, [0, 1])
    write(folder, 1, [2, 3], activations={"fc": np.ones((2, 5))})


def other_number_of_shards(folder):
    write(folder, 0, [0, 1])
    write(folder, 1, [2, 3], shards=3)


def label_lost(folder):
    write(folder, 0, [0, 1])
    write(folder, 1, [2, 3], labels=None)


def label_of_nothing(folder):
    write(folder, 0, [0, 1])
    write(folder, 1, [2, 3], labels=[0, 9])


def out_of_order(folder):
    write(folder, 0, [0, 1, 2, 3], shards=1)
    path = next(folder.glob("activation/*/layer=fc/*/*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None).take([1, 0, 2, 3]), path)


def no_numbers(folder):
    write(folder, 0, [0, 1], shards=1)
    path = next(folder.glob("activation/*/layer=fc/*/*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["image"]), path)


def no_output(folder):
    write(folder, 0, [0, 1], shards=1)
    for part in ("activation/model=net/layer=output", "recording"):
        for path in (folder / part).rglob("*.parquet"):
            path.unlink()


REFUSED = {
    lost: r"2 shards belong to it, and these are here: \[0\]",
    gap: "image 3 is missing",
    twice: "image 2 comes twice, in part-00000-of-00002.parquet and part-00001-of-00002.parquet",
    other_categories: "disagree in categories",
    other_layers: "disagree in layers",
    other_widths: "different lengths",
    other_number_of_shards: "disagree in shards",
    label_lost: "same number of images",
    label_of_nothing: "label of image 3 is 9",
    out_of_order: "must ascend",
    no_numbers: "a column image",
    no_output: "neither a layer 'output'",
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_shards_that_do_not_fit_are_refused(store, tmp_path, case):
    """The error names the image, the shards and what they disagree in; nothing is written."""
    case(tmp_path / "shards")
    with pytest.raises(InvalidInputError, match=REFUSED[case]):
        dp.import_parquet(store, tmp_path / "shards", progress=False)
    assert store.models().fetchall() == [] and store.datasets().fetchall() == []


def test_a_shard_is_whole_or_not_there(tmp_path):
    """An exception in the block leaves no file; a shard that is there is not written over; what is wrong in a batch is said at once."""
    with pytest.raises(KeyboardInterrupt), dp.ShardWriter(tmp_path, model="m", dataset="d", shard=0, shards=1) as writer:
        writer.add(range(600), activations={"fc": np.ones((600, 2))}, logits=np.ones((600, 2)))
        raise KeyboardInterrupt
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    write(tmp_path, 0, [0])
    with pytest.raises(InvalidInputError, match="is there already"):
        write(tmp_path, 0, [0])
    with pytest.raises(InvalidInputError, match="with one model only"):
        write(tmp_path, 0, [0], model="other")
    for error, message, numbers, options in (
        (NotFiniteError, "image 7, neuron 1 is nan", [5, 7], {"activations": {"fc": [[0, 0], [0, np.nan]]}}),
        (InvalidInputError, "must ascend", [5, 5], {}),
        (InvalidInputError, "3 image numbers", [5, 6, 7], {"activations": {}, "logits": np.eye(2), "labels": [0, 0]}),
        (InvalidInputError, "less than shards", [0], {"shards": 1}),
    ):
        with pytest.raises(error, match=message):
            write(tmp_path, 1, numbers, **options)


def test_files_that_other_programs_write(store, tmp_path):
    """The documented columns are enough: images and values, labels, encoded pictures; predictions where there are no logits."""
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (255, 0, 0)).save(buffer, "PNG")
    for place, columns in {
        "activation/model=net/layer=fc/dataset=day": {"values": [[1.0, 2.0]] * 3},
        "prediction/model=net/dataset=day": {"predicted": [1, 0, 1]},
        "image/dataset=day": {"label": [1, 1, None], "picture": [buffer.getvalue()] * 3, "metadata": ['{"a": 1}', None, None]},
        "recording/model=net/dataset=day": None,
    }.items():
        if columns is not None:
            (tmp_path / place).mkdir(parents=True)
            pq.write_table(pa.table({"image": pa.array([0, 1, 2], pa.int64()), **columns}), tmp_path / place / "mine.parquet")
    with pytest.raises(InvalidInputError, match="categories of model 'net' are not known"):
        dp.import_parquet(store, tmp_path, progress=False)
    store.add_recording(
        model="net", dataset="night", activations={"fc": np.eye(2)}, predictions=[0, 1], categories=["a", "b"], progress=False
    )
    dp.import_parquet(store, tmp_path, progress=False)
    found = store.sql("select label, width, height, metadata from image where dataset = 'day' order by image").fetchall()
    assert found == [(1, 5, 4, '{"a": 1}'), (1, 5, 4, None), (None, 5, 4, None)]
    assert store.sql("select predicted from prediction where dataset = 'day' order by image").fetchall() == [(1,), (0,), (1,)]
    assert store.check() == []


def test_nothing_but_images(store, tmp_path):
    """A folder without activations says what is looked for."""
    (tmp_path / "image" / "dataset=day").mkdir(parents=True)
    pq.write_table(pa.table({"image": [0]}), tmp_path / "image" / "dataset=day" / "a.parquet")
    with pytest.raises(FileFormatError, match="no activations"):
        dp.import_parquet(store, tmp_path, progress=False)
