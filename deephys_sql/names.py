"""Errors for names that aren't there, with the nearest that are."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import duckdb

from deephys_sql import assets
from deephys_sql.errors import UnknownNameError

# What parameters of these names name.
KINDS = {"model": "model", "layer": "layer", "dataset": "dataset", "reference": "dataset", "among": "dataset"}
# What others name, and the file of SQL that lists them.
LISTED = dict.fromkeys(("category", "a", "b"), ("category", "store/select_known_categories.sql"))
LISTED["param"] = ("parameter of runs", "store/select_known_params.sql")


def require_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise `UnknownNameError` unless `name` is one of `known`, naming the nearest.

    >>> require_name("layer", "conv1", ["conv1", "conv2"])
    """
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5) or known[:8]
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else "there is none."
    raise UnknownNameError(f"there is no {what} {name!r}: {hint}")


def require_stored(known_in: Callable[[str], list[tuple]], parameters: Mapping[str, Any]) -> None:
    """Check parameters called model, layer, dataset, reference, neuron, image, category, a, b or param against what a store has.

    >>> import deephys_sql as dp, tempfile
    >>> from deephys_sql import assets
    >>> with dp.open(tempfile.mkdtemp() + "/study.duckdb") as store:
    ...     require_stored(lambda file: store.sql(assets.sql(file)).fetchall(), {"model": "net"})
    Traceback (most recent call last):
    deephys_sql.errors.UnknownNameError: there is no model 'net': there is none.

    known_in: returns the rows of a file of SQL, run on the store.
    Raises `UnknownNameError` for the first that isn't there.
    """
    given = {parameter: value for parameter, value in parameters.items() if value is not None}
    asks = bool(given.keys() & KINDS.keys())
    rows = known_in("store/select_known.sql") if asks else []
    sizes: dict[str, dict[str, int]] = {}
    for parameter, kind in KINDS.items():
        if parameter in given:
            wanted = given.get("model") if kind != "model" else None
            known = {name: size for found, name, model, size in rows if found == kind and wanted in (None, model)}
            require_name(parameter, given[parameter], known)
            sizes[parameter] = known
    for parameter, whose in {"neuron": "layer", "image": "dataset"}.items():
        if parameter in given and whose in given:
            size = sizes[whose][given[whose]]
            if not 0 <= given[parameter] < size:
                raise UnknownNameError(
                    f"there is no {parameter} {given[parameter]} in {whose} {given[whose]!r}: they are numbered 0 to {size - 1}."
                )
    for parameter, (what, file) in LISTED.items():
        if parameter in given:
            require_name(what, given[parameter], [row[0] for row in known_in(file)])


def layer_title(connection: duckdb.DuckDBPyConnection, recording_id: int, layer_id: int) -> str:
    """Return what messages call a layer of a recording: `net on day, layer fc`."""
    ids = {"recording_id": recording_id, "layer_id": layer_id}
    return connection.execute(assets.sql("store/select_layer_title.sql"), ids).fetchone()[0]
