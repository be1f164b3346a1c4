"""Maxima over places: where they lie, and what those places see of the input."""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from libraries import library  # noqa: E402
from torch import nn  # noqa: E402

import deephys_sql as dp  # noqa: E402
from deephys_sql.errors import InvalidInputError  # noqa: E402

IMAGES = 130

pytestmark = pytest.mark.usefixtures("seed")


class Coarse(nn.Module):
    """Rounds to halves, so that maxima are tied over places and over images, and many are 0."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return (maps * 2).round().clamp(-1, 2) / 2


def tied() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), Coarse(), nn.Flatten(), nn.Linear(6 * 5 * 4, 3))


def maps_of(model: nn.Module, layer: str, inputs: Any) -> torch.Tensor:
    seen = []
    handle = dict(model.named_modules())[layer].register_forward_hook(lambda module, given, output: seen.append(output.detach().clone()))
    with torch.no_grad():
        model.eval()(**inputs) if isinstance(inputs, dict) else model.eval()(inputs)
    handle.remove()
    return seen[0]


def first_place(values: np.ndarray) -> tuple[int, int]:
    """The place of the maximum by brute force: row after row, the first of equal ones."""
    best = None
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            if best is None or values[row, column] > values[best]:
                best = row, column
    return best


def kept(store: dp.Store, layer: str, columns: str = "place_row, place_column", dataset: str = "test") -> dict[int, list[tuple]]:
    found: dict[int, list[tuple]] = {}
    text = f"select neuron, image, value, {columns} from top_image where layer = $layer and dataset = $dataset order by neuron, rank"
    for neuron, *row in store.sql(text, layer=layer, dataset=dataset).fetchall():
        found.setdefault(neuron, []).append(tuple(row))
    return found


@pytest.mark.parametrize("batch", [IMAGES, 17])
def test_place_of_each_top_image(store: dp.Store, batch: int) -> None:
    """Row and column of every kept image of every channel are those of the first largest value of its map; ties and all."""
    model, images = tied(), torch.randn(IMAGES, 2, 5, 4)
    images[3:20] = images[2]
    with store.record(model, "net", "test", layers=["1"], output="3") as rec:
        for part in images.split(batch):
            rec(part)
    maps = maps_of(model, "1", images).numpy()
    found = kept(store, "1")
    for channel in range(maps.shape[1]):
        values = maps[:, channel].max((1, 2))
        order = [image for image in np.lexsort((np.arange(IMAGES), -values)) if values[image] > 0][:100]
        expected = [(image, values[image], *first_place(maps[image, channel])) for image in order]
        assert found.get(channel, []) == expected
    assert len(found[0]) == 100 or len(found) > 1
    macro = store.sql("select image, value, place_row, place_column from top_images('net', '1', 0, 'test', 120)").fetchall()
    assert macro[:100] == found[0]
    assert all(row[2:] == (None, None) for row in macro[100:])


def test_place_over_blocks(store: dp.Store) -> None:
    """Images of the first block and of the third stand beside each other in the first 100, each with its own place."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(12, 2))
    images = torch.randn(4500, 1, 2, 3)
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        for part in images.split(640):
            rec(part)
    maps = maps_of(model, "0", images).numpy()
    for channel, rows in kept(store, "0").items():
        assert len(rows) == 100
        assert [row[2:] for row in rows] == [first_place(maps[image, channel]) for image, *_ in rows]
        assert min(image for image, *_ in rows) < 2048 and max(image for image, *_ in rows) > 4096


class Halved(nn.Module):
    """Gives maps for batches of one of two sizes, and what another layer made of them for the other."""

    def __init__(self, with_maps: int):
        super().__init__()
        self.with_maps = with_maps

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps if len(maps) == self.with_maps else maps.amax((2, 3))


class Pooled(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values if values.ndim == 2 else values.amax((2, 3))


@pytest.mark.parametrize("with_maps", [700, 900])
def test_places_that_only_some_batches_bring(store: dp.Store, with_maps: int) -> None:
    """Values that come without a place stand among others with theirs, whichever come first, in one block and over several."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), Halved(with_maps), Pooled(), nn.Linear(2, 2))
    images = torch.randn(4 * 1600, 1, 2, 3)
    brings = torch.tensor([700, 900] * 4).eq(with_maps).repeat_interleave(torch.tensor([700, 900] * 4))
    with store.record(model, "net", "test", layers=["1"], output="3") as rec:
        for part in images.split([700, 900] * 4):
            rec(part)
    maps = maps_of(model, "0", images).numpy()
    for channel, rows in kept(store, "1").items():
        order = np.lexsort((np.arange(len(maps)), -maps[:, channel].max((1, 2))))[:100]
        assert [row[0] for row in rows] == order.tolist()
        places = [first_place(maps[image, channel]) if brings[image] else (None, None) for image, *_ in rows]
        assert [row[2:] for row in rows] == places
        assert 10 < places.count((None, None)) < 90


@pytest.mark.parametrize("pooling", ["mean", "flatten"])
def test_no_place_without_a_maximum(store: dp.Store, pooling: str) -> None:
    """A mean comes from no one place, and neither does a value that was not pooled."""
    with store.record(tied(), "net", "test", layers=["1"], output="3", pooling=pooling) as rec:
        rec(torch.randn(20, 2, 5, 4))
    for layer in ("1", "3"):
        assert {row[2:] for rows in kept(store, layer).values() for row in rows} == {(None, None)}
    assert store.sql("select count(*) from feature_map").fetchall() == [(0,)]


@pytest.mark.parametrize("threads", [1, 2])
def test_place_of_equal_values(store: dp.Store, threads: int) -> None:
    """Of equal values the first place counts, whatever the number of threads and the layout in memory."""
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(64 * 40 * 30, 2))
    images = torch.zeros(3, 64, 40, 30).contiguous(memory_format=torch.channels_last)
    images[:, :, 7, 5:] = 1
    images[:, :, 8:] = 1
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        rec(images)
    torch.set_num_threads(before)
    assert {row[2:] for rows in kept(store, "0").values() for row in rows} == {(7, 5)}


def test_maps_of_several_sizes(store: dp.Store) -> None:
    """Batches may have pictures of different sizes: each image's place is one of its own map, and no map size is claimed."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    batches = [torch.randn(4, 1, 6, 9), torch.randn(3, 1, 12, 5)]
    with store.record(model, "net", "test", layers=["0"], output="3") as rec:
        for batch in batches:
            rec(batch)
    maps = [image for batch in batches for image in maps_of(model, "0", batch).numpy()]
    for channel, rows in kept(store, "0", "place_row, place_column, seen_left").items():
        assert [row[2:] for row in rows] == [(*first_place(maps[row[0]][channel]), None) for row in rows]
    assert store.sql("select map_rows, input_height, field_height from feature_map").fetchall() == [(None, None, None)]


def test_conv1d(store: dp.Store) -> None:
    """Places along one axis have their number as column, in row 0."""
    model = nn.Sequential(nn.Conv1d(2, 3, 5), nn.Flatten(), nn.Linear(3 * 16, 2))
    inputs = torch.randn(9, 2, 20)
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        rec(inputs)
    maps = maps_of(model, "0", inputs).numpy()
    for channel, rows in kept(store, "0").items():
        assert [row[2:] for row in rows] == [(0, maps[image, channel].argmax()) for image, *_ in rows]


# --- Channels last ------------------------------------------------------------------------------------------------------


class ChannelsLast(nn.Module):
    """A patch embedding with its channels last, then a linear layer, a ReLU and a block of two layers, as Swin does."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, 2)
        self.linear = nn.Linear(6, 6)
        self.relu = nn.ReLU()
        self.block = nn.ModuleDict({"norm": nn.LayerNorm(6), "mlp": nn.Sequential(nn.Linear(6, 6), nn.GELU())})
        self.last = Block()
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.linear(self.patches(images).permute(0, 2, 3, 1)))
        maps = self.last(maps + self.block["mlp"](self.block["norm"](maps)))
        return self.head(maps.mean((1, 2)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.linear(self.norm(maps))


class Unknown(nn.Module):
    """Gives channels last, and nothing in it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.turned = Turned()
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.turned(self.conv(images)).amax((1, 2)))


class Turned(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.permute(0, 2, 3, 1).relu()


def test_channels_last(store: dp.Store) -> None:
    """Neurons lie along the last axis behind layers that have them there: an activation function, a sequence, a block."""
    model, images = ChannelsLast(), torch.randn(7, 3, 10, 8)
    layers = ["patches", "linear", "relu", "block.mlp", "block.mlp.1", "last"]
    with store.record(model, "net", "test", layers=layers, output="head") as rec:
        rec(images)
    assert dict(store.sql("select layer, neurons from layer").fetchall()) == dict.fromkeys(layers, 6) | {"head": 3}
    for layer in layers:
        maps = maps_of(model, layer, images).numpy()
        maps = maps if layer == "patches" else np.moveaxis(maps, -1, 1)
        for neuron, rows in kept(store, layer).items():
            assert [row[1:] for row in rows] == [(maps[i, neuron].max(), *first_place(maps[i, neuron])) for i, *_ in rows]


def test_channels_told(store: dp.Store) -> None:
    """Where no module tells, `channels` does; another word is refused."""
    model, images = Unknown(), torch.randn(7, 3, 5, 4)
    for name, channels in {"all": "last", "one": {"turned": "last"}, "pattern": {"turn*": "last"}}.items():
        with store.record(model, name, "test", layers=["turned"], output="head", channels=channels) as rec:
            rec(images)
        assert store.sql("select neurons from layer where model = $m and layer = 'turned'", m=name).fetchall() == [(6,)]
    with pytest.raises(InvalidInputError, match="'middle'"):
        store.record(model, "net", "test", layers=["turned"], output="head", channels="middle")


# --- Tokens -------------------------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """Hands tokens on; its last axis tells neurons apart."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.norm = nn.LayerNorm(dimensions, elementwise_affine=False)
        self.head = nn.Linear(dimensions, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(tokens).mean(1))


@pytest.mark.parametrize("tokens, side, leading", [(9, 3, 0), (10, 3, 1), (18, 4, 2), (5, 2, 1), (7, None, 0), (3, None, 0)])
def test_place_of_tokens(store: dp.Store, tokens: int, side: int | None, leading: int) -> None:
    """Tokens lie in a square grid, row after row, behind the class token, which lies nowhere; else in one row."""
    model, inputs = Tokens(8), torch.randn(40, tokens, 8)
    with store.record(model, "net", "test", layers=["norm"], output="head") as rec:
        rec(inputs)
    values = maps_of(model, "norm", inputs).numpy()
    nowhere = 0
    for neuron, rows in kept(store, "norm").items():
        for image, _, *place in rows:
            token = values[image, :, neuron].argmax() - leading
            expected = [None, None] if token < 0 else [0, token] if side is None else [token // side, token % side]
            assert place == expected
            nowhere += token < 0
    assert bool(nowhere) == (leading > 0)
    found = store.sql("select map_rows, map_columns, leading_tokens from feature_map").fetchall()
    assert found == [(side or 1, side or tokens, leading)]


def test_patch_of_a_token(store: dp.Store) -> None:
    """Of a transformer for pictures, a token's place shows the patch that it began as."""
    vit = library("transformers")
    config = vit.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=(12, 12), patch_size=4, num_labels=3
    )
    model, images = vit.ViTForImageClassification(config), torch.randn(5, 3, 12, 12)
    with store.record(model, "net", "test", layers=["vit.layernorm"]) as rec:
        rec({"pixel_values": images})
    columns = "place_row, place_column, seen_left, seen_top, seen_right, seen_bottom"
    rows = [row[2:] for rows in kept(store, "vit.layernorm", columns).values() for row in rows]
    for row, column, *seen in rows:
        assert seen == ([None] * 4 if row is None else pytest.approx([column / 3, row / 3, (column + 1) / 3, (row + 1) / 3]))
    assert {row[0] for row in rows} == {None, 0, 1, 2}


# --- Receptive fields ----------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Convolutions with strides, dilation, uneven padding, max-pooling and a branch beside, channels few and ReLU dead."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(1, 4, (3, 2)), nn.ReLU(), nn.MaxPool2d(2))
        self.two = nn.Sequential(nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.ReLU())
        self.beside = nn.Conv2d(4, 4, 1)
        self.far = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 3, 3, padding=1))
        self.head = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.one(images)
        maps = self.far(self.two(maps) + self.beside(maps))
        return self.head(maps.mean((2, 3)))


def places_changed_by(model: nn.Module, layer: str, pixels: list[tuple[int, int]]) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """The pixels whose change changes each place of a layer, in several images and by several amounts, so that no ReLU hides it."""
    found: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for amount in (-9, -3, -1, 1, 3, 9) * 3:
        images = torch.randn(1, 1, HEIGHT, WIDTH, dtype=torch.float64).repeat(len(pixels) + 1, 1, 1, 1)
        for number, (row, column) in enumerate(pixels, start=1):
            images[number, :, row, column] += amount
        maps = maps_of(model, layer, images)
        for number, row, column in ((maps - maps[:1]).abs() > 1e-9).any(1).nonzero().tolist():
            found.setdefault((row, column), set()).add(pixels[number - 1])
    return found


HEIGHT, WIDTH = 30, 22


@pytest.mark.parametrize("layer", ["one", "one.1", "two", "beside", "far"])
def test_receptive_field_against_pixels_that_are_changed(store: dp.Store, layer: str) -> None:
    """A place sees the pixels, and only those, whose change can change it: corners and middles of what the store says."""
    model = Branches().double()
    with store.record(model, "net", "test", layers=[layer], output="head") as rec:
        rec(torch.randn(3, 1, HEIGHT, WIDTH, dtype=torch.float64))
    (row,) = store.sql("select * exclude (model, layer, dataset) from feature_map").to_arrow_table().to_pylist()
    assert (row["input_height"], row["input_width"]) == (HEIGHT, WIDTH)
    pixels = [(r, c) for r in range(HEIGHT) for c in range(WIDTH) if r in (0, 1, 13, 14, 28, 29) or c in (0, 10, 21)]
    seen = places_changed_by(model, layer, pixels)
    assert len(seen) > 10
    reached = set()
    for (place_row, place_column), pixels in seen.items():
        top, left = row["field_top"] + place_row * row["stride_down"], row["field_left"] + place_column * row["stride_across"]
        bottom, right = top + row["field_height"] - 1, left + row["field_width"] - 1
        for r, c in pixels:
            assert top <= r <= bottom and left <= c <= right
            reached |= {
                edge for edge, here in (("top", r == top), ("bottom", r == bottom), ("left", c == left), ("right", c == right)) if here
            }
    assert reached == {"top", "bottom", "left", "right"}


def test_known_receptive_fields(store: dp.Store) -> None:
    """Of ResNet-18: 7, 11, 43 and 99 pixels, 2, 4, 4 and 8 apart, around the middle: the published figures."""
    model = library("torchvision").models.resnet18(num_classes=4)
    layers = {"conv1": (7, 2), "maxpool": (11, 4), "layer1": (43, 4), "layer2": (99, 8)}
    with store.record(model, "net", "test", layers=list(layers), output="fc") as rec:
        rec(torch.randn(2, 3, 128, 128))
    rows = store.sql(
        "select layer, field_height, field_width, stride_down, stride_across, field_top, field_left from feature_map"
    ).fetchall()
    for layer, height, width, down, across, top, left in rows:
        size, stride = layers[layer]
        assert (height, width, down, across, top, left) == (size, size, stride, stride, -(size // 2), -(size // 2))
    assert len(rows) == 4


def test_what_is_seen_of_the_picture(store: dp.Store) -> None:
    """The seen box is the field cut at the edges of the input, in shares of the picture."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(2 * 4 * 3, 2))
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        rec(torch.randn(50, 1, 8, 6))
    columns = "place_row, place_column, seen_left, seen_top, seen_right, seen_bottom"
    rows = {row[2:] for rows in kept(store, "0", columns).values() for row in rows}
    for row, column, left, top, right, bottom in rows:
        assert left == pytest.approx(max(0, 2 * column - 1) / 6) and right == pytest.approx((2 * column + 2) / 6)
        assert top == pytest.approx(max(0, 2 * row - 1) / 8) and bottom == pytest.approx((2 * row + 2) / 8)
    assert {row[0] for row in rows} == {0, 1, 2, 3}
    first = [(*row[2:], 4, 3) for row in kept(store, "0", columns)[1][:9]]
    query = store.query("top_images_of_neurons", model="net", layer="0", neurons="[1]", k=9).project(columns + ", map_rows, map_columns")
    assert query.fetchall() == first


class Attention(nn.Module):
    """Squeeze and excitation: each place depends on all."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * maps.mean((2, 3), keepdim=True).sigmoid()


def test_field_of_the_whole_input(store: dp.Store) -> None:
    """Where a place depends on everything, it sees all of the picture."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), Attention(), nn.Flatten(), nn.Linear(2 * 16, 2))
    with store.record(model, "net", "test", layers=["1"], output="3") as rec:
        rec(torch.randn(5, 1, 6, 6))
    rows = kept(store, "1", "seen_left, seen_top, seen_right, seen_bottom")
    assert {row[2:] for found in rows.values() for row in found} == {(0, 0, 1, 1)}


class Refusing(nn.Module):
    """Can't run on one image of noise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) < 3:
            raise ValueError("three images at least")
        return self.head(self.conv(images).amax((2, 3)))


def test_field_that_can_not_be_measured(store: dp.Store) -> None:
    """A model that does not run on one image is recorded with its places, and without receptive fields."""
    with store.record(Refusing(), "net", "test", layers=["conv"], output="head") as rec:
        rec(torch.randn(5, 1, 6, 6))
    assert store.sql("select map_rows, map_columns, input_height, field_height from feature_map").fetchall() == [(4, 4, 6, None)]
    assert all(row[3] is not None for rows in kept(store, "conv", "seen_left, place_row").values() for row in rows)


def test_field_is_measured_once(store: dp.Store) -> None:
    """A second dataset of the same input size takes what was measured, by no pass more than its batches."""
    model, passes = Branches(), []
    model.register_forward_hook(lambda *_: passes.append(1))
    for dataset in ("a", "b"):
        passes.clear()
        with store.record(model, "net", dataset, layers=["one", "far"], output="head") as rec:
            rec(torch.randn(3, 1, 30, 22))
    assert len(passes) == 1
    fields = store.sql("select layer, field_top, field_height, stride_across from feature_map order by all").fetchall()
    assert len(fields) == 4 and fields[::2] == fields[1::2]


def test_replaced_recording_forgets_its_places(store: dp.Store) -> None:
    """Recorded again with the mean, the places of the maxima are gone."""
    model, images = tied(), torch.randn(6, 2, 5, 4)
    for pooling, count in (("max", 1), ("mean", 0)):
        with store.record(model, "net", "test", layers=["1"], output="3", pooling=pooling, replace=True) as rec:
            rec(images)
        assert store.sql("select count(*) from feature_map").fetchall() == [(count,)]
    assert math.isclose(
        store.sql("select max(value) from activation where layer = '1'").fetchall()[0][0],
        maps_of(model, "1", images).mean((2, 3)).max(),
        rel_tol=1e-6,
    )
