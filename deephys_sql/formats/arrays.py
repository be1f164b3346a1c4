"""Records activations that lie in NumPy's files, with a CSV of labels and a folder of pictures."""

import contextlib
import csv
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deephys_sql.errors import FileFormatError, InvalidInputError
from deephys_sql.recording.pictures import PICTURE_ENDINGS
from deephys_sql.store import Store, open

BYTES_AT_ONCE = 16 * 2**20
OWN_COLUMNS = ("image", "label", "prediction", "file")
WIDEST = 2**26  # values of an image


def import_arrays(
    store: Store | str | os.PathLike,
    *,
    model: str,
    dataset: str,
    activations: Mapping[str, str | os.PathLike] | str | os.PathLike,
    logits: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    categories: Sequence[str] | None = None,
    images: str | os.PathLike | None = None,
    progress: bool = True,
    **options: Any,
) -> None:
    """Record activations from `.npy` and `.npz` files, read piece by piece.

    >>> import deephys_sql as dp, tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> np.save(root / "hidden.npy", np.ones((3, 4))); np.save(root / "logits.npy", np.eye(3))
    >>> _ = (root / "labels.csv").write_text("image,label,camera\\n0,cat,a\\n1,dog,a\\n2,,b\\n")
    >>> dp.import_arrays(
    ...     root / "study.duckdb", model="net", dataset="day", activations={"hidden": root / "hidden.npy"}, logits=root / "logits.npy",
    ...     labels=root / "labels.csv", categories=["cat", "dog", "owl"], progress=False)
    >>> with dp.open(root / "study.duckdb") as store:
    ...     store.sql("select image, label_name, metadata from image order by image").fetchall()
    [(0, 'cat', '{"camera": "a"}'), (1, 'dog', '{"camera": "a"}'), (2, None, '{"camera": "b"}')]

    activations: files by layer, images x neurons; or one `.npz`, whose arrays are the layers. An array of an `.npz` with several is
        named after a colon: `acts.npz:fc1`.
    logits: a file of images x categories.
    labels: a CSV with a header and a row an image: `label`, a category's number or name, empty where unknown; and, if you like,
        `image`, its number (then the rows may be in any order), `prediction`, as the label, and `file`, its picture in `images`.
        What else is there becomes metadata. A CSV of one column of numbers needs no header.
    categories: the names in the order of the logits; left out, those stored, those in the CSV in the order of the alphabet, or
        numbers.
    images: the folder of the pictures; without a column `file` they are taken in the order of their names, as many as images.
    options: those of `Store.add_recording`: reference, replace, output, output_kind, ...

    Raises `FileFormatError` for files that are missing, damaged or don't fit, and what `Store.add_recording` raises; then nothing is
    written.
    """
    if not isinstance(store, Store):
        with open(store) as opened:
            return import_arrays(
                opened, model=model, dataset=dataset, activations=activations, logits=logits, labels=labels, categories=categories,
                images=images, progress=progress, **options,
            )  # fmt: skip
    if not isinstance(activations, Mapping):
        activations = {name: f"{activations}:{name}" for name in _names(Path(activations))}
    arrays = {name: ArrayFile(path) for name, path in activations.items()}
    output = None if logits is None else ArrayFile(logits)
    table = None if labels is None else Labels(Path(labels))
    given: dict[str, Any] = {}
    if table is not None:
        if categories is None:
            categories = table.categories or None
        given["labels"] = table.ids("label", categories)
        if "prediction" in table.columns:
            given["predictions"] = table.ids("prediction", categories)
        given["image_metadata"] = table.metadata
    if images is not None:
        given["images"] = _pictures(Path(images), table)
    store.add_recording(
        model=model,
        dataset=dataset,
        activations=arrays,
        logits=output,
        categories=categories,
        progress=progress,
        **{name: values for name, values in given.items() if values is not None},
        **options,
    )


class ArrayFile:
    """A matrix in a `.npy` or `.npz` file that is read by slices, in order, and never as a whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "acts.npy")
    >>> np.save(path, np.eye(3))
    >>> ArrayFile(path).shape, ArrayFile(path)[1:3].tolist()
    ((3, 3), [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """

    def __init__(self, path: str | os.PathLike):
        text = os.fspath(path)
        self._path, _, self._member = text.rpartition(":") if re.search(r"\.npz:[^/]*$", text) else (text, "", "")
        self._rows: Iterator[np.ndarray] | None = None
        self._next = 0
        self._rest = np.empty((0, 0))
        if not Path(self._path).is_file():
            raise FileFormatError(f"there is no file {self._path}. Give the .npy or .npz file that holds the array.")
        if self._path.endswith(".npz"):
            self._mapped = None
            self.shape, self.dtype = self._header()
        else:
            try:
                self._mapped = np.load(self._path, mmap_mode="r", allow_pickle=False)
            except Exception as error:  # a damaged header makes NumPy raise almost anything
                raise FileFormatError(f"{self._path} can't be read as an array of NumPy: {error}") from error
            self.shape, self.dtype = self._mapped.shape, self._mapped.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self._mapped is not None:
            return self._mapped[rows]
        if self._rows is None or rows.start < self._next:
            self._rows, self._next, self._rest = self._stream(), 0, np.empty((0, *self.shape[1:]), self.dtype)
        while self._next + len(self._rest) < rows.stop:
            piece = next(self._rows, None)
            if piece is None:
                break
            self._rest = np.concatenate([self._rest, piece])
        found = self._rest[rows.start - self._next : rows.stop - self._next]
        self._rest = self._rest[rows.stop - self._next :]
        self._next = rows.stop
        return found

    def _header(self) -> tuple[tuple[int, ...], np.dtype]:
        with _explained(self._path), zipfile.ZipFile(self._path) as archive, self._opened(archive) as file:
            return _read_header(file, self._path)

    def _opened(self, archive: zipfile.ZipFile):
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if not self._member and len(names) == 1:
            self._member = names[0]
        if self._member not in names:
            raise FileFormatError(
                f"{self._path} holds the arrays {', '.join(names)}: name one of them after a colon, as {self._path}:NAME."
            )
        return archive.open(f"{self._member}.npy")

    def _stream(self) -> Iterator[np.ndarray]:
        with _explained(self._path), zipfile.ZipFile(self._path) as archive, self._opened(archive) as file:
            shape, dtype = _read_header(file, self._path)
            row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize)
            step = max(1, BYTES_AT_ONCE // row)
            for first in range(0, shape[0], step):
                count = min(step, shape[0] - first)
                content = file.read(count * row)
                if len(content) != count * row:
                    raise FileFormatError(f"{self._path} ends after image {first + len(content) // row}: it is cut off.")
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])


class Labels:
    """A CSV with a row an image: labels, and perhaps predictions, files of pictures, and other fields.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels.csv")
    >>> _ = path.write_text("label,camera\\nowl,a\\n,b\\ncat,a\\n")
    >>> table = Labels(path)
    >>> table.categories, table.ids("label", ["cat", "owl"]), table.metadata[0]
    (['cat', 'owl'], [1, None, 0], {'camera': 'a'})
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file, strict=True) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FileFormatError(f"{path} can't be read as a CSV: {error}") from error
        if not rows:
            raise FileFormatError(f"{path} is empty. Give a CSV with the header label and a row an image.")
        self.columns = [name.strip() for name in rows.pop(0)]
        if len(self.columns) == 1 and _is_number(self.columns[0]):
            rows.insert(0, self.columns)
            self.columns = ["label"]
        if len(set(self.columns)) != len(self.columns):
            raise FileFormatError(f"{path} has a column twice: {', '.join(self.columns)}.")
        if "label" not in self.columns:
            raise FileFormatError(f"{path} has no column label; its columns are {', '.join(self.columns)}.")
        for line, row in enumerate(rows, start=2):
            if len(row) != len(self.columns):
                raise FileFormatError(f"{path}, line {line}: {len(row)} values, and there are {len(self.columns)} columns.")
        self._rows = self._in_order(rows)

    @property
    def categories(self) -> list[str]:
        """The names of categories, in the order of the alphabet; none when labels are numbers."""
        texts = {text for name in ("label", "prediction") if name in self.columns for text in self.column(name)} - {""}
        return [] if all(map(_is_number, texts)) else sorted(texts)

    @property
    def metadata(self) -> list[dict[str, str]] | None:
        """The other columns, a dict an image."""
        others = [number for number, name in enumerate(self.columns) if name not in OWN_COLUMNS]
        return [{self.columns[number]: row[number] for number in others} for row in self._rows] if others else None

    def column(self, name: str) -> list[str]:
        """Return the texts of a column."""
        number = self.columns.index(name)
        return [row[number].strip() for row in self._rows]

    def ids(self, name: str, categories: Sequence[str] | None) -> list[int | None]:
        """Return the category ids of a column; None where it is empty."""
        texts = self.column(name)
        ids = {str(category): number for number, category in enumerate(categories or [])}
        named = not all(_is_number(text) for text in texts if text)
        found = []
        for image, text in enumerate(texts):
            if not text:
                found.append(None)
            elif named and text not in ids:
                known = ", ".join(map(repr, list(ids)[:5]))
                raise FileFormatError(
                    f"{self._path}: {name} of image {image} is {text!r}, which is none of the {len(ids)} categories {known}…"
                )
            else:
                found.append(ids[text] if named else int(text))
        return found

    def _in_order(self, rows: list[list[str]]) -> list[list[str]]:
        if "image" not in self.columns:
            return rows
        place = self.columns.index("image")
        wrong = next((row[place] for row in rows if not _is_number(row[place].strip())), None)
        if wrong is not None:
            raise FileFormatError(f"{self._path}: the column image must hold the image's number, from 0; got {wrong!r}.")
        ordered = sorted(rows, key=lambda row: int(row[place]))
        for number, row in enumerate(ordered):
            if int(row[place]) != number:
                what = "comes twice" if int(row[place]) < number else "is missing"
                image = int(row[place]) if int(row[place]) < number else number
                raise FileFormatError(f"{self._path}: image {image} {what}. Every image from 0 on has one row.")
        return ordered


def _pictures(folder: Path, table: Labels | None) -> list[Path]:
    if not folder.is_dir():
        raise FileFormatError(f"there is no folder {folder}. Give the folder that holds the pictures.")
    if table is None or "file" not in table.columns:
        found = [path for path in folder.iterdir() if path.suffix[1:].lower() in PICTURE_ENDINGS and not path.name.startswith(".")]
        numbered = all(_is_number(path.stem) for path in found)
        return sorted(found, key=(lambda path: int(path.stem)) if numbered else None)
    root = folder.resolve()
    paths = [folder / name for name in table.column("file")]
    for image, path in enumerate(paths):
        if not path.resolve().is_relative_to(root):
            raise InvalidInputError(f"the file of image {image}, {path}, is not in {folder}.")
    return paths


def _names(path: Path) -> list[str]:
    """Return the names of the arrays of an `.npz` file."""
    if path.suffix != ".npz":
        raise FileFormatError(f"{path} is no .npz file. Give a dict of layer: file, or (on the command line) layer=file.")
    with _explained(str(path)), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _read_header(file: Any, path: str) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise FileFormatError(f"{path} holds Python objects, which may hold programs. Save an array of numbers.")
    if fortran and len(shape) > 1:
        raise FileFormatError(f"{path} holds an array column after column. Save numpy.ascontiguousarray(array), or an .npy file.")
    if int(np.prod([max(1, size) for size in shape[1:]], dtype=object)) > WIDEST:
        raise FileFormatError(f"{path} says that it holds an array of shape {shape}; an image has at most {WIDEST:,} values.")
    return shape, dtype


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    except Exception as error:  # a damaged header makes NumPy raise almost anything
        raise FileFormatError(f"{path} can't be read as arrays of NumPy: {error}") from error


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None
