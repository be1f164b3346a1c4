"""How the activations of neurons lie over a dataset: exact quantiles, a histogram, and examples across the range."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
INTERVALS = 256  # of a histogram at most
EXAMPLES = 5  # of each place at most


@dataclass(frozen=True)
class Distributions:
    """The distributions of some neurons, and their share in the norms of images.

    quantiles: float64, 7 x neurons. histograms, examples: columns of the tables stored_histogram and stored_example.
    squares: float64, one an image, what these neurons add to the square of its norm.
    """

    quantiles: np.ndarray
    histograms: pa.Table
    examples: pa.Table
    squares: np.ndarray


def distributions(neurons: np.ndarray, values: np.ndarray) -> Distributions:
    """Return the distributions, and sums of squares, of neurons with these numbers and values: float32, neurons x images.

    >>> found = distributions(np.array([7]), np.float32([[0, 1, 0, 3]]))
    >>> found.quantiles[:, 0].round(2).tolist()
    [0.0, 0.0, 0.0, 0.5, 1.5, 2.7, 2.94]
    >>> [row["image"] for row in found.examples.to_pylist() if row["place"] == 8]
    [3, 1, 0, 2]
    """
    ordered = np.sort(values, axis=1)
    quantiles = _quantiles(ordered)
    exponents, first, counts = histograms(ordered)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in counts])]).astype(np.int32)
    images = _examples(values, ordered, quantiles)
    _, places, ranks = images.shape
    return Distributions(
        quantiles=quantiles,
        histograms=pa.table(
            {
                "neuron": neurons.astype(np.int32),
                "exponent": exponents.astype(np.int32),
                "first_interval": first.astype(np.int32),
                "images": pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(counts).astype(np.int32))),
            }
        ),
        examples=pa.table(
            {
                "neuron": np.repeat(neurons.astype(np.int32), places * ranks),
                "place": np.tile(np.repeat(np.arange(1, places + 1, dtype=np.int32), ranks), len(neurons)),
                "rank": np.tile(np.arange(1, ranks + 1, dtype=np.int32), len(neurons) * places),
                "image": images.ravel().astype(np.int32),
                "value": values[np.arange(len(neurons))[:, None, None], images].ravel(),
            }
        ),
        squares=np.einsum("ni,ni->i", values, values, dtype=np.float64),
    )


def histograms(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return for each sorted row the exponent and the first number of its intervals, and how many values lie in each.

    >>> exponents, first, counts = histograms(np.float32([[-1, -0.5, 0, 0, 254]]))
    >>> exponents.tolist(), first.tolist(), counts[0].tolist()[:3], len(counts[0])
    ([0], [-1], [2, 2, 0], 256)

    Interval n is [n * 2**exponent, (n + 1) * 2**exponent). The exponent is the smallest with which there are at most 256 of them,
    but not below the spacing of float32 at the row's largest magnitude: so all edges are exact, and a number fits 25 bits.
    """
    low, high = ordered[:, 0].astype(np.float64), ordered[:, -1].astype(np.float64)
    finest = np.maximum(np.frexp(np.maximum(np.maximum(-low, high), 2.0**-149))[1] - 24, -149)
    exponents = np.where(low < high, np.maximum(finest, np.frexp(high - low)[1] - 9), finest)
    while True:
        first, last = (np.floor(np.ldexp(end, -exponents)).astype(np.int64) for end in (low, high))
        too_many = last - first >= INTERVALS
        if not too_many.any():
            break
        exponents += too_many
    counts = []
    for row, begin, end, exponent in zip(ordered, first, last, exponents):
        edges = np.ldexp(np.arange(begin + 1, end + 1, dtype=np.float32), exponent)
        counts.append(np.diff(np.searchsorted(row, edges), prepend=0, append=len(row)))
    return exponents, first, counts


def _quantiles(ordered: np.ndarray) -> np.ndarray:
    """Return the quantiles of sorted rows, interpolated linearly in float64 as NumPy does: 7 x neurons."""
    before, share = _positions(ordered.shape[1])
    low = ordered[:, before].astype(np.float64)
    high = ordered[:, np.minimum(before + 1, ordered.shape[1] - 1)].astype(np.float64)
    step = high - low
    return np.where(share < 0.5, low + step * share, high - step * (1 - share)).T


def _positions(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the value in order that each quantile follows, and how far it lies on the way to the next."""
    place = np.multiply(QUANTILES, images - 1)
    before = np.floor(place).astype(int)
    return before, place - before


def _examples(values: np.ndarray, ordered: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Return the images nearest to the lowest value, 0, the quantiles .05 to .95, and the highest: neurons x 8 x 5, or all images.

    Nearest first, in float64, then image ascending, as queries/examples_across_range.sql has it. What is so near is found among
    the sorted values, and then looked for among the images: sorting those takes ten times as long.
    """
    neurons, images = values.shape
    count, width = min(EXAMPLES, images), min(2 * EXAMPLES, images)
    before = np.concatenate([[0, 0], _positions(images)[0][1:-1], [images - 1]])
    before = np.broadcast_to(before, (neurons, len(before))).copy()
    before[:, 1] = [np.searchsorted(row, np.float32(0)) - 1 for row in ordered]
    targets = np.stack([ordered[:, 0], np.zeros(neurons), *quantiles[1:-1], ordered[:, -1]], axis=1)
    start = np.clip(before - EXAMPLES + 1, 0, images - width)
    around = ordered[np.arange(neurons)[:, None, None], start[..., None] + np.arange(width)]
    farthest = np.sort(np.abs(around - targets[..., None]), axis=-1)[..., count - 1]
    slack = 4 * np.spacing(np.maximum(np.abs(targets), farthest))  # distances are rounded
    with np.errstate(over="ignore"):
        lowest = np.nextafter((targets - farthest - slack).astype(np.float32), np.float32(-np.inf))
        highest = np.nextafter((targets + farthest + slack).astype(np.float32), np.float32(np.inf))
    found = np.empty((*targets.shape, count), np.int64)
    for neuron, row in enumerate(values):
        known: dict[float, np.ndarray] = {}  # places of one value, such as the zeros of a ReLU
        for place, target in enumerate(targets[neuron].tolist()):
            if target not in known:
                bounds = lowest[neuron, place], highest[neuron, place]
                known[target] = _nearest(row, target, float(farthest[neuron, place]), *bounds, count)
            found[neuron, place] = known[target]
    return found


def _nearest(row: np.ndarray, target: float, farthest: float, lowest: np.float32, highest: np.float32, count: int) -> np.ndarray:
    """Return the images nearest to the target, of which the last is so far from it; all so near lie between lowest and highest."""
    if farthest == 0:
        first = np.flatnonzero(row[:1024] == target)
        return (first if len(first) >= count else np.flatnonzero(row == target))[:count]
    images = np.flatnonzero((row >= lowest) & (row <= highest))
    distance = np.abs(row[images].astype(np.float64) - target)
    near = np.concatenate([np.flatnonzero(distance < farthest), np.flatnonzero(distance == farthest)[:count]])
    return images[near[np.argsort(distance[near], kind="stable")[:count]]]
