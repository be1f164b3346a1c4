"""Reads image folders, tar shards and datasets (torchvision's kind, Hugging Face's, WebDataset's) as batches to record."""

import contextlib
import copy
import difflib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, default_collate

from deephys_sql.errors import InvalidInputError, UnknownNameError
from deephys_sql.recording.pictures import PICTURE_ENDINGS

LABELS = ("label", "labels", "cls", "target")  # what samples that are dicts call a label, the likeliest first

Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class Sample:
    """One image: what the model takes, its label, the picture before any transform, and its fields."""

    input: Any
    label: int | None = None
    picture: Any = None
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of one batch, gathered; `pictures` and `fields` are None where the dataset has none."""

    inputs: Any
    labels: list[int | None] | None
    pictures: list[Any] | None
    fields: list[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Source:
    """Batches of `Samples`, and the names of the categories that their labels number; None when they are not known."""

    batches: Iterable[Samples]
    categories: list[str] | None


def open_source(
    data: Any,
    *,
    transform: Transform | None = None,
    categories: Sequence[str] | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
) -> Source | None:
    """Return the batches of a folder, of tar shards or of a dataset; None for what gives batches itself.

    >>> numbers = torch.utils.data.TensorDataset(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    >>> [batch.labels for batch in open_source(numbers, batch_size=2).batches]
    [[0, 1], [0]]

    With `categories`, labels are numbered as in that list, by the names that the dataset has for its own.
    """
    dataset = _dataset(data, transform)
    if dataset is None:
        if transform is not None:
            raise InvalidInputError("transform is for folders and datasets; a loader transforms by itself.")
        return None
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidInputError(f"batch_size must be a number of images, from 1; got {batch_size!r}.")
    if num_workers and isinstance(dataset, IterableDataset):
        raise InvalidInputError(
            "num_workers needs a dataset with numbered images: one that is only iterated gives them in an order that depends on "
            "the workers, and an image's number is its place in the dataset. Leave num_workers out."
        )
    names = None if dataset.classes is None else _distinct(dataset.classes)
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=_Gather(_numbers(names, categories)))
    return Source(loader, names if categories is None else list(categories))


def _dataset(data: Any, transform: Transform | None) -> Dataset | None:
    """Return what gives `Sample`s, numbered or one after the other, with the attribute `classes`."""
    if isinstance(data, str | os.PathLike) or (isinstance(data, list) and data and isinstance(data[0], str | os.PathLike)):
        return _from_paths(data, transform)
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        return _HuggingFace(data, transform) if hasattr(data, "num_rows") else _HuggingFaceStream(data, transform)
    if isinstance(data, IterableDataset):
        return _Stream(data, transform)
    batched = isinstance(data, list | tuple | Mapping | torch.Tensor | np.ndarray | DataLoader)
    if isinstance(data, Dataset) or (not batched and hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return _Numbered(data, transform)
    return None


def _from_paths(data: Any, transform: Transform | None) -> Dataset:
    if not isinstance(data, list):
        path = Path(data)
        if path.is_dir():
            return Folder(path, transform)
        data = [path] if path.exists() else _expanded(str(data))
    missing = [path for path in data if not Path(path).is_file()]
    if missing:
        raise InvalidInputError(f"there is no folder or file {str(missing[0])!r}. Give a folder with a folder a category, or tar shards.")
    return Tar([Path(path) for path in data], transform)


def _expanded(pattern: str) -> list[str]:
    """Return what braces stand for.

    >>> _expanded("photos-{008..010}.tar")
    ['photos-008.tar', 'photos-009.tar', 'photos-010.tar']
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    numbers = range(int(first), min(int(last), int(first) + 1_000_000) + 1)
    return [name for n in numbers for name in _expanded(f"{pattern[: found.start()]}{n:0{len(first)}}{pattern[found.end() :]}")]


class Folder(Dataset):
    """A folder with a folder a category, or with pictures of no category; in the order of the paths.

    Pictures are turned upright as their EXIF says and made RGB before the transform.
    """

    def __init__(self, path: Path, transform: Transform | None = None):
        self._transform = transform
        folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
        loose = sorted(child for child in path.iterdir() if _is_picture(child))
        if folders and loose:
            raise InvalidInputError(
                f"{path} holds both folders and pictures, such as {folders[0].name} and {loose[0].name}: put every picture "
                f"in the folder of its category, or none."
            )
        self.classes = [folder.name for folder in folders] or None
        self._pictures: list[tuple[Path, int | None]] = [(picture, None) for picture in loose]
        for category, folder in enumerate(folders):
            self._pictures += [(picture, category) for picture in sorted(folder.rglob("*")) if _is_picture(picture)]
        if not self._pictures:
            raise InvalidInputError(
                f"there is no picture in {path}: files that end in {', '.join(sorted(PICTURE_ENDINGS))} are looked for."
            )

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> Sample:
        path, label = self._pictures[number]
        return Sample(_input(_opened(path, f"image {number}"), self._transform, number), label, path)


class Tar(IterableDataset):
    """Tar shards as WebDataset lays them out: files of one sample follow each other and share their name up to the first dot.

    `.jpg`, `.png` and the like are the picture, `.cls` is the label, a number, `.json` is an object of fields. The shards are read
    one after the other, in the order given, and streamed.
    """

    classes = None

    def __init__(self, paths: Sequence[Path], transform: Transform | None = None):
        self._paths = paths
        self._transform = transform

    def __iter__(self) -> Iterator[Sample]:
        number = 0
        for path in self._paths:
            for files in _grouped(path):
                yield _from_mapping(files, self._transform, number)
                number += 1


class _Numbered(Dataset):
    """A dataset of torchvision's kind: numbered, with pairs (image, label) or dicts, `classes`, and perhaps a transform."""

    def __init__(self, dataset: Any, transform: Transform | None):
        self._dataset = dataset
        self._transform = transform
        inner = _innermost(dataset)
        classes = getattr(inner, "classes", None)
        self.classes = list(classes) if isinstance(classes, list | tuple) and classes else None
        if transform is not None and getattr(inner, "transform", None) is not None:
            raise InvalidInputError("the dataset has a transform of its own, and transform= is given too: leave out one of them.")

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, number: int) -> Sample:
        item = self._dataset[number]
        picture = _untransformed(self._dataset, number)
        if isinstance(item, Mapping):
            return _from_mapping(item, self._transform, number, picture)
        image, label = _pair(item)
        if picture is None and isinstance(image, Image.Image):
            picture = image
        return Sample(_input(image, self._transform, number), label, picture)


class _Stream(IterableDataset):
    """A dataset that is only iterated, such as a `webdataset.WebDataset`; its samples are as in `Tar`, or pairs (image, label)."""

    def __init__(self, dataset: Iterable[Any], transform: Transform | None):
        self._dataset = dataset
        self._transform = transform
        classes = getattr(dataset, "classes", None)
        self.classes = list(classes) if isinstance(classes, list | tuple) and classes else None

    def __iter__(self) -> Iterator[Sample]:
        for number, item in enumerate(self._dataset):
            if isinstance(item, Mapping):
                yield _from_mapping(item, self._transform, number)
                continue
            image, label = _pair(item)
            yield Sample(_input(image, self._transform, number), label, image if isinstance(image, Image.Image) else None)


class _HuggingFace(Dataset):
    """A `datasets.Dataset`: its image column, its ClassLabel, and its other columns of single values as fields."""

    def __init__(self, dataset: Any, transform: Transform | None):
        self._transform = transform
        self._columns = _Columns(dataset.features)
        self.classes = self._columns.classes
        formatted = dataset.format["type"] is not None
        if formatted and transform is not None:
            raise InvalidInputError("the dataset has a format or transform of its own, and transform= is given too: leave out one of them.")
        self._formatted = dataset if formatted or self._columns.image is None else None
        self._plain = self._columns.encoded(dataset.with_format(None))

    def __len__(self) -> int:
        return len(self._plain)

    def __getitem__(self, number: int) -> Sample:
        sample = self._columns.sample(self._plain[number], self._transform, number, decode=self._formatted is None)
        if self._formatted is None:
            return sample
        tensors = {name: value for name, value in self._formatted[number].items() if not isinstance(value, Image.Image)}
        given = _from_mapping(tensors, None, number)
        return Sample(given.input, given.label if sample.label is None else sample.label, sample.picture, sample.fields)


class _HuggingFaceStream(IterableDataset):
    """A `datasets.IterableDataset`, read as `_HuggingFace` reads a numbered one."""

    def __init__(self, dataset: Any, transform: Transform | None):
        if dataset.features is None:
            raise InvalidInputError("the columns of this streamed dataset are not known. Give it its features with dataset.cast(features).")
        self._transform = transform
        self._columns = _Columns(dataset.features)
        if self._columns.image is None:
            raise InvalidInputError(f"the dataset has no column of images: its columns are {', '.join(dataset.features)}.")
        self.classes = self._columns.classes
        self._plain = self._columns.encoded(dataset)

    def __iter__(self) -> Iterator[Sample]:
        for number, item in enumerate(self._plain):
            yield self._columns.sample(item, self._transform, number, decode=True)


class _Columns:
    """Which columns of a Hugging Face dataset are the image, the label and the fields."""

    def __init__(self, features: Mapping[str, Any]):
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        self.image = self._one("image", [name for name, kind in kinds.items() if kind == "Image"], ("image",))
        numbers = [name for name in LABELS if "int" in str(getattr(features.get(name), "dtype", ""))][:1]
        self.label = self._one("label", [name for name, kind in kinds.items() if kind == "ClassLabel"] or numbers, LABELS)
        names = getattr(features.get(self.label), "names", None)
        self.classes = list(names) if names else None
        self.fields = [name for name, kind in kinds.items() if kind == "Value" and name != self.label]

    @staticmethod
    def _one(what: str, found: list[str], usual: Sequence[str]) -> str | None:
        chosen = [name for name in usual if name in found] or found
        if len(chosen) > 1:
            raise InvalidInputError(
                f"the dataset has several columns that could be the {what}: {', '.join(chosen)}. Keep one, with "
                f"dataset.remove_columns([...]), or rename it to {usual[0]!r}."
            )
        return chosen[0] if chosen else None

    def encoded(self, dataset: Any) -> Any:
        """Return the dataset with its pictures as they are in the file, not decoded."""
        if self.image is None:
            return dataset
        return dataset.cast_column(self.image, dataset.features[self.image].__class__(decode=False))

    def sample(self, row: Mapping[str, Any], transform: Transform | None, number: int, decode: bool) -> Sample:
        stored = row.get(self.image) if self.image else None
        picture = None if stored is None else stored["bytes"] or stored["path"]
        image = _input(_opened(picture, f"image {number}"), transform, number) if decode and picture is not None else None
        label = row.get(self.label) if self.label else None
        fields = {name: row[name] for name in self.fields} or None
        return Sample(image, label, picture, fields)


class _Gather:
    """Makes a batch of samples; a class, so that worker processes can be handed it."""

    def __init__(self, numbers: list[int] | None):
        self._numbers = numbers

    def __call__(self, samples: list[Sample]) -> Samples:
        labels = [self._number(sample.label) for sample in samples]
        pictures = [sample.picture for sample in samples]
        fields = [sample.fields for sample in samples]
        return Samples(
            _collated([sample.input for sample in samples]),
            None if all(label is None for label in labels) else labels,
            None if all(picture is None for picture in pictures) else pictures,
            None if all(field is None for field in fields) else [field or {} for field in fields],
        )

    def _number(self, label: int | None) -> int | None:
        if label is None or self._numbers is None:
            return label
        if not -1 <= label < len(self._numbers):
            raise InvalidInputError(f"the dataset gives label {label}, and it names {len(self._numbers)} categories, numbered from 0.")
        return -1 if label == -1 else self._numbers[label]


def _numbers(names: list[str] | None, categories: Sequence[str] | None) -> list[int] | None:
    """Return the number in `categories` of each of the dataset's own names; None when there is nothing to translate."""
    if names is None or categories is None:
        return None
    wanted = [str(name) for name in categories]
    if names == wanted:
        return None
    for name in names:
        if name not in wanted:
            near = difflib.get_close_matches(name, wanted, n=3, cutoff=0.5) or wanted[:5]
            raise UnknownNameError(
                f"the dataset has the category {name!r}, which is not in the {len(wanted)} categories given: did you mean "
                f"{', '.join(map(repr, near))}? Rename it there, or give categories that hold it."
            )
    return [wanted.index(name) for name in names]


def _distinct(classes: Sequence[Any]) -> list[str]:
    """Return names as texts; synonyms joined, and names that come twice told apart.

    >>> _distinct([("tench", "Tinca tinca"), "crane", "crane"])
    ['tench, Tinca tinca', 'crane', 'crane (2)']
    """
    names = [", ".join(map(str, name)) if isinstance(name, list | tuple) else str(name) for name in classes]
    return [f"{name} ({number})" if name in names[:number] else name for number, name in enumerate(names)]


def _collated(inputs: list[Any]) -> Any:
    try:
        return default_collate(inputs)
    except (RuntimeError, TypeError) as error:
        shapes = sorted({str(tuple(value.shape)) for value in inputs if isinstance(value, torch.Tensor | np.ndarray)})
        found = f"shapes {' and '.join(shapes[:3])}" if len(shapes) > 1 else f"{type(inputs[0]).__name__}: {error}"
        raise InvalidInputError(
            f"the images of a batch can't be put together: {found}. Give transform=, a function from a PIL image to a tensor of one size."
        ) from error


def _input(image: Any, transform: Transform | None, number: int) -> Any:
    """Return what the model takes: the transformed image; without a transform, a PIL image as channels x height x width in 0..1."""
    if transform is not None:
        try:
            return transform(image)
        except InvalidInputError:
            raise
        except Exception as error:
            raise InvalidInputError(f"transform fails on image {number}, {_described(image)}: {error}") from error
    if isinstance(image, Image.Image):
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        return torch.from_numpy(pixels.astype(np.float32) / 255)
    return image


def _described(image: Any) -> str:
    if isinstance(image, Image.Image):
        return f"a PIL image of {image.width} x {image.height} pixels, mode {image.mode}"
    return f"a {type(image).__name__}"


def _opened(picture: bytes | str | Path, what: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # a damaged picture makes Pillow raise almost anything
        name = "" if isinstance(picture, bytes) else f" ({picture})"
        raise InvalidInputError(f"{what}{name} can't be read as a picture: {error}") from error


def _is_picture(path: Path) -> bool:
    return path.suffix[1:].lower() in PICTURE_ENDINGS and not path.name.startswith(".") and path.is_file()


def _pair(item: Any) -> tuple[Any, int | None]:
    """Return image and label of a sample that is a pair, or an image alone."""
    if isinstance(item, list | tuple) and len(item) == 2:
        return item[0], _label(item[1])
    if isinstance(item, list | tuple):
        raise InvalidInputError(f"a sample must be an image, a pair (image, label) or a dict; the dataset gives {len(item)} values.")
    return item, None


def _label(value: Any) -> int | None:
    if value is None or (isinstance(value, float) and value != value):
        return None
    try:
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode().strip()
        number = int(value)
        if not isinstance(value, str | bytes) and number != value:
            raise ValueError
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise InvalidInputError(f"a label must be a category's number; the dataset gives {value!r}.") from error
    return number


def _from_mapping(item: Mapping[str, Any], transform: Transform | None, number: int, picture: Any = None) -> Sample:
    """Return the sample that a dict is: files of a tar shard by their endings, decoded or not, or named values."""
    what = f"image {number}" + (f" ({item['__key__']})" if "__key__" in item else "")
    label_name = next((name for name in LABELS if name in item), None)
    try:
        label = None if label_name is None else _label(item[label_name])
    except InvalidInputError as error:
        raise InvalidInputError(f"{what}: {error}") from error
    found = [name for name, value in item.items() if isinstance(value, Image.Image) or name.rpartition(".")[2].lower() in PICTURE_ENDINGS]
    if len(found) > 1:
        raise InvalidInputError(f"{what} has several pictures: {', '.join(found)}. Keep one.")
    if found:
        image = item[found[0]]
        if isinstance(image, bytes | bytearray):
            picture, image = bytes(image), _opened(bytes(image), what)
        elif isinstance(image, Image.Image) and picture is None:
            picture = image
        return Sample(_input(image, transform, number), label, picture, _fields(item, what))
    if "__key__" in item:
        raise InvalidInputError(f"{what} has no picture: its files are {', '.join(n for n in item if not n.startswith('__'))}.")
    values = {name: value for name, value in item.items() if name != label_name and isinstance(value, torch.Tensor | np.ndarray)}
    if not values:
        raise InvalidInputError(f"{what} has neither a picture nor a tensor: {', '.join(map(str, item))}.")
    return Sample(next(iter(values.values())) if len(values) == 1 else values, label, picture)


def _fields(item: Mapping[str, Any], what: str) -> Mapping[str, Any] | None:
    """Return the fields of a sample: its JSON object, and its key."""
    fields = item.get("json")
    if isinstance(fields, bytes | bytearray):
        try:
            fields = json.loads(fields)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{what}: its .json file is not JSON: {error}") from error
    if fields is not None and not isinstance(fields, Mapping):
        raise InvalidInputError(f"{what}: its .json file must hold an object of fields; got {type(fields).__name__}.")
    key = {"key": item["__key__"]} if "__key__" in item else {}
    return {**key, **(fields or {})} or None


def _grouped(path: Path) -> Iterator[dict[str, Any]]:
    """Give the samples of a tar file: the contents by ending, and the shared name as `__key__`."""
    files: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if not member.isfile() or name.startswith((".", "__")):
                    continue
                stem, _, ending = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if files and files["__key__"] != key:
                    yield files
                    files = {}
                files["__key__"] = key
                content = tar.extractfile(member).read()
                if len(content) != member.size:
                    raise InvalidInputError(f"{path} ends inside {member.name}: it is cut off. Copy it anew.")
                files[ending.lower()] = content
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise InvalidInputError(f"{path} can't be read as a tar file: {error}") from error
    if files:
        yield files


def _innermost(dataset: Any) -> Any:
    """Return the dataset inside subsets and concatenations, whose categories are those of all."""
    while isinstance(dataset, Subset | ConcatDataset):
        dataset = dataset.dataset if isinstance(dataset, Subset) else dataset.datasets[0]
    return dataset


def _untransformed(dataset: Any, number: int) -> Any:
    """Return the picture of an image before the dataset's own transform: its file, or what comes without the transform."""
    while isinstance(dataset, Subset | ConcatDataset):
        if isinstance(dataset, Subset):
            number, dataset = dataset.indices[number], dataset.dataset
            continue
        part = int(np.searchsorted(dataset.cumulative_sizes, number, side="right"))
        number -= dataset.cumulative_sizes[part - 1] if part else 0
        dataset = dataset.datasets[part]
    with contextlib.suppress(AttributeError, TypeError, IndexError, KeyError):
        path = dataset.samples[number][0]
        if _is_picture(Path(path)):
            return Path(path)
    if getattr(dataset, "transform", None) is None:
        return None
    plain = copy.copy(dataset)
    plain.transform = plain.transforms = None
    try:
        item = plain[number]
    except Exception:  # a dataset that can't do without its transform has no picture to show
        return None
    image = item[0] if isinstance(item, list | tuple) else item
    return image if isinstance(image, Image.Image) else None
