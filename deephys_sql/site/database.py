"""A Datasette database whose rows are in a DuckDB store.

Introspection runs unchanged on a shadow of the store's schema in SQLite (see `schema`); what reads rows goes to DuckDB.
"""

import asyncio
import atexit
import base64
import contextlib
import contextvars
import decimal
import json
import math
import os
import re
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from datasette.database import Database, QueryInterrupted, Results
from datasette.tracer import trace
from datasette.utils import tilde_decode

from deephys_sql import migrations, scores
from deephys_sql.annotations import Gathered, Log, PatientLog
from deephys_sql.connection import use
from deephys_sql.errors import DeephysError, QueryError
from deephys_sql.publishing import stamp
from deephys_sql.rows import parsed
from deephys_sql.site import sandbox_worker, schema
from deephys_sql.site.named_queries import bind, canned_queries
from deephys_sql.site.sandbox import InProcess, Sandbox
from deephys_sql.site.translation import is_unsorted_page, named_parameters, translate

KEPT_RESULTS = 1000
MEMORY_MB = 2000  # of the buffers of each of the two DuckDB instances of a version of a store

# The statements with which Datasette reads the schema; no functions, so that nothing can be computed in them.
_INTROSPECTION = re.compile(
    r"\s*(pragma (schema_version|database_list);?|select [\w*, ]+ from sqlite_master( where ([^();]|\bin \('[^()]*'\))*)?)\s*", re.I
)


@dataclass
class Request:
    """The address that a request asked for, and the version of each store that it reads from beginning to end."""

    path: str
    arguments: dict[str, list[str]]
    versions: dict[str, "Version"] = field(default_factory=dict)


# What is done in a thread with a cursor; the event is set when it has taken too long.
Work = Callable[[duckdb.DuckDBPyConnection, threading.Event], Any]

request: contextvars.ContextVar[Request | None] = contextvars.ContextVar("deephys_sql_request", default=None)


class Version:
    """A store's file as it was when it was opened; closed when nobody refers to it any more."""

    def __init__(self, path: Path, log: Log):
        self.path = path
        while True:
            self.stamp = stamp(path.stat())
            self._fast = self._connect(threads=os.cpu_count() or 1)
            self._single = self._connect(threads=1)
            if stamp(path.stat()) == self.stamp:
                break
            _close(self._fast, self._single)  # it was replaced between the two
        try:
            with contextlib.closing(self._fast.cursor()) as cursor:
                migrations.require_current(use(cursor), path)
        except DeephysError:
            _close(self._fast, self._single)
            raise
        self._annotations = {one: Gathered(one, log) for one in (self._fast, self._single)}
        self.counts: dict[str, int | None] | None = None
        self.kept: dict[str, Results] = {}
        self.tables, self.shadow = schema.read(self.cursor())
        weakref.finalize(self, _close, self._fast, self._single)

    def cursor(self, *, single: bool = False) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own for one statement.

        single: on one thread. Rows come in the order stored, also without an order by, which DuckDB doesn't promise on several;
        and statements that run beside each other take less processor time.
        """
        connection = self._single if single else self._fast
        cursor = connection.cursor()
        cursor.execute("use store")
        if self._annotations[connection].show(cursor):
            self.counts, self.kept = None, {}
        return cursor

    def _connect(self, threads: int) -> duckdb.DuckDBPyConnection:
        return sandbox_worker.connect(str(self.path), memory_mb=MEMORY_MB, threads=threads, beside_others=True)


def _close(*connections: duckdb.DuckDBPyConnection) -> None:
    for connection in connections:
        connection.close()


class StoreDatabase(Database):
    """A store as a Datasette database.

    `execute` takes what Datasette takes. SQL that Datasette wrote for its table and row pages is translated; everything
    else is DuckDB's SQL, with parameters written `:name` or `$name`. A visitor's SQL runs in the sandbox.
    `query` is for our own pages: it never goes to the sandbox.
    """

    def __init__(self, ds, path: str | Path, *, sandbox: bool = True):
        super().__init__(ds, is_mutable=False, is_memory=True)  # so that Datasette neither writes, hashes nor offers the file
        self.store = Path(path).absolute()
        self.log = PatientLog(self.store)
        self._newest = Version(self.store, self.log)
        self._runner_kind = Sandbox if sandbox else InProcess
        self._runner: Sandbox | InProcess | None = None
        self._runner_stamp: tuple[int, int, int] | None = None
        self._runner_lock = threading.Lock()
        self._opening = threading.Lock()
        self._statements = {canned["sql"]: name for name, canned in canned_queries().items()}
        self._closed = False

    # The store's file.

    def version(self) -> Version:
        """Return the version that this request reads: the newest one when it first asked."""
        context = request.get()
        if context is not None and self.name in context.versions:
            return context.versions[self.name]
        self._reopen()
        if context is not None:
            context.versions[self.name] = self._newest
        return self._newest

    def _reopen(self) -> None:
        try:
            if stamp(self.store.stat()) == self._newest.stamp:
                return
            with self._opening:
                if stamp(self.store.stat()) != self._newest.stamp:
                    self._newest = Version(self.store, self.log)
        except (OSError, duckdb.Error, DeephysError) as error:  # on its way, or not a store: go on with what there is
            sys.stderr.write(f"{self.store} has changed and can't be opened, the version before is served on: {error}\n")

    def _replace_broken(self, version: Version) -> None:
        """Open the file again after a failure inside DuckDB, unless that was done already."""
        with self._opening:
            if self._newest is version:
                sys.stderr.write(f"{self.store}: DuckDB failed, and the store is opened again.\n")
                self._newest = Version(self.store, self.log)
        context = request.get()
        if context is not None and context.versions.get(self.name) is version:
            context.versions[self.name] = self._newest

    @property
    def size(self) -> int:
        return self.version().stamp[2]

    @property
    def hash(self) -> None:
        return None

    def suggest_name(self) -> str:
        return self.store.stem

    def close(self) -> None:
        self._closed = True
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    # Running SQL.

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        time_limit_ms: int | None = None,
        computed: pa.Table | None = None,
    ) -> Results:
        """Run our own SQL with bound parameters, and return all rows.

        It has one thread, since a page asks several questions at once.
        computed: scores that the SQL asks for, from `scores`: it takes them from there, and has no others.
        Raises `sqlite3.OperationalError` with DuckDB's message, `QueryInterrupted` past the time limit.
        """
        sql, bound = named_parameters(sql, parameters or {})
        limit = time_limit_ms or self.ds.sql_time_limit_ms
        return await self._run(sql, bound, None, limit, single=True, computed=computed)

    async def scores(self, model: str, layer: str, dataset: str, reference: str, *, time_limit_ms: int) -> pa.Table | None:
        """Compute the scores of a layer on a dataset against a reference, for `query`; None when it was recorded without the layer.

        Raises what `query` raises; the time limit is looked at between some neurons and the next, each a fraction of a second.
        """

        def work(cursor: duckdb.DuckDBPyConnection, is_late: threading.Event) -> pa.Table | None:
            asked = scores.find(cursor, model, layer, dataset, reference)
            if asked is None:
                return None
            tables = []
            for table in scores.compute(cursor, asked):
                if is_late.is_set():
                    raise duckdb.InterruptException(f"the scores took longer than {time_limit_ms / 1000:g} s")
                tables.append(table)
            return pa.concat_tables(tables)

        return await self._work(work, time_limit_ms, "scores", {"model": model, "layer": layer, "dataset": dataset, "reference": reference})

    async def execute(self, sql, params=None, truncate=False, custom_time_limit=None, page_size=None, log_sql_errors=True):
        if _INTROSPECTION.fullmatch(sql):
            return await self.execute_fn(lambda shadow: _results(shadow.execute(sql, params or {})))
        limit = min(custom_time_limit or self.ds.sql_time_limit_ms, self.ds.sql_time_limit_ms)
        most = None
        if truncate and self.ds.max_returned_rows:
            most = self.ds.max_returned_rows + (self.ds.max_returned_rows == (page_size or self.ds.page_size))
        table, by_visitor = self._author(sql)
        by_visitor &= not (isinstance(params, Sequence) and len(params) > 0)  # values without names are a program's
        parameters = params if isinstance(params, Mapping) else {}
        with trace("sql", database=self.name, sql=sql.strip(), params=params):
            if table is not None:
                conditions = request.get().arguments.get("_where", []) if by_visitor else []
                translated = translate(sql, parameters, table, conditions=conditions)
                if translated is None:
                    return self._made([], ["value"], False)
                statement, bound = named_parameters(translated, parameters)
            else:
                if not by_visitor and sql in self._statements:
                    try:
                        parameters = bind(self._statements[sql], parameters)
                    except DeephysError as error:
                        raise sqlite3.OperationalError(str(error)) from error
                statement, bound = named_parameters(sql, parameters)
            if isinstance(params, Sequence) and params:
                bound = list(params)
            if by_visitor:
                if custom_time_limit and custom_time_limit <= self.ds.setting("facet_suggest_time_limit_ms"):
                    raise QueryInterrupted(TimeoutError("facets are not suggested for a visitor's condition"), sql, params)
                return await self._run_for_visitor(statement, bound, most)
            single = table is not None and table.is_long and is_unsorted_page(statement)
            if table is None or bound or truncate or not (custom_time_limit or "count(*)" in statement):
                return await self._run(statement, bound, most, limit, single=single)
            kept = self.version().kept  # counts and suggested facets of a whole table stay as they are until the file is replaced
            results = kept.get(statement)
            if results is None:
                results = kept[statement] = await self._run(statement, bound, most, limit)
                if len(kept) > KEPT_RESULTS:
                    kept.pop(next(iter(kept)))
            return results

    def _author(self, sql: str) -> tuple[schema.Table | None, bool]:
        """Return the table whose page Datasette wrote the statement for, or None, and whether a visitor wrote in it.

        Datasette writes SQL at the address of a table, /database/table or /database/table/row, and nowhere else; there
        visitors write conditions, with ?_where=. At any other address it passes on what visitors wrote, but for our
        own queries. Outside of a request the program itself asks.
        """
        context = request.get()
        if context is None:
            return None, False
        parts = context.path.removeprefix(self.ds.setting("base_url").rstrip("/")).split("/")
        if len(parts) >= 3 and tilde_decode(parts[1]) == self.route:
            name = tilde_decode(parts[2].partition(".")[0])
            if name in self.version().tables:
                return self.version().tables[name], "_where" in context.arguments
        return None, sql not in self._statements

    async def _run(
        self,
        sql: str,
        bound: dict | list,
        most: int | None,
        limit_ms: int,
        *,
        single: bool = False,
        computed: pa.Table | None = None,
    ) -> Results:
        def work(cursor: duckdb.DuckDBPyConnection, _: threading.Event) -> Results:
            if computed is not None:
                scores.stand_in(cursor, computed)
            found = cursor.execute(_parsed(sql), bound)
            columns = [column[0] for column in found.description]
            rows = found.fetchall() if most is None else found.fetchmany(most + 1)
            return self._made(rows[:most], columns, most is not None and len(rows) > most)

        return await self._work(work, limit_ms, sql, bound, single=single)

    async def _work(self, work: Work, limit_ms: int, sql: str, bound: dict | list, *, single: bool = False) -> Any:
        """Return what is made with a cursor, in a thread; `sql` and `bound` are what an error says was asked."""
        version = self.version()
        try:
            return await self._work_on(version, work, limit_ms, sql, bound, single)
        except duckdb.FatalException:  # an earlier statement broke the engine
            await asyncio.to_thread(self._replace_broken, version)
        try:
            return await self._work_on(self.version(), work, limit_ms, sql, bound, single)
        except duckdb.FatalException as error:
            raise sqlite3.OperationalError(str(error)) from error

    async def _work_on(self, version: Version, work: Work, limit_ms: int, sql: str, bound: dict | list, single: bool) -> Any:
        def run() -> Any:
            cursor = version.cursor(single=single)
            is_late = threading.Event()

            def stop() -> None:
                is_late.set()
                cursor.interrupt()

            timer = threading.Timer(limit_ms / 1000, stop)
            timer.start()
            try:
                return work(cursor, is_late)
            except duckdb.InterruptException as error:
                raise QueryInterrupted(error, sql, bound) from error
            except duckdb.FatalException:
                raise
            except duckdb.InternalException as error:  # an assertion of DuckDB failed; after that its engine answers nothing more
                self._replace_broken(version)
                raise sqlite3.OperationalError(str(error)) from error
            except (duckdb.Error, DeephysError, ValueError, TypeError, OverflowError) as error:
                raise sqlite3.OperationalError(str(error)) from error
            finally:
                timer.cancel()
                cursor.close()

        return await self._in_thread(run)

    async def _run_for_visitor(self, sql: str, bound: dict | list, most: int | None) -> Results:
        stopped = f"the query was stopped after {self.ds.sql_time_limit_ms / 1000:g} s"
        most = most or self.ds.max_returned_rows
        try:
            runner = await asyncio.to_thread(self._visitors_runner, self.version().stamp)
            columns, rows, truncated = await runner.execute(sql, bound, max_rows=most)
        except duckdb.InterruptException as error:
            raise QueryInterrupted(error, sql, bound) from error
        except DeephysError as error:
            if str(error).startswith(stopped):
                raise QueryInterrupted(error, sql, bound) from error
            raise sqlite3.OperationalError(str(error)) from error
        return self._made(rows, columns, truncated)

    def _visitors_runner(self, newest: tuple[int, int, int]) -> Sandbox | InProcess:
        """Return what runs visitors' SQL, on the file that is there now. It takes the time of a process to start at first."""
        with self._runner_lock:
            if self._runner is None:
                self._runner = self._runner_kind(self.store, time_limit_s=self.ds.sql_time_limit_ms / 1000)
                atexit.register(self.close)
            elif newest != self._runner_stamp:
                self._runner.reopen()
            self._runner_stamp = newest
            return self._runner

    async def _in_thread(self, function):
        if self.ds.executor is None:
            return function()
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.ds.executor, context.run, function)

    def _made(self, rows: list[tuple], columns: list[str], truncated: bool) -> Results:
        cursor = _cursor_with(tuple(columns))
        return Results([sqlite3.Row(cursor, tuple(map(plain, row))) for row in rows], truncated, cursor.description)

    # What Datasette asks about the schema.

    async def execute_fn(self, fn):
        shadow = self.version().shadow
        with self._opening:
            return fn(shadow)

    async def table_counts(self, limit=10):
        version = self.version()
        if version.counts is None:
            counts = {}
            for table in version.tables.values():
                if not table.is_long:
                    try:
                        found = await self.query(f"select count(*) from {schema.quote(table.name)}", time_limit_ms=max(limit, 200))
                        counts[table.name] = found.rows[0][0]
                    except (QueryInterrupted, sqlite3.OperationalError):
                        counts[table.name] = None
            version.counts = counts
        return dict(version.counts)

    async def hidden_table_names(self):
        return [table.name for table in self.version().tables.values() if table.is_hidden]

    async def get_table_definition(self, table, type_="table"):
        known = self.version().tables.get(table)
        return None if known is None or known.is_long != (type_ == "view") else known.definition

    async def get_view_definition(self, view):
        return await self.get_table_definition(view, "view")

    async def execute_write_fn(self, fn, *_, **__):
        raise sqlite3.OperationalError("a store is only read by the site; record into it with deephys_sql.open(path)")

    async def execute_isolated_fn(self, fn):
        return await self.execute_fn(fn)

    async def analyze_sql(self, sql, params=None):
        """Datasette 1.0 asks what a query would touch; every query on a store reads."""
        from datasette.utils.sql_analysis import SQLAnalysis

        return SQLAnalysis(operations=())

    def __repr__(self) -> str:
        return f"<StoreDatabase {self.name}>"


# Values.


def plain(value: Any) -> Any:
    """Return a value of DuckDB as text, number, bytes or None, as Datasette expects.

    >>> import datetime
    >>> plain([1, None, "a"]), plain(decimal.Decimal("1.5")), plain(datetime.date(2025, 1, 2)), plain(float("nan"))
    ('[1, null, "a"]', 1.5, '2025-01-02', 'nan')
    """
    if value is None or isinstance(value, (str, int, bytes)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return float(value) if decimal.Decimal(str(float(value))) == value else str(value)
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(value, default=_json, ensure_ascii=False)
    return str(value)


def _json(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else plain(value)


def _results(cursor: sqlite3.Cursor) -> Results:
    return Results(cursor.fetchall(), False, cursor.description)


def _parsed(sql: str) -> duckdb.Statement | str:
    """Return the statement parsed; a text that is not one statement as it is."""
    try:
        return parsed(sql)
    except QueryError:
        return sql


@lru_cache(maxsize=256)
def _cursor_with(columns: tuple[str, ...]) -> sqlite3.Cursor:
    """Return a SQLite cursor with these columns: Datasette wants rows of the type that SQLite gives."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    return connection.execute("select " + ", ".join(f"null as {schema.quote(column)}" for column in columns))
