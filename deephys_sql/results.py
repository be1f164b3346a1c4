"""Writes the result of a query as a table for people, or as CSV, JSON or Parquet."""

import base64
import contextlib
import decimal
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from deephys_sql.errors import InvalidInputError
from deephys_sql.rows import Rows

FORMATS = ("table", "csv", "json", "parquet")
ALL = 2**31 - 1


def write(relation: duckdb.DuckDBPyRelation | Rows, format: str | None = None, path: Path | None = None) -> None:
    """Write a result to a file, or to standard output without a path.

    >>> write(duckdb.sql("select 1 as a, 'x' as b"), "json")
    [
    {"a": 1, "b": "x"}
    ]

    Without a format, the end of the file's name decides; else it is a table.
    In JSON, bytes are base64, dates are ISO 8601, NaN and infinities are null.
    Raises `InvalidInputError` for Parquet without a path: it is no text.
    """
    format = chosen(format, path)
    if format == "parquet" and path is None:
        raise InvalidInputError("parquet is no text: name a file for it, with --output FILE.")
    _ = relation.columns  # a statement that is wrong is refused before a file is opened
    if format == "parquet":
        relation.to_parquet(str(path))
    elif format == "csv" and path is not None:
        relation.to_csv(str(path))
    elif format == "csv":
        with tempfile.TemporaryDirectory() as folder:
            relation.to_csv(f"{folder}/result.csv")
            with open(f"{folder}/result.csv", encoding="utf-8", newline="") as file:
                shutil.copyfileobj(file, sys.stdout)
    else:
        with (
            contextlib.nullcontext(sys.stdout) if path is None else path.open("w", encoding="utf-8") as file,
            contextlib.redirect_stdout(file),
        ):
            _write_json(relation) if format == "json" else _write_table(relation)


def chosen(format: str | None, path: Path | None) -> str:
    """Return the format in which `write` writes.

    >>> chosen(None, Path("scores.csv")), chosen(None, None)
    ('csv', 'table')
    """
    ending = "" if path is None else path.suffix.removeprefix(".")
    return format or (ending if ending in FORMATS else "table")


def _write_table(relation: duckdb.DuckDBPyRelation | Rows) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else ALL
    relation.show(max_rows=ALL, max_width=width, max_col_width=80)


def _write_json(relation: duckdb.DuckDBPyRelation | Rows) -> None:
    separator = "[\n"
    with relation.arrow() as batches:
        for batch in batches:
            for row in batch.to_pylist():
                print(separator, json.dumps({name: _plain(value) for name, value in row.items()}, default=str), sep="", end="")
                separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _plain(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
