"""What is kept of each neuron, gathered while the images stream by, in memory that does not grow with them."""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse

from deephys_sql.recording.places import unpack

TOP_IMAGES = 100
NEURONS_AT_ONCE = 64  # so that what is computed of a block stays in the processor's cache


class LayerSummary:
    """Running count, extremes, moments, share positive, top images and category sums of every neuron of a layer.

    Sums are in float64 and depend on the order and size of the blocks given to `add`; give blocks of one fixed size.

    >>> summary = LayerSummary(neurons=1, categories=2)
    >>> images = np.array([[1.0], [-3.0]], np.float32)
    >>> summary.add(images, np.array([0, 1]))
    >>> float(summary.mean[0]), float(summary.share_positive[0]), summary.category_sums.tolist()
    (-1.0, 0.5, [[1.0], [0.0]])
    """

    def __init__(self, neurons: int, categories: int):
        self.images = 0
        self.min = np.full(neurons, np.inf, np.float32)
        self.max = np.full(neurons, -np.inf, np.float32)
        self.mean = np.zeros(neurons)
        self._squares = np.zeros(neurons)  # sum of squared deviations from the mean
        self._positive = np.zeros(neurons, np.int64)
        self.category_images = np.zeros(categories, np.int64)
        self.category_sums = np.zeros((categories, neurons))
        self._top = np.zeros((neurons, TOP_IMAGES), np.uint64)
        self._places: np.ndarray | None = None  # of the top images, from the first block on that has places

    def add(self, values: np.ndarray, labels: np.ndarray, places: np.ndarray | None = None, *, each: Callable[..., Iterator] = map) -> None:
        """Take in the next images: float32, images x neurons, and labels (-1 for unknown).

        places: where each value lies, images x neurons (see `places.pack`). each: like `map`; an executor's makes use of its threads.
        """
        if places is not None and self._places is None:
            self._places = np.full(self._top.shape, -1)
        known = np.flatnonzero(labels >= 0)
        one_hot = scipy.sparse.csr_array((np.ones(len(known)), (labels[known], known)), shape=(len(self.category_images), len(labels)))

        def add_neurons(first: int) -> None:
            neurons = slice(first, first + NEURONS_AT_ONCE)
            by_image = np.ascontiguousarray(values[:, neurons])  # close together in memory: what follows goes over it again and again
            by_neuron = np.ascontiguousarray(by_image.T)
            np.minimum(self.min[neurons], by_neuron.min(axis=1), out=self.min[neurons])
            np.maximum(self.max[neurons], by_neuron.max(axis=1), out=self.max[neurons])
            self._add_moments(neurons, by_neuron.astype(np.float64))
            self._positive[neurons] += (by_neuron > 0).sum(axis=1)
            self.category_sums[:, neurons] += one_hot @ np.maximum(by_image, 0).astype(np.float64)
            self._add_top(neurons, by_neuron, places)

        for _ in each(add_neurons, range(0, values.shape[1], NEURONS_AT_ONCE)):
            pass
        self.category_images += np.bincount(labels[known], minlength=len(self.category_images))
        self.images += len(labels)

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation, float64, one a neuron."""
        return np.sqrt(self._squares / self.images)

    @property
    def share_positive(self) -> np.ndarray:
        """Share of the images with a positive activation, 0..1, one a neuron."""
        return self._positive / self.images

    def top(self) -> dict[str, np.ndarray]:
        """Return the top images as columns: neuron, rank from 1, image, value, row and column of its place; positive values only.

        Value descending, then image ascending; neurons ascending. Rows and columns are -1 where there is no place.
        """
        order = np.argsort(-self._top.view(np.int64), axis=1)
        keys = np.take_along_axis(self._top, order, axis=1)
        neuron, position = np.nonzero(keys)
        image, value = _unpack(keys[neuron, position])
        places = np.full(len(neuron), -1) if self._places is None else np.take_along_axis(self._places, order, axis=1)[neuron, position]
        row, column = unpack(places)
        return {
            "neuron": neuron.astype(np.int32),
            "rank": position.astype(np.int32) + 1,
            "image": image,
            "value": value,
            "place_row": row,
            "place_column": column,
        }

    def _add_moments(self, neurons: slice, values: np.ndarray) -> None:
        # Chan, Golub and LeVeque (1979): mean and squared deviations of two sets joined.
        images = values.shape[1]
        total = self.images + images
        mean = values.mean(axis=1)
        shift = mean - self.mean[neurons]
        deviations = values - mean[:, None]
        squares = np.einsum("ni,ni->n", deviations, deviations)
        self._squares[neurons] += squares + shift**2 * (self.images * images / total)
        self.mean[neurons] += shift * (images / total)

    def _add_top(self, neurons: slice, values: np.ndarray, places: np.ndarray | None) -> None:
        top = self._top[neurons]
        least = _unpack(top.min(axis=1))[1]
        # An image that only equals the least of a full list comes later, so it ranks below it.
        neuron, image = np.divmod(np.flatnonzero(values > np.maximum(least, 0)[:, None]), values.shape[1])
        if not len(neuron):
            return
        counts = np.bincount(neuron, minlength=len(values))
        changed = np.flatnonzero(counts)
        candidates = np.zeros((len(changed), TOP_IMAGES + counts.max()), np.uint64)
        candidates[:, :TOP_IMAGES] = top[changed]
        row = np.searchsorted(changed, neuron)
        position = TOP_IMAGES + np.arange(len(neuron)) - (np.cumsum(counts) - counts)[neuron]
        candidates[row, position] = _pack(values[neuron, image], image + self.images)
        if self._places is None:
            top[changed] = np.partition(candidates, -TOP_IMAGES, axis=1)[:, -TOP_IMAGES:]
            return
        best = np.argpartition(candidates, -TOP_IMAGES, axis=1)[:, -TOP_IMAGES:]
        top[changed] = np.take_along_axis(candidates, best, axis=1)
        candidate_places = np.full(candidates.shape, -1)
        candidate_places[:, :TOP_IMAGES] = self._places[neurons][changed]
        if places is not None:
            candidate_places[row, position] = places[image, neurons.start + neuron]
        self._places[neurons][changed] = np.take_along_axis(candidate_places, best, axis=1)


def _pack(value: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Join positive float32 values and image numbers into integers that order by value, then by lower image.

    The bits of positive floats order as the floats do. 0 stands for no image.
    """
    return (value.view(np.uint32).astype(np.uint64) << np.uint64(32)) | (np.uint64(0xFFFFFFFF) - image.astype(np.uint64))


def _unpack(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value = (key >> np.uint64(32)).astype(np.uint32).view(np.float32)
    image = (np.uint64(0xFFFFFFFF) - (key & np.uint64(0xFFFFFFFF))).astype(np.int32, casting="unsafe")
    return image, value
