"""The files of `queries/` as Datasette's canned queries: their SQL and the types of their values."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from deephys_sql import query


@cache
def canned_queries() -> dict[str, dict]:
    """Return the named queries as Datasette wants its canned queries.

    A condition can't be bound as a parameter, so that a parameter of type predicate is fixed to its default here.
    """
    canned = {}
    for name, known in query.available().items():
        text, notes, parameters = known.statement, [], []
        for parameter in known.parameters.values():
            if parameter.type == "predicate":
                text = text.replace(f"${parameter.name}", f"({parameter.default})")
                notes.append(
                    f"The condition {parameter.name} is fixed to {parameter.default} on this page: choose Edit SQL and write any "
                    f"condition there, such as {parameter.example}."
                )
            else:
                text = text.replace(f"${parameter.name}", f":{parameter.name}")
                parameters.append(parameter.name)
        canned[name] = {
            "sql": text,
            "title": known.title,
            "description": " ".join([known.description, *notes]),
            "params": parameters,
        }
    return canned


def bind(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a named query's parameters in their types; an empty field takes the default."""
    known = query.available()[name]
    given = {key: values[key] for key in known.parameters if key in values and values[key] != ""}
    return known.bind(given)[1]
