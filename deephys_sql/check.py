"""Compares what a store holds with the checksums and counts that were written with it."""

import hashlib
from collections import Counter

import duckdb
import numpy as np

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.recording.activations import block_images, read_images, read_neurons
from deephys_sql.recording.distribution import distributions
from deephys_sql.recording.writer import images_checksum, recording_checksum

KEPT = {"histograms": "stored_histogram", "examples": "stored_example"}


def find_problems(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return a sentence for everything that is wrong; reads one block of activations at a time."""
    try:
        _read_all(connection)
    except duckdb.Error as error:  # nothing more can be asked of a file that DuckDB has given up
        return [f"the file can't be read whole: {str(error).splitlines()[0]} Go back to a backup, or record again."]
    problems = [row[0] for row in connection.execute(assets.sql("store/find_problems.sql")).fetchall()]
    problems += [row[0] for row in connection.execute(assets.sql("store/find_summary_problems.sql")).fetchall()]
    for dataset_id, name, checksum in connection.execute("select dataset_id, name, checksum from stored_dataset").fetchall():
        if images_checksum(connection, dataset_id) != checksum:
            problems.append(f"{name}: the images are not those that were written (their checksum differs).")
    for recording_id, title, checksum in connection.execute(assets.sql("store/select_recordings.sql")).fetchall():
        if recording_checksum(connection, recording_id) != checksum:
            problems.append(f"{title}: the predictions are not those that were written (their checksum differs).")
    layers = connection.execute(assets.sql("store/select_recorded_layers.sql")).fetchall()
    for recording_id, layer_id, title, images, neurons, checksum in layers:
        ids = {"recording_id": recording_id, "layer_id": layer_id}
        try:
            if _checksum(connection, ids, neurons, images) != checksum:
                problems.append(f"{title}: the activations are not those that were written (their checksum differs).")
            else:
                problems += _problems_of_what_is_kept(connection, title, ids, neurons, images)
        except StoreDamagedError as error:
            problems.append(str(error))
    return problems


def _read_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every column of every table, so that DuckDB compares each block of the file with its checksum."""
    for (table,) in connection.execute(assets.sql("store/select_tables.sql")).fetchall():
        connection.execute(f"select bit_xor(hash(t)) from {table} as t").fetchall()


def _problems_of_what_is_kept(
    connection: duckdb.DuckDBPyConnection, title: str, ids: dict[str, int], neurons: int, images: int
) -> list[str]:
    """Compare histograms, examples and norms of a layer with its activations."""
    wrong: dict[str, set[int]] = {what: set() for what in KEPT}
    squares = np.zeros(images)
    for numbers, values in read_neurons(connection, ids, neurons, images):
        found = distributions(numbers, values)
        squares += found.squares
        for what, table in KEPT.items():
            expected = getattr(found, what)
            columns = ", ".join(expected.column_names)
            select = f"select {columns} from {table} where recording_id = ? and layer_id = ? and neuron between ? and ?"
            kept = connection.sql(select, params=[*ids.values(), int(numbers[0]), int(numbers[-1])]).to_arrow_table()
            pair = [Counter((row["neuron"], str(row)) for row in rows.to_pylist()) for rows in (expected, kept)]
            wrong[what] |= {neuron for neuron, _ in (pair[0] - pair[1]) + (pair[1] - pair[0])}
    problems = [
        f"{title}: the {what} of {len(of)} neurons are not those of the activations, first of neuron {min(of)}."
        for what, of in wrong.items()
        if of
    ]
    select = "select image, norm from stored_image_norm where recording_id = ? and layer_id = ? order by image"
    norms = connection.execute(select, [*ids.values()]).fetchnumpy()
    if not (np.array_equal(norms["image"], np.arange(images)) and np.allclose(norms["norm"], np.sqrt(squares), rtol=1e-12, atol=0)):
        problems.append(f"{title}: the norms of images are not those of the activations.")
    return problems


def _checksum(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int) -> str:
    """Return the SHA-256 of a layer's activations, image after image."""
    checksum = hashlib.sha256()
    step = block_images(neurons)
    for first in range(0, images, step):
        checksum.update(read_images(connection, ids, neurons, first, min(first + step, images)))
    return checksum.hexdigest()
