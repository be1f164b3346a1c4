"""Reads what is known of images and layers: labels, metadata, and options given for all layers or by layer."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.arrays import as_array


def as_labels(values: Any, what: str = "label") -> np.ndarray:
    """Return category ids as int64; None, NaN and -1 are unknown and become -1.

    >>> as_labels([2, None])
    array([ 2, -1])
    """
    array = as_array(values)
    if array.dtype == object or array.dtype.kind == "f":
        numbers = []
        for image, value in enumerate(array.tolist()):
            if value is None or value != value:
                value = -1
            if isinstance(value, bool) or not isinstance(value, int | float) or value != math.floor(value):
                raise InvalidInputError(f"{what} of image {image} is {value!r}; a category id (an integer), -1 or None is needed.")
            numbers.append(int(value))
        array = np.array(numbers, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInputError(f"{what}s must be one integer an image; got shape {array.shape} of {array.dtype}.")
    return array.astype(np.int64)


def as_records(values: Any) -> list[Mapping[str, Any]]:
    """Return a row of fields an image, from a list of dicts, a DataFrame or an Arrow table.

    >>> as_records([{"camera": 3}])
    [{'camera': 3}]
    """
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "to_dict"):
        values = values.to_dict("records")
    if isinstance(values, Mapping | str) or not isinstance(values, Sequence):
        raise InvalidInputError(f"image metadata must be a list of dicts, a DataFrame or an Arrow table; got {type(values).__name__}.")
    for image, fields in enumerate(values):
        if not isinstance(fields, Mapping):
            raise InvalidInputError(f"metadata of image {image} must be a dict of fields; got {type(fields).__name__}.")
    return list(values)


def as_json(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each image's fields as a JSON object.

    >>> as_json([{"camera": 3, "blur": float("nan")}])
    ['{"camera": 3, "blur": null}']
    """
    return [json.dumps(_plain(fields), default=str) for fields in records]


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
    """Return JSON's own types: NumPy scalars become Python's, and what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
