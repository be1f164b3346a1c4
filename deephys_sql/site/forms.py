"""The form of a named query, filled in with defaults and with values that the store has."""

import asyncio
import contextlib
import json
import sqlite3
import urllib.parse
from collections.abc import Mapping
from typing import Any

import duckdb
from datasette.database import QueryInterrupted

from deephys_sql import assets, query
from deephys_sql.errors import DeephysError, UnknownNameError
from deephys_sql.names import require_stored
from deephys_sql.site.contents import names_of
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.named_queries import bind


async def fill_in(known: query.Query, database: StoreDatabase, query_string: bytes, *, examples: bool) -> bytes:
    """Add what an address leaves out of a named query's parameters, so that its form shows it.

    examples: what has no default gets a value that the store has, so that a page without parameters shows rows.
    """
    given = urllib.parse.parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
    missing = {
        parameter.name: parameter.default
        for parameter in known.parameters.values()
        if parameter.name not in given and parameter.type != "predicate" and parameter.default is not None
    }
    if query.REQUIRED in missing.values():
        values: dict[str, Any] = {}
        with contextlib.suppress(QueryInterrupted, sqlite3.OperationalError):  # then the page says what is missing
            values = await example_values(known, database, given) if examples else {}
        missing = {name: values.get(name) if value is query.REQUIRED else value for name, value in missing.items()}
        missing = {name: value for name, value in missing.items() if value is not None}
    return b"&".join(part for part in (query_string, urllib.parse.urlencode(missing).encode()) if part)


async def unknown_name(known: query.Query, database: StoreDatabase, given: Mapping[str, str]) -> str | None:
    """Return what is wrong with a form's first name or number that isn't in the store, with the nearest that are."""

    def compare() -> str | None:
        with contextlib.closing(database.version().cursor()) as cursor:
            try:
                require_stored(lambda file: cursor.execute(assets.sql(file)).fetchall(), bind(known.name, given))
            except UnknownNameError as error:
                return str(error)
            except (DeephysError, duckdb.Error):  # the page says it
                pass
        return None

    return await asyncio.to_thread(compare)


async def example_values(known: query.Query, database: StoreDatabase, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return values for a named query that the store has, beside those that are given; empty for a store without recordings."""
    names = await names_of(database)
    model = given.get("model", [None])[0] or next(iter(names.models), None)
    if model not in names.models or not names.recordings[model]:
        return {}
    recordings = list(names.recordings[model])
    dataset = given.get("dataset", [None])[0] or next((name for name in recordings if name != names.models[model]), recordings[0])
    layers = names.layers[model]
    layer = given.get("layer", [None])[0] or names.default_layer(model)
    values = {"model": model, "dataset": dataset, "layer": layer, "image": 0, "reference": names.models[model]}
    neurons = layers.get(layer, 0)
    if neurons and "neuron" in known.parameters:
        values["neuron"] = known.parameters["neuron"].example % neurons
    if neurons and "neurons" in known.parameters:
        values["neurons"] = json.dumps(sorted({number % neurons for number in json.loads(known.parameters["neurons"].example)}))
    if {"category", "a", "b", "confusions"} & known.parameters.keys():
        text, bound = query.available()["confusion_matrix"].bind({"model": model, "dataset": dataset, "mistakes_only": 1})
        rows = (await database.query(text, bound)).rows
        if rows:
            label, label_name, predicted, predicted_name = tuple(rows[0])[:4]
        else:
            categories = list(names.categories[model].items())
            (label, label_name), (predicted, predicted_name) = categories[0], categories[-1]
        values |= {"category": label_name, "a": label_name, "b": predicted_name}
        values["confusions"] = json.dumps([[label, predicted], [predicted, label]])
    return values
