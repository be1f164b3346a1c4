"""A recording process that is killed at any moment leaves the store whole."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

import deephys_sql as dp
from deephys_sql.errors import StoreLockedError

KILLS = {False: 16, True: 6}  # recording on a copy, and in place

# Records dataset after dataset, each of several blocks and in its own way, and tells of each when it is done.
RECORDER = """
import sys
import numpy as np
import deephys_sql as dp

with dp.open(sys.argv[1], in_place=sys.argv[3] == "True") as store:
    known = {name for (name,) in store.sql("select dataset from dataset").fetchall()}
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        name = f"{sys.argv[2]}-{number}"
        random = np.random.default_rng([int(sys.argv[2]), number])
        images = int(random.integers(2, 6)) * 1000
        replaced = min(known) if known and number % 3 == 0 else None
        print("begin", replaced or name, flush=True)
        store.add_recording(
            model="net",
            dataset=replaced or name,
            activations={
                "fc": (random.normal(size=(1000, 12)) for _ in range(images // 1000)),
                "tail": random.normal(size=(images, 3)),
            },
            logits=random.normal(size=(images, 3)),
            labels=random.integers(-1, 3, images),
            images=random.integers(0, 256, (images, 4, 4)).astype(np.uint8) if number % 2 or replaced else None,
            replace=replaced is not None,
            progress=False,
        )
        known.add(name)
        (checksum,) = store.sql("select checksum from recording where dataset = $name", name=replaced or name).fetchall()[0]
        print("done", replaced or name, checksum, flush=True)
"""


def killed(path: Path, turn: int, delay: float, in_place: bool, recordings: int = 0) -> list[list[str]]:
    """Let the recorder work for some recordings and a while after, kill it, and return what it said."""
    command = [sys.executable, "-c", RECORDER, path, str(turn), str(in_place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        while recordings:
            line = process.stdout.readline()
            assert line, "the recorder ended"
            recordings -= line.startswith("done")
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines()
        assert process.wait() == -signal.SIGKILL
    return [line.split() for line in lines if line]


def used_and_size(path: Path) -> tuple[int, int]:
    """Bytes that hold something, and bytes of the file, after a checkpoint."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("checkpoint")
        used, block_size = connection.execute("select used_blocks, block_size from pragma_database_size()").fetchone()
    return used * block_size, path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("in_place", KILLS)
def test_killed_while_recording(tmp_path: Path, record_property, in_place: bool) -> None:
    """After each kill -9, in the middle of a recording or of its end, every recording that was told of is there and whole,
    no part of another one is, and dead space doesn't pile up in the file."""
    path = tmp_path / "study.duckdb"
    dp.open(path).close()
    told: dict[str, str] = {}
    in_the_middle = unexpected = 0
    started = time.monotonic()
    killed(tmp_path / "other.duckdb", 0, 0, in_place, recordings=2)  # how long one takes, on this machine, as busy as it is
    one = (time.monotonic() - started) / 3
    sizes = []
    moments = random.Random(0)
    for turn in range(KILLS[in_place]):
        said = killed(path, turn, moments.uniform(0.0, 2.5 * one), in_place)
        told |= {words[1]: words[2] for words in said if words[0] == "done"}
        begun = said[-1][1] if said and said[-1][0] == "begin" else None
        in_the_middle += begun is not None
        with dp.open(path, read_only=turn % 2 == 0) as store:
            found = dict(store.sql("select dataset, checksum from recording").fetchall())
            # The one that was begun may have been committed though not told of: then it is whole as well.
            if begun is not None and found.get(begun) not in (None, told.get(begun)):
                unexpected += 1
                told[begun] = found[begun]
            assert found == told
            assert {name for (name,) in store.sql("select dataset from dataset").fetchall()} == set(told)
            assert store.check() == [], f"after kill {turn}"
            assert store.sql("select distinct status from recording where status != 'complete'").fetchall() == []
        sizes.append(used_and_size(path))
    assert in_the_middle >= KILLS[in_place] // 2, "too few kills met a recording: choose other delays"
    used, size = sizes[-1]
    print(f"\n{in_the_middle} kills in the middle, {unexpected} between commit and telling; {len(told)} recordings; used, size: {sizes}")
    record_property("sizes", sizes)
    assert size < 1.5 * used + 10_000_000


WRITERS = {
    "export parquet": ("parquet_export.read_images", "dp.export_parquet('study.duckdb', 'tree', progress=False)"),
    "export deephys": ("deephys_export._Export._write_images", "dp.export_deephys('study.duckdb', 'net', 'tree', progress=False)"),
    "shard": (
        "shards.ShardWriter._finish",
        """
with dp.ShardWriter('tree', model='net', dataset='day', shard=0, shards=1) as shard:
    shard.add(range(600), activations={'fc': np.ones((600, 2))}, logits=np.ones((600, 2)), labels=[0] * 600)
""",
    ),
}
STOPS = """
import sys, unittest.mock, numpy as np, deephys_sql as dp
from deephys_sql.formats import deephys_export, parquet_export, shards

def stop(*_):
    print("half", flush=True)
    sys.stdin.read()

with unittest.mock.patch("deephys_sql.formats." + sys.argv[1], stop):
    exec(sys.argv[2])
"""


@pytest.mark.parametrize("what", WRITERS)
def test_what_killed_writers_of_files_leave(tmp_path: Path, monkeypatch, what: str) -> None:
    """A writer of files that is killed leaves nothing that is taken for whole, and the next one removes what it left; what a living
    export is writing stays."""
    monkeypatch.chdir(tmp_path)
    with dp.open("study.duckdb") as store:
        given = {"activations": {"fc": np.ones((9, 5))}, "logits": np.eye(9)[:, :3], "labels": [0] * 9}
        store.add_recording(model="net", dataset="day", progress=False, **given)
    stopped_at, statement = WRITERS[what]
    command = [sys.executable, "-c", STOPS, stopped_at, statement]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        left = {path for path in tmp_path.rglob("*.partial")}
        assert left and not [path for path in tmp_path.rglob("part-*") if ".partial" not in str(path)]
        if what == "export parquet":
            exec(statement)
            assert left <= set(tmp_path.rglob("*.partial"))
            shutil.rmtree("tree")
        process.kill()
    assert left <= set(tmp_path.rglob("*.partial"))
    exec(statement)
    assert list(tmp_path.rglob("*.partial")) == [] and list(tmp_path.rglob("*.*"))


HALF = """
import sys, numpy as np, deephys_sql as dp

def batches():
    yield np.ones((3000, 50))
    print("half", flush=True)
    sys.stdin.read()

with dp.open(sys.argv[1]) as store:
    store.add_recording(model="net", dataset="new", activations={"fc": batches()}, predictions=[0] * 6000, categories=["a"], progress=False)
"""


def test_the_file_is_not_touched_before_the_end(tmp_path: Path) -> None:
    """While a recording is under way, and when it is killed, not a byte of the store changes; the next writer clears up."""
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        store.add_recording(model="net", dataset="old", activations={"fc": np.ones((9, 50))}, predictions=[0] * 9, categories=["a"])
    before = path.read_bytes()
    command = [sys.executable, "-c", HALF, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        assert path.read_bytes() == before and path.with_name("study.duckdb.writing").exists()
        with pytest.raises(StoreLockedError, match=rf"\b{process.pid}\b"), dp.open(path) as store:
            store.set_reference("net", "old")
        process.kill()
    assert path.read_bytes() == before
    with dp.open(path, read_only=True) as store:
        assert [row[1] for row in store.sql("select model, dataset from recording").fetchall()] == ["old"]
    assert path.with_name("study.duckdb.writing").exists()
    with dp.open(path) as store:
        store.set_reference("net", "old")
        assert store.check() == []
    assert [p.name for p in tmp_path.iterdir()] == ["study.duckdb"]
