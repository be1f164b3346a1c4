"""How the activations of a layer lie in the store, and how they are read again: rows of 64 neurons of an image."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.names import layer_title

BLOCK_IMAGES = 2048
BLOCK_VALUES = 2**24  # of a block: 64 MB of float32, one a layer and one that is summarised
WIDTH = 64  # neurons in a row of stored_activation
ROW_GROUP = 122_880  # rows that DuckDB keeps and compresses together
ROWS_INSERTED = 2 * ROW_GROUP  # at once: each row group is compressed by a thread of its own
VALUES_READ = 2**24  # at once, unless one neuron has more: 64 MB of float32, and as much while the next are read
VALUES_GIVEN = 2**21  # of these at once: 8 MB, which whoever takes them sorts in a copy


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


class Background:
    """Runs pieces of work one after the other in a thread of its own; `map` spreads what is in one of them over two more."""

    def __init__(self):
        self._queue, self._two = ThreadPoolExecutor(1), ThreadPoolExecutor(2)
        self._begun: deque[Future] = deque()
        self.map = self._two.map

    def run(self, work: Callable, *arguments: Any) -> None:
        """Begin after what was given before, and wait for that: one is done beside whoever calls. Raises what that raised."""
        self._begun.append(self._queue.submit(work, *arguments))
        self._wait(leaving=1)

    def wait(self) -> None:
        """Wait for all. Raises what one of them raised."""
        self._wait(leaving=0)

    def _wait(self, leaving: int) -> None:
        while len(self._begun) > leaving:
            self._begun.popleft().result()


class ActivationWriter:
    """Gathers rows of `stored_activation`, of one layer or of several that are written side by side, and inserts many at once.

    Only whole row groups are inserted before `flush`, as `Appender` does, the rows of each layer together: they compress better so.
    Between inserts it holds at most 65 MB. What layers compute of their blocks runs in its `background`.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self.connection = connection
        self.background = Background()
        self._columns: tuple[np.ndarray, np.ndarray] | None = None  # pieces and images; values
        self._filled = 0
        self._parts: list[list[int]] = []  # rows of one layer: its first piece, where they begin, where they end

    def add(self, block: np.ndarray, *, first_piece: int, first_image: int) -> None:
        """Append the next images of the layer whose rows begin with `first_piece`: images x neurons, piece after piece."""
        for piece in range(count_pieces(block.shape[1])):
            neurons = block[:, piece * WIDTH : (piece + 1) * WIDTH]
            start = 0
            while start < len(neurons):
                rows = self._take_rows(first_piece, len(neurons) - start)
                count = rows.stop - rows.start
                (pieces, images), values = self._columns
                pieces[rows] = first_piece + piece
                images[rows] = np.arange(first_image + start, first_image + start + count)
                values[rows, : neurons.shape[1]] = neurons[start : start + count]
                values[rows, neurons.shape[1] :] = 0
                start += count
                if self._filled == ROWS_INSERTED:
                    self._insert()

    def flush(self) -> None:
        """Insert what is gathered."""
        if self._filled:
            self._insert()
        self._columns = None

    def _take_rows(self, first_piece: int, wanted: int) -> slice:
        """Return room for as many of a layer's rows as there is room for."""
        if self._columns is None:
            self._columns = np.empty((2, ROWS_INSERTED), np.int32), np.empty((ROWS_INSERTED, WIDTH), np.float32)
        rows = slice(self._filled, min(self._filled + wanted, ROWS_INSERTED))
        if not self._parts or self._parts[-1][0] != first_piece:
            self._parts.append([first_piece, rows.start, rows.start])
        self._parts[-1][2] = self._filled = rows.stop
        return rows

    def _insert(self) -> None:
        (pieces, images), values = self._columns
        parts, self._parts, self._filled = sorted(self._parts), [], 0
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), WIDTH)
        gathered = pa.table({"piece": pieces, "image": images, "values": lists})
        incoming = pa.concat_tables([gathered.slice(start, end - start) for _, start, end in parts])  # noqa: F841 - the statement names it
        self.connection.execute("insert into stored_activation by name select * from incoming")


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
            elements = np.arange(element, min(element + width, WIDTH))
            values = np.empty((end - first, len(elements), images), np.float32)
            for piece, image, rows in _runs(connection, ids, neurons, (first, end), (0, images)):
                values[piece, :, image : image + len(rows)] = rows[:, elements[0] : elements[-1] + 1].T
            numbers = (np.arange(first, end)[:, None] * WIDTH + elements).ravel()
            numbers = numbers[numbers < neurons]
            values = values.reshape(-1, images)
            for start in range(0, len(numbers), at_once):
                given = slice(start, start + at_once)
                yield numbers[given], values[: len(numbers)][given]


def read_images(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, first: int, end: int) -> np.ndarray:
    """Read the activations of some images of a recorded layer: little-endian float32, images x neurons. Raises as `read_neurons`."""
    pieces = count_pieces(neurons)
    values = np.empty((end - first, pieces, WIDTH), np.float32)
    for piece, image, rows in _runs(connection, ids, neurons, (0, pieces), (first, end)):
        values[image : image + len(rows), piece] = rows
    values = values.reshape(end - first, -1)
    if values[:, neurons:].any():
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: rows of images {first} to {end - 1} hold numbers beyond the layer's {neurons} neurons: the "
            f"store is damaged. Record again, or go back to a backup."
        )
    return np.ascontiguousarray(values[:, :neurons], "<f4")


def _runs(
    connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, pieces: tuple[int, int], images: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Give runs of images that lie one after the other: piece and first image, from the first asked for, and values, images x 64.

    Raises `StoreDamagedError` at the end only: use nothing before.
    """
    place = connection.execute(assets.sql("recording/select_first_piece.sql"), ids).fetchall()
    is_there = np.zeros((pieces[1] - pieces[0], images[1] - images[0]), bool)
    found = 0
    for (first,) in place:
        bounds = {"first_piece": first + pieces[0], "end_piece": first + pieces[1], "first_image": images[0], "end_image": images[1]}
        written = connection.sql(assets.sql("recording/select_pieces.sql"), params=bounds)
        for batch in written.to_arrow_reader(100_000):
            values = batch["values"].flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)  # NaN for NULL
            piece, image = batch["piece"].to_numpy(), batch["image"].to_numpy()
            starts = np.flatnonzero((np.diff(piece, prepend=-1) != 0) | (np.diff(image, prepend=-1) != 1))
            for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(batch)]):
                rows = values[start:end]
                is_there[piece[start], image[start] : image[start] + len(rows)] = ~np.isnan(rows).any(axis=1)
                yield int(piece[start]), int(image[start]), rows
            found += len(batch)
    if found != is_there.size or not is_there.all():
        raise StoreDamagedError(
            f"{layer_title(connection, **ids)}: activations of neurons {pieces[0] * WIDTH} to {min(pieces[1] * WIDTH, neurons) - 1} on "
            f"images {images[0]} to {images[1] - 1} are missing, twice there or no numbers: the store is damaged. Record again, or go "
            f"back to a backup."
        )
