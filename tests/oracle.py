"""The definitions of SEMANTICS.md in plain NumPy and SciPy, float64, written without looking at the SQL.

Activations are arrays (images, neurons), labels and predictions arrays (images,) of category ids with -1 for
an unknown label, outputs arrays (images, categories). NULL is NaN, or None where a value is not a number.
"""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
from scipy import special, stats

UNKNOWN = -1


def descending(values, ids=None):
    """Positions in order: value descending, then id ascending (SEMANTICS.md, Order)."""
    values = np.asarray(values)
    ids = np.arange(len(values)) if ids is None else np.asarray(ids)
    return np.lexsort((ids, -values.astype(np.float64)))


# Responses [2.3]


def response(activation):
    """r = max(a, 0) (paper, 2.3: positive activations only)."""
    return np.maximum(np.asarray(activation, dtype=np.float64), 0.0)


def maximum(activation):
    """M_D(n): the largest response of each neuron over the images of a dataset (2.3)."""
    return response(activation).max(axis=0)


def normalised(activation, reference):
    """r(n, i) / M_R(n), NaN where the neuron is silent in the reference (2.3)."""
    top = maximum(reference)
    return np.divide(
        response(activation),
        top,
        out=np.full(np.shape(activation), np.nan),
        where=top > 0,
    )


def activation_ratio(activation, reference):
    """M_D(n) / M_R(n), NaN where the neuron is silent in the reference (2.2)."""
    top = maximum(reference)
    return np.divide(maximum(activation), top, out=np.full(len(top), np.nan), where=top > 0)


# Rankings


def top_images(activation, neuron, k):
    """The k images that activate a neuron most, only positive ones (2.1)."""
    column = np.asarray(activation, dtype=np.float64)[:, neuron]
    order = descending(column)
    return [int(image) for image in order if column[image] > 0][:k]


def top_neurons(activation, reference, image, k):
    """The k neurons with the highest normalised response to one image, only positive ones (2.3)."""
    return top_neurons_of(activation, reference, [image], k)


def top_neurons_of(activation, reference, images, k):
    """The k neurons with the highest mean normalised response over a set of images (2.4)."""
    images = list(images)
    if not images:
        return []
    means = normalised(activation, reference)[images].mean(axis=0)
    positive = np.flatnonzero(np.nan_to_num(means) > 0)
    return [(int(n), float(means[n])) for n in positive[descending(means[positive], positive)]][:k]


def nearest(activation, neuron, target, k):
    """The k images whose activation is nearest a value; negative ones count (Olah et al. 2017)."""
    distance = np.abs(np.asarray(activation, dtype=np.float64)[:, neuron] - target)
    return [int(image) for image in descending(-distance)[:k]]


# Predictions


def probabilities(outputs, kind):
    """Probabilities from logits, log-softmax or probabilities (SEMANTICS.md, Predictions)."""
    outputs = np.asarray(outputs, dtype=np.float64)
    if kind == "logits":
        return special.softmax(outputs, axis=1)
    if kind == "log_softmax":
        return np.exp(outputs)
    return outputs


def predictions(outputs):
    """The category with the highest output, ties to the lower id (SEMANTICS.md, Predictions)."""
    return np.argmax(np.asarray(outputs), axis=1)


def confidence(outputs, kind, predicted):
    """The predicted category's probability (SEMANTICS.md, Predictions)."""
    return probabilities(outputs, kind)[np.arange(len(predicted)), predicted]


def top_categories(outputs, k=5):
    """The k most probable categories of each image, ties to the lower id.

    Ranked by the output, which orders as the probability does without its rounding.
    """
    return [list(map(int, descending(row)[:k])) for row in np.asarray(outputs)]


def accuracy(labels, predicted):
    """Share of the labelled images whose prediction is the label, None without any."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    known = labels != UNKNOWN
    return float((labels == predicted)[known].mean()) if known.any() else None


def recall(labels, predicted, category):
    """Share of a category's images that are predicted as it, None without any."""
    mine = np.asarray(labels) == category
    return float((np.asarray(predicted)[mine] == category).mean()) if mine.any() else None


def precision(labels, predicted, category):
    """Share of the labelled images predicted as a category that have it as label, None without any."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    mine = (predicted == category) & (labels != UNKNOWN)
    return float((labels[mine] == category).mean()) if mine.any() else None


# Sets of images


def confusion(labels, predicted):
    """{(label, predicted): images} over the labelled images, only cells with images."""
    cells = {}
    for label, guess in zip(np.asarray(labels).tolist(), np.asarray(predicted).tolist(), strict=True):
        if label != UNKNOWN:
            cells[label, guess] = cells.get((label, guess), 0) + 1
    return cells


def mistakes(labels, predicted, label, guess):
    """Images of one direction: with that label and that other prediction (2.4)."""
    return np.flatnonzero((np.asarray(labels) == label) & (np.asarray(predicted) == guess)).tolist()


def confusion_set(labels, predicted, b, c):
    """Images of b predicted as c, and of c predicted as b (2.4)."""
    return sorted(set(mistakes(labels, predicted, b, c)) | set(mistakes(labels, predicted, c, b)))


# Scores [4.4, 4.5]


def category_responses(activation, labels, reference):
    """{category: (mean normalised response of each neuron, images)}, without empty categories (4.4)."""
    labels = np.asarray(labels)
    values = normalised(activation, reference)
    return {
        int(category): (values[labels == category].mean(axis=0), int((labels == category).sum()))
        for category in np.unique(labels[labels != UNKNOWN])
    }


def response_loss(reference_means, means):
    """L_D(n) = max over c of m_R - max over c of m_D; NaN where a side has no category (4.4)."""
    if not len(reference_means) or not len(means):
        return np.nan
    return float(np.max(reference_means) - np.max(means))


def novelty(loss, variant="paper"):
    """The response loss where it is positive, NaN elsewhere; `notebook` keeps it as it is (4.4)."""
    return loss if variant == "notebook" or loss > 0 else np.nan


def spurious(reference_means, means):
    """(1 - |spearman|, reason): over shared categories, means tied at 9 decimals (4.5).

    Both arguments are the means of the shared categories, in the same order.
    """
    if np.isnan(reference_means).any() or np.isnan(means).any():
        return np.nan, "silent_in_reference"
    if len(means) < 3:
        return np.nan, "few_categories"
    left, right = np.round(reference_means, 9), np.round(means, 9)
    if len(set(left)) == 1 or len(set(right)) == 1:
        return np.nan, "constant"
    left, right = stats.rankdata(left), stats.rankdata(right)
    return float(1 - abs(stats.spearmanr(left, right).statistic)), None


def scores(activation, labels, reference, reference_labels):
    """One dict a neuron: loss, novelty, spurious, reason, categories, fewest_images (4.4, 4.5)."""
    ours = category_responses(activation, labels, reference)
    theirs = category_responses(reference, reference_labels, reference)
    shared = sorted(set(ours) & set(theirs))
    silent = maximum(reference) == 0
    rows = []
    for neuron in range(np.shape(reference)[1]):
        loss = (
            np.nan
            if silent[neuron]
            else response_loss(
                [means[neuron] for means, _ in theirs.values()],
                [means[neuron] for means, _ in ours.values()],
            )
        )
        value, reason = spurious(
            np.array([theirs[c][0][neuron] for c in shared]),
            np.array([ours[c][0][neuron] for c in shared]),
        )
        if silent[neuron]:
            value, reason = np.nan, "silent_in_reference"
        rows.append(
            {
                "loss": loss,
                "novelty": novelty(loss),
                "spurious": value,
                "reason": reason,
                "categories": len(shared),
            }
        )
    return rows


def fewest_images(labels, reference_labels):
    """The smallest count of images behind any shared category, on either side; None without one (4.5)."""
    labels, reference_labels = np.asarray(labels), np.asarray(reference_labels)
    shared = set(labels.tolist()) & set(reference_labels.tolist()) - {UNKNOWN}
    counts = [int((side == c).sum()) for side in (labels, reference_labels) for c in shared]
    return min(counts) if counts else None


def summary(values):
    """Count, mean, deviation, quartiles, and share of the neurons above 0, of a score over a layer; NaN is NULL."""
    everything = np.asarray(values, dtype=np.float64)
    values = everything[~np.isnan(everything)]
    if not len(values):
        return [0, None, None, None, None, None, 0.0]
    return [
        len(values),
        float(values.mean()),
        float(values.std()),
        *np.quantile(values, [0.25, 0.5, 0.75]).tolist(),
        float((values > 0).sum() / len(everything)),
    ]


def density(values, points):
    """Gaussian kernel density, Scott's rule, reflected at 0 and at 1 (SEMANTICS.md, Scores)."""
    values, points = np.asarray(values, dtype=np.float64), np.asarray(points, dtype=np.float64)
    kernel = stats.gaussian_kde(values, bw_method="scott")
    mirrors = range(-4, 6, 2)  # a wide kernel is reflected again behind the first mirror
    return sum(kernel(mirror + points) + kernel(mirror - points) for mirror in mirrors)


# Summaries of a neuron


def neuron_summary(activation):
    """Count, extremes, mean, population deviation, quantiles and share positive, of each neuron."""
    values = np.asarray(activation, dtype=np.float64)
    return {
        "count": len(values),
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "share_positive": (values > 0).mean(axis=0),
    }


def quantiles(activation, fractions):
    """Exact quantiles, interpolated, of each neuron's activations: (fractions, neurons)."""
    return np.quantile(np.asarray(activation, dtype=np.float64), fractions, axis=0)


def histogram_exponents(column, bins):
    """The exponents with which intervals [n * 2**e, (n + 1) * 2**e) take a column in at most so many, not below float32's spacing."""
    low, high = Fraction(float(np.min(column))), Fraction(float(np.max(column)))
    finest = round(math.log2(max(math.ulp(float(max(-low, high))) * 2**29, 2**-149)))
    return [e for e in range(finest, 129) if high // Fraction(2) ** e - low // Fraction(2) ** e < bins]


def histogram(columns, bins):
    """[(dataset, bin, low, high, images)] of columns by dataset: the smallest width that all of them take."""
    together = np.concatenate(list(columns.values()))
    kept = max(histogram_exponents(column, 256)[0] for column in columns.values())
    width = Fraction(2) ** max(kept, histogram_exponents(together, bins)[0])
    first = Fraction(float(together.min())) // width
    rows = []
    for name, column in sorted(columns.items()):
        counts = Counter(Fraction(float(value)) // width for value in column)
        rows += [(name, n - first, float(n * width), float((n + 1) * width), counts[n]) for n in sorted(counts)]
    return rows


def accuracy_drop(labels, predicted, reference_labels, reference_predicted):
    """{category: recall in the reference - recall here}, None where a side has no image."""
    drops = {}
    for c in sorted((set(np.asarray(labels)) | set(np.asarray(reference_labels))) - {UNKNOWN}):
        here, there = recall(labels, predicted, c), recall(reference_labels, reference_predicted, c)
        drops[int(c)] = None if here is None or there is None else there - here
    return drops
