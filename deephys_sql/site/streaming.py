"""Whole tables and results of queries as CSV or Parquet, streamed from Arrow batches by a process of its own.

The address is /{database}/-/export.csv (or .parquet) with `table=`, with `query=` and its parameters, or with `sql=` and
its parameters. The process holds one batch at a time; it is ended when it exceeds its memory or its time, and when
nobody reads any more.
"""

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from datasette.utils import tilde_decode
from datasette.utils.asgi import BadRequest, NotFound, Response

from deephys_sql import annotations, query
from deephys_sql.errors import DeephysError, QueryError
from deephys_sql.site import permissions
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.named_queries import bind, canned_queries
from deephys_sql.site.schema import quote
from deephys_sql.site.translation import named_parameters

BATCH_ROWS = 65_536
PIECE_BYTES = 262_144
MEMORY_MB = 2_000
TIME_LIMIT_S = 120.0  # of a whole export
AT_ONCE = 4
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


async def export(request, datasette, send):
    """Answer with a stream; an error before the first row is a page with status 400."""
    try:
        database = datasette.get_database(route=tilde_decode(request.url_vars["database"]))
    except KeyError:
        raise NotFound("Database not found") from None
    if not isinstance(database, StoreDatabase):
        raise NotFound("Only stores are exported here")
    if not datasette.setting("allow_csv_stream"):
        raise BadRequest("Exports are switched off here by the setting allow_csv_stream")
    name, sql, parameters, by_visitor = await _asked(request, datasette, database)
    form = request.url_vars["format"]
    if request.method == "HEAD":
        return Response("", content_type=MEDIA_TYPES[form])
    free = _free(datasette)
    if free.locked():
        return Response.text("Too many exports are under way. Try again in a moment.\n", status=503)
    async with free, contextlib.aclosing(stream(database.version().path, sql, parameters, form, by_visitor=by_visitor)) as pieces:
        try:
            first = await anext(pieces, b"")
        except QueryError as error:
            return Response.text(f"{error}\n", status=400)
        headers = {
            "content-type": MEDIA_TYPES[form],
            "content-disposition": f'attachment; filename="{_file_name(name)}.{form}"',
            "x-content-type-options": "nosniff",
            "cache-control": "private",
        }
        encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in pieces:  # an error now ends the connection, so that nobody takes a part for the whole
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def stream(path: Path, sql: str, parameters: dict, form: str, *, by_visitor: bool) -> AsyncIterator[bytes]:
    """Yield the result as CSV or Parquet, in pieces.

    by_visitor: check that the SQL is one harmless SELECT; other SQL runs on one thread, so that rows without an order come
    in the order stored. Raises `QueryError` with the reason when it fails.
    """
    pipe = asyncio.subprocess.PIPE
    worker = str(Path(__file__).with_name("export_worker.py"))
    environment = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", worker, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd="/", limit=2 * PIECE_BYTES
    )
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            process.stdin.write(pickle.dumps(job(path, sql, parameters, form, by_visitor=by_visitor)))
            process.stdin.close()
            while piece := await process.stdout.read(PIECE_BYTES):
                yield piece
            problem = (await process.stderr.read(10_000)).decode("utf-8", "replace")
            status = await process.wait()
            if status < 0:  # ended by the kernel or by a fault
                problem = f"the query needed more than the {MEMORY_MB:,} MB of memory that it may have, or met a fault in DuckDB"
            if status != 0:
                raise QueryError(problem or "the export failed")
    except TimeoutError as error:
        raise QueryError(f"the export was stopped after {TIME_LIMIT_S:g} s, the longest that one may run. Ask for less.") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def job(path: Path, sql: str, parameters: dict, form: str, *, by_visitor: bool) -> dict:
    """Return what the process of an export is told."""
    return {
        "path": str(path), "sql": sql, "parameters": parameters, "format": form, "visitor": by_visitor,
        "sys_path": [os.path.abspath(entry) for entry in sys.path], "hide": [str(path), str(path.parent)],
        "annotations": (annotations.statements(), annotations.PatientLog(path).entries()),
        "memory_mb": MEMORY_MB, "threads": (os.cpu_count() or 1) if by_visitor else 1, "batch_rows": BATCH_ROWS,
    }  # fmt: skip


async def _asked(request, datasette, database: StoreDatabase) -> tuple[str, str, dict, bool]:
    """Return a name, the SQL, its parameters, and whether a visitor wrote it, when this visitor may see the result."""
    values = {key: request.args.get(key) for key in request.args}
    if table := values.get("table"):
        if table not in database.version().tables:
            raise NotFound("Table not found")
        await permissions.ensure(datasette, request, "view-table", database.name, table)
        return table, f"select * from {quote(table)}", {}, False
    if name := values.get("query"):
        if name not in query.available():
            raise NotFound("Query not found")
        await permissions.ensure(datasette, request, "view-query", database.name, name)
        try:
            return name, *named_parameters(canned_queries()[name]["sql"], bind(name, values)), False
        except DeephysError as error:
            raise BadRequest(str(error)) from error
    if sql := values.get("sql"):
        await permissions.ensure(datasette, request, "execute-sql", database.name)
        return database.name, *named_parameters(sql, values), True
    raise BadRequest("Say what to export: table=, query= or sql=")


def _free(datasette) -> asyncio.Semaphore:
    if not hasattr(datasette, "_deephys_sql_exports"):
        datasette._deephys_sql_exports = asyncio.Semaphore(AT_ONCE)
    return datasette._deephys_sql_exports


def _file_name(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name)
