"""`dp.record` takes image folders, tar shards and datasets: the same images give the same recording from each of them."""

import io
import json
import tarfile

import datasets
import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

import deephys_sql as dp
from deephys_sql.errors import InvalidInputError, UnknownNameError

CATEGORIES = ["cat", "dog", "owl"]
HEIGHT, WIDTH = 5, 7


@pytest.fixture(scope="module")
def pixels():
    """Seven pictures, uint8 RGB."""
    return np.random.default_rng(0).integers(0, 256, (7, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def labels():
    """One label a picture, in the order of the folders."""
    return [0, 0, 0, 1, 1, 2, 2]


@pytest.fixture
def net():
    """Its layer `0` gives the pixels themselves, so that a recording tells what the model was shown."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, 3))


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, pixels, labels):
    """A folder a category, among them a file that is no picture, a hidden folder, a folder in a folder and an ending in capitals."""
    root = tmp_path / "photos of animals"
    for number, (picture, label) in enumerate(zip(pixels, labels)):
        place = root / CATEGORIES[label] / ("later" if number == 2 else "") / f"{number}.{'PNG' if number == 4 else 'png'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(picture))
    (root / "cat" / "notes.txt").write_text("not a picture")
    (root / ".cache").mkdir()
    return root


def write_tar(path, pixels, labels, first=0):
    """WebDataset's own writer makes the shards."""
    with webdataset.TarWriter(str(path)) as writer:
        for number, (picture, label) in enumerate(zip(pixels, labels), start=first):
            sample = {"__key__": f"set/{number:04d}", "png": png(picture), "cls": str(label).encode()}
            writer.write(sample | {"json": json.dumps({"camera": number}).encode()})


def stored(store, dataset="test"):
    """What the store says of a dataset: label, thumbnail's pixels, what the model was shown, uri and metadata of each image."""
    rows = store.sql(
        "select i.label, i.thumbnail, (select list(a.value order by a.neuron) from activation as a where a.layer = '0' "
        "and a.dataset = i.dataset and a.image = i.image), i.uri, i.metadata from image as i where i.dataset = $d order by i.image",
        d=dataset,
    ).fetchall()
    pictures = [None if row[1] is None else np.asarray(Image.open(io.BytesIO(row[1])).convert("RGB")) for row in rows]
    inputs = np.array([row[2] for row in rows]).reshape(-1, 3, HEIGHT, WIDTH)
    return [row[0] for row in rows], pictures, inputs, [row[3] for row in rows], [row[4] and json.loads(row[4]) for row in rows]


def names(store):
    rows = store.sql("select c.category_name from category as c join model as m using (category_list) order by c.category").fetchall()
    return [row[0] for row in rows]


def record(store, net, data, **options):
    dp.record(net, data, store=store, name="net", dataset="test", layers=["0"], progress=False, **({"batch_size": 3} | options))


def require_same(found, pixels, labels, shown=lambda pixels: pixels / np.float32(255)):
    """Labels, pictures before the transform, and what the model was shown are those of the dataset, in its order."""
    assert found[0] == labels
    for picture, expected in zip(found[1], pixels, strict=True):
        assert np.array_equal(picture, expected)
    assert np.allclose(found[2], np.moveaxis(shown(pixels), -1, 1), atol=1e-6)


def half(image):
    """A transform: PIL to a tensor in -0.5..0.5."""
    assert isinstance(image, Image.Image) and image.mode == "RGB"
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255 - 0.5).movedim(-1, 0)


def shifted(pixels):
    return pixels / np.float32(255) - 0.5


def test_a_folder_a_category(store, net, folder, pixels, labels):
    """Folders are the categories in the order of their names; URIs are the files; the numbers are the order of the paths."""
    record(store, net, folder)
    found = stored(store)
    order = [0, 1, 2, 3, 4, 5, 6]  # cat/0, cat/1, cat/later/2, dog/3, ...
    require_same(found, pixels[order], labels)
    assert names(store) == CATEGORIES
    assert found[3][2] == str(folder / "cat" / "later" / "2.png")
    assert found[4] == [None] * 7
    assert store.check() == []


def test_a_folder_without_categories(store, net, tmp_path, pixels):
    """Pictures of no category have no label, and the categories are those of the model."""
    for number, picture in enumerate(pixels):
        (tmp_path / f"{number}.png").write_bytes(png(picture))
    record(store, net, str(tmp_path), categories=CATEGORIES)
    require_same(stored(store), pixels, [None] * 7)
    assert names(store) == CATEGORIES


def test_labels_are_numbered_as_in_the_categories_given(store, net, folder, labels):
    """A model's list of categories may be longer and in another order than the folders."""
    net[1] = nn.Linear(3 * HEIGHT * WIDTH, 5)
    wanted = ["owl", "wolf", "dog", "lynx", "cat"]
    record(store, net, folder, categories=wanted)
    assert stored(store)[0] == [wanted.index(CATEGORIES[label]) for label in labels]
    assert names(store) == wanted


def test_a_category_that_is_not_in_the_list_is_refused(store, net, folder):
    """The error names the folder's category and the nearest given; nothing is written."""
    with pytest.raises(UnknownNameError, match="'cat'.*did you mean 'cats'"):
        record(store, net, folder, categories=["cats", "dog", "owl"])
    assert store.models().fetchall() == []


def test_transform_and_workers(store, net, folder, pixels, labels):
    """The model sees the transformed image, the picture kept is the one before; two workers change nothing."""
    record(store, net, folder, transform=half, num_workers=2)
    require_same(stored(store), pixels, labels, shifted)


def test_pictures_can_be_left_out(store, net, folder):
    """images=None keeps no picture."""
    record(store, net, folder, images=None)
    assert stored(store)[1] == [None] * 7


def test_pictures_are_shown_upright(store, net, tmp_path, pixels):
    """A photograph that EXIF says to turn is turned for the model as for the page."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    turned = np.rot90(pixels[0], 1)  # counterclockwise, which the tag undoes
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "photo.png", exif=exif)
    record(store, net, tmp_path)
    require_same(stored(store), pixels[:1], [None])


class Numbered(Dataset):
    """A dataset as torchvision writes them: `transform`, `classes`, PIL images."""

    classes = CATEGORIES

    def __init__(self, pixels, labels, transform=None):
        self.data, self.targets, self.transform = pixels, labels, transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, number):
        image = Image.fromarray(self.data[number])
        return (self.transform(image) if self.transform is not None else image), self.targets[number]


@pytest.mark.parametrize("own", [True, False])
def test_a_dataset_of_torchvisions_kind(store, net, pixels, labels, own):
    """Its own transform is used, or the one given; the picture is the one before it; the categories are its classes."""
    record(store, net, Numbered(pixels, labels, half if own else None), **({} if own else {"transform": half}))
    require_same(stored(store), pixels, labels, shifted)
    assert names(store) == CATEGORIES


def test_parts_of_datasets(store, net, pixels, labels):
    """Subsets and concatenations keep pictures and categories, in their own order."""
    whole = Numbered(pixels, labels, half)
    record(store, net, ConcatDataset([Subset(whole, [5, 0]), Subset(Subset(whole, [6, 4, 3]), [2, 0])]))
    order = [5, 0, 3, 6]
    require_same(stored(store), pixels[order], [labels[number] for number in order], shifted)
    assert names(store) == CATEGORIES


def test_two_transforms_are_refused(store, net, pixels, labels):
    """Which one is meant is not guessed."""
    with pytest.raises(InvalidInputError, match="transform of its own"):
        record(store, net, Numbered(pixels, labels, half), transform=half)


def test_a_dataset_that_is_no_torch_dataset(store, net, pixels, labels):
    """Anything with a length and numbered items is a dataset; here without classes."""

    class Plain:
        def __len__(self):
            return 7

        def __getitem__(self, number):
            return torch.from_numpy(pixels[number]).movedim(-1, 0) / 255, torch.tensor(labels[number])

    record(store, net, Plain())
    labels_found, pictures, inputs, _, _ = stored(store)
    assert labels_found == labels and pictures == [None] * 7
    assert np.allclose(inputs, np.moveaxis(pixels, -1, 1) / 255, atol=1e-6)


def hugging_face(pixels, labels):
    """A `datasets.Dataset` of encoded pictures, as those that people share."""
    features = datasets.Features(
        {"photo": datasets.Image(), "species": datasets.ClassLabel(names=CATEGORIES), "camera": datasets.Value("int32")}
    )
    columns = {"photo": [{"bytes": png(picture), "path": None} for picture in pixels], "species": labels, "camera": list(range(7))}
    return datasets.Dataset.from_dict(columns, features=features)


def test_hugging_face(store, net, pixels, labels):
    """Image column, ClassLabel and the other columns are found; the picture is the encoded one of the dataset."""
    record(store, net, hugging_face(pixels, labels), transform=half, keep_originals=True)
    found = stored(store)
    require_same(found, pixels, labels, shifted)
    assert names(store) == CATEGORIES
    assert found[4] == [{"camera": number} for number in range(7)]
    assert store.sql("select original from stored_image where image = 3").fetchall() == [(png(pixels[3]),)]


def test_hugging_face_with_a_transform_of_its_own(store, net, pixels, labels):
    """`with_transform` is what the model sees; the pictures are those before it."""
    data = hugging_face(pixels, labels).with_transform(
        lambda rows: {"pixel_values": [half(image) for image in rows["photo"]], "species": rows["species"]}
    )
    record(store, net, data)
    require_same(stored(store), pixels, labels, shifted)


def test_hugging_face_streamed(store, net, pixels, labels):
    """A streamed dataset gives the same."""
    record(store, net, hugging_face(pixels, labels).to_iterable_dataset(num_shards=3))
    require_same(stored(store), pixels, labels)
    assert names(store) == CATEGORIES


def test_hugging_face_with_two_labels(store, net, pixels, labels):
    """Which of two labels is meant is not guessed."""
    data = hugging_face(pixels, labels)
    data = data.add_column("family", labels).cast_column("family", datasets.ClassLabel(names=CATEGORIES))
    with pytest.raises(InvalidInputError, match="species, family"):
        record(store, net, data)


def test_tar_shards(store, net, tmp_path, pixels, labels):
    """Shards that webdataset wrote are read one after the other; the JSON object and the key are the metadata."""
    write_tar(tmp_path / "photos-000.tar", pixels[:4], labels[:4])
    write_tar(tmp_path / "photos-001.tar", pixels[4:], labels[4:], first=4)
    record(store, net, str(tmp_path / "photos-{000..001}.tar"), transform=half, categories=CATEGORIES)
    found = stored(store)
    require_same(found, pixels, labels, shifted)
    assert found[4][5] == {"key": "set/0005", "camera": 5}


@pytest.mark.parametrize("form", ["bytes", "pil", "pairs"])
def test_webdataset(store, net, tmp_path, pixels, labels, form):
    """A `webdataset.WebDataset` gives the same, decoded by it or not, as dicts or as pairs."""
    write_tar(tmp_path / "photos.tar", pixels, labels)
    data = webdataset.WebDataset(str(tmp_path / "photos.tar"), shardshuffle=False)
    data = {"bytes": data, "pil": data.decode("pil"), "pairs": data.decode("pil").to_tuple("png", "cls")}[form]
    record(store, net, data)
    require_same(stored(store), pixels, labels)


def test_workers_need_numbers(store, net, tmp_path, pixels, labels):
    """A dataset that is only iterated has no order with several workers."""
    write_tar(tmp_path / "photos.tar", pixels, labels)
    with pytest.raises(InvalidInputError, match="num_workers"):
        record(store, net, tmp_path / "photos.tar", num_workers=2)


def test_a_loader_is_left_as_it_is(store, net, pixels, labels):
    """What gives batches is not put into batches again, and has no pictures of its own; nor has it a transform."""
    loader = DataLoader(Numbered(pixels, labels, half), batch_size=2)
    record(store, net, loader)
    labels_found, pictures, *_ = stored(store)
    assert labels_found == labels and pictures == [None] * 7
    with pytest.raises(InvalidInputError, match="transform is for folders"):
        record(store, net, loader, transform=half, replace=True)


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def damaged_tars(good):
    return {
        "can't be read as a tar": b"no tar at all" * 100,
        "no picture": tar_of({"1.cls": b"0"}),
        "several pictures": tar_of({"1.png": good, "1.jpg": good}),
        "category's number": tar_of({"1.png": good, "1.cls": b"cat"}),
        "not JSON": tar_of({"1.png": good, "1.json": b"{"}),
        "object of fields": tar_of({"1.png": good, "1.json": b"[1]"}),
        "can't be read as a picture": tar_of({"1.png": good[:30]}),
        "cut off|can't be read as a tar": tar_of({"1.png": good, "2.png": good * 50})[: 512 + 1024 + 700],
    }


@pytest.mark.parametrize("message", damaged_tars(b""))
def test_damaged_shards_are_refused(store, net, tmp_path, pixels, message):
    """The error says what is wrong; nothing is written."""
    path = tmp_path / "photos.tar"
    path.write_bytes(damaged_tars(png(pixels[0]))[message])
    with pytest.raises(InvalidInputError, match=message):
        record(store, net, path)
    assert store.models().fetchall() == [] and store.datasets().fetchall() == []


def test_what_cannot_be_read_is_named(store, net, folder, tmp_path, pixels, labels):
    """Damaged pictures, empty and mixed folders, sizes that differ, failing transforms, missing paths: nothing is written."""
    (tmp_path / "empty").mkdir()
    (folder / "dog" / "9.png").write_bytes(png(pixels[0])[:40])
    cases = {
        "9.png.*can't be read as a picture": folder,
        "no picture in": tmp_path / "empty",
        "no folder or file .*nowhere": tmp_path / "nowhere",
        "no folder or file .*-2.tar": str(tmp_path / "photos-{2..4}.tar"),
    }
    for message, data in cases.items():
        with pytest.raises(InvalidInputError, match=message):
            record(store, net, data)
    (folder / "dog" / "9.png").write_bytes(png(pixels[0][:3]))
    with pytest.raises(InvalidInputError, match=r"\(3, 3, 7\) and \(3, 5, 7\).*transform="):
        record(store, net, folder)
    with pytest.raises(InvalidInputError, match="transform fails on image 0, a PIL image of 7 x 5 pixels, mode RGB: division by zero"):
        record(store, net, folder, transform=lambda image: 1 / 0)
    (folder / "loose.png").write_bytes(png(pixels[0]))
    with pytest.raises(InvalidInputError, match="both folders and pictures"):
        record(store, net, folder)
    with pytest.raises(InvalidInputError, match="label 7, and it names 3"):
        record(store, net, Numbered(pixels, [7] * 7), categories=[*CATEGORIES, "lynx"][::-1])
    with pytest.raises(InvalidInputError, match="batch_size"):
        record(store, net, Numbered(pixels, labels), batch_size=0)
    assert store.models().fetchall() == [] and store.datasets().fetchall() == []
