"""What people say of neurons, images and sets of images: written beside the store, read as part of it.

Entries are written into a SQLite file beside the store, `study.duckdb.annotations.sqlite`, by any number of processes, while
the store is only read. None is altered: a later entry of an author on the same subject stands in place of the earlier one,
which stays in the history. Entries speak in names, so that they hold when a model or a dataset is recorded again, or the
store is replaced.

For reading, the entries of that file and those embedded in the store are gathered in a database in memory, and stand in
place of the table `stored_annotation` for every cursor: the views `annotation` and `annotation_history`, and whatever builds on
them, need nothing else. Embedding takes the entries over into the store, for other clients, or to send it as one file.
"""

import contextlib
import dataclasses
import datetime
import getpass
import json
import os
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from deephys_sql import assets
from deephys_sql.connection import use
from deephys_sql.errors import AnnotationError, InvalidInputError

JUDGEMENTS = ("core", "spurious", "unclear")  # proposed; any other word will do
LONGEST = {"judgement": 100, "note": 10_000, "tag": 100, "author": 200, "image_set": 200}
MOST_TAGS = 50
MOST_IMAGES = 100_000
WAIT_S = 30.0  # for another writer
DATABASE = "annotations_beside"
ATTACH = f"attach if not exists ':memory:' as {DATABASE} (read_write)"
STAND_IN = f"create or replace temp view stored_annotation as from {DATABASE}.main.entry"
NOTHING_SAID = "nothing is said: give judgement=, note= or tags=, or withdraw=True to take back what was said before."
_gathering = threading.Lock()


@dataclass(frozen=True)
class Subject:
    """What an annotation is on: a neuron, an image, or a set of images that has a name."""

    subject: str
    model: str | None = None
    layer: str | None = None
    neuron: int | None = None
    dataset: str | None = None
    image_set: str | None = None
    images: tuple[int, ...] | None = None


def subject_of(
    *,
    model: str | None,
    layer: str | None,
    neuron: int | None,
    dataset: str | None,
    image: int | None,
    image_set: str | None,
    images: Iterable[int] | None,
) -> Subject:
    """Return what these names mean; raise `InvalidInputError` unless they name exactly one thing.

    >>> given = dict(model="net", layer="fc", neuron=7, dataset=None, image=None, image_set=None, images=None)
    >>> subject_of(**given).subject
    'neuron'
    """
    given = {
        name: value
        for name, value in (
            ("model", model), ("layer", layer), ("neuron", neuron), ("dataset", dataset), ("image", image), ("image_set", image_set),
            ("images", images),
        )
        if value is not None
    }  # fmt: skip
    if set(given) == {"model", "layer", "neuron"}:
        return Subject("neuron", model=model, layer=layer, neuron=_whole(neuron, "neuron"))
    if set(given) == {"dataset", "image"}:
        return Subject("image", dataset=dataset, images=(_whole(image, "image"),))
    if {"dataset", "image_set"} <= set(given) <= {"dataset", "image_set", "images"}:
        name = _text(image_set, "image_set")
        if name is None:
            raise InvalidInputError("a set of images needs a name: image_set='blurry ones'.")
        numbers = None if images is None else tuple(sorted({_whole(one, "image") for one in images}))
        if numbers is not None and not 1 <= len(numbers) <= MOST_IMAGES:
            raise InvalidInputError(f"a set has 1 to {MOST_IMAGES:,} images; got {len(numbers):,}.")
        return Subject("images", dataset=dataset, image_set=name, images=numbers)
    raise InvalidInputError(
        f"name what is annotated: model=, layer= and neuron=; or dataset= and image=; or dataset=, image_set= (its name) and images=. "
        f"Got {', '.join(given) or 'nothing'}."
    )


@dataclass(frozen=True)
class Words:
    """What is said. None leaves as it is what the author said before; "" and [] take it back."""

    judgement: str | None = None
    note: str | None = None
    tags: Sequence[str] | None = None

    def checked(self) -> "Words":
        """Return the same without white space around it; raise `InvalidInputError` for what is too long or no text."""
        tags = self.tags
        if isinstance(tags, str):
            raise InvalidInputError(f"tags must be a list of words; got the text {tags!r:.60}.")
        if tags is not None:
            tags = list(dict.fromkeys(tag for tag in (_text(tag, "tag") for tag in tags) if tag))
            if len(tags) > MOST_TAGS:
                raise InvalidInputError(f"an annotation has at most {MOST_TAGS} tags; got {len(tags)}.")
        given = {name: getattr(self, name) for name in ("judgement", "note")}
        said = {name: None if value is None else _text(value, name) or "" for name, value in given.items()}
        return Words(said["judgement"], said["note"], tags)


class Log:
    """The file of annotations beside a store; it is made by the first entry.

    Any number of threads and processes may write and read.
    """

    def __init__(self, store: Path):
        store = Path(os.path.realpath(store))
        self._store = store
        self.path = store.with_name(store.name + ".annotations.sqlite")
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def write(
        self, subject: Subject, words: Words, *, author: str | None = None, withdraw: bool = False, before: Mapping[str, Any] | None = None
    ) -> None:
        """Write an entry: what the author said before, with these words in place of those.

        before: what he said last as far as it is embedded in the store.
        Raises `InvalidInputError` when nothing is said, or nothing to withdraw is there; `AnnotationError` when the file can't be written.
        """
        words = words.checked()
        author = _text(getpass.getuser() if author is None else author, "author")
        if not author:
            raise InvalidInputError("an annotation needs an author; got an empty text.")
        keys = dataclasses.asdict(subject) | {"images": _json(subject.images)}
        with self._explained(), contextlib.closing(self._open_for_writing()) as connection:
            connection.execute("begin immediate")
            row = connection.execute(assets.sql("annotations/select_latest.sql"), keys | {"author": author}).fetchone()
            before = max((one for one in (_entry(row), before) if one), key=lambda one: one["written_at"], default=None)
            entry = _merged(subject, words, author, withdraw, before)
            if entry is not None:
                values = (
                    entry
                    | {name: _json(entry[name]) for name in ("images", "tags")}
                    | {"written_at": entry["written_at"].isoformat(" ", "microseconds")}
                )
                connection.execute(assets.sql("annotations/insert_entry.sql"), values)
            connection.execute("commit")
            connection.execute("pragma wal_checkpoint(passive)")  # so that the file alone holds it, for who copies it

    def mark(self) -> tuple[int, int, int] | None:
        """Return what changes with every entry, whoever writes it; None without a file."""
        with self._lock, self._explained():
            connection = self._reading()
            return None if connection is None else (*self._file, connection.execute("pragma data_version").fetchone()[0])

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        with self._lock, self._explained():
            connection = self._reading()
            if connection is None:
                return []
            return [_entry(row) for row in connection.execute("select * from entry order by written_at, annotation").fetchall()]

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _reading(self) -> sqlite3.Connection | None:
        """Return the connection that reads, on the file that is there now."""
        try:
            status = self.path.stat()
        except OSError:
            self._forget()
            return None
        if self._file != (status.st_dev, status.st_ino):
            self._forget()
            self._connection = self._open_for_reading()
            if self._connection is not None:
                self._file = (status.st_dev, status.st_ino)
        return self._connection

    def _open_for_reading(self) -> sqlite3.Connection | None:
        connection = None
        for mode in ("mode=ro", "immutable=1"):  # the second on a disk where not even the files that readers share may be made
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True, timeout=WAIT_S, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            try:
                tables = connection.execute("select count(*) from sqlite_master where name = 'entry'").fetchone()[0]
            except sqlite3.OperationalError as error:
                connection.close()
                if "unable to open" not in str(error) and "readonly" not in str(error):
                    raise
                continue
            if tables:
                return connection
            connection.close()  # somebody is about to make it
            return None
        raise AnnotationError(f"{self.path} can't be read. Give this user the right to read it.")

    def _open_for_writing(self) -> sqlite3.Connection:
        self._create()
        connection = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            for patience in range(20):
                try:
                    connection.execute("pragma journal_mode = wal")  # doesn't wait for others that make the file
                    connection.executescript(assets.sql("annotations/create_log.sql"))
                    return connection
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or patience == 19:
                        raise
                    time.sleep(0.05 * (patience + 1))
            return connection
        except BaseException:
            connection.close()
            raise

    def _create(self) -> None:
        """Make the empty file if there is none, for those who may read and write the store, and nobody else."""
        status = self._store.stat()
        try:
            new = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return
        try:
            for owner in ((-1, status.st_gid), (status.st_uid, -1)):
                with contextlib.suppress(PermissionError):
                    os.fchown(new, *owner)
            os.fchmod(new, status.st_mode & 0o666 | 0o600)
        finally:
            os.close(new)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._file = None

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise AnnotationError(
                f"the annotations in {self.path} can't be read or written: {error}. Look at its rights, the room on its disk, and that it "
                f"is a file that this package made."
            ) from error


class PatientLog(Log):
    """The same for a server: it goes on without what can't be read, and says so on standard error."""

    _said = ""

    def mark(self) -> tuple[int, int, int] | None:
        try:
            return super().mark()
        except AnnotationError as error:
            self._say(str(error))
            return None

    def entries(self) -> list[dict[str, Any]]:
        try:
            return super().entries()
        except AnnotationError as error:
            self._say(str(error))
            return []

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            sys.stderr.write(f"{text} The site goes on without them.\n")


class Gathered:
    """The entries beside a store, for the cursors of one DuckDB connection to it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, log: Log):
        self._connection, self._log = connection, log
        self._mark: tuple[int, int, int] | None = None
        self._shown = False

    def show(self, cursor: duckdb.DuckDBPyConnection) -> bool:
        """Make the newest entries part of what the cursor reads; return whether there are others than the last time."""
        mark = self._log.mark()
        changed = mark != self._mark
        if changed:
            entries = self._log.entries() if mark is not None else []
            if entries:
                with contextlib.closing(use(self._connection.cursor())) as other:
                    gather(other, entries)
            self._mark, self._shown = mark, bool(entries)
        if self._shown:
            stand_in(cursor)
        return changed


def gather(connection: duckdb.DuckDBPyConnection, entries: list[dict[str, Any]]) -> None:
    """Gather entries with the embedded ones, for all cursors of a connection; see `Gathered`."""
    with _gathering:
        connection.execute(ATTACH)
        connection.execute(assets.sql("annotations/gather.sql"), {"entries": entries})


def stand_in(cursor: duckdb.DuckDBPyConnection) -> None:
    """Let gathered entries stand in place of the stored table, for one cursor."""
    cursor.execute(STAND_IN)


def statements() -> tuple[str, str, str]:
    """Return the SQL that gathers entries and lets them stand in, for a process that knows nothing of this package."""
    return ATTACH, assets.sql("annotations/gather.sql"), STAND_IN


def embed(connection: duckdb.DuckDBPyConnection, log: Log) -> int:
    """Take the entries over into the store; return how many were new."""
    entries = log.entries()
    if not entries:
        return 0
    return connection.execute(assets.sql("annotations/embed.sql"), {"entries": entries}).fetchone()[0]


def unembedded(connection: duckdb.DuckDBPyConnection, log: Log) -> bool:
    """Return whether entries are written beside the store that are not in it."""
    there = {row[0] for row in connection.execute("select annotation from stored_annotation").fetchall()}
    return any(entry["annotation"] not in there for entry in log.entries())


def embedded(connection: duckdb.DuckDBPyConnection, subject: Subject, author: str | None) -> dict[str, Any] | None:
    """Return what the author said last, as far as it is embedded."""
    values = dataclasses.asdict(subject) | {
        "images": None if subject.images is None else list(subject.images),
        "author": _text(getpass.getuser() if author is None else author, "author"),
    }
    found = connection.execute(assets.sql("annotations/select_embedded.sql"), values)
    row = found.fetchone()
    return None if row is None else dict(zip([column[0] for column in found.description], row, strict=True))


def _merged(subject: Subject, words: Words, author: str, withdraw: bool, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the entry to write, None when nothing is new."""
    stands = before is not None and not before["withdrawn"]
    if withdraw and not stands:
        raise InvalidInputError(f"{author} has said nothing of this that could be withdrawn.")
    if not withdraw and words == Words() and (subject.subject != "images" or subject.images is None):
        raise InvalidInputError(NOTHING_SAID)
    old = before if stands else {"judgement": None, "note": None, "tags": [], "images": None}
    said = {
        "judgement": old["judgement"] if words.judgement is None else words.judgement or None,
        "note": old["note"] if words.note is None else words.note or None,
        "tags": list(old["tags"]) if words.tags is None else list(words.tags),
    }
    images = list(subject.images) if subject.images is not None else old["images"]
    if subject.subject == "images" and images is None:
        raise InvalidInputError(f"there is no set of images {subject.image_set!r} by {author} yet: give its images.")
    if not withdraw and not any(said.values()):
        if not stands:
            raise InvalidInputError(NOTHING_SAID)
        withdraw = True
    if not withdraw and stands and said == {name: old[name] for name in said} and images == old["images"]:
        return None
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    if before is not None:  # so that it is the last one, whatever the clock says
        now = max(now, before["written_at"] + datetime.timedelta(microseconds=1))
    names = dataclasses.asdict(subject) | {"images": images}
    return {"annotation": str(uuid.uuid4()), **names, **said, "author": author, "written_at": now, "withdrawn": withdraw}


def _entry(row: sqlite3.Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return dict(row) | {
        "images": None if row["images"] is None else json.loads(row["images"]),
        "tags": json.loads(row["tags"]),
        "written_at": datetime.datetime.fromisoformat(row["written_at"]),
        "withdrawn": bool(row["withdrawn"]),
    }


def _json(values: Sequence | None) -> str | None:
    return None if values is None else json.dumps(list(values), ensure_ascii=False)


def _text(value: Any, what: str) -> str | None:
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} must be a text; got {value!r:.60}.")
    value = value.replace("\r\n", "\n").strip()
    if len(value) > LONGEST[what]:
        raise InvalidInputError(f"{what} has {len(value):,} characters; at most {LONGEST[what]:,} are kept. Make it shorter.")
    if "\0" in value or (what != "note" and not value.isprintable()):
        raise InvalidInputError(f"{what} {value!r:.60} holds signs that can't be printed. Leave them out.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{what} {value!r:.60} is no text in Unicode. Leave half signs out.") from error
    return value or None


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= value.__index__() < 2**31:
        raise InvalidInputError(f"{what} must be a number from 0; got {value!r:.60}.")
    return value.__index__()
