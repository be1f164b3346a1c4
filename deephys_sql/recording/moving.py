"""Moves the activations of stores made before migration 9, which kept them image after image, to where they lie now."""

import duckdb
import numpy as np
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.recording.activations import ActivationWriter, block_images
from deephys_sql.recording.layer_writer import LayerWriter

OLD_WIDTH = 16  # neurons in a row of stored_image_activation


def move_activations(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the rows of `stored_image_activation` as rows of `stored_activation`, and drop that table.

    Each layer in a transaction, so that memory does not grow with the store. Raises `StoreDamagedError` when the activations are not
    those that were recorded.
    """
    tables = {name for (name,) in connection.execute("select table_name from duckdb_tables() where not internal").fetchall()}
    if "stored_image_activation" not in tables:
        return
    layers = connection.execute(assets.sql("store/select_recorded_layers.sql")).fetchall()
    with tqdm(total=sum(layer[3] for layer in layers), desc="activations", unit=" images", delay=1, disable=None) as bar:
        for recording_id, layer_id, title, images, neurons, checksum in layers:
            connection.execute("checkpoint")  # the room of what was dropped or is written already is free for the next
            connection.execute("begin transaction")
            if _move(connection, {"recording_id": recording_id, "layer_id": layer_id}, neurons, images, bar) != checksum:
                raise StoreDamagedError(
                    f"{title}: the activations are not those that were recorded (their checksum differs): the store is damaged, and "
                    f"stays as it is. Record again into a new store, or go back to a backup."
                )
            connection.execute("commit")
    connection.execute("drop table stored_image_activation")
    connection.execute(assets.sql("recording/derive.sql"))


def _move(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int, bar: tqdm) -> str:
    """Move a layer; return the checksum of its activations."""
    writer = LayerWriter(ActivationWriter(connection), **ids, neurons=neurons, categories=None)
    step, width = block_images(neurons), -(-neurons // OLD_WIDTH) * OLD_WIDTH
    for first in range(0, images, step):
        end = min(first + step, images)
        rows = connection.sql(assets.sql("recording/select_moved.sql"), params=ids | {"first": first, "end": end})
        values = rows.to_arrow_table()["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if values.size == (end - first) * width:
            writer.add(values.reshape(-1, width)[:, :neurons], np.full(end - first, -1))
        bar.update(end - first)
    return writer.finish()
