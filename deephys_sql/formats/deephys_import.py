"""Records what files of the original Deephys hold."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from deephys_sql.errors import CategoriesDifferError, InvalidInputError
from deephys_sql.formats.deephys_files import IMAGE_ID, THUMBNAIL_PIXELS, DataFile, ImageBatch, ModelFile, numbered, read_model
from deephys_sql.names import require_name
from deephys_sql.recording.pictures import Encoder
from deephys_sql.recording.request import Batch, RecordingRequest
from deephys_sql.store import Store, open

# With what is read ahead, the blocks of layers and their copies on the way to DuckDB, an import stays below 500 MB.
DUCKDB_MEMORY = "200MB"

END = object()


class _Dataset(NamedTuple):
    """What is known of a data file before it is recorded."""

    path: Path
    name: str
    classes: list[str] | None
    output_kind: str
    encoder: Encoder
    notes: list[str]  # of what is not kept


def import_deephys(
    store: Store | str | os.PathLike,
    model: str | os.PathLike,
    tests: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    reference: str | None = None,
    output_kind: str | None = None,
    replace: bool = False,
    progress: bool = True,
) -> list[str]:
    """Record what files of the original Deephys hold: a model's `.model` and a `.test` for every dataset.

    >>> import deephys_sql as dp
    >>> dp.import_deephys("study.duckdb", "net.model", ["day.test", "night.test"], reference="day")  # doctest: +SKIP
    []

    store: an open store, or a path. All files are recorded, or none.
    tests: files of version 0.5 or newer. `features` become the images' metadata, pictures thumbnails; those larger than a
        thumbnail are kept whole too. The prediction is the highest value of the classification layer, ties to the lower
        category. Values of float64 are rounded to float32.
    reference: name of the dataset that responses are measured against; else the first, unless the model has one.
    output_kind: what the classification layer holds: `logits`, `log_softmax` or `probabilities`. The files don't say; left
        out, it is read off the values, and the original's softmax is not applied to probabilities a second time.
    replace: record again what is recorded already.

    Returns what was changed or supposed, a sentence each.
    Raises `FileFormatError` with the place in the file that is not as it should be, and what `Store.add_recording` raises.
    """
    tests = [tests] if isinstance(tests, str | os.PathLike) else list(tests)
    if not tests:
        raise InvalidInputError("no data files were given: name at least one .test file.")
    read = read_model(model)
    datasets = [_look(Path(path), read) for path in tests]
    names = [dataset.name for dataset in datasets]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidInputError(f"two files hold a dataset named {twice[0]!r}: give each dataset once.")
    if reference is not None:
        require_name("dataset in these files", reference, names)
    categories = _categories(read, datasets)
    kinds = {dataset.output_kind for dataset in datasets} if output_kind is None else {output_kind}
    kind = kinds.pop() if len(kinds) == 1 else "logits"
    with _opened(store) as opened, opened.transaction(memory=DUCKDB_MEMORY):
        for dataset in datasets:
            request = RecordingRequest(
                model=read.name,
                dataset=dataset.name,
                layers=list(read.layers),
                categories=categories,
                output=read.classification_layer,
                output_kind=kind,
                reference=dataset.name == reference,
                replace=replace,
                encoder=dataset.encoder,
                call="import_deephys",
            )
            _record(opened, request, dataset, read, progress)
    notes = [note for dataset in datasets for note in dataset.notes]
    if read.suffix is not None:
        notes.append(f"{model}: the suffix {read.suffix!r} was left out.")
    if kind != "logits" and output_kind is None:
        notes.append(f"Layer {read.classification_layer!r} was taken as {kind}, since it sums to 1; output_kind says otherwise.")
    return notes


def _look(path: Path, model: ModelFile) -> _Dataset:
    """Read the beginning of a data file and its first images."""
    with DataFile(path, model) as file:
        first = next(file.batches())
        kind = _output_kind(first.layers[model.classification_layer])
        whole = max(first.pixels.shape[1:3]) > THUMBNAIL_PIXELS
        notes = []
        if file.dtype != "float32":
            notes.append(f"{path}: activations of {file.dtype} were rounded to float32.")
        if file.suffix is not None:
            notes.append(f"{path}: the suffix {file.suffix!r} was left out.")
        return _Dataset(path, file.name, file.classes, kind, Encoder(THUMBNAIL_PIXELS, keep_originals=whole), notes)


def _output_kind(outputs: np.ndarray) -> str:
    """Tell what outputs are by what probabilities can't help being: not negative, with a sum of 1."""
    outputs = outputs.astype(np.float64)
    for kind, values in (("probabilities", outputs), ("log_softmax", np.exp(np.minimum(outputs, 1)))):
        if values.min() >= 0 and abs(values.sum(axis=1) - 1).max() < 1e-3:
            return kind
    return "logits"


def _categories(model: ModelFile, datasets: Sequence[_Dataset]) -> list[str]:
    """Return the names of the categories, which all files share; those of files before version 0.10 stand at the images."""
    listed = {dataset.path: dataset.classes for dataset in datasets if dataset.classes is not None}
    found: dict[int, str] = {}
    for path, classes in listed.items():
        first = next(iter(listed))
        if classes != listed[first]:
            place = next(i for i, pair in enumerate(zip(classes, listed[first])) if pair[0] != pair[1])
            raise CategoriesDifferError(
                f"class {place} is {classes[place]!r} in {path} and {listed[first][place]!r} in {first}. Datasets that are "
                f"compared share one list: import files of other classes under another model name, or into another store."
            )
        found = dict(enumerate(classes))
    for dataset in datasets:
        if dataset.classes is None:
            _find_categories(dataset.path, model, found)
    names = set(found.values())
    for category in range(model.categories):
        if category not in found:  # no image shows its name
            found[category] = next(name for name in numbered(str(category)) if name not in names)
            names.add(found[category])
    return [found[category] for category in range(model.categories)]


def _find_categories(path: Path, model: ModelFile, found: dict[int, str]) -> None:
    """Add the names of categories that a file's images show."""
    with DataFile(path, model) as file:
        for batch in file.batches():
            for label, name in zip(batch.labels, batch.categories):
                if found.setdefault(label, name) != name:
                    raise CategoriesDifferError(f"{path}: category {label} is called {name!r}, and {found[label]!r} before.")


@contextlib.contextmanager
def _opened(store: Store | str | os.PathLike) -> Iterator[Store]:
    """Give the store; a file that this made is removed when the import fails."""
    if isinstance(store, Store):
        yield store
        return
    is_new = not Path(store).exists()
    try:
        with open(store) as opened:
            yield opened
    except BaseException:
        if is_new:
            Path(store).unlink(missing_ok=True)
        raise


def _record(store: Store, request: RecordingRequest, dataset: _Dataset, model: ModelFile, progress: bool) -> None:
    with (
        DataFile(dataset.path, model) as file,
        store.writing(request) as writer,
        contextlib.closing(_ahead(_encoded(file, request.encoder))) as batches,
        tqdm(total=file.images, unit=" images", desc=f"{request.model} on {request.dataset}", disable=None if progress else True) as bar,
    ):
        for batch in batches:
            writer.begin_batch()
            writer.add(batch)
            bar.update(len(batch))


def _encoded(file: DataFile, encoder: Encoder) -> Iterator[Batch]:
    first = 0
    for read in file.batches():
        yield Batch(
            read.layers,
            labels=np.array(read.labels, np.int64),
            pictures=encoder.encode_all(read.pixels, first),
            metadata=_metadata(read, first),
        )
        first += len(read.labels)


def _metadata(read: ImageBatch, first: int) -> list[str | None] | None:
    """Return features as metadata, with the image's id where it isn't its number; None when no image has any."""
    metadata = list(read.features)
    for row, image_id in enumerate(read.ids):
        if image_id != first + row:
            metadata[row] = json.dumps({**json.loads(metadata[row] or "{}"), IMAGE_ID: image_id}, ensure_ascii=False)
    return metadata if any(fields is not None for fields in metadata) else None


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Give the items, the next one being made in another thread while one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items, END)
        while (item := waiting.result()) is not END:
            waiting = thread.submit(next, items, END)
            yield item
