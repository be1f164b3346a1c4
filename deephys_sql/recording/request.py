"""What is asked to be recorded, and the batches that it comes in."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.inputs import require_text
from deephys_sql.recording.outputs import OUTPUT_KINDS
from deephys_sql.recording.pictures import Encoder, Picture
from deephys_sql.recording.places import FeatureMap


@dataclass(frozen=True)
class RecordingRequest:
    """What is asked to be recorded: names, options and provenance; the images come in batches."""

    model: str
    dataset: str
    layers: Sequence[str]
    categories: Sequence[str] | None = None
    output: str | None = None
    output_kind: str = "logits"
    nonlinearity: dict[str, str | None] = field(default_factory=dict)
    pooling: dict[str, str | None] = field(default_factory=dict)
    maps: dict[str, FeatureMap] = field(default_factory=dict)
    reference: bool = False
    replace: bool = False
    add_layers: bool = False
    encoder: Encoder = field(default_factory=Encoder)
    weights_checksum: str | None = None
    torch_version: str | None = None
    call: str = "add_recording"
    predictions_given: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # kept with the other arguments of the call

    def __post_init__(self):
        for what, name in (("model", self.model), ("dataset", self.dataset), *(("layer", layer) for layer in self.layers)):
            if not isinstance(name, str) or not name.strip():
                raise InvalidInputError(f"the {what}'s name must be a text that isn't empty; got {name!r}.")
            require_text(name, f"the {what}'s name")
        if self.replace and self.add_layers:
            raise InvalidInputError(
                "replace=True records all layers again, and add_layers=True keeps those that are recorded: give one of the two."
            )
        if self.output_kind not in OUTPUT_KINDS:
            raise InvalidInputError(f"output_kind must be one of {list(OUTPUT_KINDS)}; got {self.output_kind!r}.")
        if self.categories is not None:
            _require_category_names(self.categories)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the call asked for, as it is kept with the recording."""
        return {
            "call": self.call,
            "layers": list(self.layers),
            "output": self.output,
            "output_kind": self.output_kind,
            "categories": None if self.categories is None else [str(name) for name in self.categories],
            "nonlinearity": dict(self.nonlinearity),
            "pooling": dict(self.pooling),
            "reference": self.reference,
            "replace": self.replace,
            "predictions_given": self.predictions_given,
            "thumbnail_size": self.encoder.size,
            "thumbnail_format": self.encoder.format,
            "keep_originals": self.encoder.keep_originals,
            **self.options,
        }


def _require_category_names(categories: Any) -> None:
    if isinstance(categories, str | bytes | Mapping | Set) or not hasattr(categories, "__len__") or not len(categories):
        raise InvalidInputError(f"categories must be a list of names; got {categories!r}.")
    names = [str(name) for name in categories]
    if twice := [name for name, count in Counter(names).items() if count > 1][:3]:
        raise InvalidInputError(f"categories must be distinct names; {', '.join(map(repr, twice))} appear twice.")
    for category, name in enumerate(names):
        require_text(name, f"the name in categories of category {category}")


@dataclass(frozen=True)
class Batch:
    """Some images of a recording: float32 matrices by layer, and what is known of each image.

    `labels` are int64 with -1 for unknown, or None when none were given; `predictions` are given ones only; `metadata` are JSON
    objects, None for an image without. `places` tell, of layers whose values are maxima over places, where each lies
    (see `places.pack`).
    """

    layers: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None
    pictures: list[Picture] | None = None
    metadata: list[str | None] | None = None
    places: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.layers.values())))

    def require_one_count(self) -> None:
        """Raise `InvalidInputError` unless everything is given for the same number of images."""
        counts = {f"layer {name!r}": len(matrix) for name, matrix in self.layers.items()}
        others = {"labels": self.labels, "predictions": self.predictions, "images": self.pictures, "metadata": self.metadata}
        counts |= {what: len(values) for what, values in others.items() if values is not None}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{what}: {count}" for what, count in counts.items())
            raise InvalidInputError(f"a batch must have one of everything an image; got {found}.")
