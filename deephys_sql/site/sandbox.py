"""Runs visitors' SQL: in child processes that can read the store and nothing else, or in this process for a trusted localhost.

>>> require_select("select image, value from top_images('net', 'linear1', 7, 'Night', 10)")

What is refused and how is told in `deephys_sql.site.sandbox_worker`; here are the processes: a fresh one stands ready,
so that a visitor whose query had to be killed costs the next one nothing.
"""

import asyncio
import concurrent.futures
import contextlib
import datetime
import decimal
import io
import os
import pickle
import select
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from deephys_sql.annotations import Gathered, Log, PatientLog, statements
from deephys_sql.errors import NotAStoreError, QueryError
from deephys_sql.site import sandbox_worker as worker

MAX_BYTES = 32_000_000  # of one result, as it travels
START_LIMIT_S = 30.0  # for a child to open the store
GRACE_S = 0.5  # between the polite end of a query and the other one

Result = tuple[list[str], list[tuple], bool]


def require_select(sql: str) -> None:
    """Accept exactly one SELECT, or EXPLAIN of one, that asks only the store.

    >>> require_select("copy image to 'images.csv'")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    deephys_sql.errors.QueryError: this is a COPY statement; only one SELECT, or EXPLAIN of one, can be run here. ...

    Some texts take DuckDB's parser seconds: call this in a server only with SQL that is short or trusted. `Sandbox.execute`
    checks in the child. Raises `QueryError`, with DuckDB's message for SQL that isn't understood.
    """
    with _in_our_words():
        worker.checked(sql, _empty_database().cursor())


class Sandbox:
    """A few child processes, each with a locked, read-only connection to one store.

    A query that runs past the time limit is stopped, its process killed if need be, and a fresh one takes its place.
    Works on Linux; elsewhere memory isn't bounded.

    memory_mb: how much a child may take beyond what it holds when the store has been opened.
    time_limit_s: of one query; a query waits as long for a free process before it is refused.
    processes: how many queries run at the same time.
    Raises `NotAStoreError` when a child can't open the store.
    """

    def __init__(self, path: Path, *, memory_mb: int = 2000, time_limit_s: float = 10.0, processes: int = 2):
        self.path = Path(os.path.abspath(path))
        self.memory_mb = memory_mb
        self.time_limit_s = time_limit_s
        self.processes = processes
        self._lock = threading.RLock()
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()  # the idle ones, and those that run a query
        self._generation = 0
        self._closed = False
        self._log = PatientLog(self.path)
        self._executor = concurrent.futures.ThreadPoolExecutor(processes, thread_name_prefix="sandbox")
        try:
            self._put_back(self._start())
        except BaseException:
            self.close()
            raise

    async def execute(self, sql: str, parameters: dict[str, Any], *, max_rows: int) -> Result:
        """Run one SELECT or EXPLAIN; return the names of its columns, its rows, and whether rows were left out.

        Parameters are written `$name` in the SQL; those that it doesn't use are dropped. Values come back as `fetchall` gives
        them, times with a zone in UTC. Rows beyond `max_rows` or `MAX_BYTES` are left out.
        Raises `QueryError`: refused, stopped past the time or memory limit, or DuckDB's message.
        """
        _require_short(sql)
        job = _Job(sql, parameters, max_rows)
        return await _finished(self._executor, lambda: self._run(job), job.cancel, self.time_limit_s)

    def reopen(self) -> None:
        """Read the file that is at the path now; queries that run finish on the one before.

        Takes as long as a child takes to start: in a server call it in a thread.
        Raises `NotAStoreError` when the file can't be opened; the one before stays in use then.
        """
        child = self._start()
        with self._lock:
            self._generation += 1
            child.generation = self._generation
            before, self._idle = self._idle, []
        for old in before:
            self._end(old)
        self._put_back(child)

    def close(self) -> None:
        """End every child; queries that run are given up."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            self._end(child)
        self._executor.shutdown(cancel_futures=True)

    def process_ids(self) -> list[int]:
        """Return the ids of the children, the spare one too."""
        with self._lock:
            return [child.process.pid for child in self._children]

    # In a thread of the executor.

    def _run(self, job: "_Job") -> Result:
        answer, at_once = self._answer(job)
        if at_once:  # the child was dead, or dying, before it was asked: the kernel may have ended it while it was idle
            answer, _ = self._answer(job)
        if isinstance(answer, str):
            raise QueryError("the server is being stopped. Ask again when it is back." if self._closed else answer)
        return answer

    def _answer(self, job: "_Job") -> tuple[Any, bool]:
        """Return what a child answers, and whether it ended as soon as it was asked."""
        child = self._take()
        reusable = False
        try:
            child.wait_until_ready()
            child.tell(self._log)
            job.start(child)
            asked = time.monotonic()
            answer, reusable = child.ask(job, self.time_limit_s)
            at_once = not reusable and time.monotonic() - asked < 0.05
        finally:
            job.end()
            if reusable:
                self._put_back(child)
            else:
                self._end(child)
                self._top_up()
        return answer, at_once and not self._closed

    def _take(self) -> "_Child":
        """Return a child that is ready, or the one that has been getting ready for longest."""
        with self._lock:
            alive = [child for child in self._idle if child.process.poll() is None]
            ended = [child for child in self._idle if child not in alive]
            self._idle = alive
            chosen = next((child for child in alive if child.is_ready()), alive[0] if alive else None)
            if chosen is not None:
                alive.remove(chosen)
        for child in ended:
            self._end(child)
        return chosen or self._new()

    def _put_back(self, child: "_Child") -> None:
        with self._lock:
            current = child.generation == self._generation and not self._closed
            if current:
                self._idle.insert(0, child)
        if not current:
            self._end(child)
        self._top_up()

    def _top_up(self) -> None:
        """Start children until there is one more than can run at the same time."""
        with self._lock:
            while len(self._children) <= self.processes and not self._closed:
                self._idle.append(self._new())

    def _start(self) -> "_Child":
        child = self._new()
        try:
            child.wait_until_ready()
        except BaseException:
            self._end(child)
            raise
        return child

    def _new(self) -> "_Child":
        with self._lock:
            if self._closed:
                raise QueryError("the server is being stopped. Ask again when it is back.")
            child = _Child(self.path, self.memory_mb, self.time_limit_s, self._generation)
            self._children.add(child)
        return child

    def _end(self, child: "_Child") -> None:
        child.kill()
        with self._lock:
            self._children.discard(child)


class InProcess:
    """The same `execute` in this process: for a server that only trusted people reach, such as one on localhost.

    The statement is checked and the connection locked as in `Sandbox`, and a query is interrupted at the time limit; but
    DuckDB doesn't stop in the middle of one long function call, and such a call may take any amount of memory.

    memory_mb: what DuckDB's buffers may take.
    """

    def __init__(self, path: Path, *, memory_mb: int = 2000, time_limit_s: float = 10.0):
        self.path = Path(os.path.abspath(path))
        self.memory_mb = memory_mb
        self.time_limit_s = time_limit_s
        self._hide = _paths_to_hide(self.path)
        self._executor = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="in-process")
        self._log = PatientLog(self.path)
        self._connection = self._connect()
        self._annotations = Gathered(self._connection, self._log)

    async def execute(self, sql: str, parameters: dict[str, Any], *, max_rows: int) -> Result:
        """Run one SELECT or EXPLAIN, as `Sandbox.execute` does."""
        _require_short(sql)
        cursor = self._connection.cursor()
        return await _finished(self._executor, lambda: self._run(cursor, sql, parameters, max_rows), cursor.interrupt, self.time_limit_s)

    def reopen(self) -> None:
        """Read the file that is at the path now; queries that run finish on the one before."""
        self._connection = self._connect()  # the one before is closed with its last cursor
        self._annotations = Gathered(self._connection, self._log)

    def close(self) -> None:
        """Close the store, when the queries that run are done."""
        self._executor.shutdown(cancel_futures=True)
        self._connection.close()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            return worker.connect(str(self.path), memory_mb=self.memory_mb, threads=_threads(), beside_others=True)
        except duckdb.Error as error:
            raise NotAStoreError(f"{self.path} can't be opened for visitors' SQL: {error}") from error

    def _run(self, cursor: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any], max_rows: int) -> Result:
        timer = threading.Timer(self.time_limit_s, cursor.interrupt)
        timer.start()
        try:
            with _in_our_words(self._hide, self.memory_mb, self.time_limit_s), contextlib.closing(cursor):
                cursor.execute("use store")
                self._annotations.show(cursor)
                columns, chunks, truncated = worker.run(
                    cursor, sql, parameters, max_rows=max_rows, max_bytes=MAX_BYTES, checker=_empty_database().cursor()
                )
        finally:
            timer.cancel()
        return columns, [row for chunk in chunks for row in pickle.loads(chunk)], truncated


class _Job:
    """A question, and the child that answers it just now, so that it can be given up."""

    def __init__(self, sql: str, parameters: dict[str, Any], max_rows: int):
        self.question = (sql, parameters, max_rows)
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._cancelled = False

    def start(self, child: "_Child") -> None:
        with self._lock:
            if self._cancelled:
                raise concurrent.futures.CancelledError
            self._child = child

    def end(self) -> None:
        with self._lock:
            self._child = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._child is not None:
                self._child.process.kill()


class _Child:
    """A process that runs `sandbox_worker`; it starts at once and is waited for when it is needed."""

    def __init__(self, path: Path, memory_mb: int, time_limit_s: float, generation: int):
        self.generation = generation
        self.memory_mb = memory_mb
        self._number = 0
        self._told: tuple[int, int, int] | None = None
        self._ready = False
        self._killed = threading.Lock()
        libraries = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # a Python may need them to start
        environment = {name: os.environ[name] for name in libraries if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-I", worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the server, which ends its children itself
        )
        config = {
            "path": str(path),
            "sys_path": [os.path.abspath(entry) for entry in sys.path],
            "hide": _paths_to_hide(path),
            "memory_mb": memory_mb,
            "buffer_mb": memory_mb * 3 // 5,
            "threads": _threads(),
            "time_limit_s": time_limit_s,
            "max_bytes": MAX_BYTES,
        }
        with contextlib.suppress(OSError):
            worker.send(self.process.stdin, config)

    def is_ready(self) -> bool:
        """Whether it can be asked without waiting."""
        return self._ready or self._has_data(0)

    def wait_until_ready(self) -> None:
        if not self._ready:
            try:
                kind, text = self._receive(time.monotonic() + START_LIMIT_S) or ("failed", "its process did not start")
            except (OSError, ValueError):  # closed meanwhile
                kind, text = "failed", "the server is being stopped"
            if kind != "ready":
                raise NotAStoreError(f"the store can't be opened for visitors' SQL: {text}")
            self._ready = True

    def tell(self, log: Log) -> None:
        """Send the annotations beside the store, when there are others than the last time."""
        mark = log.mark()
        if mark != self._told:
            with contextlib.suppress(OSError):  # if it is gone, it is noticed when it is asked
                worker.send(self.process.stdin, ("annotations", statements(), log.entries()))
            self._told = mark

    def ask(self, job: _Job, time_limit_s: float) -> tuple[Result | str, bool]:
        """Return the result, or the text of an error, and whether this child can be asked again."""
        self._number += 1
        stopped = (
            f"the query was stopped after {time_limit_s:g} s, the longest that one may run. Ask for less, or add a condition or a limit."
        )
        start = time.monotonic()
        try:
            worker.send(self.process.stdin, ("run", self._number, *job.question))
            answer = self._receive(start + time_limit_s)
            if answer is None and self.process.poll() is None:
                worker.send(self.process.stdin, ("interrupt", self._number))
                answer = self._receive(start + time_limit_s + GRACE_S)
        except (OSError, ValueError, pickle.UnpicklingError):  # it was killed, or sent what is no answer
            answer = None
        if answer is None:
            if time.monotonic() - start >= time_limit_s:
                return stopped, False
            return (
                f"the query made its process end: it needed more than the {self.memory_mb:,} MB of memory that it may have, or "
                "met a fault in DuckDB. Ask for fewer rows or columns."
            ), False
        kind, *rest, worn = answer
        if kind == "rows":
            return tuple(rest), not worn
        return (stopped if kind == "stopped" else str(rest[0])), not worn

    def kill(self) -> None:
        with self._killed:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()

    def _receive(self, deadline: float) -> tuple | None:
        """Return an answer, None when there is none by the deadline or the child is gone."""
        head = self._read(worker.LENGTH.size, deadline)
        if head is None:
            return None
        (length,) = worker.LENGTH.unpack(head)
        body = self._read(length, deadline + GRACE_S) if length <= MAX_BYTES + 1_000_000 else None
        return None if body is None else _answer(body)

    def _read(self, length: int, deadline: float) -> bytearray | None:
        data = bytearray()
        while len(data) < length:
            if not self._has_data(max(0, deadline - time.monotonic())):
                return None
            piece = os.read(self.process.stdout.fileno(), min(length - len(data), 2**20))
            if not piece:
                return None
            data += piece
        return data

    def _has_data(self, wait_s: float) -> bool:
        poll = select.poll()
        poll.register(self.process.stdout.fileno(), select.POLLIN)
        return bool(poll.poll(wait_s * 1000))


_PLAIN = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        uuid.UUID,
        uuid.SafeUUID,
    )
}


class _Plain(pickle.Unpickler):
    """Reads values and nothing that could run: what a child sends is data."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"{module}.{name} is no plain value")
        return _PLAIN[module, name]


def _answer(body: bytearray) -> tuple:
    file = io.BytesIO(body)
    kind, *rest = _Plain(file).load()
    if kind == "rows":
        columns, chunks, truncated, worn = rest
        rest = [columns, [row for _ in range(chunks) for row in _Plain(file).load()], truncated, worn]
    return (kind, *rest)


async def _finished(executor: concurrent.futures.Executor, work: Callable, give_up: Callable, wait_s: float) -> Result:
    """Return what the work returns; give it up when the visitor has gone, refuse it when its turn doesn't come."""
    started = threading.Event()

    def begin() -> Result:
        started.set()
        return work()

    try:
        future = executor.submit(begin)
    except RuntimeError as error:
        raise QueryError("the server is being stopped. Ask again when it is back.") from error
    waiting = asyncio.wrap_future(future)
    try:
        done, _ = await asyncio.wait([waiting], timeout=wait_s)
        if not done and not started.is_set() and future.cancel():
            raise QueryError(
                f"the server is busy with other queries, and the turn of this one didn't come in {wait_s:g} s. Try again in a moment."
            )
        return await waiting
    except asyncio.CancelledError:
        future.cancel()
        give_up()
        raise


@contextlib.contextmanager
def _in_our_words(hide: list[str] = (), memory_mb: int = 0, time_limit_s: float = 0):
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError(f"the query was stopped after {time_limit_s:g} s, the longest that one may run. Ask for less.") from error
    except (worker.Refused, duckdb.Error, MemoryError, RecursionError, ValueError, OverflowError) as error:
        raise QueryError(worker.explained(error, hide, memory_mb)) from error


def _require_short(sql: str) -> None:
    if len(sql) > worker.MAX_SQL:
        raise QueryError(
            f"the SQL has {len(sql):,} characters; at most {worker.MAX_SQL:,} are taken. Make it shorter, or bind long lists as $name."
        )


def _paths_to_hide(path: Path) -> list[str]:
    paths = {
        path,
        path.parent,
        path.resolve(),
        path.resolve().parent,
        Path.home(),
        Path.cwd(),
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(worker.__file__).parents[2],
    }
    return sorted((str(p) for p in paths if len(p.parts) > 1), key=len, reverse=True)


def _threads() -> int:
    return max(1, min(4, os.cpu_count() or 1))


@cache
def _empty_database() -> duckdb.DuckDBPyConnection:
    """The connection that texts are checked with when no store is at hand."""
    settings = {"threads": "1", "memory_limit": "500MB", "enable_external_access": "false", "autoload_known_extensions": "false"}
    return duckdb.connect(":memory:", config=settings)
