"""Layers that are directions of another layer: what a matrix makes of its activations."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np

from deephys_sql import assets
from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.arrays import as_array, require_finite

VALUES_AT_ONCE = 2**22  # of a product, in double precision: 32 MB
NONLINEARITIES = (None, "relu")


@dataclass(frozen=True)
class Directions:
    """A matrix, directions x neurons in float32, what is added (float64, one a direction), and what follows."""

    weights: np.ndarray
    bias: np.ndarray
    nonlinearity: str | None = None

    @property
    def checksum(self) -> str:
        checksum = hashlib.sha256()
        for weights, bias in zip(self.weights, self.bias):
            checksum.update(weights.astype("<f4").tobytes() + bias.astype("<f8").tobytes())
        return checksum.hexdigest()

    @cached_property
    def _columns(self) -> np.ndarray:
        return np.ascontiguousarray(self.weights.T, np.float64)

    def of(self, activations: np.ndarray) -> np.ndarray:
        """Return images x directions, float32, of images x neurons.

        >>> Directions(np.array([[1, -1]], np.float32), np.zeros(1), "relu").of(np.array([[3, 1], [1, 3]], np.float32))
        array([[2.],
               [0.]], dtype=float32)

        Sums are in float64.
        """
        values = np.empty((len(activations), len(self.weights)), np.float32)
        step = max(16, VALUES_AT_ONCE // max(self.weights.shape))
        for first in range(0, len(activations), step):
            rows = slice(first, first + step)
            products = activations[rows].astype(np.float64) @ self._columns + self.bias
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused by name
                values[rows] = np.maximum(products, 0) if self.nonlinearity == "relu" else products
        return values

    def layer(self, name: str) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return `of` for blocks that begin at an image, which refuses infinite values by the layer's name."""

        def compute(activations: np.ndarray, first_image: int) -> np.ndarray:
            values = self.of(activations)
            require_finite(values, name, first_image)
            return values

        return compute


def directions_of(matrix: Any, bias: Any, center: Any, nonlinearity: str | None, layer: str, neurons: int) -> Directions:
    """Return what a user gave as directions of a layer, checked; the centre goes into the bias."""
    weights = _numbers(matrix, "matrix", 2)
    if weights.shape[1] != neurons or not len(weights):
        turned = " It fits when it is turned: pass matrix.T." if weights.shape[0] == neurons else ""
        raise InvalidInputError(
            f"matrix must be directions x neurons, and layer {layer!r} has {neurons} neurons; got shape {weights.shape}.{turned}"
        )
    added = np.zeros(len(weights)) if bias is None else _numbers(bias, "bias", 1)
    subtracted = np.zeros(neurons) if center is None else _numbers(center, "center", 1)
    for what, values, count in (("bias", added, len(weights)), ("center", subtracted, neurons)):
        if len(values) != count:
            raise InvalidInputError(f"{what} must have {count} values for a matrix of shape {weights.shape}; got {len(values)}.")
    if nonlinearity not in NONLINEARITIES:
        raise InvalidInputError(f"nonlinearity must be one of {list(NONLINEARITIES)}; got {nonlinearity!r}.")
    with np.errstate(over="ignore"):  # refused by name below
        weights = weights.astype(np.float32)
    if not np.isfinite(weights).all():
        row, column = np.argwhere(~np.isfinite(weights))[0]
        raise InvalidInputError(
            f"matrix must hold finite float32 values; that of direction {row}, neuron {column} is {weights[row, column]}."
        )
    return Directions(weights, added - weights.astype(np.float64) @ subtracted, nonlinearity)


def stored_directions(connection: duckdb.DuckDBPyConnection, model_id: int) -> list[tuple[int, str, str, str | None, int]]:
    """Return the layers of a model that are directions: id, name, source, non-linearity, neurons; sources first."""
    return connection.execute(assets.sql("recording/select_directions.sql"), {"model_id": model_id}).fetchall()


def load_directions(
    connection: duckdb.DuckDBPyConnection, layer_id: int, nonlinearity: str | None, name: str
) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return what makes a layer from blocks of its source, by its stored directions."""
    text = "select weights, bias from stored_direction where layer_id = $layer_id order by neuron"
    rows = connection.sql(text, params={"layer_id": layer_id}).to_arrow_table()
    weights = rows["weights"].combine_chunks()
    matrix = weights.flatten().to_numpy().reshape(len(weights), -1)
    return Directions(matrix, rows["bias"].to_numpy(), nonlinearity).layer(name)


def _numbers(values: Any, what: str, dimensions: int) -> np.ndarray:
    array = as_array(values, what)
    if array.ndim != dimensions or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        shape = "directions x neurons" if dimensions == 2 else "one number each"
        raise InvalidInputError(f"{what} must be finite numbers, {shape}; got shape {array.shape} of {array.dtype}.")
    return array.astype(np.float64) if dimensions == 1 else array
