"""Writes one layer of a recording: activations in blocks of images, then what is kept of each neuron."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from deephys_sql import assets
from deephys_sql.recording.activations import ROW_GROUP, ActivationWriter, Neurons, block_images, count_pieces, read_neurons
from deephys_sql.recording.distribution import Distributions, distributions
from deephys_sql.recording.summary import LayerSummary

CATEGORIES = 128  # that lie together in stored_category_response
READ_AGAIN = ("stored_histogram", "stored_example", "stored_image_norm")  # what takes all activations of a neuron, or of an image


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


@dataclass
class Block:
    """Images that are written together: values and where these lie (images x neurons), and labels."""

    values: np.ndarray
    labels: np.ndarray
    places: np.ndarray | None = None
    filled: int = 0

    def take(self, matrix: np.ndarray, labels: np.ndarray, places: np.ndarray | None) -> int:
        """Take in as many images as there is room for; return how many."""
        count = min(len(matrix), len(self.values) - self.filled)
        rows = slice(self.filled, self.filled + count)
        self.values[rows] = matrix[:count]
        self.labels[rows] = labels[:count]
        if places is not None:
            if self.places is None:
                self.places = np.full(self.values.shape, -1)
            self.places[rows] = places[:count]
        self.filled += count
        return count


class LayerWriter:
    """Gathers images into blocks and writes each block; `finish` writes the summaries and returns the checksum.

    Give layers that are written side by side one `ActivationWriter`, and `end` all before the first is finished. Without the number
    of categories there are no summaries.
    """

    def __init__(self, activations: ActivationWriter, *, recording_id: int, layer_id: int, neurons: int, categories: int | None):
        self.neurons = neurons
        self._activations = activations
        self._connection = activations.connection
        self._ids = {"recording_id": recording_id, "layer_id": layer_id}
        self._summary = None if categories is None else LayerSummary(neurons, categories)
        self._images = 0
        self._checksum = hashlib.sha256()
        self._block: Block | None = None
        self._derived: list[tuple[Callable[[np.ndarray, int], np.ndarray], LayerWriter]] = []
        taken = {"pieces": count_pieces(neurons)}
        ((self._first_piece,),) = self._connection.execute(assets.sql("recording/take_pieces.sql"), self._ids | taken).fetchall()

    def derive(self, compute: Callable[[np.ndarray, int], np.ndarray], writer: "LayerWriter") -> None:
        """Give what is computed of each block, and its first image, to another layer's writer, which is to be ended after this one."""
        self._derived.append((compute, writer))

    def add(self, matrix: np.ndarray, labels: np.ndarray, places: np.ndarray | None = None) -> None:
        """Take in the next images: float32, images x neurons, their labels (-1 for unknown), and where each value lies."""
        start = 0
        while start < len(matrix):
            if self._block is None:
                size = block_images(self.neurons)
                self._block = Block(np.empty((size, self.neurons), np.float32), np.empty(size, np.int64))
            start += self._block.take(matrix[start:], labels[start:], None if places is None else places[start:])
            if self._block.filled == len(self._block.values):
                self._write_block()

    def end(self) -> None:
        """Write the last images."""
        if self._block is not None:
            self._write_block()

    def finish(self) -> str:
        """Write what is left and the summaries; return the SHA-256 of the activations, image after image."""
        self.end()
        self._activations.background.wait()
        self._activations.flush()
        if self._summary is not None:
            self._write_summary()
        return self._checksum.hexdigest()

    def _write_block(self) -> None:
        rows = slice(0, self._block.filled)
        values, labels = self._block.values[rows], self._block.labels[rows]
        places = None if self._block.places is None else self._block.places[rows]
        self._block = None
        self._activations.background.run(self._summarise, values, labels, places)  # while rows are inserted and images come in
        self._activations.add(values, first_piece=self._first_piece, first_image=self._images)
        for compute, writer in self._derived:
            writer.add(compute(values, self._images), labels)
        self._images += len(values)

    def _summarise(self, values: np.ndarray, labels: np.ndarray, places: np.ndarray | None) -> None:
        self._checksum.update(np.ascontiguousarray(values, "<f4"))
        if self._summary is not None:
            self._summary.add(values, labels, places, each=self._activations.background.map)

    def _write_summary(self) -> None:
        summary = self._summary
        quantiles = _keep_read_again(self._connection, self._ids, self.neurons, summary.images)
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
        self._insert(assets.sql("recording/insert_top_images.sql"), top)
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


def keep_missing(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the histograms, examples and norms of layers that were recorded before these were kept."""
    layers = connection.execute(assets.sql("recording/select_incomplete_layers.sql")).fetchall()
    for recording_id, layer_id, neurons, images in tqdm(
        layers, desc="histograms, examples and norms", unit=" layers", delay=1, disable=None
    ):
        ids = {"recording_id": recording_id, "layer_id": layer_id}
        for table in READ_AGAIN:
            connection.execute(f"delete from {table} where recording_id = $recording_id and layer_id = $layer_id", ids)
        _keep_read_again(connection, ids, neurons, images)


def _keep_read_again(connection: duckdb.DuckDBPyConnection, ids: dict[str, int], neurons: int, images: int) -> np.ndarray:
    """Read a layer that is written, and keep its histograms, examples and norms; return the exact quantiles, 7 x neurons."""
    insert = "insert into {} by name select *, $recording_id as recording_id, $layer_id as layer_id from incoming"
    histograms, examples, norms = (Appender(connection, insert.format(table), ids) for table in READ_AGAIN)
    quantiles, squares = [], np.zeros(images)
    for found in _distributions(read_neurons(connection, ids, neurons, images)):
        quantiles.append(found.quantiles)
        histograms.add(found.histograms)
        examples.add(found.examples)
        squares += found.squares
    norms.add({"image": np.arange(images, dtype=np.int32), "norm": np.sqrt(squares)})
    for appender in (histograms, examples, norms):
        appender.flush()
    return np.concatenate(quantiles, axis=1)


def _distributions(activations: Neurons) -> Iterator[Distributions]:
    """Compute in two threads while the next neurons are read; give the results in order."""
    with ThreadPoolExecutor(2) as beside:
        waiting = deque()
        for neurons, values in activations:
            waiting.append(beside.submit(distributions, neurons, values))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        for done in waiting:
            yield done.result()
