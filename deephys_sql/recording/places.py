"""Where in an image a neuron fired: the places of a feature map or of tokens, and what part of the input each sees."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

PREFIXES = (0, 1, 2, 5)  # tokens before the grid: none, a class token, one for distillation too, four registers
NOISE_SEED = 0
PASSES = 8  # at most


class Field(NamedTuple):
    """What the places along one axis see of the input: place p sees pixels start + p * stride and on, `size` of them."""

    start: float
    size: float
    stride: float

    def seen(self, place: int, pixels: int) -> tuple[float, float]:
        """Return the first pixel and the one behind the last that a place sees, within the input.

        >>> Field(start=-1, size=3, stride=2).seen(0, pixels=8)
        (0, 2)
        """
        first = self.start + place * self.stride
        return max(first, 0), min(first + self.size, pixels)


@dataclass(frozen=True)
class FeatureMap:
    """The places of a layer: rows and columns, None when not the same for all images, and what they see of the input."""

    rows: int | None
    columns: int | None
    leading_tokens: int = 0
    input_size: tuple[int, int] | None = None
    fields: tuple[Field, Field] | None = None  # down, across


def map_of(shape: Sequence[int], are_tokens: bool) -> FeatureMap:
    """Return the rows and columns that places of this shape lie in.

    >>> map_of((50,), are_tokens=True)
    FeatureMap(rows=7, columns=7, leading_tokens=1, input_size=None, fields=None)

    Tokens lie in a square grid where their number allows it, behind a class token or a few others; else in one row. Places
    of more than two axes lie in rows of the last.
    """
    if are_tokens:
        for prefix in PREFIXES:
            side = math.isqrt(max(0, shape[0] - prefix))
            if side > 1 and side * side == shape[0] - prefix:
                return FeatureMap(side, side, prefix)
        return FeatureMap(1, shape[0])
    return FeatureMap(math.prod(shape[:-1]), shape[-1])


def pack(places: np.ndarray, map: FeatureMap) -> np.ndarray:
    """Return row and column of flat place numbers in one int64 each, -1 for a token before the grid.

    >>> unpack(pack(np.array([0, 1, 8]), FeatureMap(2, 4, leading_tokens=1)))
    (array([-1,  0,  1], dtype=int32), array([-1,  0,  3], dtype=int32))
    """
    places = places.astype(np.int64) - map.leading_tokens
    return np.where(places < 0, -1, (places // map.columns << 32) | places % map.columns)


def unpack(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns, int32; both -1 for no place."""
    return (packed >> 32).astype(np.int32), np.where(packed < 0, -1, packed & 0xFFFFFFFF).astype(np.int32)


def patches(map: FeatureMap, input_size: tuple[int, int]) -> tuple[Field, Field]:
    """Return what the tokens of a grid began as: equal patches of the input."""
    return tuple(Field(0, pixels / places, pixels / places) for pixels, places in zip(input_size, (map.rows, map.columns)))


def receptive_fields(
    run: Callable[[Any], Mapping[str, Any]], shape: Sequence[int], dtype: Any, device: Any
) -> dict[str, tuple[Field, Field] | None]:
    """Measure the receptive fields of layers: which pixels of the input have a gradient from a place of the layer.

    run: from one image of noise, of this shape (1 x channels x height x width), to feature maps, 1 x channels x rows x columns.

    A pixel that some pass shows belongs to the field: one image leaves those out that a ReLU or a maximum hides. Passes end when
    one shows nothing new and the fields fit together. None for a layer whose fields are not of one size at one distance.
    """
    import torch

    random = torch.Generator().manual_seed(NOISE_SEED)
    seen: dict[str, dict[int, dict[int, tuple[int, int]]]] = {}
    fields: dict[str, tuple[Field, Field] | None] = {}
    for _ in range(PASSES):
        image = torch.randn(shape, generator=random).to(device, dtype).requires_grad_()
        before = {name: {axis: dict(found) for axis, found in axes.items()} for name, axes in seen.items()}
        for name, maps in run(image).items():
            weights = torch.randn(maps.shape[1], generator=random).to(maps)
            for places in zip(*(_probes(length) for length in maps.shape[2:])):
                value = (maps[0, :, places[0], places[1]] * weights).sum()
                (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
                for axis in (0, 1):
                    found = seen.setdefault(name, {0: {}, 1: {}})[axis]
                    pixels = torch.nonzero(gradient[0].abs().amax(0).amax(1 - axis)).ravel().tolist()
                    if pixels:
                        first, end = found.get(places[axis], (pixels[0], pixels[-1] + 1))
                        found[places[axis]] = min(first, pixels[0]), max(end, pixels[-1] + 1)
            del maps
        fields = {name: _fields(axes, shape) for name, axes in seen.items()}
        if seen == before and None not in fields.values():
            break
    return fields


def _fields(axes: Mapping[int, Mapping[int, tuple[int, int]]], shape: Sequence[int]) -> tuple[Field, Field] | None:
    down, across = (_field(axes[axis], shape[2 + axis]) for axis in (0, 1))
    return None if down is None or across is None else (down, across)


def _probes(length: int) -> list[int]:
    """Return the first two and the last two places, four in all: they tell size and stride whatever the edges hide."""
    return [0, min(1, length - 1), max(length - 2, 0), length - 1]


def _field(seen: Mapping[int, tuple[int, int]], pixels: int) -> Field | None:
    """Return the field of all places from those of the first two and the last two, None if they don't fit together.

    >>> _field({0: (0, 2), 1: (1, 4), 6: (11, 14), 7: (13, 16)}, pixels=16)
    Field(start=-1, size=3, stride=2)
    """
    if not seen:
        return None
    last = max(seen)
    if last == 0:
        return Field(seen[0][0], seen[0][1] - seen[0][0], 0)
    if not {0, 1, last - 1, last} <= seen.keys():
        return None
    if seen[1][1] < pixels:
        stride = seen[1][1] - seen[0][1]
    elif seen[last - 1][0] > 0:
        stride = seen[last][0] - seen[last - 1][0]
    else:
        return Field(0, pixels, 0)
    start = seen[last][0] - last * stride
    field = Field(start, (seen[0][1] if seen[0][1] < pixels else pixels) - start, stride)
    # Less may be seen at the edges, where a padded map leaves out a part that a dilated convolution would see.
    boxes = ((field.seen(place, pixels), found) for place, found in seen.items())
    return field if all(first <= found[0] and found[1] <= end for (first, end), found in boxes) else None
