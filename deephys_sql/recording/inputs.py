"""Reads what is known of images and layers: labels, metadata, and options given for all layers or by layer."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.arrays import as_array

NUMBERS = range(2**31)  # of images, from 0


def as_labels(values: Any, what: str = "label") -> np.ndarray:
    """Return category ids as int64; None, NaN and -1 are unknown and become -1.

    >>> as_labels([2, None])
    array([ 2, -1])
    """
    if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__len__"):
        raise InvalidInputError(f"{what}s must be a list or an array of integers, one an image; got {type(values).__name__}.")
    given = as_array(values, f"{what}s")
    if given.ndim != 1:
        raise InvalidInputError(f"{what}s must be one integer an image; got shape {given.shape} of {given.dtype}.")
    if given.dtype.kind in "iu":
        numbers = given.tolist() if given.dtype == np.uint64 else None
    else:
        numbers = [_category(value, image, what) for image, value in enumerate(given.tolist())]
    try:
        return given.astype(np.int64) if numbers is None else np.array(numbers, np.int64)
    except OverflowError as error:
        raise InvalidInputError(f"{what}s must be category ids, small integers; the largest is {max(numbers)}.") from error


def _category(value: Any, image: int, what: str) -> int:
    number = _plain(value)
    if number is None and not (isinstance(value, float) and math.isinf(value)):
        return -1
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
        raise InvalidInputError(
            f"{what} of image {image} is {value!r} ({type(value).__name__}); a category id (an integer), -1 or None is needed."
        )
    return int(number)


class Records:
    """The fields of each image, of a list of dicts, a pandas DataFrame or an Arrow table; a slice of them is a list of dicts.

    >>> Records([{"camera": 3}, {"camera": 4}])[1:]
    [{'camera': 4}]

    Whatever else gives an Arrow stream will do, such as a DataFrame of Polars or the rows of a query. Rows of frames and tables
    become dicts when a slice is taken, so that those of a large dataset are never all there.
    numbers: those of the images, for messages.
    Raises `InvalidInputError` for anything else.
    """

    def __init__(self, values: Any, numbers: Iterable[int] = NUMBERS):
        if hasattr(values, "__arrow_c_stream__") and not hasattr(values, "iloc") and not hasattr(values, "to_pylist"):
            values = _table(values)
        if hasattr(values, "iloc") and hasattr(values, "columns"):
            self._rows = lambda first, last: values.iloc[first:last].to_dict("records")
        elif hasattr(values, "column_names") and hasattr(values, "to_pylist"):
            self._rows = lambda first, last: values.slice(first, last - first).to_pylist()
        else:
            values = _dicts(values.to_pylist() if hasattr(values, "to_pylist") else values, numbers)
            self._rows = lambda first, last: values[first:last]
        self._count = len(values)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> list[Mapping[str, Any]]:
        first, last, _ = part.indices(self._count)
        return self._rows(first, max(first, last))


def _table(values: Any) -> pa.Table:
    try:
        return pa.table(values)
    except (pa.ArrowException, TypeError) as error:
        raise _no_records(values) from error


def _no_records(values: Any) -> InvalidInputError:
    return InvalidInputError(f"image metadata must be a list of dicts, a pandas DataFrame or an Arrow table; got {type(values).__name__}.")


def _dicts(values: Any, numbers: Iterable[int]) -> list[Mapping[str, Any]]:
    if isinstance(values, Mapping | str) or not isinstance(values, Sequence):
        raise _no_records(values)
    for image, fields in zip(numbers, values):
        if not isinstance(fields, Mapping):
            raise InvalidInputError(f"metadata of image {image} must be a dict of fields; got {type(fields).__name__}.")
    return list(values)


def as_json(records: Sequence[Mapping[str, Any]], numbers: Iterable[int] = NUMBERS) -> list[str]:
    """Return each image's fields as a JSON object; `numbers` are those of the images, for messages.

    >>> as_json([{"camera": 3, "blur": float("nan")}])
    ['{"camera": 3, "blur": null}']
    """
    texts = [json.dumps(_plain(fields), default=str, ensure_ascii=False) for fields in records]
    for image, text in zip(numbers, texts):
        require_text(text, f"metadata of image {image}")
    return texts


def require_text(text: str, what: str) -> None:
    """Raise `InvalidInputError` for a text that can't be stored: half of a character, as in names of broken files.

    >>> require_text("owl", "category 2")
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{what} is {text!r}, which is not valid Unicode: {error.reason}. Write the character whole.") from error


def by_layer(value: Any, layers: Collection[str], what: str, default: Any = None) -> dict[str, Any]:
    """Spread one value over all layers, or complete a dict with the default.

    >>> by_layer({"fc": "mean"}, ["conv", "fc"], "pooling", default="max")
    {'conv': 'max', 'fc': 'mean'}
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(layers, value)
    for name in value:
        if name not in layers:
            raise InvalidInputError(f"{what} is given for layer {name!r}, and the layers recorded are {list(layers)}.")
    return {layer: value.get(layer, default) for layer in layers}


def _plain(value: Any) -> Any:
    """Return JSON's own types: NumPy's become Python's, dates become text, what is missing or not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' own, without importing pandas
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value
