"""Makes a layer of directions from the activations that are stored of another layer."""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.errors import InvalidInputError, UnknownNameError
from deephys_sql.names import require_name
from deephys_sql.recording.activations import ActivationWriter, block_images, read_images
from deephys_sql.recording.directions import VALUES_AT_ONCE, Directions, directions_of
from deephys_sql.recording.inputs import require_text
from deephys_sql.recording.layer_writer import LayerWriter
from deephys_sql.recording.writer import derive, renew_checksum


def add_directions(connection: duckdb.DuckDBPyConnection, layer: str, name: str, model: str | None, progress: bool, **given: Any) -> None:
    """What `Store.add_directions` does, inside a transaction."""
    model, model_id, source_id, neurons, categories, pooling = _source(connection, layer, model)
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError(f"the name of the new layer must be a text that isn't empty; got {name!r}.")
    require_text(name, "the name of the new layer")
    if connection.execute("select 1 from stored_layer where model_id = ? and name = ?", [model_id, name]).fetchone():
        raise InvalidInputError(f"model {model!r} has a layer {name!r} already: give the directions another name.")
    directions = directions_of(**given, layer=layer, neurons=neurons)
    layer_id = _create_layer(connection, model_id, source_id, name, pooling, directions)
    compute = directions.layer(name)
    recordings = connection.execute(assets.sql("recording/select_recordings_of_layer.sql"), {"layer_id": source_id}).fetchall()
    total = sum(images for _, images in recordings)
    with tqdm(total=total, desc=f"{name} of {model}", unit=" images", disable=None if progress else True) as bar:
        for recording_id, images in recordings:
            ids = {"recording_id": recording_id, "layer_id": layer_id}
            writer = LayerWriter(ActivationWriter(connection), **ids, neurons=len(directions.weights), categories=categories)
            first = 0
            for block, labels in _blocks(connection, recording_id, source_id, neurons, images):
                writer.add(compute(block, first), labels)
                first += len(block)
                bar.update(len(block))
            connection.execute("insert into stored_recorded_layer values (?, ?, ?)", [recording_id, layer_id, writer.finish()])
            renew_checksum(connection, recording_id)
    derive(connection, model_id)


def _source(connection: duckdb.DuckDBPyConnection, layer: str, model: str | None) -> tuple:
    rows = connection.execute(assets.sql("recording/select_layers.sql")).fetchall()
    if model is not None:
        require_name("model", model, list(dict.fromkeys(row[0] for row in rows)))
    rows = [row for row in rows if model in (None, row[0])]
    require_name("layer", layer, list(dict.fromkeys(row[1] for row in rows)))
    found = [row for row in rows if row[1] == layer]
    if len(found) > 1:
        raise UnknownNameError(f"{len(found)} models have a layer {layer!r}: say which, model={found[0][0]!r} for example.")
    return found[0][0], *found[0][2:]


def _create_layer(
    connection: duckdb.DuckDBPyConnection, model_id: int, source_id: int, name: str, pooling: str | None, directions: Directions
) -> int:
    (layer_id,) = connection.execute("select nextval('layer_number')").fetchone()
    (position,) = connection.execute("select max(position) + 1 from stored_layer where model_id = ?", [model_id]).fetchone()
    connection.execute(
        "insert into stored_layer values (?, ?, ?, ?, ?, ?, ?)",
        [layer_id, model_id, name, len(directions.weights), position, directions.nonlinearity or "none", pooling],
    )
    connection.execute(
        "insert into stored_directions values (?, ?, ?, ?)", [layer_id, source_id, directions.nonlinearity, directions.checksum]
    )
    width = directions.weights.shape[1]
    for first in range(0, len(directions.weights), step := max(1, VALUES_AT_ONCE // width)):
        weights = directions.weights[first : first + step]
        incoming = pa.table(  # noqa: F841 - the statement names it
            {
                "layer_id": np.full(len(weights), layer_id, np.int32),
                "neuron": np.arange(first, first + len(weights), dtype=np.int32),
                "weights": pa.FixedSizeListArray.from_arrays(pa.array(weights.ravel()), width),
                "bias": directions.bias[first : first + step],
            }
        )
        connection.execute("insert into stored_direction by name select * from incoming")
    return layer_id


def _blocks(
    connection: duckdb.DuckDBPyConnection, recording_id: int, layer_id: int, neurons: int, images: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a recorded layer again: images x neurons and labels, in the blocks that it was written in."""
    ids = {"recording_id": recording_id, "layer_id": layer_id}
    step = block_images(neurons)
    for first in range(0, images, step):
        bounds = {"first": first, "end": min(first + step, images)}
        values = read_images(connection, ids, neurons, **bounds)
        labels = connection.execute(assets.sql("recording/select_labels.sql"), {"recording_id": recording_id, **bounds}).fetchnumpy()
        yield values, labels["label"].astype(np.int64)
