"""What every source of runs gives: items, one after the other, each on its way to a table of the store."""

import dataclasses
import datetime
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deephys_sql.errors import InvalidInputError

MOST_LEVELS = 20  # of nested parameters
MOST_PARAMS = 10_000  # of one run
LONGEST_NAME = 500


@dataclass(frozen=True)
class Run:
    """One run; `number` is its place in the source, from 1. Times are in UTC, without a zone."""

    number: int
    run: str
    name: str | None = None
    study: str | None = None
    status: str | None = None
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None


@dataclass(frozen=True)
class Param:
    """A parameter of a run."""

    run: str
    name: str
    value: str


@dataclass(frozen=True)
class Metric:
    """One measurement of a run."""

    run: str
    name: str
    step: int
    recorded_at: datetime.datetime | None
    value: float


@dataclass(frozen=True)
class Tag:
    """A tag of a run; its value may be None."""

    run: str
    name: str
    value: str | None


Item = Run | Param | Metric | Tag


def fields(kind: type) -> list[str]:
    """Return the names of an item's values, which are those of its table's columns.

    >>> fields(Tag)
    ['run', 'name', 'value']
    """
    return [field.name for field in dataclasses.fields(kind)]


def text(value: Any) -> str | None:
    """Return a value as text, None for what is missing.

    >>> [text(value) for value in (0.001, True, None, "", [1, 2], float("nan"))]
    ['0.001', 'True', None, None, '[1, 2]', 'nan']
    """
    if value is None or value == "":
        return None
    if isinstance(value, list | tuple | Mapping):
        return _storable(json.dumps(value, default=str, ensure_ascii=False))
    return _storable(value.isoformat() if hasattr(value, "isoformat") else str(value))


def number(value: Any, where: str) -> float | None:
    """Return a metric's value, None for what is missing; raise `InvalidInputError` for what is no number."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{where} is {value!r:.80}, and a metric is a number. Leave this column out of metrics=, or correct the value."
        ) from error


def whole(value: Any, where: str) -> int | None:
    """Return a step, None for what is missing; raise `InvalidInputError` for what is no whole number."""
    found = number(value, where)
    if found is not None and (not math.isfinite(found) or found != int(found) or abs(found) >= 2**63):
        raise InvalidInputError(f"{where} is {value!r:.80}, and a step is a whole number.")
    return None if found is None else int(found)


def moment(value: Any, where: str) -> datetime.datetime | None:
    """Return a time in UTC without a zone: from a time, ISO 8601, or seconds or milliseconds since 1970.

    >>> moment("2026-05-01T12:00:00+02:00", ""), moment(1_700_000_000_000, "") == moment("1700000000", "")
    (datetime.datetime(2026, 5, 1, 10, 0), True)

    Raises `InvalidInputError` for anything else.
    """
    if value is None or (isinstance(value, str) and not value.strip()) or value != value:
        return None
    try:
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return datetime.datetime.combine(value, datetime.time())
        if not isinstance(value, datetime.datetime):
            seconds = _as_float(value)
            if seconds is None:
                value = datetime.datetime.fromisoformat(str(value).strip())
            else:
                value = datetime.datetime.fromtimestamp(seconds / 1000 if abs(seconds) > 1e11 else seconds, datetime.UTC)
        return value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInputError(
            f"{where} is {value!r:.80}, which is no time. Write it as 2026-05-01T12:00:00Z, or as seconds since 1970."
        ) from error


def flat(values: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yield names and values of nested dictionaries, levels joined by dots.

    >>> list(flat({"optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}}, "the run"))
    [('optimizer.lr', 0.1), ('optimizer.betas', [0.9, 0.99])]

    Raises `InvalidInputError` when there are more than can be parameters.
    """
    todo = [("", values, 0)]
    found = 0
    while todo:
        prefix, value, level = todo.pop()
        if isinstance(value, Mapping) and value and level < MOST_LEVELS:
            found += len(value)
            todo += reversed([(f"{prefix}.{key}" if prefix else str(key), one, level + 1) for key, one in value.items()])
        elif isinstance(value, Mapping) and value:
            raise InvalidInputError(f"{where} has values more than {MOST_LEVELS} levels deep. Import parameters, not whole programs.")
        elif prefix:
            yield prefix, value
        if found > MOST_PARAMS:
            raise InvalidInputError(f"{where} has more than {MOST_PARAMS:,} parameters. Import fewer of them.")


def require_name(name: str, where: str) -> str:
    """Return a name that a run, parameter, metric or tag can have; raise `InvalidInputError` otherwise."""
    name = _storable(name)
    if not name.strip() or len(name) > LONGEST_NAME:
        raise InvalidInputError(f"{where}: {name!r:.60} can't be a name. Names have 1 to {LONGEST_NAME} characters.")
    return name


def _storable(given: str) -> str:
    """Return a text without what no column can hold: NUL, and halves of surrogate pairs, which JSON can spell."""
    return re.sub("[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", given)


def _as_float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
