"""The file: opened, refused, migrated, locked, checked, full, and written in transactions."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import deephys_sql as dp
from deephys_sql import assets
from deephys_sql.errors import (
    InvalidInputError,
    NotAStoreError,
    QueryError,
    ReadOnlyError,
    RecordingInProgressError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
    StoreVersionError,
    UnknownNameError,
)


def record(store: dp.Store, dataset: str = "test", count: int = 20, neurons: int = 80, **changes: Any) -> None:
    random = np.random.default_rng(count)
    store.add_recording(
        **{
            "model": "net",
            "dataset": dataset,
            "activations": {"fc": random.normal(size=(count, neurons))},
            "logits": random.normal(size=(count, 3)),
            "labels": random.integers(-1, 3, count),
            "images": random.integers(0, 256, (count, 3, 4)).astype(np.uint8),
            "image_metadata": [{"number": i} for i in range(count)],
            "progress": False,
        }
        | changes
    )


def contents(store: dp.Store) -> dict[str, list[Any]]:
    tables = [name for (name,) in store.sql("select table_name from duckdb_tables() order by 1").fetchall()]
    return {name: sorted(map(repr, store.sql(f'select * from "{name}"').fetchall())) for name in tables}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "study.duckdb"
    with dp.open(path) as store:
        record(store)
        record(store, "night", count=30)
    return path


@pytest.fixture
def path(recorded: Path, tmp_path: Path) -> Path:
    """A closed store with two recordings."""
    return Path(shutil.copy(recorded, tmp_path))


# --- Opening -----------------------------------------------------------------------------------------------------------


def test_create(tmp_path: Path) -> None:
    """Opening a path where nothing is makes an empty store, in one file, which opens again, from a text or a Path."""
    path = tmp_path / "study.duckdb"
    with dp.open(str(path)) as store:
        assert [r.fetchall() for r in (store.models(), store.datasets(), store.recordings())] == [[], [], []]
        assert store.check() == []
    assert [p.name for p in tmp_path.iterdir()] == ["study.duckdb"]
    with dp.open(path) as store:
        assert store.sql("select count(*) from stored_migration").fetchall() == [(len(list(assets.folder("migrations").glob("*.sql"))),)]
    with dp.open(path, read_only=True) as store:
        assert store.check() == []


def test_what_was_recorded_is_there_again(path: Path) -> None:
    """A store that is closed and opened holds what it held, and one file holds all of it."""
    with dp.open(path) as store:
        before = contents(store)
    with dp.open(path, read_only=True) as store:
        assert contents(store) == before
        assert [row[0] for row in store.datasets().fetchall()] == ["night", "test"]
        assert store.check() == []
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_closed_store(path: Path) -> None:
    """Leaving the block gives the file free; asking a closed store is an error of ours."""
    with dp.open(path) as store:
        pass
    with duckdb.connect(str(path)):
        pass
    for ask in (
        lambda: store.sql("select 1"),
        lambda: store.query("recordings"),
        store.check,
        store.embed_annotations,
        lambda: store.annotate(dataset="d", image=0, note="n"),
        lambda: store.set_reference("net", "d"),
        lambda: record(store, "new"),
    ):
        with pytest.raises(QueryError, match=r"study\.duckdb was closed. Use it inside"):
            ask()
    store.close()


def test_read_only(path: Path) -> None:
    """A store opened read-only is read and not written: no recording, no reference, no SQL that writes, not one byte."""
    before = path.read_bytes()
    with dp.open(path, read_only=True) as store:
        assert "read-only" in repr(store)
        assert store.query("top_images", model="net", layer="fc", neuron=0, dataset="test").fetchall()
        with pytest.raises(ReadOnlyError, match="read-only"):
            record(store, "new")
        with pytest.raises(ReadOnlyError, match="read-only"):
            store.set_reference("net", "night")
        with pytest.raises(QueryError):
            store.sql("delete from stored_prediction")
    assert path.read_bytes() == before


def test_missing(tmp_path: Path) -> None:
    """Read-only needs a file, writing needs a folder; each is named, and nothing is made."""
    with pytest.raises(StoreNotFoundError, match=r"none\.duckdb"):
        dp.open(tmp_path / "none.duckdb", read_only=True)
    with pytest.raises(StoreNotFoundError, match="no/such"):
        dp.open(tmp_path / "no" / "such" / "study.duckdb")
    with pytest.raises(StoreNotFoundError, match=r"none\.duckdb"):
        dp.migrate(tmp_path / "none.duckdb")
    with pytest.raises(StoreNotFoundError):
        dp.migrate(tmp_path / "no" / "such" / "study.duckdb")
    assert list(tmp_path.iterdir()) == []


def text_file(path: Path) -> None:
    path.write_text("neuron,image,value\n0,0,1.5\n")


def empty_file(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()


def sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table model (name)")
    connection.commit()
    connection.close()


def random_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def damaged_database(path: Path) -> None:
    duckdb.connect(str(path)).close()
    whole = bytearray(path.read_bytes())
    whole[20:5000] = bytes(4980)
    path.write_bytes(whole)


def half_a_database(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t as select range as i, hash(range) as h from range(1000000)")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def other_table(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table customer (name varchar); insert into customer values ('Ada')")


def other_view(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create view sales as select 1 as price")


def other_macro(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create macro twice(x) as 2 * x")


def other_schema(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema shop; create view shop.sales as select 1 as price")


NOT_STORES = [
    text_file, empty_file, folder, sqlite_file, random_bytes, damaged_database, half_a_database, other_table, other_view, other_macro,
    other_schema,
]  # fmt: skip


@pytest.mark.parametrize("make", NOT_STORES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("how", ["open", "read only", "migrate"])
def test_not_a_store(tmp_path: Path, make: Any, how: str) -> None:
    """What is no store is refused by its name, and not a byte of it is changed."""
    path = tmp_path / "study.duckdb"
    make(path)
    before = None if path.is_dir() else path.read_bytes()
    action = {"open": dp.open, "read only": lambda p: dp.open(p, read_only=True), "migrate": dp.migrate}[how]
    with pytest.raises(NotAStoreError, match=r"study\.duckdb"):
        action(path)
    assert path.is_dir() if before is None else path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["study.duckdb"]


NAMES = [
    "activation.duckdb", "stored_activation.db", "main", "model", "memory.duckdb", "temp.duckdb", "system", "information_schema",
    "select.duckdb", "my study.duckdb", "it's \"mine\".duckdb", "naïve 数据 🙂.duckdb", "a.b.c", "q?x=1.duckdb", "100%41.duckdb",
    "*[ab].duckdb", "$HOME;.duckdb", "-x.duckdb", "results.csv", ":memory:", "study.wal",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A store may be called anything, like one of its tables too, in a folder called anything; it is a file of that name."""
    here = tmp_path / "a folder, naïve's"
    here.mkdir()
    monkeypatch.chdir(here)
    with dp.open(name) as store:
        record(store)
        assert store.sql("select count(*) from activation").fetchall() == [(20 * 83,)]
        assert store.query("top_images", model="net", layer="fc", neuron=0, dataset="test").fetchall()
    assert (here / name).is_file()
    with dp.open(here / name, read_only=True) as store:
        assert store.check() == []
        assert store.sql("select images from recording").fetchall() == [(20,)]


def test_home_folder_and_dots(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, dots and links lead to the store."""
    monkeypatch.chdir(path.parent)
    (path.parent / "sub").mkdir()
    (path.parent / "link.duckdb").symlink_to(path.name)
    for way in (path.name, f"./sub/../{path.name}", "link.duckdb"):
        with dp.open(way) as store:
            assert len(store.recordings().fetchall()) == 2


# --- Open elsewhere ----------------------------------------------------------------------------------------------------

HOLDER = """
import sys, duckdb, deephys_sql as dp
how = {"writing": {}, "read only": {"read_only": True}, "in place": {"in_place": True}}
with duckdb.connect(sys.argv[1]) if sys.argv[2] == "plain" else dp.open(sys.argv[1], **how[sys.argv[2]]) as store:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Any]:
    """Opens a store in another process until the test is over."""
    holders = []

    def start(path: Path, how: str) -> int:
        command = [sys.executable, "-c", HOLDER, str(path), how]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert holders[-1].stdout.readline() == b"open\n"
        return holders[-1].pid

    yield start
    for holder in holders:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


@pytest.mark.parametrize("how", ["in place", "plain"])
def test_written_in_place_elsewhere(path: Path, hold: Any, how: str) -> None:
    """A file that another process writes itself, with this package or plain DuckDB, is refused with that process's number."""
    pid = hold(path, how)
    for action in (dp.open, lambda p: dp.open(p, read_only=True), lambda p: dp.open(p, in_place=True), dp.migrate):
        with pytest.raises(StoreLockedError, match=rf"(?s)study\.duckdb.*\b{pid}\b"):
            action(path)


def test_written_in_place_here(path: Path, hold: Any) -> None:
    """What is written in place is open for nobody else, and isn't while somebody reads; then everything is as ever."""
    pid = hold(path, "read only")
    with pytest.raises(StoreLockedError, match=rf"\b{pid}\b"):
        dp.open(path, in_place=True)
    own = Path(shutil.copy(path, path.with_name("own.duckdb")))
    with dp.open(own, in_place=True) as store:
        inode = own.stat().st_ino
        record(store, "more")
        store.set_reference("net", "more")
        assert own.stat().st_ino == inode
        for others in ({}, {"read_only": True}, {"in_place": True}):
            with pytest.raises(StoreLockedError, match=rf"process {os.getpid()}\b"):
                dp.open(own, **others)
        with pytest.raises(InvalidInputError), store.record(None, "net", "x", layers=[]):
            pass
    with dp.open(own, read_only=True) as store:
        assert len(store.recordings().fetchall()) == 3 and store.check() == []
    assert not own.with_name("own.duckdb.lock").exists()
    with pytest.raises(InvalidInputError):
        dp.open(own, read_only=True, in_place=True)


@pytest.mark.parametrize("how", ["writing", "read only"])
def test_open_elsewhere(path: Path, hold: Any, how: str) -> None:
    """However many processes have a store open, in whatever way, one records into it."""
    hold(path, how), hold(path, how)
    with dp.open(path) as store:
        record(store, "more")
        assert len(store.recordings().fetchall()) == 3
    with dp.open(path, read_only=True) as store:
        assert len(store.recordings().fetchall()) == 3 and store.check() == []


def test_plain_duckdb_does_not_write_what_is_open(path: Path) -> None:
    """While a store is open, also during and after a recording that failed, plain DuckDB in another process may read but not write."""
    program = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'read')"

    def plain(how: str) -> str:
        return subprocess.run([sys.executable, "-c", program, path, how], capture_output=True, text=True).stderr

    tries = []

    def batches() -> Iterator[np.ndarray]:
        tries.append(plain("write"))
        yield np.ones((20, 20))
        raise KeyError("enough")

    with dp.open(path) as store:
        with pytest.raises(KeyError, match="enough"):
            record(store, "more", count=40, activations={"fc": batches()})
        tries += [plain("write")]
        record(store, "more")
        tries += [plain("write")]
        assert plain("read") == ""
    assert len(tries) == 3 and all(f"PID {os.getpid()}" in answer for answer in tries)
    assert plain("write") == ""


# --- Schema versions ---------------------------------------------------------------------------------------------------

NEXT = "create table stored_note (text varchar); insert into stored_note values ('migrated');"


@pytest.fixture
def sql_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the package's `migrations` and `queries`, used instead of them."""
    copy = tmp_path_factory.mktemp("sql_files")
    for name in ("migrations", "queries"):
        shutil.copytree(assets.folder(name), copy / name)
    monkeypatch.setattr(assets, "folder", lambda name: copy / name)
    return copy


def number(sql_files: Path) -> int:
    """The number of the last migration."""
    return max(int(file.name[:4]) for file in (sql_files / "migrations").glob("*.sql"))


def test_newer_schema(path: Path, sql_files: Path) -> None:
    """A store made by a newer version is refused, read-only too, and left alone; the message says to upgrade."""
    file = sql_files / "migrations" / f"{number(sql_files) + 1:04d}_note.sql"
    file.write_text(NEXT)
    dp.migrate(path)
    file.unlink()
    before = path.read_bytes()
    for action in (dp.open, lambda p: dp.open(p, read_only=True), dp.migrate):
        with pytest.raises(StoreVersionError, match=r"(?s)study\.duckdb.*_note.*newer.*[Uu]pgrade"):
            action(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["-- a comment\n", "create table stored_more (x integer);\n"])
def test_altered_migration(path: Path, sql_files: Path, change: str) -> None:
    """A migration that was altered after it was applied is noticed, by name, and nothing is changed."""
    file = sorted((sql_files / "migrations").glob("*.sql"))[0]
    file.write_text(file.read_text() + change)
    before = path.read_bytes()
    for action in (dp.open, lambda p: dp.open(p, read_only=True), dp.migrate):
        with pytest.raises(StoreVersionError, match=rf"(?s)study\.duckdb.*{file.stem}"):
            action(path)
    assert path.read_bytes() == before


def test_older_schema(path: Path, sql_files: Path) -> None:
    """An older store is not changed by opening it: the message says how to migrate, which keeps the old file."""
    with dp.open(path) as store:
        recordings = contents(store)
    (sql_files / "migrations" / f"{number(sql_files) + 1:04d}_note.sql").write_text(NEXT)
    (sql_files / "migrations" / f"{number(sql_files) + 1:04d}_more.sql").write_text("insert into stored_note values ('twice');")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreVersionError, match=r"(?s)study\.duckdb.*older.*deephys-sql migrate"):
            dp.open(path, read_only=read_only)
    assert path.read_bytes() == before

    backup = dp.migrate(path)
    assert backup.parent == path.parent and backup.name.startswith(path.name)
    assert backup.read_bytes() == before
    with dp.open(path) as store:
        assert store.sql("select text from stored_note order by 1").fetchall() == [("migrated",), ("twice",)]
        assert store.sql("select version, name from stored_migration order by 1").fetchall()[-1][0] == number(sql_files)
        after = contents(store)
        assert {name: rows for name, rows in after.items() if name not in ("stored_note", "stored_migration")} == {
            name: rows for name, rows in recordings.items() if name != "stored_migration"
        }
        assert store.check() == []
        record(store, "new")
    assert dp.migrate(path) is None
    shutil.rmtree(sql_files / "migrations")
    shutil.copytree(Path(assets.__file__).parent.parent / "migrations", sql_files / "migrations")
    with dp.open(backup) as store:
        assert len(store.recordings().fetchall()) == 2 and store.check() == []


def test_migration_that_fails(path: Path, sql_files: Path) -> None:
    """A migration that fails leaves the store as it was, to the byte, and nothing beside it."""
    before = path.read_bytes()
    broken = sql_files / "migrations" / f"{number(sql_files) + 1:04d}_broken.sql"
    broken.write_text("drop table stored_prediction; create table x (y integer); select * from nothing;")
    with pytest.raises(Exception, match="nothing"):
        dp.migrate(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["study.duckdb"]


def test_new_store_gets_all_migrations(tmp_path: Path, sql_files: Path) -> None:
    """A new store is made by all migrations, without a backup, whatever their order in the folder."""
    (sql_files / "migrations" / f"{number(sql_files) + 1:04d}_note.sql").write_text(NEXT)
    with dp.open(tmp_path / "new.duckdb") as store:
        assert store.sql("select text from stored_note").fetchall() == [("migrated",)]
    assert [p.name for p in tmp_path.iterdir()] == ["new.duckdb"]


def test_views_are_replaced(path: Path, sql_files: Path) -> None:
    """When a view or macro changes, appears or disappears, opening the store for writing makes the store's the same; read-only, the
    message says what does."""
    views = sql_files / "queries" / "views"
    kept = {file.name: file.read_text() for file in views.glob("*.sql")}
    (views / "90_more.sql").write_text("create view dog as select 'wuff' as says;\ncreate macro twice(x) as 2 * x;\n")
    with dp.open(path) as store:
        assert store.sql("select says, twice(4) from dog").fetchall() == [("wuff", 8)]
    (views / "90_more.sql").write_text("create view dog as select 'woof' as says, 3 as legs;\n")
    with pytest.raises(StoreVersionError, match=r"(?s)study\.duckdb has views.*deephys-sql migrate .*study\.duckdb`"):
        dp.open(path, read_only=True)
    dp.migrate(path)
    with dp.open(path, read_only=True) as store:
        assert store.sql("select * from dog").fetchall() == [("woof", 3)]
        with pytest.raises(QueryError):
            store.sql("select twice(4)").fetchall()
    (views / "90_more.sql").unlink()
    with dp.open(path) as store:
        with pytest.raises(QueryError):
            store.sql("select * from dog").fetchall()
        for name in kept:
            assert (views / name).exists()
        assert store.sql("select count(*) from activation").fetchall() == [(50 * 83,)]
        assert store.query("top_images", model="net", layer="fc", neuron=0, dataset="test").fetchall()


# --- Check -------------------------------------------------------------------------------------------------------------

# Of the first recording, layer 1 has the pieces 1 (neurons 0 to 63) and 2 (64 to 79), and the output has 3.
ROW = "select * {} from stored_activation where piece = 1 and image = 7"
FOURTH = (
    "update stored_activation set values = list_transform(values, lambda v, i: if(i = 4, {}, v))::float[64] where piece = 1 and image = 7"
)
NEURON = "where recording_id = 1 and layer_id = 1 and neuron = 3"
TAMPERINGS = {
    "one activation": FOURTH.format("v + 1"),
    "its last bit": FOURTH.format("v * 1.0000001::float"),
    "an activation that is no number": FOURTH.format("'nan'::float"),
    "an activation that is NULL": FOURTH.format("null"),
    "activations of neurons exchanged": "update stored_activation set values = list_reverse(values)::float[64] where piece = 1",
    "a row deleted": "delete from stored_activation where piece = 2 and image = 7",
    "a row twice": f"insert into stored_activation {ROW.format('')}",
    "a row in another's place": "update stored_activation set image = 8 where piece = 1 and image = 7",
    "pieces exchanged": "update stored_activation set piece = 3 - piece where piece in (1, 2)",
    "pieces of two layers exchanged": "update stored_activation set piece = 4 - piece where piece in (1, 3)",
    "images exchanged": "update stored_activation set image = 9 - image where piece = 1 and image in (4, 5)",
    "a layer's activations deleted": "delete from stored_activation where piece in (1, 2)",
    "an activation of no image": f"insert into stored_activation {ROW.format('replace (20 as image)')}",
    "an activation before the first image": f"insert into stored_activation {ROW.format('replace (-1 as image)')}",
    "the place of a neuron": f"update stored_neuron set element = element + 1 {NEURON}",
    "the piece of a neuron": f"update stored_neuron set piece = 2 {NEURON}",
    "a neuron deleted": f"delete from stored_neuron {NEURON}",
    "a neuron twice": f"insert into stored_neuron from stored_neuron {NEURON}",
    "a maximum in the reference": f"update stored_neuron set reference_max = 2 * reference_max {NEURON}",
    "the pieces of a layer": "update stored_piece set first_piece = 2 where recording_id = 1 and layer_id = 1",
    "the pieces of a layer deleted": "delete from stored_piece where recording_id = 1 and layer_id = 1",
    "a number beyond the layer's neurons": "update stored_activation set values = list_concat(values[:63], [1])::float[64] "
    "where image = 7 and piece = (select max(piece) from stored_neuron where recording_id = 1 and layer_id = 1)",
    "pieces of no recording": "insert into stored_piece values (9, 1, 1000)",
    "the pieces of a layer twice": "insert into stored_piece from stored_piece where recording_id = 1 and layer_id = 1",
    "a prediction deleted": "delete from stored_prediction where recording_id = 1 and image = 7",
    "a prediction changed": "update stored_prediction set predicted = (predicted + 1) % 3 where recording_id = 1 and image = 7",
    "a label beside a prediction": "update stored_prediction set label = coalesce(label, -1) + 1 where recording_id = 1 and image = 7",
    "a name beside a prediction": "update stored_prediction set label_name = 'x' where recording_id = 1 and image = 7",
    "a prediction twice": "update stored_prediction set image = 8 where recording_id = 1 and image = 7",
    "an image deleted": "delete from stored_image where dataset_id = 1 and image = 7",
    "an image twice": "insert into stored_image select * from stored_image where dataset_id = 1 and image = 7",
    "a summary deleted": "delete from stored_neuron_summary where recording_id = 1 and layer_id = 1 and neuron = 0",
    "a count of a histogram": "update stored_histogram set images = list_append(images, 1) where recording_id = 1 and neuron = 2",
    "a histogram deleted": "delete from stored_histogram where recording_id = 1 and layer_id = 1 and neuron = 2",
    "an example changed": "update stored_example set image = (image + 1) % 20 where recording_id = 1 and place = 4 and rank = 2",
    "an example twice": "insert into stored_example select * from stored_example where recording_id = 1 and place = 4 and neuron = 0",
    "a label beside a top image": "update stored_top_image set label = coalesce(label, -1) + 1 where recording_id = 1 and rank = 2",
    "a name beside a top image": "update stored_top_image set predicted_name = 'x' where recording_id = 1 and rank = 2",
    "a norm changed": "update stored_image_norm set norm = norm * (1 + 1e-11) where recording_id = 1 and layer_id = 1 and image = 7",
    "a norm deleted": "delete from stored_image_norm where recording_id = 1 and layer_id = 1 and image = 7",
    "a norm twice": "insert into stored_image_norm select * from stored_image_norm where recording_id = 1 and image = 7",
    "the count of images": "update stored_dataset set images = 21 where dataset_id = 1",
    "a recording deleted": "delete from stored_recording where recording_id = 1",
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_check_finds(path: Path, what: str) -> None:
    """check() says in a sentence what plain DuckDB changed behind the package's back, and nothing of the other recording."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(TAMPERINGS[what])
    with dp.open(path, read_only=True) as store:
        problems = store.check()
    assert problems
    for problem in problems:
        assert problem.endswith(".")
        assert "night" not in problem
        assert "test" in problem or what in ("a recording deleted", "pieces of no recording")


@pytest.mark.parametrize(
    ("table", "column"), [("stored_image", "thumbnail"), ("stored_prediction", "top_probabilities"), ("stored_activation", "values")]
)
def test_check_finds_a_damaged_block(tmp_path: Path, table: str, column: str) -> None:
    """Bytes that changed on the disk are found wherever they lie, also where no checksum of ours goes over them."""
    rng = np.random.default_rng(0)
    path = tmp_path / "study.duckdb"
    with dp.open(path) as store:
        store.add_recording(
            model="net", dataset="test", activations={"fc": rng.normal(size=(500, 100))}, logits=rng.normal(size=(500, 40)),
            images=rng.integers(0, 256, (500, 16, 16, 3), np.uint8), progress=False,
        )  # fmt: skip
        blocks = "select max(block_id) from pragma_storage_info($table) where column_name = $column and segment_type not in ('VALIDITY')"
        ((block,),) = store.sql(blocks, table=table, column=column).fetchall()
    content = bytearray(path.read_bytes())
    content[3 * 4096 + block * 65_536 + 30_000] ^= 1
    path.write_bytes(content)
    with dp.open(path, read_only=True) as store:
        (problem,) = store.check()
    assert problem.startswith("the file can't be read whole: Corrupt database file")
    with pytest.raises(duckdb.Error, match="Corrupt database file"):
        dp.export_parquet(path, tmp_path / "tree", progress=False)


def test_rows_may_lie_in_any_order(path: Path) -> None:
    """Activations that another program wrote again in another order are read as they were: nothing relies on where rows lie."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("create temp table rows as from stored_activation order by hash(piece, image)")
        connection.execute("delete from stored_activation; insert into stored_activation from rows")
    with dp.open(path) as store:
        assert store.check() == []
        ((neurons,),) = store.sql("select neurons from layer where layer = 'fc'").fetchall()
        store.add_directions("fc", "same", np.eye(neurons), progress=False)
        assert store.check() == []
        text = "select dataset, image, neuron, value from activation where layer = $layer order by all"
        assert store.sql(text, layer="same").fetchall() == store.sql(text, layer="fc").fetchall()


def test_check_of_a_store_that_is_whole(path: Path) -> None:
    """A store that nobody touched has no problems, during a recording too."""
    with dp.open(path) as store:
        assert store.check() == []
        store.set_reference("net", "night")
        assert store.check() == []


# --- A full disk -------------------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import numpy as np
import deephys_sql as dp
from deephys_sql.errors import StoreFullError

path, limit, images = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
random = np.random.default_rng(0)
try:
    with dp.open(path) as store:
        store.add_recording(
            model="net", dataset="large", activations={"wide": (random.normal(size=(1000, 200)) for _ in range(images // 1000))},
            logits=random.normal(size=(images, 3)), progress=False,
        )
except StoreFullError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("images", [2000, 20_000])
def test_file_too_large(path: Path, images: int) -> None:
    """When the file may not grow, the recording fails with a word on room, and the earlier ones are intact on reopening."""
    with dp.open(path) as store:
        before = contents(store)
    limit = path.stat().st_size + 1_500_000
    done = subprocess.run([sys.executable, "-c", LIMITED, path, str(limit), str(images)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 7, done.stdout + done.stderr
    assert str(path) in done.stdout and "room" in done.stdout
    with dp.open(path) as store:
        assert contents(store) == before
        assert store.check() == []
        record(store, "large", count=3000)
        assert store.check() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_full_while_recording(small_disk: Path, path: Path) -> None:
    """A recording that does not fit on the disk is refused by name; the store is as before, and works once there is room."""
    store_path = Path(shutil.copy(path, small_disk))
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - store_path.stat().st_size - 4_000_000))
    with dp.open(store_path) as store:
        before = contents(store)
        random = np.random.default_rng(0)
        large = {"wide": (random.normal(size=(1000, 300)) for _ in range(30))}
        with pytest.raises(StoreFullError, match=r"(?s)study\.duckdb.*room|room.*study\.duckdb"):
            record(store, "large", count=30_000, activations=large, images=None)
    (small_disk / "ballast").unlink()
    with dp.open(store_path) as store:
        assert contents(store) == before
        assert store.check() == []
        record(store, "small")
        assert store.check() == []


def test_no_room_for_a_new_store(small_disk: Path) -> None:
    """A store that does not fit on the disk is not made: the message speaks of room."""
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(StoreFullError, match="room"):
        dp.open(small_disk / "new.duckdb")
    (small_disk / "ballast").unlink()
    with dp.open(small_disk / "other.duckdb") as store:
        assert store.check() == []


def test_disk_full_before_opening(small_disk: Path, path: Path) -> None:
    """On a full disk a store can be read; writing into it fails with the room it takes, and works once there is some."""
    store_path = Path(shutil.copy(path, small_disk))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free))
    with dp.open(store_path, read_only=True) as store:
        assert store.check() == []
    size = f"{store_path.stat().st_size / 1e6:.0f} MB"
    with pytest.raises(StoreFullError, match=rf"no room.*{size}.* 0 MB are free"), dp.open(store_path) as store:
        record(store, "more", count=3000)
    (small_disk / "ballast").unlink()
    with dp.open(store_path) as store:
        assert len(store.recordings().fetchall()) == 2
        assert store.check() == []
        record(store, "more", count=300)


def test_disk_full_while_migrating(small_disk: Path, path: Path, sql_files: Path) -> None:
    """When the copy that is migrated does not fit, nothing is migrated, and no half of it is left."""
    store_path = Path(shutil.copy(path, small_disk))
    (sql_files / "migrations" / f"{number(sql_files) + 1:04d}_note.sql").write_text(NEXT)
    before = store_path.read_bytes()
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free - store_path.stat().st_size // 2))
    with pytest.raises(StoreFullError, match="room"):
        dp.migrate(store_path)
    assert store_path.read_bytes() == before
    assert sorted(p.name for p in small_disk.iterdir()) == ["ballast", "study.duckdb"]


# --- Asking ------------------------------------------------------------------------------------------------------------


def test_sql_results(path: Path) -> None:
    """Results come as tuples, a DataFrame or Arrow, with parameters bound and not pasted."""
    with dp.open(path, read_only=True) as store:
        text = "select $name as name, count(*) as images from image where dataset = $dataset"
        parameters = {"name": "it's; drop table x --", "dataset": "test"}
        assert store.sql(text, **parameters).fetchall() == [("it's; drop table x --", 20)]
        assert store.sql(text, **parameters).df().to_dict("records") == [{"name": "it's; drop table x --", "images": 20}]
        arrow = store.sql(text, **parameters).arrow()
        table = arrow.read_all() if hasattr(arrow, "read_all") else arrow
        assert table.to_pylist() == [{"name": "it's; drop table x --", "images": 20}]


@pytest.mark.parametrize("text", ["selct 1", "select * from nothing", "select $x", "", "select 1/'a'"])
def test_sql_mistakes(path: Path, text: str) -> None:
    """SQL that can't run is an error of ours, at the latest when its result is asked for, and the store goes on."""
    with dp.open(path) as store:
        with pytest.raises((QueryError, duckdb.Error)):
            store.sql(text).fetchall()
        assert store.sql("select 1").fetchall() == [(1,)]
        record(store, "new")


def test_layers_of_a_model(path: Path) -> None:
    """Layers come in the order recorded; an unknown model is answered with the nearest name."""
    with dp.open(path) as store:
        assert [row[1] for row in store.layers("net").fetchall()] == ["fc", "output"]
        with pytest.raises(UnknownNameError, match="'nets'.*'net'"):
            store.layers("nets")


def test_works_from_another_folder(path: Path, tmp_path: Path) -> None:
    """The package finds its SQL files wherever Python was started."""
    script = textwrap.dedent(
        """
        import sys, deephys_sql as dp
        with dp.open(sys.argv[1]) as store:
            print(len(store.recordings().fetchall()))
        """
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd="/", capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr


def test_sql_runs_one_statement(path: Path) -> None:
    """Two statements are refused, not run in part."""
    with dp.open(path, read_only=True) as store, pytest.raises(QueryError, match="2 statements"):
        store.sql("select 1; select 2")


# Transactions.


def recorded_datasets(store):
    return [row[0] for row in store.sql("select dataset from recording order by 1").fetchall()]


def test_a_transaction_keeps_all_recordings_or_none(store):
    """What is recorded in one `with` block becomes visible at its end, or is undone with it; the store goes on either way."""
    with store.transaction():
        record(store, "day")
        record(store, "night")
        assert recorded_datasets(store) == []
    assert recorded_datasets(store) == ["day", "night"]
    with pytest.raises(KeyError), store.transaction():
        record(store, "dusk")
        raise KeyError
    record(store, "dawn")
    assert recorded_datasets(store) == ["dawn", "day", "night"]
    assert store.check() == []


def test_a_failed_recording_ends_its_transaction(store):
    """A recording that failed half-way is not kept by a block that swallows its error, nor is what came before or after it."""
    with pytest.raises(RecordingInProgressError, match="a recording of this transaction of .* failed"), store.transaction():
        record(store, "day")
        with contextlib.suppress(InvalidInputError):
            record(store, "night", logits=np.vstack([np.eye(3)] * 6 + [np.full((2, 3), np.nan)]))
    with pytest.raises(RecordingInProgressError, match="failed"), store.transaction():
        with contextlib.suppress(InvalidInputError):
            record(store, "night", logits=np.full((20, 3), np.inf))
        record(store, "dusk")
    assert recorded_datasets(store) == [] and store.check() == []


def test_what_else_writes_waits_for_the_end_of_a_transaction(store):
    """A transaction in a transaction, and another reference, are refused; closing the store undoes it."""
    record(store, "day")
    with store.transaction():
        for call in (lambda: store.set_reference("net", "day"), lambda: store.transaction().__enter__()):
            with pytest.raises(RecordingInProgressError, match="is in a transaction"):
                call()
        record(store, "night")
    assert recorded_datasets(store) == ["day", "night"]
    with pytest.raises(InvalidInputError, match="was closed while it recorded"), store.transaction():
        record(store, "dusk")
        store.close()
    with dp.open(store.path) as again:
        assert recorded_datasets(again) == ["day", "night"]
