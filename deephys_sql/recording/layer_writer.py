"""Writes one layer of a recording: activations in blocks of images, then what is kept of each neuron."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.errors import StoreDamagedError
from deephys_sql.names import layer_title
from deephys_sql.recording.distribution import distributions
from deephys_sql.recording.summary import LayerSummary

BLOCK_IMAGES = 2048
BLOCK_VALUES = 2**24  # of a block in memory: 64 MB of float32
SORTED_VALUES = 2**21  # read and sorted at once: 8 MB of float32, and as much in a copy
ROW_GROUP = 122_880  # rows that DuckDB keeps and compresses together
ROWS_TRANSPOSED = 16  # at once: their values lie in one line of the processor's cache
WIDTH = 16  # neurons in a row of stored_image_activation
CATEGORIES = 128  # that lie together in stored_category_response


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


class Appender:
    """Inserts rows in whole row groups: DuckDB would write the others again, and leave the space free in the file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, statement: str, parameters: dict[str, int]):
        self._connection = connection
        self._statement = statement
        self._parameters = parameters
        self._waiting: pa.Table | None = None

    def add(self, columns: dict[str, Any] | pa.Table) -> None:
        rows = columns if isinstance(columns, pa.Table) else pa.table(columns)
        if self._waiting is not None:
            rows = pa.concat_tables([self._waiting, rows])
        whole = len(rows) // ROW_GROUP * ROW_GROUP
        rest = rows.slice(whole)
        self._waiting = rest.take(pa.array(np.arange(len(rest))))  # a copy: a slice would keep the whole block in memory
        self._insert(rows.slice(0, whole))

    def flush(self) -> None:
        if self._waiting is not None:
            self._insert(self._waiting)
        self._waiting = None

    def _insert(self, rows: pa.Table) -> None:
        incoming = rows.combine_chunks()
        if len(incoming):  # the statement names `incoming`; a table that is registered would be kept in memory
            self._connection.execute(self._statement, self._parameters)


class LayerWriter:
    """Gathers rows into blocks and writes each block; `finish` writes the summaries and returns the checksum.

    Without the number of categories there are no summaries.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, recording_id: int, layer_id: int, neurons: int, categories: int | None):
        self.neurons = neurons
        self._connection = connection
        self._ids = {"recording_id": recording_id, "layer_id": layer_id}
        self._summary = None if categories is None else LayerSummary(neurons, categories)
        self._images = 0
        self._checksum = hashlib.sha256()
        size = block_images(neurons)
        self._block = np.empty((size, neurons), np.float32)
        self._labels = np.empty(size, np.int64)
        self._places: np.ndarray | None = None  # of the block, from the first batch on that has places
        self._filled = 0
        self._derived: list[tuple[Callable[[np.ndarray, int], np.ndarray], LayerWriter]] = []
        self._by_neuron = self._appender(assets.sql("recording/insert_activation.sql"))
        self._by_image = self._appender(assets.sql("recording/insert_image_activation.sql"))

    def derive(self, compute: Callable[[np.ndarray, int], np.ndarray], writer: "LayerWriter") -> None:
        """Give what is computed of each block, and its first image, to another layer's writer, which is to be finished after this one."""
        self._derived.append((compute, writer))

    def add(self, matrix: np.ndarray, labels: np.ndarray, places: np.ndarray | None = None) -> None:
        """Take in the next images: float32, images x neurons, their labels (-1 for unknown), and where each value lies."""
        start = 0
        if places is not None and self._places is None:
            self._places = np.full(self._block.shape, -1)
        while start < len(matrix):
            count = min(len(matrix) - start, len(self._block) - self._filled)
            self._block[self._filled : self._filled + count] = matrix[start : start + count]
            self._labels[self._filled : self._filled + count] = labels[start : start + count]
            if self._places is not None:
                self._places[self._filled : self._filled + count] = -1 if places is None else places[start : start + count]
            self._filled += count
            start += count
            if self._filled == len(self._block):
                self._write_block()

    def finish(self) -> str:
        """Write the rest and the summaries; return the SHA-256 of the activations, image after image."""
        if self._filled:
            self._write_block()
        self._by_neuron.flush()
        self._by_image.flush()
        if self._summary is not None:
            self._write_summary()
        return self._checksum.hexdigest()

    def _write_block(self) -> None:
        block, labels = self._block[: self._filled], self._labels[: self._filled]
        by_neuron = _transposed(block)
        with ThreadPoolExecutor(1) as beside:  # while DuckDB inserts, which waits for none of Python's locks
            summarised = beside.submit(self._summarise, block, by_neuron, labels)
            self._insert_block(block, by_neuron)
        summarised.result()
        for compute, writer in self._derived:
            writer.add(compute(block, self._images), labels)
        self._images += len(block)
        self._filled = 0
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory of a block's tables

    def _summarise(self, block: np.ndarray, by_neuron: np.ndarray, labels: np.ndarray) -> None:
        self._checksum.update(np.ascontiguousarray(block, "<f4"))
        if self._summary is not None:
            self._summary.add(block, by_neuron, labels, None if self._places is None else self._places[: len(block)])

    def _insert_block(self, block: np.ndarray, by_neuron: np.ndarray) -> None:
        images = np.arange(self._images, self._images + len(block), dtype=np.int32)
        self._by_neuron.add(
            {
                "neuron": np.repeat(np.arange(self.neurons, dtype=np.int32), len(block)),
                "image": np.tile(images, self.neurons),
                "value": by_neuron.ravel(),
            }
        )
        pieces = -(-self.neurons // WIDTH)
        padded = np.zeros((len(block), pieces * WIDTH), np.float32)
        padded[:, : self.neurons] = block
        self._by_image.add(
            {
                "image": np.repeat(images, pieces),
                "piece": np.tile(np.arange(pieces, dtype=np.int32), len(block)),
                "values": pa.FixedSizeListArray.from_arrays(pa.array(padded.ravel()), WIDTH),
            }
        )

    def _write_summary(self) -> None:
        summary = self._summary
        written = _read_written(self._connection, self._ids, self.neurons, summary.images)
        quantiles = _keep_distributions(self._connection, self._ids, written)
        self._insert(
            "insert into stored_neuron_summary by name select *, $recording_id as recording_id, $layer_id as layer_id from incoming",
            {
                "neuron": np.arange(self.neurons, dtype=np.int32),
                "images": np.full(self.neurons, summary.images, np.int32),
                "min": summary.min,
                "max": summary.max,
                "mean": summary.mean,
                "std": summary.std,
                **dict(zip(("q01", "q05", "q25", "q50", "q75", "q95", "q99"), quantiles)),
                "share_positive": summary.share_positive,
            },
        )
        top = summary.top()
        top |= {what: pa.array(top[what], mask=top[what] < 0) for what in ("place_row", "place_column")}
        self._insert(
            "insert into stored_top_image by name select *, $recording_id as recording_id, $layer_id as layer_id from incoming", top
        )
        present = np.flatnonzero(summary.category_images)
        responses = self._appender("insert into stored_category_response select $recording_id, $layer_id, * from incoming")
        for chunk in np.split(present, np.searchsorted(present, np.arange(CATEGORIES, len(summary.category_images), CATEGORIES))):
            responses.add(self._category_responses(np.repeat(np.arange(self.neurons), len(chunk)), np.tile(chunk, self.neurons)))
        responses.flush()
        if len(present):
            strongest = (summary.category_sums[present] / summary.category_images[present, None]).argmax(axis=0)  # the first of equals
            self._insert(
                "insert into stored_strongest_category select $recording_id, $layer_id, * from incoming",
                self._category_responses(np.arange(self.neurons), present[strongest]),
            )

    def _category_responses(self, neurons: np.ndarray, categories: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "neuron": neurons.astype(np.int32),
            "category": categories.astype(np.int32),
            "images": self._summary.category_images[categories].astype(np.int32),
            "response_sum": self._summary.category_sums[categories, neurons],
        }

    def _insert(self, statement: str, columns: dict[str, Any]) -> None:
        appender = self._appender(statement)
        appender.add(columns)
        appender.flush()

    def _appender(self, statement: str) -> Appender:
        return Appender(self._connection, statement, self._ids)


def _transposed(block: np.ndarray) -> np.ndarray:
    """Return a copy with rows and columns swapped, made of a few rows at a time: three times as fast as NumPy does it whole."""
    transposed = np.empty(block.shape[::-1], block.dtype)
    for first in range(0, len(block), ROWS_TRANSPOSED):
        transposed[:, first : first + ROWS_TRANSPOSED] = block[first : first + ROWS_TRANSPOSED].T
    return transposed


Neurons = Iterator[tuple[np.ndarray, np.ndarray]]
"""Numbers of some neurons, and what they did on all images: float32, neurons x images."""


def keep_missing_distributions(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the histograms and the examples of layers that were recorded before these were kept."""
    layers = connection.execute(assets.sql("recording/select_layers_without_distributions.sql")).fetchall()
    for recording_id, layer_id, *size in tqdm(layers, desc="histograms and examples", unit=" layers", delay=1, disable=None):
        ids = {"recording_id": recording_id, "layer_id": layer_id}
        _keep_distributions(connection, ids, read_neurons(connection, ids, *size))


def _keep_distributions(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], activations: Neurons) -> np.ndarray:
    """Write the histogram and the examples of each neuron; return the exact quantiles, 7 x neurons."""
    insert = "insert into {} by name select *, $recording_id as recording_id, $layer_id as layer_id from incoming"
    histograms, examples = (Appender(connection, insert.format(table), ids) for table in ("stored_histogram", "stored_example"))
    quantiles = []
    for neurons, values in activations:
        found = distributions(neurons, values)
        quantiles.append(found.quantiles)
        histograms.add(found.histograms)
        examples.add(found.examples)
    histograms.flush()
    examples.flush()
    return np.concatenate(quantiles, axis=1)


def read_neurons(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int) -> Neurons:
    """Read the activations of a recorded layer, some neurons at a time. Raises `StoreDamagedError` when not all are there once."""
    for first, end in _pieces(neurons, images):
        found = connection.execute(assets.sql("recording/select_neurons.sql"), ids | {"first": first, "end": end}).fetchnumpy()
        values = np.full((end - first, images), np.nan, np.float32)
        if len(found["value"]) == values.size and found["image"].max() < images:
            values[found["neuron"] - first, found["image"]] = found["value"]
        if np.isnan(values).any():
            raise StoreDamagedError(
                f"{layer_title(connection, **ids)}: the activations of neurons {first} to {end - 1} are not those of {images} images: the "
                f"store is damaged. Record again, or go back to a backup."
            )
        yield np.arange(first, end), values


def _read_written(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int) -> Neurons:
    """Read the activations of a layer that was just written: they come in the order written, block after block."""
    size = block_images(neurons)
    for first, end in _pieces(neurons, images):
        written = connection.execute(assets.sql("recording/select_values.sql"), ids | {"first": first, "end": end}).fetchnumpy()["value"]
        values = np.empty((end - first, images), np.float32)
        for image in range(0, images, size):
            count = min(size, images - image)
            block, written = np.split(written, [(end - first) * count])
            values[:, image : image + count] = block.reshape(end - first, count)
        yield np.arange(first, end), values


def _pieces(neurons: int, images: int) -> Iterator[tuple[int, int]]:
    step = max(1, SORTED_VALUES // images)
    return ((first, min(first + step, neurons)) for first in range(0, neurons, step))
