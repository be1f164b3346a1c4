"""Reads runs from tables: CSV, JSON lines, Parquet, or the rows of a query.

A table has a row a run, or, with a column `step`, a row a step of a run. Its columns are told apart by their names:

- `run`, `name`, `study`, `status`, `started`, `ended` and `time`, also as MLflow, W&B and others write them (see `NAMES`);
- `metrics.accuracy`, `params.lr` and `tags.note`, as MLflow exports them; nested ones, such as W&B's `config`, `summary` and
  `tags` in JSON;
- those that the caller lists as metrics or tags, by name or pattern;
- the rest are parameters; where rows are steps, those with numbers are metrics.
"""

import csv
import fnmatch
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deephys_sql.errors import InvalidInputError, SourceError
from deephys_sql.experiments.items import Item, Metric, Param, Run, Tag, flat, moment, number, require_name, text, whole

NAMES = {
    "run": ("run", "run_id", "run_uuid", "id"),
    "name": ("name", "run_name", "display_name"),
    "study": ("study", "experiment", "experiment_name", "project", "sweep"),
    "status": ("status", "state"),
    "started": ("started", "start_time", "created", "created_at"),
    "ended": ("ended", "end_time", "finished"),
    "step": ("step", "_step"),
    "time": ("time", "timestamp", "_timestamp"),
}
KINDS = {
    **dict.fromkeys(("params", "param", "config", "hparams", "hyperparameters"), "param"),
    **dict.fromkeys(("metrics", "metric", "summary", "summary_metrics"), "metric"),
    **dict.fromkeys(("tags", "tag"), "tag"),
}
READERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
MOST_BYTES = 10_000_000  # of one line of JSON, and of one field of CSV
MOST_BYTES_OF_ARRAY = 100_000_000


def read_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a CSV, TSV, JSON lines or Parquet file, each with where it stands.

    Raises `SourceError` for a file that can't be read.
    """
    read = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}[READERS[path.suffix.lower()]]
    try:
        yield from read(path)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path} can't be read: {error}") from error


def _read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(MOST_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        columns = reader.fieldnames or []
        if twice := [column for column in columns if columns.count(column) > 1]:
            raise SourceError(f"{path} has two columns {twice[0]!r}. Rename one.")
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            if None in row or None in row.values():
                count = len([value for key, value in row.items() if key is not None and value is not None]) + len(row.get(None, ()))
                raise SourceError(f"{where} has {count} fields, and the first line names {len(columns)} columns.")
            yield where, row


def _read_json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read an object a line, or one array of objects."""
    with path.open(encoding="utf-8-sig") as file:
        start = file.read(100).lstrip()[:1]
        file.seek(0)
        if start == "[":
            if path.stat().st_size > MOST_BYTES_OF_ARRAY:
                raise SourceError(
                    f"{path} is one array of {path.stat().st_size:,} bytes, too many to be read at once. Write an object a line."
                )
            rows = [(f"{path.name}, object {i}", row) for i, row in enumerate(json.load(file), start=1)]
        else:
            rows = _lines(path, file)
        for where, row in rows:
            if not isinstance(row, dict):
                raise SourceError(f'{where} is {json.dumps(row)[:60]}, and a row is an object, such as {{"run": "a1", "lr": 0.1}}.')
            yield where, row


def _lines(path: Path, file) -> Iterator[tuple[str, Any]]:
    for i in itertools.count(1):
        line = file.readline(MOST_BYTES)
        if not line:
            return
        where = f"{path.name}, line {i}"
        if len(line) == MOST_BYTES:
            raise SourceError(f"{where} is longer than {MOST_BYTES:,} characters, too long for a run.")
        if line.strip():
            try:
                yield where, json.loads(line)
            except ValueError as error:
                raise SourceError(f"{where} is no JSON ({error}). Write an object a line.") from error


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            count = itertools.count(1)
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    yield f"{path.name}, row {next(count)}", row
    except pyarrow.ArrowException as error:
        raise SourceError(f"{path} can't be read: {error}") from error


@dataclass(frozen=True)
class Columns:
    """Which columns are what, as the caller says: names, or patterns such as `val/*` for metrics and tags."""

    run: str | None = None
    metrics: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    seen: dict[str, None] = field(default_factory=dict, compare=False)  # the columns of the rows that were read

    def remarks(self) -> tuple[str, ...]:
        """Return a line for each pattern that no column matched.

        >>> Columns(metrics=("acc*", "loss"), seen={"run": None, "accuracy": None}).remarks()
        ("metrics='loss' matches no column; columns are run, accuracy.",)
        """
        there = f"columns are {', '.join(self.seen)[:300]}." if self.seen else "only tables and rows of a query have columns to match."
        return tuple(
            f"{kind}={pattern!r} matches no column; {there}"
            for kind, patterns in (("metrics", self.metrics), ("tags", self.tags))
            for pattern in patterns
            if not fnmatch.filter(self.seen, pattern)
        )


def read_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns | None = None) -> Iterator[Item]:
    """Yield the runs of a table's rows.

    >>> rows = [("row 1", {"run": "a", "lr": "0.1", "metrics.accuracy": "0.9"})]
    >>> [type(item).__name__ for item in read_rows(rows)]
    ['Run', 'Param', 'Metric']

    Raises `InvalidInputError` for a row without a run or name, a metric that is no number, a time that is none.
    """
    columns = columns or Columns()
    seen: set[str] = set()
    given: set[tuple[str, str]] = set()
    for count, (where, row) in enumerate(rows, start=1):
        columns.seen.update(dict.fromkeys(map(str, row)))
        known = _fields(tuple(row), columns)
        values = {field: row[column] for field, column in known.items() if column is not None}
        run = text(values.get("run")) or text(values.get("name"))
        if run is None:
            raise InvalidInputError(
                f"{where} names no run: it needs a value in a column run, run_id, id or name. Columns are "
                f"{', '.join(map(str, row))[:300]}; give run= with the one that tells runs apart."
            )
        run = require_name(run, where)
        step = whole(values.get("step"), f"{where}, column {known['step']}") if known["step"] else None
        if step is None or run not in seen:
            times = {key: moment(values.get(key), f"{where}, column {known[key]}") for key in ("started", "ended")}
            yield Run(count, run, *(text(values.get(key)) for key in ("name", "study", "status")), **times)
            seen.add(run)
        at = moment(values.get("time"), f"{where}, column {known['time']}") if known["time"] else None
        for column, value in row.items():
            if column in known.values():
                continue
            for kind, name, one in _parts(str(column), value, step is not None, columns, where):
                name = require_name(name, where)
                if kind == "metric":
                    measured = number(one, f"{where}, column {column}")
                    if measured is not None:
                        yield Metric(run, name, step or 0, at, measured)
                elif (text(one) is not None or kind == "tag") and (step is None or (run, name) not in given):
                    if step is not None:
                        given.add((run, name))
                    yield Param(run, name, text(one)) if kind == "param" else Tag(run, name, text(one))


@functools.lru_cache(maxsize=1000)
def _fields(names: tuple[str, ...], columns: Columns) -> dict[str, str | None]:
    """Return the column that holds each field of a run, None where there is none."""
    if columns.run is not None and columns.run not in names:
        raise InvalidInputError(f"there is no column {columns.run!r} to tell runs apart; columns are {', '.join(map(str, names))[:300]}.")
    small = {str(name).lower(): name for name in reversed(names) if _listed(str(name), columns) is None}
    found = {field: next((small[name] for name in known if name in small), None) for field, known in NAMES.items()}
    return found if columns.run is None else found | {"run": columns.run}


def _listed(column: str, columns: Columns) -> str | None:
    if any(fnmatch.fnmatchcase(column, pattern) for pattern in columns.metrics):
        return "metric"
    return "tag" if any(fnmatch.fnmatchcase(column, pattern) for pattern in columns.tags) else None


def _parts(column: str, value: Any, is_step: bool, columns: Columns, where: str) -> Iterator[tuple[str, str, Any]]:
    """Yield kind, name and value of what a column holds: one thing, or many when it is nested."""
    prefix, dot, rest = column.partition(".")
    if kind := _listed(column, columns):
        yield kind, column, value
    elif dot and rest and prefix.lower() in KINDS:
        if KINDS[prefix.lower()] != "tag" or text(value) is not None:
            yield KINDS[prefix.lower()], rest, value
    elif column.lower() == "tags" and isinstance(value, str):
        if value:
            yield "tag", column, value
    elif column.lower() in KINDS and isinstance(value, Mapping | list | tuple):
        kind = KINDS[column.lower()]
        if isinstance(value, list | tuple):
            yield from (("tag", text(one) or "", None) for one in value if text(one) is not None)
            return
        plain = {key: _unwrapped(one) for key, one in value.items() if key != "_wandb"}
        for name, one in flat(plain, f"{where}, column {column}"):
            yield ("tag" if kind == "metric" and not isinstance(one, int | float) else kind), name, one
    elif isinstance(value, Mapping):
        yield from (("param", name, one) for name, one in flat({column: value}, where))
    elif is_step and _is_number(value):
        yield "metric", column, value
    else:
        yield "param", column, value


def _unwrapped(value: Any) -> Any:
    """Return the value of W&B's {"value": 0.1, "desc": null}."""
    return value["value"] if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "desc"} else value


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)
