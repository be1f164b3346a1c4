"""One process records into a store while others read it: none waits, and nothing of either is lost."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import deephys_sql as dp
from deephys_sql import publishing
from deephys_sql.errors import (
    ReadOnlyError,
    RecordingExistsError,
    StoreChangedError,
    StoreLockedError,
    StoreNotFoundError,
    StoreVersionError,
    UnknownNameError,
)

IMAGES = 6


def record(store: dp.Store, dataset: str, during: Callable[[], Any] = lambda: None, **options: Any) -> None:
    """Record some images, and call `during` in the middle."""

    def batches() -> Iterator[np.ndarray]:
        yield np.ones((IMAGES // 2, 2))
        during()
        yield np.ones((IMAGES // 2, 2))

    store.add_recording(
        model="net", dataset=dataset, activations={"fc": batches()}, predictions=[0] * IMAGES, categories=["cat", "dog"],
        progress=False, **options,
    )  # fmt: skip


def datasets(path: Path, **options: Any) -> list[str]:
    with dp.open(path, **{"read_only": True, **options}) as store:
        assert store.check() == []
        return [row[0] for row in store.sql("select dataset from recording order by dataset").fetchall()]


def in_another_process(program: str, *arguments: Any) -> str:
    program = "import sys, numpy as np, duckdb, deephys_sql as dp\n" + program
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one recording."""
    with dp.open(tmp_path / "study.duckdb") as store:
        record(store, "day")
    return tmp_path / "study.duckdb"


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


# --- Readers -----------------------------------------------------------------------------------------------------------


def test_readers_see_the_version_published_last(path: Path) -> None:
    """During a recording others see the store without it, here and in other processes; after it, with it."""
    seen = []
    program = "print([row[0] for row in dp.open(sys.argv[1], read_only=len(sys.argv) > 2).sql('select dataset from recording').fetchall()])"

    def look() -> None:
        seen.append(datasets(path))
        seen.append(datasets(path, read_only=False))
        seen.append(eval(in_another_process(program, path)))
        seen.append(eval(in_another_process(program, path, "read only")))
        with duckdb.connect() as plain:
            plain.execute(f"attach '{path}' as other (read_only)")
            seen.append([row[0] for row in plain.sql("select dataset from other.recording").fetchall()])

    with dp.open(path) as store:
        record(store, "night", during=look)
        assert seen == [["day"]] * 5
        assert [row[1] for row in store.recordings().fetchall()] == ["day", "night"]
        seen.clear()
        look()
        assert seen == [["day", "night"]] * 5


def test_a_reader_keeps_its_version(path: Path) -> None:
    """A store that is open for reading goes on with what it opened, and so do relations of the writer from before."""
    with dp.open(path) as store, dp.open(path, read_only=True) as reader:
        text = "select dataset, count(*) from activation group by all order by all"
        lazy, arrow = store.sql(text), store.sql("select * from activation").to_arrow_reader(4)
        first = arrow.read_next_batch()
        for dataset in ("night", "fog"):
            record(store, dataset)
        assert lazy.fetchall() == reader.sql(text).fetchall() == [("day", 2 * IMAGES)]
        assert first.num_rows + sum(batch.num_rows for batch in arrow) == 2 * IMAGES
        assert [row[0] for row in store.sql(text).fetchall()] == ["day", "fog", "night"]
        assert reader.check() == []


READER = """
print("open", flush=True)
count = 0
store = dp.open(sys.argv[1], read_only=True)
while True:
    assert store.sql("select sum(value) from activation where dataset = 'day'").fetchall() == [(12.0,)]
    with dp.open(sys.argv[1], read_only=True) as newest:
        assert newest.sql("select count(*) % 12 from activation").fetchall() == [(0,)]
        print(newest.sql("select count(*) from recording").fetchall()[0][0], flush=True)
"""


def test_readers_in_another_process_go_on(path: Path) -> None:
    """One process reads without a break, opening the store again and again, while another records three times."""
    program = "import sys, deephys_sql as dp\n" + READER
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "open\n"
        with dp.open(path) as store:
            for dataset in ("night", "fog", "rain"):
                record(store, dataset)
        while (line := reader.stdout.readline()) != "4\n":
            assert line, reader.stderr.read()
        assert reader.poll() is None
        reader.kill()


# --- Writers -----------------------------------------------------------------------------------------------------------


def test_the_second_writer_is_refused(path: Path) -> None:
    """While one process records, another, and another store of this process, may not; the first is named and goes on."""
    program = """
try:
    dp.open(sys.argv[1]).set_reference("net", "day")
except dp.DeephysError as error:
    print(type(error).__name__, error)
"""
    said = []

    def others() -> None:
        said.append(in_another_process(program, path))
        with dp.open(path) as other, pytest.raises(StoreLockedError, match=rf"study\.duckdb.*process {os.getpid()}\b"):
            record(other, "fog")
        with pytest.raises(StoreLockedError), dp.open(path, in_place=True):
            pass
        with pytest.raises(StoreLockedError):
            dp.migrate(path)

    with dp.open(path) as store:
        record(store, "night", during=others)
        assert "StoreLockedError" in said[0] and f"process {os.getpid()} " in said[0]
        record(store, "fog")
    assert datasets(path) == ["day", "fog", "night"]
    assert names(path) == ["study.duckdb"]


def test_what_others_published_is_kept(path: Path) -> None:
    """A writer builds on the newest version, whichever it had opened."""
    with dp.open(path) as one, dp.open(path) as two:
        record(one, "night")
        record(two, "fog")
        with pytest.raises(RecordingExistsError):
            record(two, "night")
        two.set_reference("net", "night")
        record(one, "rain")
        assert one.sql("select reference from model").fetchall() == [("night",)]
    assert datasets(path) == ["day", "fog", "night", "rain"]


WRITER = """
import time
from deephys_sql.errors import StoreLockedError
store = dp.open(sys.argv[1])
for number in range(4):
    while True:
        try:
            store.add_recording(model="net", dataset=f"{sys.argv[2]} {number}", activations={"fc": np.ones((5, 2))},
                                predictions=[0] * 5, categories=["cat", "dog"], progress=False)
            break
        except StoreLockedError as error:
            assert "process" in str(error)
            time.sleep(0.05)
"""


def test_writers_at_once_lose_nothing(path: Path) -> None:
    """Processes that all record into one store, each trying again until it is its turn, leave every recording there."""
    program = "import sys, numpy as np, deephys_sql as dp\n" + WRITER
    writers = [subprocess.Popen([sys.executable, "-c", program, path, f"of {n}"], stderr=subprocess.PIPE) for n in range(3)]
    for writer in writers:
        _, error = writer.communicate()
        assert writer.returncode == 0, error.decode()
    assert datasets(path) == sorted(["day"] + [f"of {n} {number}" for n in range(3) for number in range(4)])
    assert names(path) == ["study.duckdb"]


MAKER = """
from deephys_sql.errors import StoreLockedError
while True:
    try:
        dp.open(sys.argv[1]).close()
        break
    except StoreLockedError:
        time.sleep(0.05)
"""


def test_two_make_the_same_store(tmp_path: Path) -> None:
    """Processes that make one store at the same moment make one, or are told to wait; nobody's recording is lost."""
    path = tmp_path / "new.duckdb"
    program = "import sys, time, numpy as np, deephys_sql as dp\n" + MAKER + WRITER.replace("range(4)", "range(1)")
    writers = [subprocess.Popen([sys.executable, "-c", program, path, f"of {n}"], stderr=subprocess.PIPE) for n in range(3)]
    for writer in writers:
        _, error = writer.communicate()
        assert writer.returncode == 0, error.decode()
    assert datasets(path) == [f"of {n} 0" for n in range(3)]


def test_a_forked_process_does_not_keep_the_lock(path: Path) -> None:
    """A process forked during a recording, as loaders of batches do, is no writer when the recording is over."""
    program = """
import os, time
def batches():
    yield np.ones((3, 2))
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), 9)

dp.open(sys.argv[1]).add_recording(model="net", dataset="x", activations={"fc": batches()}, predictions=[0] * 6, progress=False)
"""
    program = "import sys, numpy as np, deephys_sql as dp\n" + program
    done = subprocess.run([sys.executable, "-c", program, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=50)
    assert done.returncode == -9
    with dp.open(path) as store:
        record(store, "night")
    assert datasets(path) == ["day", "night"]


def test_closed_while_it_records(path: Path) -> None:
    """Closing a store in the middle of a recording undoes that at once, and lets others write."""
    store = dp.open(path)
    with pytest.raises(dp.DeephysError):
        record(store, "night", during=lambda: (store.close(), record(dp.open(path), "fog")))
    assert datasets(path) == ["day", "fog"]
    assert names(path) == ["study.duckdb"]


def test_nothing_is_left_of_what_failed(path: Path) -> None:
    """A refused recording or reference leaves the file as it was, to the byte, and nothing beside it."""
    before = path.read_bytes()
    with dp.open(path) as store:
        with pytest.raises(RecordingExistsError):
            record(store, "day")
        with pytest.raises(UnknownNameError):
            store.set_reference("net", "night")
        with pytest.raises(ZeroDivisionError):
            record(store, "night", during=lambda: 1 / 0)
        assert store.check() == []
    assert path.read_bytes() == before
    assert names(path) == ["study.duckdb"]


# --- Others that change the file ---------------------------------------------------------------------------------------


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".other"))
    os.replace(path.with_suffix(".other"), path)


def touched(path: Path) -> None:
    os.utime(path)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [replaced, touched, removed], ids=lambda change: change.__name__)
def test_what_another_program_did_is_not_undone(path: Path, change: Callable[[Path], None]) -> None:
    """When the file is changed by another program during a recording, that stays, and the recording is refused by name."""
    with dp.open(path) as store, pytest.raises(StoreChangedError, match=r"study\.duckdb"):
        record(store, "night", during=lambda: change(path))
    assert names(path) == ([] if change is removed else ["study.duckdb"])
    if change is not removed:
        assert datasets(path) == ["day"]


def test_removed_between_recordings(path: Path) -> None:
    """A store whose file is gone says so."""
    with dp.open(path) as store:
        path.unlink()
        with pytest.raises(StoreNotFoundError):
            record(store, "night")
    assert names(path) == []


def test_migrated_by_a_newer_version_meanwhile(path: Path) -> None:
    """A store that a newer version of the package migrated while it was open here is not written any more."""
    with dp.open(path) as store:
        newer = path.with_name("newer")
        shutil.copy(path, newer)
        with duckdb.connect(str(newer)) as connection:
            connection.execute("insert into stored_migration (version, name, checksum) values (99, '0099_later', 'x')")
        os.replace(newer, path)
        with pytest.raises(StoreVersionError, match="0099_later"):
            record(store, "night")
    assert names(path) == ["study.duckdb"]


def test_a_killed_writer_in_place_is_recovered_from(path: Path) -> None:
    """What a killed plain client left in its write-ahead log is there for readers, and brought into the file by the next writer."""
    program = "import os; c = duckdb.connect(sys.argv[1]); c.execute('create table mine as select 1 as a'); os.kill(os.getpid(), 9)"
    with pytest.raises(AssertionError):
        in_another_process(program, path)
    assert names(path) == ["study.duckdb", "study.duckdb.wal"]
    with dp.open(path, read_only=True) as store:
        assert store.sql("select a from mine").fetchall() == [(1,)]
    with dp.open(path) as store:
        record(store, "night")
        assert store.sql("select a from mine").fetchall() == [(1,)]
    assert names(path) == ["study.duckdb"]
    assert datasets(path) == ["day", "night"]


# --- The file itself ---------------------------------------------------------------------------------------------------


def test_links_and_permissions_are_kept(path: Path) -> None:
    """The file that a symbolic link leads to is replaced, not the link; mode and owner stay."""
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    owner = (path.stat().st_uid, path.stat().st_gid)
    (path.parent / "elsewhere").mkdir()
    link = path.parent / "elsewhere" / "link.duckdb"
    link.symlink_to(Path("..") / path.name)
    inode = path.stat().st_ino
    with dp.open(link) as store:
        record(store, "night")
    dp.migrate(link)
    assert link.is_symlink() and path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and (path.stat().st_uid, path.stat().st_gid) == owner
    assert datasets(path) == datasets(link) == ["day", "night"]
    assert names(path) == ["elsewhere", "study.duckdb"] and names(link) == ["link.duckdb"]


def test_nobody_else_reads_the_copy_of_a_private_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a store that only its owner may read is copied, the copy is his alone too."""
    path.chmod(0o600)
    modes = []
    monkeypatch.setattr(publishing, "_share_blocks", lambda source, new: modes.append(stat.S_IMODE(os.fstat(new.fileno()).st_mode)))
    with dp.open(path) as store:
        record(store, "night")
    assert modes == [0o600] and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_store_behind_a_link(tmp_path: Path) -> None:
    """A link that leads to no file yet is followed; a new file has the permissions of any other."""
    (tmp_path / "link.duckdb").symlink_to("real.duckdb")
    dp.open(tmp_path / "link.duckdb").close()
    (tmp_path / "any").touch()
    assert (tmp_path / "link.duckdb").is_symlink() and (tmp_path / "real.duckdb").is_file()
    assert (tmp_path / "real.duckdb").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_another_working_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was opened by a relative path is written where it is, wherever the process goes."""
    monkeypatch.chdir(path.parent)
    with dp.open("study.duckdb") as store:
        monkeypatch.chdir("/")
        record(store, "night")
    assert datasets(path) == ["day", "night"]


@pytest.fixture
def read_only_folder(path: Path) -> Iterator[Path]:
    """The store in a folder where nothing can be written."""
    folder = path.parent / "read only"
    folder.mkdir()
    as_root = os.geteuid() == 0
    if as_root and subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a folder that root can't write needs a mount")
    copy = Path(shutil.copy(path, folder))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True) if as_root else folder.chmod(0o555)
    yield copy
    subprocess.run(["umount", "-l", folder], check=True) if as_root else folder.chmod(0o755)


def test_a_folder_that_cannot_be_written(read_only_folder: Path) -> None:
    """There a store is read, also when it was opened for writing; what writes is refused with the folder's name."""
    with dp.open(read_only_folder) as store:
        assert store.check() == []
        with pytest.raises(ReadOnlyError, match="read only"):
            record(store, "night")
    with pytest.raises(ReadOnlyError, match="read only"):
        dp.open(read_only_folder.with_name("new.duckdb"))
    assert names(read_only_folder) == ["study.duckdb"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_that_may_not_be_written(path: Path) -> None:
    """A file without the permission to write is not replaced."""
    path.chmod(0o444)
    with dp.open(path) as store, pytest.raises(ReadOnlyError, match="permissions"):
        record(store, "night")


def test_a_large_copy_has_a_bar(path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """A copy that takes a while says so; a quick one doesn't."""
    from deephys_sql import publishing

    bars = []

    class Bar(publishing.tqdm):
        def __init__(self, **options: Any):
            super().__init__(**{**options, "disable": False})
            bars.append((options["delay"], self))

    monkeypatch.setattr(publishing, "tqdm", Bar)
    monkeypatch.setattr(publishing, "_share_blocks", lambda *_: False)
    size = path.stat().st_size
    with dp.open(path) as store:
        started = time.monotonic()
        record(store, "night")
        quick = time.monotonic() - started < 1
    ((delay, bar),) = bars
    assert delay >= 1 and bar.n == bar.total == size
    assert "copying" not in capfd.readouterr().err or not quick
