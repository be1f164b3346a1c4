"""Finds the files under `queries/`, checks parameters and binds them.

A file begins with a header, which is read by people, by `deephys-sql queries` and by the site:

    -- title: Top images of a neuron
    -- One sentence or more.
    -- parameter k: integer, from 1, default 20, example 10 - How many images.
    -- parameter order: varchar, one of descending|ascending, default descending, example ascending - Which come first.
    -- column value: activation

Parameters are written `$k` in the SQL and bound, never pasted, but for those of type `predicate`: a condition in SQL
on the columns that the header names, which is parsed and then put in brackets where `$where` stands.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from deephys_sql import assets
from deephys_sql.errors import QueryError
from deephys_sql.names import require_name

REQUIRED = object()  # the default of a parameter that has none

_PARAMETER = re.compile(r"-- parameter (\w+): (\w+)(?:, from (\d+))?(?:, one of ([\w|]+))?(?:, default (.+?))?, example (.+?) - (.+)")
_COLUMN = re.compile(r"-- column (\w+): (.+)")
_TYPES = {"varchar": str, "integer": int, "double": float, "predicate": str}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query: `default` is `REQUIRED` when it must be given."""

    name: str
    type: str
    minimum: int | None
    choices: tuple[str, ...]
    default: Any
    example: Any
    description: str

    def convert(self, value: Any) -> Any:
        """Return the value as the parameter's type; texts are read, as they come from a command line."""
        if value is None:
            return None
        kind = _TYPES[self.type]
        try:
            converted = kind(value)
        except (TypeError, ValueError, OverflowError):
            converted = None
        wrong = isinstance(value, bool) or (kind is int and not isinstance(value, str) and converted != value)
        if converted is None or wrong or (self.type == "predicate" and not isinstance(value, str)):
            raise QueryError(f"parameter {self.name!r} must be {self.type}, such as {self.example!r}; got {value!r}.")
        if self.minimum is not None and converted < self.minimum:
            raise QueryError(f"parameter {self.name!r} must be at least {self.minimum}; got {value!r}.")
        if self.choices and converted not in self.choices:
            raise QueryError(f"parameter {self.name!r} must be one of {', '.join(self.choices)}; got {value!r}.")
        return converted


@dataclass(frozen=True)
class Query:
    """One file of `queries/`."""

    name: str
    title: str
    description: str
    parameters: dict[str, Parameter]
    columns: dict[str, str]
    text: str

    @property
    def statement(self) -> str:
        """The SQL without the header."""
        return "\n".join(self.text.splitlines()[len(_header(self.text)) :])

    def bind(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the SQL and the parameters to run it with.

        >>> available()["recordings"].bind({})[1]
        {}

        Raises `UnknownNameError` for a parameter that the query doesn't have, `QueryError` for one that lacks or has
        the wrong type.
        """
        for name in values:
            require_name(f"parameter of query {self.name!r} called", name, self.parameters)
        bound = {}
        for parameter in self.parameters.values():
            value = values.get(parameter.name)
            value = parameter.default if value is None else value
            if value is REQUIRED:
                raise QueryError(
                    f"query {self.name!r} needs the parameter {parameter.name!r}: {parameter.description} "
                    f"For example {parameter.example!r}."
                )
            bound[parameter.name] = parameter.convert(value)
        text = self.text
        for parameter in self.parameters.values():
            if parameter.type == "predicate":
                condition = require_condition(bound.pop(parameter.name))
                text = text.replace(f"${parameter.name}", f"(\n{condition}\n)")
        return text, bound


def require_condition(text: str) -> str:
    """Return the text if it is one SQL expression; raise `QueryError` otherwise.

    >>> require_condition("label = 3 and confidence > 0.9")
    'label = 3 and confidence > 0.9'
    """
    try:
        if not text.strip():
            raise ValueError("it is empty")
        for opening, closing in (("(", ")"), ("[", "]")):  # so that brackets inside are balanced
            (statement,) = duckdb.extract_statements(f"select {opening}\n{text}\n{closing}")
            if statement.type != duckdb.StatementType.SELECT:
                raise ValueError("not an expression")
    except (duckdb.Error, ValueError) as error:
        raise QueryError(f'{text!r} is not a condition in SQL, such as "label = 3 and confidence > 0.9": {error}') from error
    return text


@cache
def available() -> dict[str, Query]:
    """Return the queries of this package by name.

    >>> available()["top_images"].title
    'Top images of a neuron'
    """
    return {f.stem: parse(f.stem, f.read_text(encoding="utf-8")) for f in sorted(assets.folder("queries").glob("*.sql"))}


def describe(name: str | None = None) -> str:
    """Return the list of queries for people, or all about one of them.

    >>> print(describe("recordings").splitlines()[0])
    recordings: What was recorded

    Raises `UnknownNameError` for a query that isn't there.
    """
    known = available()
    if name is None:
        width = max(map(len, known))
        return "\n".join(f"{query.name:<{width}}  {query.title}" for query in known.values())
    require_name("query", name, known)
    query = known[name]
    lines = [f"{query.name}: {query.title}", query.description, "", "parameters:"]
    for parameter in query.parameters.values():
        choices = f" ({'|'.join(parameter.choices)})" if parameter.choices else ""
        default = "" if parameter.default is REQUIRED else f" (default {parameter.default})"
        lines.append(f"  --{parameter.name} {parameter.type}{choices}{default}  {parameter.description} Example: {parameter.example}")
    lines += ["", "columns:", *(f"  {column}: {meaning}" for column, meaning in query.columns.items()), "", query.statement]
    return "\n".join(lines)


def parse(name: str, text: str) -> Query:
    """Read a query's header. Raises `QueryError` for a header line that isn't understood."""
    title, description, parameters, columns = "", [], {}, {}
    header = _header(text)
    for line in header:
        if line.startswith("-- title: "):
            title = line.removeprefix("-- title: ")
        elif found := _PARAMETER.fullmatch(line):
            key, kind, minimum, choices, default, example, meaning = found.groups()
            if kind not in _TYPES:
                raise QueryError(f"queries/{name}.sql: parameter {key!r} has type {kind!r}; known are {', '.join(_TYPES)}.")
            parameters[key] = Parameter(
                name=key,
                type=kind,
                minimum=int(minimum) if minimum else None,
                choices=tuple(choices.split("|")) if choices else (),
                default=_literal(kind, default),
                example=_literal(kind, example),
                description=meaning,
            )
        elif found := _COLUMN.fullmatch(line):
            columns[found[1]] = found[2]
        elif line.startswith(("-- parameter", "-- column")):
            raise QueryError(f"queries/{name}.sql: header line not understood: {line}")
        else:
            description.append(line.removeprefix("-- "))
    return Query(name, title, " ".join(description), parameters, columns, text)


def _header(text: str) -> list[str]:
    return list(itertools.takewhile(lambda line: line.startswith("-- "), text.splitlines()))


def _literal(kind: str, text: str | None) -> Any:
    if text is None:
        return REQUIRED
    return None if text == "null" else _TYPES[kind](text.strip("'") if kind == "varchar" else text)
