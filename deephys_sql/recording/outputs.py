"""From a model's output to predictions, probabilities and top-5."""

from typing import NamedTuple

import numpy as np

from deephys_sql.errors import InvalidInputError

OUTPUT_KINDS = ("logits", "log_softmax", "probabilities")
TOP_CATEGORIES = 5


class Predictions(NamedTuple):
    """Of each image: the predicted category, its probability, and the five most probable categories."""

    predicted: np.ndarray
    confidence: np.ndarray | None
    top_categories: np.ndarray | None
    top_probabilities: np.ndarray | None


def predict(outputs: np.ndarray, kind: str, predictions: np.ndarray | None = None) -> Predictions:
    """Return what images x categories outputs predict; `predictions` overrule the highest output.

    >>> predict(np.array([[0.0, 0.0, -50.0]], np.float32), "logits").predicted
    array([0])

    Ties go to the lower category. Probabilities are float64, 0..1.
    Raises `InvalidInputError` when outputs called probabilities or log_softmax can't be that.
    """
    probabilities = _probabilities(outputs.astype(np.float64), kind)
    order = np.argsort(-outputs, axis=1, kind="stable")
    predicted = order[:, 0] if predictions is None else predictions
    top = order[:, :TOP_CATEGORIES]
    return Predictions(
        predicted,
        np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0],
        top,
        np.take_along_axis(probabilities, top, axis=1),
    )


def _probabilities(outputs: np.ndarray, kind: str) -> np.ndarray:
    if kind == "logits":
        exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)
    probabilities = np.exp(outputs) if kind == "log_softmax" else outputs
    total = probabilities.sum(axis=1)
    if probabilities.min() < 0 or abs(total - 1).max() > 0.01:
        raise InvalidInputError(
            f"output_kind={kind!r} was given, and the outputs are not that: smallest {outputs.min():.4g}, largest "
            f"{outputs.max():.4g}, sums of probabilities from {total.min():.4g} to {total.max():.4g} instead of 1. "
            f"Say output_kind='logits' for the values before a softmax."
        )
    return probabilities
