"""How the activations of a layer lie in the store, and how they are read again: rows of 64 neurons of an image."""

from collections.abc import Iterator

import duckdb
import numpy as np

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.names import layer_title

BLOCK_IMAGES = 2048
BLOCK_VALUES = 2**24  # of a block in memory: 64 MB of float32
WIDTH = 64  # neurons in a row of stored_activation
VALUES_READ = 2**21  # at once, unless one piece has more: 8 MB of float32


def block_images(neurons: int) -> int:
    """Return how many images of a layer are written together: 2,048, fewer in layers of more than 8,192 neurons.

    >>> block_images(50), block_images(100_000)
    (2048, 128)

    It depends on the layer alone, so that sums come out the same whatever the size of the user's batches.
    """
    images = BLOCK_IMAGES
    while images > 16 and images * neurons > BLOCK_VALUES:
        images //= 2
    return images


def count_pieces(neurons: int) -> int:
    """Return how many rows hold one image of a layer.

    >>> count_pieces(64), count_pieces(65)
    (1, 2)
    """
    return -(-neurons // WIDTH)


Neurons = Iterator[tuple[np.ndarray, np.ndarray]]
"""Numbers of some neurons, and what they did on all images: float32, neurons x images."""


def read_neurons(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int) -> Neurons:
    """Read the activations of a recorded layer, some neurons at a time. Raises `StoreDamagedError` when not all are there once."""
    step = max(1, VALUES_READ // (images * WIDTH))
    at_once = max(1, VALUES_READ // images)
    for first in range(0, count_pieces(neurons), step):
        end = min(first + step, count_pieces(neurons))
        values = _read(connection, ids, (first, end), (0, images)).reshape(end - first, images, WIDTH)
        for neuron in range(first * WIDTH, min(end * WIDTH, neurons), at_once):
            numbers = np.arange(neuron, min(neuron + at_once, end * WIDTH, neurons))
            yield numbers, _transposed(values, numbers - first * WIDTH)


def read_images(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, first: int, end: int) -> np.ndarray:
    """Read the activations of some images of a recorded layer: float32, images x neurons. Raises as `read_neurons` does."""
    values = _read(connection, ids, (0, count_pieces(neurons)), (first, end))
    return np.ascontiguousarray(values.transpose(1, 0, 2).reshape(end - first, -1)[:, :neurons])


def _transposed(values: np.ndarray, neurons: np.ndarray) -> np.ndarray:
    """Return neurons x images, of pieces x images x 64."""
    turned = np.empty((len(neurons), values.shape[1]), np.float32)
    for row, neuron in enumerate(neurons.tolist()):
        turned[row] = values[neuron // WIDTH, :, neuron % WIDTH]
    return turned


def _read(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], pieces: tuple[int, int], images: tuple[int, int]) -> np.ndarray:
    """Return pieces x images x 64."""
    place = connection.execute(assets.sql("recording/select_first_piece.sql"), ids).fetchall()
    values = np.full((pieces[1] - pieces[0], images[1] - images[0], WIDTH), np.nan, np.float32)
    found = 0
    for (first,) in place:
        bounds = {"first_piece": first + pieces[0], "end_piece": first + pieces[1], "first_image": images[0], "end_image": images[1]}
        written = connection.sql(assets.sql("recording/select_pieces.sql"), params=bounds)
        for batch in written.to_arrow_reader(100_000):
            rows = batch["values"].flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)  # NaN for NULL
            values[batch["piece"].to_numpy(), batch["image"].to_numpy()] = rows
            found += len(batch)
    if found != values.shape[0] * values.shape[1] or np.isnan(values).any():
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: the activations of neurons {pieces[0] * WIDTH} to {pieces[1] * WIDTH - 1} on images "
            f"{images[0]} to {images[1] - 1} are not there, each once: the store is damaged. Record again, or go back to a backup."
        )
    return values
