"""Records arrays, or iterables of arrays, that somebody else's code made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.activations import block_images
from deephys_sql.recording.arrays import ArrayRows, is_whole
from deephys_sql.recording.inputs import NUMBERS, Records, as_json, as_labels, by_layer
from deephys_sql.recording.pictures import Encoder, require_pictures
from deephys_sql.recording.request import Batch, RecordingRequest
from deephys_sql.recording.writer import Writing

IMAGES_AT_ONCE = 512  # read together, when there are pictures to encode or the widths of layers are not known yet


def record_arrays(
    *,
    writing: Writing,
    model: str,
    dataset: str,
    activations: Mapping[str, Any],
    logits: Any,
    labels: Any,
    categories: Sequence[str] | None,
    images: Any,
    image_metadata: Any,
    predictions: Any,
    reference: bool,
    replace: bool,
    add_layers: bool,
    output: str,
    output_kind: str,
    nonlinearity: str | Mapping[str, str] | None,
    pooling: str | Mapping[str, str] | None,
    thumbnail_size: int,
    thumbnail_format: str,
    keep_originals: bool,
    progress: bool,
) -> None:
    """What `Store.add_recording` does."""
    if not isinstance(activations, Mapping) or not (activations or logits is not None):
        raise InvalidInputError("activations must be a dict of layer: array, with at least one layer, or logits must be given.")
    if add_layers and not (logits is None and predictions is None):
        raise InvalidInputError("logits and predictions are recorded already: leave them out with add_layers=True.")
    if logits is None and predictions is None and not add_layers:
        raise InvalidInputError("give logits (images x categories), or predictions (a category id an image): one is needed.")
    sources = dict(activations)
    if logits is not None:
        if output in sources:
            raise InvalidInputError(
                f"layer {output!r} is in activations, and logits are stored under that name: give output=, another name."
            )
        sources[output] = logits
    labels = None if labels is None else as_labels(labels)
    predictions = None if predictions is None else as_labels(predictions, "prediction")
    records = None if image_metadata is None else Records(image_metadata)
    if images is not None:
        require_pictures(images)
    total = _require_one_count(sources, {"labels": labels, "predictions": predictions, "images": images, "image_metadata": records})
    request = RecordingRequest(
        model=model,
        dataset=dataset,
        layers=list(sources),
        categories=categories,
        output=output if logits is not None else None,
        output_kind=output_kind,
        nonlinearity=by_layer(nonlinearity, activations, "nonlinearity"),
        pooling=by_layer(pooling, activations, "pooling"),
        reference=reference,
        replace=replace,
        add_layers=add_layers,
        encoder=Encoder(thumbnail_size, thumbnail_format, keep_originals),
        predictions_given=predictions is not None,
    )
    at_once = _images_at_once(sources, images)
    rows = {name: ArrayRows(values, f"layer {name!r}", at_once) for name, values in sources.items()}
    with (
        writing(request) as writer,
        tqdm(total=total, unit=" images", desc=f"{model} on {dataset}", disable=None if progress else True) as bar,
    ):
        while True:
            writer.begin_batch()
            first = writer.images
            layers = {name: source.take(at_once) for name, source in rows.items()}
            count = _require_equal_batches(layers, first)
            if not count:
                writer.end_batches()
                break
            batch = slice(first, first + count)
            writer.add(
                Batch(
                    layers,
                    labels=_part(labels, batch, "labels"),
                    predictions=_part(predictions, batch, "predictions"),
                    pictures=None if images is None else request.encoder.encode_all(_part(images, batch, "images"), first),
                    metadata=None if records is None else as_json(_part(records, batch, "image_metadata"), NUMBERS[first:]),
                )
            )
            del layers  # before the next are read
            bar.update(count)
        for what, values in (("labels", labels), ("predictions", predictions), ("images", images), ("image_metadata", records)):
            if values is not None and len(values) != writer.images:
                raise InvalidInputError(
                    f"the activations ended after {writer.images} images, and {len(values)} {what} were given: they must be one for one."
                )


def _require_one_count(sources: Mapping[str, Any], others: Mapping[str, Any]) -> int | None:
    """Compare all counts that are known before anything is read; return the count, None if nothing whole was given."""
    counts = {f"layer {name!r}": values.shape[0] for name, values in sources.items() if is_whole(values) and len(values.shape)}
    counts |= {what: len(values) for what, values in others.items() if values is not None}
    if len(set(counts.values())) > 1:
        raise InvalidInputError(f"all must have the same number of images; got {', '.join(f'{w}: {n}' for w, n in counts.items())}.")
    return next(iter(counts.values()), None)


def _images_at_once(sources: Mapping[str, Any], images: Any) -> int:
    """Return how many images to take together: a block, if all layers were one."""
    if not all(is_whole(values) and len(values.shape) == 2 for values in sources.values()):
        return IMAGES_AT_ONCE
    most = block_images(sum(values.shape[1] for values in sources.values()))
    return most if images is None else min(most, IMAGES_AT_ONCE)


def _require_equal_batches(layers: Mapping[str, np.ndarray], first: int) -> int:
    counts = {name: len(matrix) for name, matrix in layers.items()}
    if len(set(counts.values())) > 1:
        ends = ", ".join(f"{name!r} after {first + count}" for name, count in counts.items() if count < max(counts.values()))
        longest = max(counts, key=counts.get)
        raise InvalidInputError(
            f"the layers have different numbers of images: {ends}, while {longest!r} goes on to {first + counts[longest]} or more. "
            f"(What can be read only once gives nothing to a second layer or recording.)"
        )
    return next(iter(counts.values()))


def _part(values: Any, batch: slice, what: str) -> Any:
    if values is None:
        return None
    if len(values) < batch.stop:
        raise InvalidInputError(f"the activations go on to image {batch.stop - 1} or more, and {len(values)} {what} were given.")
    return values[batch]
