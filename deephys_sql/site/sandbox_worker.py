"""Checks and runs visitors' SQL: the part of the sandbox that lives in a child process.

`deephys_sql.site.sandbox` starts this file as a program. It imports nothing of the package, so that a child starts in a
fifth of a second and holds little. Three walls stand one behind the other:

1. `checked` reads the syntax tree that DuckDB itself made of the statement, and refuses what isn't a plain question.
2. `connect` opens the store read-only and locked: no files, no network, no extensions, no settings.
3. `limit_resources` leaves the process without a file to open, without a byte to write, and with bounded memory.

A message is eight bytes of length and a pickle. The parent says `("run", number, sql, parameters, max_rows)`,
`("interrupt", number)` or `("annotations", statements, entries)`; to the first the child answers what `answer` returns. When the
parent is gone, the child ends itself.
"""

import contextlib
import datetime
import json
import os
import pickle
import queue
import re
import struct
import sys
import threading
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

LENGTH = struct.Struct(">Q")
MAX_SQL = 50_000  # characters; DuckDB's parser takes quadratic time on some texts
MAX_ERROR = 2_000  # characters
ADVICE = "Ask the store's views and macros; `show tables` lists them."

# Of DuckDB's own table functions and views these may be asked; what a later version brings is refused until it is looked at.
# (Not histogram and the like: they take any table by its name, as does query_table.)
# fmt: off
TABLE_FUNCTIONS = frozenset([
    "duckdb_columns", "duckdb_constraints", "duckdb_dependencies", "duckdb_functions", "duckdb_indexes", "duckdb_keywords",
    "duckdb_schemas", "duckdb_sequences", "duckdb_tables", "duckdb_types", "duckdb_views", "generate_series", "icu_calendar_names",
    "json_each", "json_tree", "pg_timezone_names", "pragma_collations", "pragma_show", "pragma_table_info", "pragma_version", "range",
    "repeat", "repeat_row", "summary", "unnest",
])
VIEWS = frozenset([
    "duckdb_columns", "duckdb_constraints", "duckdb_indexes", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views",
    "sqlite_master", "sqlite_schema",
])
# fmt: on
SHOWN = frozenset(["databases", "schemas", "tables", "__show_tables_expanded"])  # the last is `show all tables`
REFUSED_VIEWS = frozenset(["duckdb_databases", "duckdb_logs", "pg_prepared_statements", "pg_settings", "pragma_database_list"])
# Aggregate states are bytes that DuckDB trusts; a plan is bound, so files are looked at.
REFUSED_FUNCTIONS = {
    **dict.fromkeys(["current_setting", "getenv", "getvariable"], "shows settings of the machine"),
    **dict.fromkeys(["currval", "nextval", "setval", "setseed", "write_log"], "changes what other visitors see"),
    **dict.fromkeys(["combine", "finalize", "to_aggregate_state"], "works on the inside of an aggregate"),
    **dict.fromkeys(["json_execute_serialized_sql", "json_serialize_plan"], "runs SQL that is hidden in a text"),
    **dict.fromkeys(["pg_sleep", "sleep_ms"], "only waits"),
    "parse_duckdb_log_message": "reads logs",
}
QUERY_NODES = frozenset(["CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"])

_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*(?:(?!/\*).)*?\*/)*(explain(?:\s+analyze\b)?(?:\s*\(\s*(?:analyze|format\s+\w+)(?:\s*,\s*(?:analyze|format\s+\w+))*\s*\))?)(?=[\s(])",
    re.IGNORECASE | re.DOTALL,
)
_PATH = re.compile(r"(?<![\w.)\]])/[^\s'\"`:;,()]+")
_FILE = re.compile(r"[./\\:*?\[\]{}]")


class Refused(Exception):
    """The statement is not one that a visitor may run; the text says why, and what to do."""


# The first wall: the statement.


def checked(sql: str, connection: Any) -> Any:
    """Return DuckDB's statement if it is exactly one SELECT or EXPLAIN of one, and asks only the store; raise `Refused` otherwise."""
    import duckdb

    if len(sql) > MAX_SQL:
        raise Refused(f"the SQL has {len(sql):,} characters; at most {MAX_SQL:,} are taken. Make it shorter, or bind long lists as $name.")
    try:
        statements = duckdb.extract_statements(sql)
        kinds = [statement.type.name for statement in statements]
    except ValueError as error:  # a statement that DuckDB's Python has no name for
        raise Refused(f"this kind of statement can't be run here. Write one SELECT, or EXPLAIN of one. {ADVICE}") from error
    if len(statements) != 1:
        what = "there is no statement" if not statements else f"these are {len(statements)} statements ({', '.join(kinds[:5])})"
        raise Refused(f"{what}; exactly one SELECT, or EXPLAIN of one, can be run here. {ADVICE}")
    statement, kind = statements[0], kinds[0]
    if kind == "MULTI":
        raise Refused(
            "a PIVOT that finds its own columns makes a type first, and nothing is written here. List them: pivot ... on c in (...)."
        )
    if kind not in ("SELECT", "EXPLAIN"):
        raise Refused(f"this is a {kind} statement; only one SELECT, or EXPLAIN of one, can be run here. {ADVICE}")
    if kind == "EXPLAIN":
        found = _EXPLAIN.match(sql)
        inner = sql[found.end() :] if found else ""
        if not inner or [s.type.name for s in duckdb.extract_statements(inner)] != ["SELECT"]:
            raise Refused(f"only a SELECT can be explained here, as in `explain analyze select ...`. {ADVICE}")
        (statement,) = duckdb.extract_statements(f"{found[1]} {inner}")
        sql = inner
    (text,) = connection.execute("select json_serialize_sql($sql, skip_null := true, skip_empty := true)", {"sql": sql}).fetchone()
    try:
        tree = json.loads(text)
        if tree.get("error"):
            raise Refused(f"the statement can't be checked ({tree.get('error_message')}), so it isn't run. Write it as a plain SELECT.")
        _require_harmless(tree)
    except RecursionError as error:
        raise Refused("the statement is nested too deeply. Write it with fewer levels of brackets.") from error
    return statement


def _require_harmless(tree: Any) -> None:
    """Raise `Refused` unless every node of a syntax tree reads the store, or only computes."""
    functions, views = _built_in()
    for node in _nodes(tree):
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in QUERY_NODES:
            raise Refused(f"{kind.split('_')[0]} inside the statement writes, and the store is only read here. {ADVICE}")
        for name in _names(node, "function_name") & REFUSED_FUNCTIONS.keys():
            raise Refused(f"{name}(...) can't be used here: it {REFUSED_FUNCTIONS[name]}. {ADVICE}")
        if kind == "TABLE_FUNCTION":
            for name in _names(node.get("function", {}), "function_name") & functions - TABLE_FUNCTIONS:
                raise Refused(f"{name}(...) can't be used here: it reads more than this store, or changes something. {ADVICE}")
        elif kind == "SHOW_REF" and node.get("show_type") == "SHOW" and "query" not in node:
            raise Refused("SHOW and a name can't be used here: it tells settings too. Write `describe` and the name of a table or view.")
        elif kind == "SHOW_REF" and node.get("show_type") == "SHOW_SPECIAL":
            if not (names := {name.strip('"') for name in _names(node, "table_name")}) <= SHOWN:
                raise Refused(f"SHOW {names.pop().upper()} can't be used here. {ADVICE}")
        elif kind == "BASE_TABLE":
            for name in _names(node, "table_name"):
                if _FILE.search(name):
                    raise Refused(f"{name!r} looks like a file or an address, and only this store is read here. {ADVICE}")
                if name in REFUSED_VIEWS or name in (views | functions) - VIEWS - TABLE_FUNCTIONS:
                    raise Refused(f"{name} can't be read here: it tells about the machine, not about the store. {ADVICE}")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    todo = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _names(node: dict[str, Any], key: str) -> set[str]:
    """Return the name of a function or table, in small letters, wherever in the node it is written; nothing for other nodes."""
    if key not in node:
        return set()
    return {str(name).lower() for name in (node[key], *node.get("qualified_name", {}).get("path", [])[-1:])}


@cache
def _built_in() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of DuckDB's own table functions, and of its views outside information_schema and pg_catalog."""
    import duckdb

    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        functions = connection.execute(
            "select lower(function_name) from duckdb_functions() where internal and function_type in ('table', 'table_macro', 'pragma')"
        ).fetchall()
        views = connection.execute("select lower(view_name) from duckdb_views() where internal and schema_name = 'main'").fetchall()
    return frozenset(name for (name,) in functions), frozenset(name for (name,) in views)


# The second wall: the connection.


def connect(path: str, *, memory_mb: int, threads: int, beside_others: bool = False) -> Any:
    """Open a store read-only and locked.

    beside_others: open it in an engine of its own, so that other connections of this process to the same file don't matter;
        it is called `store` there, and every cursor begins with `use store`.
    """
    import duckdb

    _built_in()  # needs a database of its own, and nothing can be opened later
    settings = {
        "allow_community_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": f"{memory_mb}MB",
        "python_enable_replacements": "false",
        "temp_directory": "",
        "threads": str(threads),
    }
    if beside_others:
        connection = duckdb.connect(":memory:", config=settings)
        connection.execute(f"attach '{path.replace(chr(39), chr(39) * 2)}' as store (read_only)")
        connection.execute("set enable_external_access = false")
    else:
        connection = duckdb.connect(path, read_only=True, config={**settings, "enable_external_access": "false"})
    for setting in ("disabled_filesystems = 'LocalFileSystem'", "global timezone = 'UTC'", "lock_configuration = true"):
        connection.execute(f"set {setting}")
    return connection


def gather(connection: Any, statements: tuple[str, str, str], entries: list[dict[str, Any]]) -> str | None:
    """Take what is written beside the store (see `deephys_sql.annotations`); return the statement that shows it to a cursor."""
    if not entries:
        return None
    attach, gather, stand_in = statements
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(attach)
        cursor.execute(gather, {"entries": entries})
    return stand_in


class _Utc(datetime.tzinfo):
    """What DuckDB needs of pytz, for UTC alone; sent to the parent as the standard library's UTC."""

    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime.datetime | None) -> str:
        return "UTC"

    def localize(self, moment: datetime.datetime) -> datetime.datetime:
        return moment.replace(tzinfo=datetime.UTC)

    def __reduce__(self) -> tuple:
        return datetime.timezone, (datetime.timedelta(0),)


def only_utc() -> None:
    """Stand in for pytz, by which DuckDB makes Python's times with a zone: a child knows UTC alone, and can't import later."""
    sys.modules["pytz"] = types.ModuleType("pytz")
    sys.modules["pytz"].timezone = lambda name: _Utc()


def run(
    cursor: Any, sql: str, parameters: dict[str, Any], *, max_rows: int, max_bytes: int, checker: Any
) -> tuple[list[str], list[bytes], bool]:
    """Check and run a statement; return the column names, pickled chunks of rows, and whether rows were left out."""
    statement = checked(sql, checker)
    needed = statement.named_parameters
    if unnamed := sorted(name for name in needed if name.isdigit()):
        raise Refused(f"the SQL has {len(unnamed)} parameters without a name (? or $1). Name them: $neuron.")
    if missing := sorted(needed - parameters.keys()):
        raise Refused(
            f"the SQL needs the parameter ${missing[0]}, and no value was given for it. Given: {', '.join(sorted(parameters)) or 'none'}."
        )
    cursor.execute(statement, {name: parameters[name] for name in needed})
    columns = [column[0] for column in cursor.description or ()]
    chunks, count, size, step = [], 0, 0, 64
    while rows := cursor.fetchmany(min(step, max_rows + 1 - count)):
        chunk = pickle.dumps(rows[: max_rows - count], protocol=5)
        if size + len(chunk) > max_bytes:
            for row in rows[: max_rows - count]:
                chunk = pickle.dumps([row], protocol=5)
                if size + len(chunk) > max_bytes:
                    break
                chunks.append(chunk)
                size += len(chunk)
            if not chunks:
                raise Refused(
                    f"one row of the result is larger than {max_bytes / 1e6:.0f} MB. Ask for fewer columns, or parts: left(text, 100)."
                )
            return columns, chunks, True
        chunks.append(chunk)
        size += len(chunk)
        count += len(rows)
        if count > max_rows:
            return columns, chunks, True
        step = max(1, min(1024, max_bytes // 16 * count // size)) if size else step
    return columns, chunks, False


def explained(error: BaseException, hide: list[str], memory_mb: int) -> str:
    """Return an error's text for a visitor: without a path, and not longer than needed.

    Whatever looks like a path is left out, not only the machine's own, so that nobody can find those by trying.
    hide: paths that may not look like one, as they have spaces.
    """
    import duckdb

    if isinstance(error, MemoryError | duckdb.OutOfMemoryException) or "bad_alloc" in str(error):
        return f"the query needs more memory than the {memory_mb:,} MB that it may have. Ask for fewer rows or columns, or aggregate first."
    if isinstance(error, RecursionError):
        return "the result is nested too deeply. Ask for its parts."
    text = str(error).split("Traceback (most recent call last)")[0].strip() or type(error).__name__
    for path in sorted(hide, key=len, reverse=True):
        if not _PATH.fullmatch(path):
            text = text.replace(path, "...")
    text = _PATH.sub("...", text)
    return text if len(text) <= MAX_ERROR else f"{text[:MAX_ERROR]} ..."


# The third wall: the process.


def limit_resources(memory_mb: int) -> int | None:
    """Leave the process with what it has open, and no more; return a file descriptor from which its size can be read."""
    import resource

    size = None
    with contextlib.suppress(OSError):
        size = os.open("/proc/self/statm", os.O_RDONLY)
        with open("/proc/self/oom_score_adj", "w") as file:  # when the machine runs out of memory, this process goes first
            file.write("1000")
    os.nice(5)  # pages of the site come before visitors' SQL
    if size is not None:
        resource.setrlimit(resource.RLIMIT_AS, (address_space(size) + memory_mb * 2**20,) * 2)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    return size


def limit_processor_time(seconds: float) -> None:
    """Let the kernel end the process after so many more seconds of processor time."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime + seconds) + 1, hard))


def address_space(descriptor: int) -> int:
    """Return the size of the process's address space in bytes."""
    return int(os.pread(descriptor, 100, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")


def send(file: BinaryIO, message: Any, chunks: list[bytes] = ()) -> None:
    """Write a message: its length, a pickle, and chunks that are pickles already."""
    head = pickle.dumps(message, protocol=5)
    file.write(LENGTH.pack(len(head) + sum(map(len, chunks))) + head)
    for chunk in chunks:
        file.write(chunk)
    file.flush()


def receive(file: BinaryIO) -> Any:
    """Read a message; end the process when there is none any more, for then the parent is gone."""
    head = file.read(LENGTH.size)
    body = file.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
    if not body:
        os._exit(0)
    return pickle.loads(body)


def main() -> None:
    """Serve one parent until it is gone."""
    questions = os.fdopen(0, "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints to nowhere
    config = receive(questions)
    sys.path[:] = config["sys_path"]
    memory_mb, hide = config["memory_mb"], config["hide"]
    try:
        import decimal  # noqa: F401
        import uuid  # noqa: F401

        import duckdb

        only_utc()
        connection = connect(config["path"], memory_mb=config["buffer_mb"], threads=config["threads"])
        warm_up = "select now(), current_date, uuid(), 1.5::decimal(3, 1), {'a': [1]}, count(*) from range(100000)"
        run(connection.cursor(), warm_up, {}, max_rows=1, max_bytes=10_000, checker=connection)
        with contextlib.suppress(duckdb.Error):
            run(connection.cursor(), "select count(*) from recording", {}, max_rows=1, max_bytes=10_000, checker=connection)
        size = limit_resources(memory_mb)
        roomy = address_space(size) + memory_mb * 2**19 if size is not None else 0
    except Exception as error:
        send(answers, ("failed", explained(error, [*hide, config["path"]], memory_mb)))
        return
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    running: dict[int, Any] = {}  # the number of the question and its cursor

    def listen() -> None:
        while True:
            message = receive(questions)
            if message[0] in ("run", "annotations"):
                jobs.put(message)
            elif cursor := running.get(message[1]):
                cursor.interrupt()

    threading.Thread(target=listen, daemon=True).start()
    send(answers, ("ready", ""))
    stand_in = None
    while True:
        kind, *job = jobs.get()
        if kind == "annotations":
            stand_in = gather(connection, *job)
            continue
        number, sql, parameters, max_rows = job
        limit_processor_time((config["time_limit_s"] + 2) * config["threads"])
        cursor = running[number] = connection.cursor()
        chunks, worn = [], False
        try:
            if stand_in is not None:
                cursor.execute(stand_in)
            columns, chunks, truncated = run(cursor, sql, parameters, max_rows=max_rows, max_bytes=config["max_bytes"], checker=connection)
            message = ("rows", columns, len(chunks), truncated)
        except duckdb.InterruptException:
            message = ("stopped", "")
        except Exception as error:
            worn = isinstance(error, MemoryError | duckdb.FatalException | duckdb.InternalException) or "bad_alloc" in str(error)
            message = ("error", explained(error, hide, memory_mb))
        del running[number]
        with contextlib.suppress(Exception):
            cursor.close()
        worn = worn or (size is not None and address_space(size) > roomy)
        send(answers, (*message, worn), chunks)
        del chunks


if __name__ == "__main__":
    main()
