"""Compares what a store holds with the checksums and counts that were written with it."""

import hashlib

import duckdb
import numpy as np

from deephys_sql import assets
from deephys_sql.recording.layer_writer import block_images


def find_problems(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return a sentence for everything that is wrong; reads one block of activations at a time."""
    problems = [row[0] for row in connection.execute(assets.sql("store/find_problems.sql")).fetchall()]
    for layer in connection.execute(assets.sql("store/select_recorded_layers.sql")).fetchall():
        problems += _layer_problems(connection, *layer)
    return problems


def _layer_problems(
    connection: duckdb.DuckDBPyConnection, recording_id: int, layer_id: int, title: str, images: int, neurons: int, stored: str
) -> list[str]:
    checksum = hashlib.sha256()
    step = block_images(neurons)
    for first in range(0, images, step):
        end = min(first + step, images)
        rows = connection.execute(
            assets.sql("store/select_block.sql"),
            {"recording_id": recording_id, "layer_id": layer_id, "first": first, "end": end},
        ).fetchnumpy()
        block = np.full((end - first, neurons), np.nan, np.float32)
        if len(rows["value"]) != block.size or not (rows["neuron"] < neurons).all():
            return [f"{title}: images {first} to {end - 1} have {len(rows['value'])} activations instead of {block.size}."]
        block[rows["image"] - first, rows["neuron"]] = rows["value"]
        checksum.update(np.ascontiguousarray(block, "<f4"))
    if checksum.hexdigest() != stored:
        return [f"{title}: the activations are not those that were written (their checksum differs)."]
    return []
