"""Reads what users hand over (NumPy, torch, Arrow, lists; whole or in batches) as float32 matrices."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from deephys_sql.errors import InvalidInputError, NotFiniteError

END = object()  # of an iterator of batches


def as_array(values: Any, what: str = "what was given") -> np.ndarray:
    """Return an array, a tensor (any device, any float precision) or a list as a NumPy array, copied only if it must be.

    >>> as_array([[1, 2]]).shape
    (1, 2)
    """
    if hasattr(values, "detach"):
        values = values.detach()
        if values.dtype.is_floating_point and values.element_size() < 4:
            values = values.float()  # NumPy has no bfloat16
        values = values.cpu().numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{what} must be an array of one shape and type; got a {type(values).__name__}: {error}.") from error


def as_matrix(values: Any, what: str) -> np.ndarray:
    """Return images x neurons as float32.

    Raises `InvalidInputError`, speaking of `what`, for another number of dimensions or for values that are no numbers.
    """
    array = as_array(values, what)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InvalidInputError(
            f"{what} must be a matrix of numbers, images x neurons; got shape {array.shape} of {array.dtype}. "
            f"Pool feature maps and tokens first, for example with `.max(axis=(2, 3))`."
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused by name
        return array.astype(np.float32, copy=False)


def require_finite(matrix: np.ndarray, layer: str, first_image: int) -> None:
    """Raise `NotFiniteError` with layer, image and neuron of the first NaN or infinity."""
    finite = np.isfinite(matrix)
    if not finite.all():
        row, neuron = np.argwhere(~finite)[0]
        raise NotFiniteError(
            f"layer {layer!r}, image {first_image + row}, neuron {neuron} is {matrix[row, neuron]}. Activations must be "
            f"finite float32: look for an overflow in half precision or a division by zero in the model."
        )


def is_whole(values: Any) -> bool:
    """Tell an array or tensor, which has a shape, from an iterable of batches."""
    return hasattr(values, "shape")


class ArrayRows:
    """Hands out the rows of an array, or of an iterable of arrays, in pieces of any size; those of an array are read `at_once`.

    >>> rows = ArrayRows([np.zeros((2, 3)), np.ones((2, 3))], "layer 'fc'", at_once=512)
    >>> rows.take(3).shape, rows.take(3).shape
    ((3, 3), (1, 3))
    """

    def __init__(self, values: Any, what: str, at_once: int):
        self._what = what
        self._batches: Iterator[Any] = _slices(values, at_once) if is_whole(values) else _copies(_iterable(values, what), what)
        self._rest: np.ndarray | None = None

    def take(self, count: int) -> np.ndarray:
        """Return the next rows, at most `count`; fewer, down to 0 x neurons, only at the end."""
        pieces = []
        while count > 0:
            if self._rest is None:
                batch = next(self._batches, END)
                if batch is END:
                    break
                self._rest = as_array(batch, self._what)
                if self._rest.ndim != 2:
                    as_matrix(self._rest, self._what)
            pieces.append(as_matrix(self._rest[:count], self._what))
            self._rest = self._rest[count:] if len(self._rest) > count else None
            count -= len(pieces[-1])
        if len({piece.shape[1] for piece in pieces}) > 1:
            widths = ", ".join(str(piece.shape[1]) for piece in pieces)
            raise InvalidInputError(f"{self._what} changes its number of neurons between batches: {widths}.")
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty((0, 0), np.float32)])


def _slices(values: Any, at_once: int) -> Iterator[Any]:
    """Give an array in pieces, so that one on a disk or a GPU is never here as a whole."""
    if len(values.shape) != 2:
        yield values  # to be refused by its shape
        return
    for start in range(0, values.shape[0], at_once):
        yield values[start : start + at_once]


def _copies(batches: Iterable[Any], what: str) -> Iterator[np.ndarray]:
    """Give copies: the next batch, of this layer or of another, may come in the same memory."""
    for batch in batches:
        yield np.array(as_array(batch, what))


def _iterable(values: Any, what: str) -> Iterable[Any]:
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | dict):
        return values
    raise InvalidInputError(f"{what} must be an array (images x neurons) or an iterable of such arrays; got {type(values).__name__}.")
