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
VALUES_READ = 2**24  # at once, unless one neuron has more: 64 MB of float32
VALUES_GIVEN = 2**21  # at once: 8 MB of float32, which are sorted, and as much in a copy


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
    """Read the activations of a recorded layer, some neurons at a time. Raises `StoreDamagedError` when not all are there once.

    Memory does not grow with the images until one neuron takes 64 MB: where a piece takes more, it is read several times, each time
    for some of its neurons.
    """
    pieces = max(1, VALUES_READ // (images * WIDTH))
    width = min(WIDTH, max(1, VALUES_READ // images))
    at_once = max(1, VALUES_GIVEN // images)
    for first in range(0, count_pieces(neurons), pieces):
        end = min(first + pieces, count_pieces(neurons))
        for element in range(0, min(WIDTH, neurons - first * WIDTH), width):
            elements = slice(element, min(element + width, WIDTH))
            values = _read(connection, ids, neurons, (first, end), (0, images), elements)
            numbers = (np.arange(first, end)[:, None] * WIDTH + np.arange(elements.start, elements.stop)).ravel()
            numbers = numbers[numbers < neurons]
            for start in range(0, len(numbers), at_once):
                given = numbers[start : start + at_once]
                yield given, _transposed(values, given // WIDTH - first, given % WIDTH - element)
            del values  # before the next are read


def read_images(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, first: int, end: int) -> np.ndarray:
    """Read the activations of some images of a recorded layer: little-endian float32, images x neurons. Raises as `read_neurons`."""
    values = _read(connection, ids, neurons, (0, count_pieces(neurons)), (first, end), slice(0, WIDTH))
    values = values.transpose(1, 0, 2).reshape(end - first, -1)
    if values[:, neurons:].any():
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: rows of images {first} to {end - 1} hold numbers beyond the layer's {neurons} neurons: the "
            f"store is damaged. Record again, or go back to a backup."
        )
    return np.ascontiguousarray(values[:, :neurons], "<f4")


def _transposed(values: np.ndarray, pieces: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """Return neurons x images, of pieces x images x elements."""
    turned = np.empty((len(pieces), values.shape[1]), np.float32)
    for row, (piece, element) in enumerate(zip(pieces.tolist(), elements.tolist())):
        turned[row] = values[piece, :, element]
    return turned


def _read(
    connection: duckdb.DuckDBPyConnection,
    ids: dict[str, int],
    neurons: int,
    pieces: tuple[int, int],
    images: tuple[int, int],
    elements: slice,
) -> np.ndarray:
    """Return pieces x images x elements."""
    place = connection.execute(assets.sql("recording/select_first_piece.sql"), ids).fetchall()
    values = np.empty((pieces[1] - pieces[0], images[1] - images[0], elements.stop - elements.start), np.float32)
    is_there = np.zeros(values.shape[:2], bool)
    found = 0
    for (first,) in place:
        bounds = {"first_piece": first + pieces[0], "end_piece": first + pieces[1], "first_image": images[0], "end_image": images[1]}
        written = connection.sql(assets.sql("recording/select_pieces.sql"), params=bounds)
        for batch in written.to_arrow_reader(100_000):
            rows = batch["values"].flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)[:, elements]  # NaN for NULL
            where = batch["piece"].to_numpy(), batch["image"].to_numpy()
            values[where] = rows
            is_there[where] = ~np.isnan(rows).any(axis=1)
            found += len(batch)
    if found != is_there.size or not is_there.all():
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: activations of neurons {pieces[0] * WIDTH} to {min(pieces[1] * WIDTH, neurons) - 1} on "
            f"images {images[0]} to {images[1] - 1} are missing, twice there or no numbers: the store is damaged. Record again, or go "
            f"back to a backup."
        )
    return values
