"""Image classifiers as libraries build them: the penultimate layer, patterns of names, batches of any kind."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from libraries import library  # noqa: E402
from torch import nn  # noqa: E402

import deephys_sql as dp  # noqa: E402
from deephys_sql.errors import InvalidInputError, UnknownNameError  # noqa: E402

pytestmark = pytest.mark.usefixtures("seed")


def stored(store: dp.Store, layer: str, dataset: str = "test") -> np.ndarray:
    text = "select image, neuron, value from activation where layer = $layer and dataset = $dataset"
    rows = store.sql(text, layer=layer, dataset=dataset).fetchnumpy()
    matrix = np.full((rows["image"].max() + 1, rows["neuron"].max() + 1), np.nan, np.float32)
    matrix[rows["image"], rows["neuron"]] = rows["value"]
    return matrix


def resnet() -> nn.Module:
    return library("torchvision").models.resnet18(num_classes=4)


def swin() -> nn.Module:
    return library("torchvision").models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=4)


def torchvision_vit() -> nn.Module:
    model = library("torchvision").models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)
    nn.init.normal_(model.heads.head.weight)
    return model


def convnext() -> nn.Module:
    return library("timm").create_model("convnext_atto", num_classes=4, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))


def timm_vit() -> nn.Module:
    return library("timm").create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, patch_size=8, embed_dim=24, depth=2)


def mobilenet() -> nn.Module:
    return library("timm").create_model("mobilenetv3_small_050", num_classes=4)


def hugging_face_vit() -> nn.Module:
    there = library("transformers")
    config = there.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8, num_labels=4
    )
    return there.ViTForImageClassification(config)


def hugging_face_resnet() -> nn.Module:
    there = library("transformers")
    return there.ResNetForImageClassification(there.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=4))


class Plain(nn.Module):
    """A hidden layer that gives as many values as there are categories, and a softmax that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3 * 32 * 32, 4), nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu_(self.first(images.flatten(1))))


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3 * 32 * 32, 7), nn.Linear(7, 4)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, str]:
        return torch.log_softmax(self.last(self.first(images.flatten(1))), 1), "and more"


HEADS = {
    resnet: "fc", swin: "head", torchvision_vit: "heads.head", convnext: "head.fc", timm_vit: "head", mobilenet: "classifier",
    hugging_face_vit: "classifier", hugging_face_resnet: "classifier.1", Plain: "last", Softmax: "last",
}  # fmt: skip


@pytest.mark.parametrize("make", HEADS, ids=lambda make: make.__name__)
def test_penultimate(store: dp.Store, make: Callable[[], nn.Module]) -> None:
    """What goes into the last linear layer is found by itself, bit for bit, in every batch, and its head is told."""
    model, images = make().eval(), torch.randn(5, 3, 32, 32)
    seen = []
    head = dict(model.named_modules())[HEADS[make]]
    handle = head.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    batches = [{"pixel_values": part} if "hugging" in make.__name__ else part for part in images.split(3)]
    with torch.no_grad():
        for batch in batches:
            model(**batch) if isinstance(batch, dict) else model(batch)
    handle.remove()
    kind = "log_softmax" if make is Softmax else "logits"
    dp.record(model, batches, store=store, name="net", dataset="test", layers="penultimate", output_kind=kind, progress=False)
    expected = torch.cat([one.flatten(1) for one in seen]).numpy()
    assert stored(store, "penultimate").tobytes() == expected.tobytes()
    assert store.sql("select layer, neurons from layer order by position").fetchall() == [("penultimate", expected.shape[1]), ("output", 4)]
    told = store.sql("select arguments -> 'found' ->> 'penultimate', arguments ->> 'layers' from recording").fetchall()
    assert told == [(f"input of {HEADS[make]}", '["penultimate"]')]


def test_penultimate_of_a_named_output(store: dp.Store) -> None:
    """With an output by name, the layer is the input of that module."""
    with store.record(Softmax(), "net", "test", layers=["penultimate", "first"], output="last") as rec:
        rec(torch.randn(5, 3, 32, 32))
    assert (stored(store, "penultimate") == stored(store, "first")).all()


class Two(nn.Module):
    """Two heads whose mean is returned, as distilled transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (self.one(inputs) + self.other(inputs)) / 2


def functional() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Softmax(1))


@pytest.mark.parametrize(
    "make, inputs, words",
    [
        (Two, torch.zeros(2, 3), r"2 linear layers.*one, other"),
        (functional, torch.zeros(2, 3), "none does"),
        (lambda: library("torchvision").models.squeezenet1_1(num_classes=4), torch.zeros(2, 3, 64, 64), "none does"),
    ],
    ids=["two heads", "no linear layer", "SqueezeNet"],
)
def test_penultimate_that_can_not_be_found(store: dp.Store, make: Any, inputs: torch.Tensor, words: str) -> None:
    """Where no linear layer makes the output, that is said, with the way out; nothing is recorded."""
    with (
        pytest.raises(InvalidInputError, match=rf"'penultimate' can't be found.*{words}.*deephys_sql\.layers"),
        store.record(make(), "net", "test", layers="penultimate") as rec,
    ):
        rec(inputs)
    assert store.recordings().fetchall() == []


def test_patterns(store: dp.Store) -> None:
    """A pattern means the layers of such names that can be recorded: those that run once; options may be given by pattern."""
    model, images = resnet(), torch.randn(3, 3, 32, 32)
    pooling = {"layer2.*": "mean", "layer2.1": "max"}
    with store.record(model, "net", "test", layers=["layer2.*", "conv?", "fc"], output="fc", pooling=pooling) as rec:
        for part in images.split(2):
            rec(part)
    found = dict(store.sql("select layer, pooling from layer order by position").fetchall())
    listed = [layer.name for layer in dp.layers(model, images) if layer.name.startswith("layer2.")]
    assert set(found) == {*listed, "conv1", "fc"}
    assert "layer2.0.relu" not in found and "layer2.0.downsample.1" in found
    assert found == dict.fromkeys(listed, "mean") | {"layer2.1": "max", "conv1": "max", "fc": None}


@pytest.mark.parametrize(
    "layers, error, words",
    [
        ("layer9.*", UnknownNameError, r"'layer9\.\*'.*'conv1'"),
        ("layer1.?.relu", InvalidInputError, r"layer1\.0\.relu runs more than once"),
    ],
)
def test_pattern_of_nothing(store: dp.Store, layers: str, error: type, words: str) -> None:
    """A pattern that no name matches, or whose layers can't be recorded, is refused with what there is."""
    with pytest.raises(error, match=words), store.record(resnet(), "net", "test", layers=layers, output="fc") as rec:
        rec(torch.randn(1, 3, 32, 32))


# --- Batches ------------------------------------------------------------------------------------------------------------


class Called(nn.Module):
    """Counts on the name of its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 4)

    def forward(self, pixel_values: torch.Tensor, scale: float = 1.0, labels: torch.Tensor | None = None) -> SimpleNamespace:
        assert labels is None
        return SimpleNamespace(loss=None, logits=self.fc(pixel_values.flatten(1)) * scale)


IMAGES, LABELS = torch.rand(4, 3, 2, 2), torch.tensor([0, 3, 1, 1])
BATCHES = {
    "as Hugging Face": ({"pixel_values": IMAGES, "labels": LABELS}, 1),
    "with another argument": ({"pixel_values": IMAGES, "scale": 2.0, "label": LABELS, "path": list("abcd")}, 2),
    "of other names": ({"image": IMAGES, "label": LABELS, "index": torch.arange(4)}, 1),
    "one tensor of floats": ({"photo": IMAGES, "targets": LABELS, "number": torch.arange(4)}, 1),
    "a pair": ((IMAGES, LABELS), 1),
    "a list": ([IMAGES, LABELS], 1),
}


@pytest.mark.parametrize("batch", BATCHES)
def test_batches(store: dp.Store, batch: str) -> None:
    """A loader may give pairs or dicts: labels by their name, inputs by the model's parameters or as the only pictures."""
    model, (given, scale) = Called(), BATCHES[batch]
    dp.record(
        model,
        [given, given],
        store=store,
        name="net",
        dataset="test",
        layers=["fc"],
        images="inputs" if scale == 1 else None,
        progress=False,
    )
    expected = torch.cat([model(IMAGES, scale=scale).logits.detach()] * 2).numpy()
    assert stored(store, "output").tobytes() == expected.tobytes()
    assert [row[0] for row in store.sql("select label from image order by image").fetchall()] == LABELS.tolist() * 2


def test_batch_function(store: dp.Store) -> None:
    """`batch` takes any batch apart."""
    model = Called()
    given = [SimpleNamespace(pixels=IMAGES, truth=LABELS), SimpleNamespace(pixels=IMAGES[:1], truth=None)]
    options = dict(store=store, name="net", layers=["fc"], progress=False)
    dp.record(model, given[:1], dataset="test", batch=lambda one: ({"pixel_values": one.pixels}, one.truth), **options)
    assert store.sql("select list(label order by image) from image").fetchall() == [(LABELS.tolist(),)]
    dp.record(model, given[1:], dataset="one", batch=lambda one: (one.pixels, one.truth), **options)
    np.testing.assert_allclose(
        stored(store, "output", "one"), stored(store, "output")[:1], rtol=1e-5, atol=1e-6
    )  # other sizes of batch, other sums
    with pytest.raises(InvalidInputError, match=r"batch= must return a pair"):
        dp.record(model, given, dataset="bad", batch=lambda one: one.pixels, **options)


def test_batch_that_is_not_understood(store: dp.Store) -> None:
    """A dict whose entries could be anything is refused with its names and the model's."""
    given = {"left": IMAGES, "right": IMAGES}
    with pytest.raises(InvalidInputError, match=r"'left', 'right'.*forward takes pixel_values, scale, labels.*batch="):
        dp.record(Called(), [given], store=store, name="net", dataset="test", layers=["fc"], progress=False)
    with pytest.raises(InvalidInputError, match="batch="):
        dp.record(Called(), iter(["text"]), store=store, name="net", dataset="test", layers=["fc"], progress=False)
    assert store.recordings().fetchall() == []
