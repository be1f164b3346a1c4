"""Records a torch model on every image of a loader, a dataset, a folder or tar shards."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.batches import count, split
from deephys_sql.recording.datasets import Samples, open_source
from deephys_sql.recording.hooks import first_tensor, uncompiled
from deephys_sql.recording.inputs import Records
from deephys_sql.store import Store, open

if TYPE_CHECKING:
    from torch import nn


def record(
    model: "nn.Module",
    loader: Any,
    *,
    store: Store | str | os.PathLike,
    name: str,
    dataset: str,
    layers: str | Sequence[str],
    images: Any = "auto",
    metadata: Any = None,
    batch: Callable[[Any], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    categories: Sequence[str] | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    progress: bool = True,
    **options: Any,
) -> None:
    """Record a torch model on every image of a loader, a dataset, a folder or tar shards, with a progress bar.

    >>> import deephys_sql as dp
    >>> dp.record(net, loader, store="study.duckdb", name="resnet18", dataset="CIFAR-10",
    ...           layers=["avgpool"], output="fc", categories=names, images="inputs")  # doctest: +SKIP

    >>> dp.record(net, "photos/", transform=preprocess, store="study.duckdb", name="resnet18", dataset="photos",
    ...           layers=["avgpool"], output="fc")  # doctest: +SKIP

    loader: one of
        - what gives inputs, pairs (inputs, labels), or dicts such as {"pixel_values": ..., "labels": ...}: a
          `torch.utils.data.DataLoader`, not shuffled, or any iterable;
        - a folder with a folder of pictures a category, or pictures of no category;
        - a path, such as "photos-{000..009}.tar", or a list of paths, of tar shards in WebDataset's layout (.jpg, .cls, .json);
        - a dataset: torchvision's kind (numbered, pairs of image and label, `classes`), Hugging Face's, WebDataset's.
        Folders, shards and datasets bring labels, categories and pictures along, and `batch_size`, `num_workers` and
        `transform` (from a PIL image to a tensor) are for them.
    store: an open store, or a path.
    layers: names, patterns such as "layer4.*", or "penultimate": what goes into the linear layer that makes the output.
    batch: a function from what a loader gives to (inputs, labels), for batches of another kind; inputs are a tensor, a tuple
        of arguments or a dict of named ones, labels may be None.
    images: the pictures: "auto" takes those of a folder, shard or dataset before any transform, and none from a loader; None
        takes none; "inputs" when the inputs are images x channels x height x width in 0..1; a function from the inputs
        to images x height x width [x 3]; or all of them: an array, or a list of PIL images, encoded bytes or paths.
    metadata: a list of dicts, a DataFrame or an Arrow table, a row an image; instead of the fields of the dataset.
    categories: names in the order of the outputs; labels are numbered as here by the dataset's names of its categories.
    options: those of `Store.record`: output, pooling, channels, reference, replace, ...
    """
    if not isinstance(store, Store):
        with open(store) as opened:
            return record(
                model, loader, store=opened, name=name, dataset=dataset, layers=layers, images=images, metadata=metadata, batch=batch,
                transform=transform, categories=categories, batch_size=batch_size, num_workers=num_workers,
                progress=progress, **options,
            )  # fmt: skip
    if isinstance(images, str) and images not in ("auto", "inputs"):
        raise InvalidInputError(f"images must be 'auto', 'inputs', a function, an array, a list or None; got the text {images!r}.")
    source = open_source(loader, transform=transform, categories=categories, batch_size=batch_size, num_workers=num_workers)
    if source is not None:
        loader, categories = source.batches, source.categories
    from_source = isinstance(images, str) and images == "auto"
    if type(getattr(loader, "sampler", None)).__name__ == "RandomSampler":
        raise InvalidInputError(
            "the loader shuffles, and an image's number is its place in the dataset: make the loader with shuffle=False."
        )
    records = None if metadata is None else Records(metadata)
    done = 0
    with (
        store.record(model, name, dataset, layers=layers, categories=categories, **options) as rec,
        tqdm(loader, desc=f"{name} on {dataset}", unit=" batches", disable=None if progress else True) as batches,
    ):
        for one in batches:
            pictures = fields = None
            if isinstance(one, Samples):
                inputs, labels, pictures, fields = one.inputs, one.labels, one.pictures, one.fields
            else:
                inputs, labels = split(one, uncompiled(model), batch)
            end = done + count(inputs)
            rec(
                inputs,
                labels=labels,
                images=pictures if from_source else _pictures(images, inputs, done, end),
                metadata=fields if records is None else records[done:end],
            )
            done = end
        for what, values in (("images", images), ("rows of metadata", records)):
            if values is not None and not isinstance(values, str) and not callable(values) and len(values) != done:
                raise InvalidInputError(f"the loader ended after {done} images, and {len(values)} {what} were given.")


def _pictures(images: Any, inputs: Any, start: int, end: int) -> Any:
    """Return the pictures of a batch, from what `record` was given as images."""
    if callable(images):
        return images(first_tensor(inputs))
    if isinstance(images, str):
        pixels = first_tensor(inputs)
        return (pixels.movedim(1, -1) if pixels.ndim == 4 else pixels).detach().cpu()
    return None if images is None else images[start:end]
