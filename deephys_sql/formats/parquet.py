"""Writes and reads Parquet files in bounded memory, and says which file is damaged."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deephys_sql.errors import FileFormatError
from deephys_sql.recording.arrays import as_matrix

ACTIVATIONS = pa.schema([("image", pa.int32()), ("values", pa.list_(pa.float32()))])
ROWS_AT_ONCE = 512
BYTES_AT_ONCE = 32 * 2**20  # of one file


class File:
    """A Parquet file being written, zstd-compressed.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "part-0.parquet")
    >>> with File(path, ACTIVATIONS) as file:
    ...     file.write(activation_rows(np.arange(2), np.eye(2, dtype=np.float32)))
    >>> pq.read_table(path)["values"].to_pylist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, path: Path, schema: pa.Schema):
        path.parent.mkdir(parents=True, exist_ok=True)
        dictionary = [field.name for field in schema if pa.types.is_string(field.type)]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionary or False)
        self.rows = 0

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Append rows, as a row group."""
        self._writer.write_table(rows, row_group_size=max(1, len(rows)))
        self.rows += len(rows)


def activation_rows(images: np.ndarray, matrix: np.ndarray) -> pa.Table:
    """Return activations, images x neurons, as rows: an image's number and its values."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    values = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(matrix, np.float32).ravel()))
    return pa.table({"image": images.astype(np.int32), "values": values}, schema=ACTIVATIONS)


def matrix_of(rows: pa.Table, what: str) -> np.ndarray:
    """Return the column `values`, lists of numbers of one length, as images x neurons."""
    column = rows["values"].combine_chunks()
    lists = column.type
    if not (pa.types.is_list(lists) or pa.types.is_large_list(lists) or pa.types.is_fixed_size_list(lists)):
        raise FileFormatError(f"{what}: the column values must hold lists of numbers; it holds {lists}.")
    flat = column.flatten()
    widths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False)) if len(column) else np.zeros(1)
    if column.null_count or flat.null_count:
        raise FileFormatError(f"{what}: the column values holds NULL. An activation is a finite number.")
    if len(widths) != 1:
        raise FileFormatError(f"{what}: the lists of values have different lengths, {int(widths[0])} and {int(widths[1])} among them.")
    return as_matrix(flat.to_numpy(zero_copy_only=False).reshape(len(column), int(widths[0])), what)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what Arrow raises on a damaged file into `FileFormatError` with its name."""
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} can't be read as Parquet: {' '.join(str(error).split())[:300]}") from error


def open_file(path: Path) -> pq.ParquetFile:
    """Open a file to be read page by page."""
    with explained(path):
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)


def read(path: Path, columns: Sequence[str] | None = None, rows: int = 4096) -> Iterator[pa.Table]:
    """Give the rows of a file in pieces."""
    with open_file(path) as file:
        batches = file.iter_batches(rows, columns=columns, use_threads=False)
        while True:
            with explained(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


def rows_at_once(path: Path, files: int = 1) -> int:
    """Return how many rows of a file are read together, so that those of all files fit into memory."""
    with open_file(path) as file:
        metadata = file.metadata
        for number in range(metadata.num_row_groups):
            # One row of each group: damaged metadata of a column raise here, and end the process where `group.column` asks for them.
            with explained(path):
                next(file.iter_batches(1, row_groups=[number], use_threads=False), None)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    widest = 1
    for group in groups:
        values = 4 * sum(group.column(number).num_values for number in range(group.num_columns))
        widest = max(widest, values // max(1, group.num_rows), group.total_byte_size // max(1, group.num_rows))
    return max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // (widest * files)))


def read_all(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a small file."""
    with explained(path):
        return [row for rows in read(path) for row in rows.to_pylist()]


class Numbered:
    """The rows of several files that hold one image a row, put in the order of the images: 0, 1, 2 and so on.

    In each file the images must ascend. Raises `FileFormatError` for an image that comes twice or not at all.
    """

    def __init__(self, paths: Sequence[Path], what: str):
        self._what = what
        self._paths = list(paths)
        self._rows = [read(path, rows=rows_at_once(path, len(paths))) for path in paths]
        self._rest: list[pa.Table | None] = [None] * len(self._paths)
        self._last = [-1] * len(self._paths)
        self.images = 0

    def count(self) -> int:
        """Return the number of images, after checking that all files together have each once; reads only their numbers."""
        found = [
            np.concatenate([np.empty(0, np.int64), *(self._numbers(rows, path) for rows in read(path, ["image"]))]) for path in self._paths
        ]
        numbers = np.concatenate(found)
        order = np.argsort(numbers, kind="stable")
        wrong = np.flatnonzero(numbers[order] != np.arange(len(numbers)))
        if len(wrong):
            file = np.repeat(np.arange(len(found)), [len(part) for part in found])
            self._refuse(int(wrong[0]), numbers[order], [self._paths[number] for number in file[order[wrong[0] - 1 : wrong[0] + 1]]])
        return len(numbers)

    def take(self, count: int) -> pa.Table | None:
        """Return the next images, at most `count`; None at the end."""
        end = self.images + count
        pieces = [piece for number in range(len(self._paths)) for piece in self._until(number, end)]
        if not pieces:
            return None
        with explained(self._paths[0]):
            rows = pa.concat_tables(pieces, promote_options="default").combine_chunks()
        numbers = rows["image"].to_numpy()
        order = np.argsort(numbers, kind="stable")
        wrong = np.flatnonzero(numbers[order] != np.arange(self.images, self.images + len(numbers)))
        if len(wrong):
            self._refuse(self.images + int(wrong[0]), None, [])
        self.images += len(rows)
        return rows if (np.diff(order) == 1).all() else rows.take(pa.array(order))

    def _until(self, number: int, end: int) -> Iterator[pa.Table]:
        """Give the rows of a file with images below `end`."""
        while True:
            rows = self._rest[number]
            if rows is None or not len(rows):
                rows = next(self._rows[number], None)
                if rows is None:
                    self._rest[number] = None
                    return
            numbers = self._numbers(rows, self._paths[number])
            if len(numbers) and ((numbers[0] <= self._last[number] and rows is not self._rest[number]) or (np.diff(numbers) <= 0).any()):
                raise FileFormatError(f"{self._paths[number]}: the images must ascend from row to row. Sort the file by image.")
            below = int(np.searchsorted(numbers, end))
            if below:
                self._last[number] = int(numbers[below - 1])
                yield rows.slice(0, below)
            self._rest[number] = rows.slice(below)
            if below < len(rows):
                return

    def _numbers(self, rows: pa.Table, path: Path) -> np.ndarray:
        if "image" not in rows.column_names or not pa.types.is_integer(rows["image"].type) or rows["image"].null_count:
            raise FileFormatError(f"{path}: a column image with the number of the image, from 0, is needed.")
        return rows["image"].to_numpy().astype(np.int64)

    def _refuse(self, image: int, ordered: np.ndarray | None, paths: list[Path]) -> None:
        if ordered is not None and image and ordered[image] == ordered[image - 1]:
            where = " and ".join(dict.fromkeys(path.name for path in paths))
            raise FileFormatError(f"{self._what}: image {int(ordered[image])} comes twice, in {where}. Each image belongs to one shard.")
        raise FileFormatError(f"{self._what}: image {image} is missing. The shards together must hold every image from 0 on, once.")
