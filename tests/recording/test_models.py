"""Real torch models: what is recorded is what a plain forward hook sees, and the model is left as it was."""

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import deephys_sql as dp  # noqa: E402
from deephys_sql.errors import DatasetDiffersError, InvalidInputError, ModelDiffersError, RecordingExistsError, UnknownNameError  # noqa: E402

IMAGES = 10


class ConvNet(nn.Module):
    """Convolution, BatchNorm and an in-place ReLU that changes what they gave out; dropout before the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 5, 3)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(5, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu1(self.bn1(self.conv1(images)))
        maps = self.relu2(self.conv2(maps))
        return self.fc(self.dropout(maps.mean((2, 3)))).add_(1)


class Transformer(nn.Module):
    """Tokens, a class token first, through nn.TransformerEncoder."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.encoder(tokens, src_key_padding_mask=padding)[:, 0])


class Returning(nn.Module):
    """A linear classifier that wraps its logits into something else."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any]):
        super().__init__()
        self.fc1 = nn.Linear(6, 5)
        self.fc = nn.Linear(5, 4)
        self.wrap = wrap

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.wrap(self.fc(torch.relu_(self.fc1(inputs))))


class Named(nn.Module):
    """Takes two named inputs and a setting that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 5)
        self.right = nn.Linear(4, 5)
        self.fc = nn.Linear(5, 4)

    def forward(self, *, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.fc(torch.tanh(self.left(left) + scale * self.right(right)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 4))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def plain(model: nn.Module, layer: str, *inputs: Any, **named: Any) -> torch.Tensor:
    """What a layer gives out in evaluation mode: a copy taken by a plain forward hook of a copy of the model."""
    model = copy.deepcopy(model).eval()
    seen = []

    def hook(module: nn.Module, given: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).detach().clone())

    dict(model.named_modules())[layer].register_forward_hook(hook)
    with torch.no_grad():
        model(*inputs, **named)
    (values,) = seen
    return values


def stored(store: dp.Store, layer: str, dataset: str = "test", model: str = "net") -> np.ndarray:
    """The activations of a layer, images x neurons, from the view that everybody reads."""
    rows = store.sql(
        "select image, neuron, value from activation where model = $m and layer = $l and dataset = $d", m=model, l=layer, d=dataset
    ).fetchnumpy()
    matrix = np.full((rows["image"].max() + 1, rows["neuron"].max() + 1), np.nan, np.float32)
    matrix[rows["image"], rows["neuron"]] = rows["value"]
    assert len(rows["value"]) == matrix.size
    return matrix


def same_bits(matrix: np.ndarray, tensor: torch.Tensor) -> bool:
    expected = tensor.float().numpy()
    return matrix.shape == expected.shape and matrix.tobytes() == np.ascontiguousarray(expected).tobytes()


POOL = {
    "max": lambda maps: maps.amax((2, 3)),
    "mean": lambda maps: maps.float().mean((2, 3)),
    "flatten": lambda maps: maps.reshape(len(maps), -1),
}
POOL_TOKENS = {
    "max": lambda tokens: tokens.amax(1),
    "mean": lambda tokens: tokens.float().mean(1),
    "first": lambda tokens: tokens[:, 0],
    "flatten": lambda tokens: tokens.reshape(len(tokens), -1),
}

# --- The same bits as a plain hook -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pooling", POOL)
def test_convolutional_network(store: dp.Store, pooling: str, training: bool) -> None:
    """Feature maps are stored as a plain hook sees them before the in-place layer behind, pooled, bit for bit, in evaluation mode."""
    model = ConvNet().train(training)
    images = torch.randn(IMAGES, 3, 7, 6)
    layers = ["conv1", "bn1", "relu1", "conv2", "relu2"]
    with store.record(model, "net", "test", layers=layers, output="fc", pooling=pooling) as rec:
        rec(images)
    for layer in layers:
        assert same_bits(stored(store, layer), POOL[pooling](plain(model, layer, images))), layer
    assert same_bits(stored(store, "fc"), plain(model, "fc", images))
    assert (stored(store, "conv2") < 0).any() and not (stored(store, "relu2") < 0).any()


def test_pooling_by_layer(store: dp.Store) -> None:
    """Each layer can have its pooling; the others get the maximum; pooling and non-linearity are kept with the layer."""
    model, images = ConvNet(), torch.randn(IMAGES, 3, 7, 6)
    with store.record(model, "net", "test", layers=["conv1", "relu1", "conv2"], output="fc", pooling={"conv1": "mean"}) as rec:
        rec(images)
    assert same_bits(stored(store, "conv1"), POOL["mean"](plain(model, "conv1", images)))
    assert same_bits(stored(store, "conv2"), POOL["max"](plain(model, "conv2", images)))
    kept = store.sql("select layer, neurons, nonlinearity, pooling from layer order by position").fetchall()
    assert kept == [("conv1", 6, "none", "mean"), ("relu1", 6, "relu", "max"), ("conv2", 5, "none", "max"), ("fc", 4, "none", None)]


def test_linear_layers(store: dp.Store) -> None:
    """A linear layer is stored as it came, though the next works in place; sign and negative zero kept."""
    model, inputs = mlp(), torch.randn(IMAGES, 6)
    inputs[0] = 0
    model[0].bias.data[0] = -0.0
    with store.record(model, "net", "test", layers=["0", "1"], output="2") as rec:
        rec(inputs)
    for layer in "012":
        assert same_bits(stored(store, layer), plain(model, layer, inputs))
    assert (stored(store, "0") < 0).any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pooling", POOL_TOKENS)
def test_transformer(store: dp.Store, pooling: str, training: bool) -> None:
    """Tokens of a transformer are pooled bit for bit as a plain hook gives them, though evaluation has a fast path around modules."""
    model = Transformer().train(training)
    tokens = torch.randn(IMAGES, 5, 8)
    layers = ["encoder.layers.0.linear1", "encoder.layers.0", "encoder.layers.1.self_attn", "encoder"]
    with store.record(model, "net", "test", layers=layers, output="head", pooling=pooling) as rec:
        rec(tokens)
    seen = hooked_together(model, layers, tokens)
    for layer in layers:
        assert same_bits(stored(store, layer), POOL_TOKENS[pooling](seen[layer])), layer


@pytest.mark.parametrize("layer", ["encoder.layers.0", "encoder.layers.1", "encoder"])
def test_transformer_with_padding(store: dp.Store, layer: str) -> None:
    """With a padding mask, whose fast path gives nested tensors: the maximum over what a hook sees, or a refusal that names the layer."""
    model, tokens = Transformer(), torch.randn(IMAGES, 5, 8)
    padding = torch.zeros(IMAGES, 5, dtype=torch.bool)
    padding[::2, 3:] = True
    try:
        with store.record(model, "net", "test", layers=[layer], output="head") as rec:
            rec((tokens, padding))
    except InvalidInputError as error:
        assert repr(layer) in str(error)
        return
    seen = hooked_together(model, [layer], tokens, padding)[layer]
    expected = torch.stack([image.amax(0) for image in (seen.unbind() if seen.is_nested else seen)])
    assert same_bits(stored(store, layer), expected)


def hooked_together(model: nn.Module, layers: list[str], *inputs: Any) -> dict[str, torch.Tensor]:
    """Like `plain`, with the hooks on all layers in one pass: the hooks decide which path a transformer takes."""
    model = copy.deepcopy(model).eval()
    seen: dict[str, torch.Tensor] = {}
    for name in layers:

        def hook(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()

        dict(model.named_modules())[name].register_forward_hook(hook)
    with torch.no_grad():
        model(*inputs)
    return seen


@pytest.mark.parametrize("layer", ["encoder", "head"])
def test_transformer_fast_path(store: dp.Store, layer: str) -> None:
    """With a hook outside of it alone, the encoder takes its fast path, and what it gives is what is stored."""
    model, tokens = Transformer(), torch.randn(IMAGES, 5, 8)
    with store.record(model, "net", "test", layers=[layer], output="head", pooling="first") as rec:
        returned = rec(tokens)
    expected = plain(model, layer, tokens)
    assert same_bits(stored(store, layer), expected if layer == "head" else expected[:, 0])
    with torch.no_grad():
        assert torch.equal(returned, copy.deepcopy(model).eval()(tokens))


WRAPPERS = {
    "itself": lambda logits: logits,
    "a tuple": lambda logits: (logits, "attention"),
    "a list": lambda logits: [logits],
    "an object with .logits": lambda logits: SimpleNamespace(loss=None, logits=logits),
    "a dict": lambda logits: {"logits": logits, "hidden": None},
    "a nested tuple": lambda logits: SimpleNamespace(logits=(logits, None)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("by_name", [True, False])
def test_output(store: dp.Store, wrapper: str, by_name: bool) -> None:
    """The output comes from a named module, or from what the model returns, however that is wrapped; rec gives it back."""
    model = Returning(WRAPPERS[wrapper])
    inputs = torch.randn(IMAGES, 6)
    with store.record(model, "net", "test", layers=["fc1"], output="fc" if by_name else None) as rec:
        returned = rec(inputs)
    assert type(returned) is type(model.wrap(torch.zeros(1)))
    name = "fc" if by_name else "output"
    logits = plain(model, "fc", inputs)
    assert same_bits(stored(store, name), logits)
    assert same_bits(stored(store, "fc1"), plain(model, "fc1", inputs))
    predicted = store.sql("select predicted from prediction order by image").fetchall()
    assert [p for (p,) in predicted] == logits.argmax(1).tolist()
    assert store.sql("select output_layer, output_kind from recording").fetchall() == [(name, "logits")]


def test_returned_logits_of_a_model_that_goes_on_in_place(store: dp.Store) -> None:
    """By return value, the output is what the model returns, after what it did in place; by name, what the module gave."""
    model, images = ConvNet(), torch.randn(IMAGES, 3, 7, 6)
    with store.record(model, "net", "returned", layers=["fc"]) as rec:
        rec(images)
    with torch.no_grad():
        assert same_bits(stored(store, "output", "returned"), copy.deepcopy(model).eval()(images))
    assert same_bits(stored(store, "fc", "returned"), plain(model, "fc", images))


def test_layer_that_is_the_output_too(store: dp.Store) -> None:
    """The output may be among the layers: it is stored once."""
    with store.record(mlp(), "net", "test", layers=["2", "0", "2"], output="2") as rec:
        rec(torch.randn(IMAGES, 6))
    assert [row[1] for row in store.layers("net").fetchall()] == ["2", "0"]


def test_named_inputs(store: dp.Store) -> None:
    """Inputs may be a dict of named arguments, some of them no tensors."""
    model = Named()
    inputs = {"left": torch.randn(IMAGES, 3), "right": torch.randn(IMAGES, 4), "scale": 2.0}
    assert [layer.name for layer in dp.layers(model, inputs)] == ["left", "right", "fc"]
    with store.record(model, "net", "test", layers=["left", "right"], output="fc") as rec:
        rec(inputs, labels=torch.arange(IMAGES) % 4)
    for layer in ("left", "right", "fc"):
        assert same_bits(stored(store, layer), plain(model, layer, **inputs))


def test_recorded_inside_another_hook(store: dp.Store) -> None:
    """A hook of the user's that changes a layer's output goes on working, and what it gives is what is recorded."""
    model, inputs = mlp(), torch.randn(IMAGES, 6)
    handle = model[0].register_forward_hook(lambda module, given, output: output * 2)
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        rec(inputs)
    handle.remove()
    assert same_bits(stored(store, "0"), plain(model, "0", inputs) * 2)


# --- Precision ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", POOL)
def test_autocast(store: dp.Store, pooling: str) -> None:
    """Under autocast to bfloat16 the values stored are the bfloat16 ones, exactly; a mean is taken in float32."""
    model, images = ConvNet(), torch.randn(IMAGES, 3, 7, 6)
    with torch.autocast("cpu", torch.bfloat16):
        with store.record(model, "net", "test", layers=["conv1", "conv2"], output="fc", pooling=pooling) as rec:
            returned = rec(images)
        expected = {layer: plain(model, layer, images) for layer in ("conv1", "conv2", "fc")}
    assert returned.dtype == expected["conv1"].dtype == torch.bfloat16
    for layer in ("conv1", "conv2"):
        assert same_bits(stored(store, layer), POOL[pooling](expected[layer]))
    assert same_bits(stored(store, "fc"), expected["fc"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("named", [True, False])
def test_other_precisions(store: dp.Store, dtype: torch.dtype, named: bool) -> None:
    """Models in half or double precision run in it; their values are stored as the nearest float32."""
    model = ConvNet().to(dtype)
    images = torch.randn(IMAGES, 3, 7, 6, dtype=dtype)
    with store.record(model, "net", "test", layers=["conv1", "bn1"], output="fc" if named else None) as rec:
        rec(images)
    assert same_bits(stored(store, "conv1"), plain(model, "conv1", images).amax((2, 3)))
    assert stored(store, "fc" if named else "output").shape == (IMAGES, 4)
    if dtype == torch.float16:
        assert same_bits(stored(store, "conv1"), torch.from_numpy(stored(store, "conv1")).half())


# --- The model is left as it was ---------------------------------------------------------------------------------------


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Everything of a model that recording could change, and torch's random state."""
    return {
        "modes": [(name, module.training) for name, module in model.named_modules()],
        "hooks": [
            len(hooks)
            for module in model.modules()
            for hooks in (
                module._forward_hooks, module._forward_pre_hooks, module._backward_hooks,
                module._forward_hooks_with_kwargs, module._forward_hooks_always_called,
            )
        ],
        "gradients": [(name, p.requires_grad, p.grad, id(p), p._version) for name, p in model.named_parameters()],
        "state": {name: value.numpy(force=True).tobytes() for name, value in model.state_dict().items()},
        "attributes": [(name, sorted(vars(module))) for name, module in model.named_modules()],
        "random": torch.get_rng_state().numpy().tobytes(),
        "grad_enabled": torch.is_grad_enabled(),
    }  # fmt: skip


def mixed() -> nn.Module:
    """A network in training, with a frozen BatchNorm and a frozen convolution."""
    model = ConvNet().train()
    model.bn1.eval()
    model.conv1.requires_grad_(False)
    return model


@pytest.mark.parametrize("how", ["well", "exception in the block", "exception in the model", "refused batch", "interrupt"])
def test_model_is_left_as_it_was(store: dp.Store, how: str) -> None:
    """Modes of each module, hooks, gradients, running statistics, requires_grad and random state are as before, whatever happens."""
    model, images = mixed(), torch.randn(IMAGES, 3, 7, 6)
    user = model.fc.register_forward_hook(lambda module, given, output: None)
    wrong = {"well": None, "exception in the model": torch.randn(2, 1, 7, 6), "refused batch": images / 0}.get(how)
    before = fingerprint(model)
    expected = contextlib.nullcontext() if how == "well" else pytest.raises(BaseException)
    with expected, store.record(model, "net", "test", layers=["conv1", "bn1", "relu2"], output="fc") as rec:
        rec(images)
        assert fingerprint(model) == before
        if how == "exception in the block":
            raise RuntimeError("a mistake of the user's")
        if how == "interrupt":
            raise KeyboardInterrupt
        if wrong is not None:
            rec(wrong)
    assert fingerprint(model) == before
    assert store.sql("select count(*) from recording").fetchall() == [(1 if how == "well" else 0,)]
    user.remove()
    model(images).sum().backward()
    assert model.fc.weight.grad is not None and model.bn1.running_mean.isfinite().all()


def test_returned_value_has_no_graph(store: dp.Store) -> None:
    """The model runs without gradients, and the caller's own setting comes back."""
    model = mlp()
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        assert not rec(torch.randn(IMAGES, 6, requires_grad=True)).requires_grad
        assert torch.is_grad_enabled()


def test_layers_leaves_the_model_as_it_was() -> None:
    """Listing the layers changes nothing either, and an exception in the model doesn't leave hooks."""
    model = mixed()
    before = fingerprint(model)
    dp.layers(model, torch.zeros(2, 3, 7, 6))
    assert fingerprint(model) == before
    with pytest.raises(RuntimeError):
        dp.layers(model, torch.zeros(2, 1, 7, 6))
    assert fingerprint(model) == before


def test_inputs_are_left_as_they_were(store: dp.Store) -> None:
    """The user's batch is not changed by a model that works in place on it only as far as the model itself does."""
    model, inputs = mlp(), torch.randn(IMAGES, 6)
    kept = inputs.clone()
    with store.record(model, "net", "test", layers=["0"], output="2") as rec:
        rec(inputs)
    assert torch.equal(inputs, kept)


# --- Batches -----------------------------------------------------------------------------------------------------------


def test_batches_of_uneven_size(store: dp.Store) -> None:
    """Images follow each other over batches of any size; each batch's values are those of its own forward pass."""
    model, images = ConvNet(), torch.randn(13, 3, 7, 6)
    labels = torch.arange(13) % 4
    with store.record(model, "net", "test", layers=["conv1"], output="fc", categories=list("abcd")) as rec:
        for start, end in ((0, 1), (1, 8), (8, 8), (8, 11), (11, 13)):
            rec(images[start:end], labels=labels[start:end])
    expected = torch.cat([plain(model, "conv1", images[a:b]) for a, b in ((0, 1), (1, 8), (8, 11), (11, 13))]).amax((2, 3))
    assert same_bits(stored(store, "conv1"), expected)
    assert store.sql("select image, label from image order by image").fetchall() == [(i, i % 4) for i in range(13)]


def test_more_than_a_block(store: dp.Store) -> None:
    """Several thousand images, in batches that straddle the blocks that the store writes."""
    model = mlp()
    batches = [torch.randn(size, 6) for size in (1000, 1500, 17, 2048, 1)]
    labels = [torch.randint(0, 4, (len(batch),)) for batch in batches]
    with store.record(model, "net", "test", layers=["1"], output="2") as rec:
        for batch, known in zip(batches, labels, strict=True):
            rec(batch, labels=known)
    values = torch.cat([plain(model, "1", batch) for batch in batches])
    assert same_bits(stored(store, "1"), values)
    found = store.sql("select neuron, category, images, response from category_response where layer = '1' order by 1, 2").fetchall()
    for neuron, category, images, response in found:
        members = values[torch.cat(labels) == category, neuron].double()
        assert images == len(members)
        assert response == pytest.approx(members.mean().item() / values[:, neuron].max().item(), abs=1e-9)
    assert len(found) == 5 * 4


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 1, 2, 3, -1]),
        torch.tensor([0, 1, 2, 3, -1], dtype=torch.int8),
        torch.tensor([0.0, 1, 2, 3, float("nan")]),
        np.array([0, 1, 2, 3, -1], np.int16),
        [0, 1, 2, 3, None],
        (0, 1, 2, 3, -1),
        [torch.tensor(0), torch.tensor(1), torch.tensor(2), torch.tensor(3), torch.tensor(-1)],
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}",
)
def test_labels(store: dp.Store, labels: Any) -> None:
    """Labels may be tensors, arrays or lists, of any number type; -1, None and NaN are unknown."""
    with store.record(mlp(), "net", "test", layers=["0"], output="2") as rec:
        rec(torch.randn(5, 6), labels=labels)
    assert store.sql("select label from image order by image").fetchall() == [(0,), (1,), (2,), (3,), (None,)]


# --- Layers ------------------------------------------------------------------------------------------------------------


def test_layers_names_and_shapes() -> None:
    """Layers are listed in the order in which they run, with kind and shape; the model itself is not."""
    found = [(layer.name, layer.kind, layer.shape) for layer in dp.layers(ConvNet(), torch.zeros(2, 3, 7, 6))]
    assert found == [
        ("conv1", "Conv2d", (2, 6, 5, 4)),
        ("bn1", "BatchNorm2d", (2, 6, 5, 4)),
        ("relu1", "ReLU", (2, 6, 5, 4)),
        ("conv2", "Conv2d", (2, 5, 3, 2)),
        ("relu2", "ReLU", (2, 5, 3, 2)),
        ("dropout", "Dropout", (2, 5)),
        ("fc", "Linear", (2, 4)),
    ]
    assert str(dp.layers(ConvNet(), torch.zeros(2, 3, 7, 6))[0]) == "conv1  Conv2d  2 x 6 x 5 x 4"


def test_every_listed_layer_can_be_recorded(store: dp.Store) -> None:
    """What dp.layers lists, of a transformer too, can be recorded all at once."""
    for name, model, inputs in (("net", ConvNet(), torch.randn(3, 3, 7, 6)), ("transformer", Transformer(), torch.randn(3, 5, 8))):
        layers = dp.layers(model, inputs)
        with store.record(model, name, "test", layers=[layer.name for layer in layers], pooling="flatten") as rec:
            rec(inputs)
        widths = dict(store.sql("select layer, neurons from layer where model = $name", name=name).fetchall())
        assert {layer.name: int(np.prod(layer.shape[1:])) for layer in layers} == {n: w for n, w in widths.items() if n != "output"}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.fc1, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 4)
        self.unused = nn.Linear(6, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.relu(self.fc1(self.relu(inputs))))


def test_layer_that_runs_twice(store: dp.Store) -> None:
    """A layer that runs twice has no one value: it isn't listed, and recording it is refused with the way out."""
    assert [layer.name for layer in dp.layers(Twice(), torch.zeros(2, 6))] == ["fc1", "fc2"]
    model, inputs = Twice(), torch.randn(2, 6)
    before = fingerprint(model)
    with (
        pytest.raises(InvalidInputError, match=r"'relu' ran more than once.*deephys_sql\.layers"),
        store.record(model, "net", "test", layers=["relu"], output="fc2") as rec,
    ):
        rec(inputs)
    assert fingerprint(model) == before
    assert store.recordings().fetchall() == []


def test_layer_that_does_not_run(store: dp.Store) -> None:
    """A layer that is there and does not run is refused by name."""
    with (
        pytest.raises(InvalidInputError, match=r"'unused'.*did not run"),
        store.record(Twice(), "net", "test", layers=["unused"], output="fc2") as rec,
    ):
        rec(torch.randn(2, 6))


def test_unknown_layer(store: dp.Store) -> None:
    """A name that no module has is answered with the nearest, before anything runs."""
    with pytest.raises(UnknownNameError, match=r"'conv3'.*'conv[12]'"):
        store.record(ConvNet(), "net", "test", layers=["conv3"], output="fc")
    with pytest.raises(UnknownNameError, match=r"'head'"):
        store.record(ConvNet(), "net", "test", layers=["conv1"], output="head")


# --- Weights -----------------------------------------------------------------------------------------------------------


def checksum(store: dp.Store, dataset: str, model: str = "net") -> str:
    return store.sql("select weights_checksum from recording where dataset = $d and model = $m", d=dataset, m=model).fetchall()[0][0]


def test_weights_checksum(store: dp.Store) -> None:
    """The checksum is the same for the same weights, and another for one other bit of a parameter or a running statistic."""
    model, images = ConvNet(), torch.randn(2, 3, 7, 6)
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: model.fc.weight.data[0, 0].mul_(-1),
        lambda: model.bn1.running_mean.add_(1),
        lambda: model.fc.bias.data.copy_(model.fc.bias.data.flip(0)),
    ]
    found = []
    for number, change in enumerate(changes):
        change()
        with store.record(model, f"net {number}", "test", layers=["conv1"], output="fc") as rec:
            rec(images)
        found.append(checksum(store, "test", f"net {number}"))
    with store.record(copy.deepcopy(model).half().float().eval(), "copy", "test", layers=["conv1"], output="fc") as rec:
        rec(images)
    with store.record(copy.deepcopy(model).eval().requires_grad_(False), "net 3", "again", layers=["conv1"], output="fc") as rec:
        rec(images)
    assert len(set(found)) == 4 and len(found[0]) == 64
    assert checksum(store, "again", "net 3") == found[3] != checksum(store, "test", "copy")


def test_changed_model_is_refused(store: dp.Store) -> None:
    """Another checkpoint under the same name is refused on another dataset, and accepted under another name."""
    model, inputs = mlp(), torch.randn(IMAGES, 6)

    def record(name: str, dataset: str, **options: Any) -> None:
        with store.record(model, name, dataset, layers=["0"], output="2", **options) as rec:
            rec(inputs)

    record("net", "train")
    record("net", "test")
    model[0].weight.data[0, 0] += 1
    before = store.recordings().fetchall()
    for options in (dict(dataset="night"), dict(dataset="test", replace=True)):
        with pytest.raises(ModelDiffersError, match=r"'net'.*weights.*another name"):
            record("net", **options)
        assert store.recordings().fetchall() == before
    record("net, epoch 2", "night")
    record("alone", "night")
    model[0].weight.data[0, 0] += 1
    record("alone", "night", replace=True)


# --- dp.record ---------------------------------------------------------------------------------------------------------


def loader(inputs: torch.Tensor, labels: torch.Tensor | None, batch_size: int = 4) -> Any:
    tensors = (inputs,) if labels is None else (inputs, labels)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=batch_size)


def thumbnails(store: dp.Store) -> list[np.ndarray]:
    import io

    rows = store.sql("select thumbnail from image order by image").fetchall()
    return [np.asarray(Image.open(io.BytesIO(row[0]))) for row in rows]


def test_record_with_a_data_loader(store: dp.Store) -> None:
    """dp.record goes over a DataLoader of pairs; with images="inputs" the pictures are the inputs."""
    model, images = ConvNet(), torch.randint(0, 256, (IMAGES, 3, 7, 6)) / 255
    labels = torch.arange(IMAGES) % 4
    dp.record(
        model, loader(images, labels), store=store, name="net", dataset="test", layers=["conv1"], output="fc",
        categories=list("abcd"), images="inputs", metadata=[{"number": i} for i in range(IMAGES)], progress=False,
    )  # fmt: skip
    expected = torch.cat([plain(model, "conv1", batch) for batch in images.split(4)]).amax((2, 3))
    assert same_bits(stored(store, "conv1"), expected)
    assert store.sql("select label, metadata ->> 'number' from image order by image").fetchall() == [(i % 4, str(i)) for i in range(IMAGES)]
    for thumbnail, image in zip(thumbnails(store), images, strict=True):
        assert (thumbnail == (image * 255).round().byte().permute(1, 2, 0).numpy()).all()


GRAY = torch.randint(0, 256, (IMAGES, 1, 7, 6), generator=torch.Generator().manual_seed(0)) / 255
PICTURES = {
    "inputs": "inputs",
    "a function": lambda inputs: (inputs * 255).round().byte().permute(0, 2, 3, 1),
    "an array": (GRAY * 255).round().byte().squeeze(1).numpy(),
    "a tensor": (GRAY * 255).round().byte().squeeze(1),
    "PIL images": [Image.fromarray(image) for image in (GRAY * 255).round().byte().squeeze(1).numpy()],
}


@pytest.mark.parametrize("given", PICTURES)
def test_record_pictures(store: dp.Store, given: str) -> None:
    """The pictures come from the inputs, from a function of them, from an array, or from a list of PIL images."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(40, 4))
    dp.record(
        model, loader(GRAY, torch.zeros(IMAGES, dtype=torch.long), 3), store=store, name="net", dataset="test", layers=["0"],
        output="2", images=PICTURES[given], progress=False,
    )  # fmt: skip
    for thumbnail, image in zip(thumbnails(store), GRAY, strict=True):
        gray = thumbnail if thumbnail.ndim == 2 else thumbnail[..., 0]
        assert (gray == (image[0] * 255).round().byte().numpy()).all()


def test_record_pictures_of_inputs_without_channels(store: dp.Store) -> None:
    """Inputs images x height x width are shown upright, not transposed, or refused: never another picture."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(42, 4))
    arguments = dict(store=store, name="net", dataset="test", layers=["1"], images="inputs", progress=False)
    try:
        dp.record(model, [GRAY.squeeze(1)], **arguments)
    except InvalidInputError:
        return
    assert store.sql("select distinct height, width from image").fetchall() == [(7, 6)]


def test_record_inputs_alone(store: dp.Store) -> None:
    """A loader may give inputs without labels, and be any iterable: a generator, a list."""
    model = mlp()
    batches = [torch.randn(3, 6), torch.randn(2, 6)]
    dp.record(model, (batch for batch in batches), store=store, name="net", dataset="a", layers=["0"], output="2", progress=False)
    dp.record(model, batches, store=store, name="net", dataset="b", layers=["0"], output="2", progress=False)
    expected = torch.cat([plain(model, "0", batch) for batch in batches])
    for dataset in "ab":
        assert same_bits(stored(store, "0", dataset), expected)
    assert store.sql("select count(*) from image where label is not null").fetchall() == [(0,)]


def test_record_a_data_loader_of_inputs_alone(store: dp.Store) -> None:
    """A DataLoader of inputs alone gives lists of one tensor: they are the inputs."""
    model, inputs = mlp(), torch.randn(5, 6)
    dp.record(model, loader(inputs, None), store=store, name="net", dataset="test", layers=["0"], output="2", progress=False)
    assert stored(store, "0").shape == (5, 5)


def test_record_into_a_path(tmp_path: Path) -> None:
    """The store may be a path: it is opened, recorded into and closed."""
    model = mlp()
    for dataset in ("a", "b"):
        path = tmp_path / "s.duckdb"
        dp.record(model, [torch.randn(3, 6)], store=path, name="net", dataset=dataset, layers=["0"], output="2", progress=False)
    with dp.open(tmp_path / "s.duckdb", read_only=True) as store:
        assert len(store.recordings().fetchall()) == 2
        assert store.check() == []


def test_interruption_by_the_user(store: dp.Store) -> None:
    """Ctrl-C in the loop leaves the earlier recordings, nothing of this one, and a store that can record again."""
    model = mlp()
    good = dict(store=store, layers=["0"], output="2", progress=False)
    dp.record(model, [torch.randn(3000, 6)], name="net", dataset="train", **good)

    def interrupted() -> Iterator[torch.Tensor]:
        for _ in range(3):
            yield torch.randn(1500, 6)
        raise KeyboardInterrupt

    before = store.sql("select * from recording").fetchall()
    with pytest.raises(KeyboardInterrupt):
        dp.record(model, interrupted(), name="net", dataset="test", **good)
    assert store.sql("select * from recording").fetchall() == before
    assert store.datasets().fetchall() == [("train", 3000, 1)]
    assert store.check() == []
    dp.record(model, [torch.randn(3, 6)], name="net", dataset="test", **good)


def test_reader_sees_no_half_recording(store: dp.Store) -> None:
    """While a recording goes on, the store shows what was there before, and all of it at the end."""
    with store.record(mlp(), "net", "test", layers=["0"], output="2") as rec:
        for _ in range(3):
            rec(torch.randn(2500, 6))
            for view in ("model", "dataset", "layer", "recording", "image", "prediction", "activation", "top_image"):
                assert store.sql(f"select count(*) from {view}").fetchall() == [(0,)]
    assert store.sql("select images from dataset_accuracy").fetchall() in ([], [(0,)])
    assert store.sql("select count(*) from prediction").fetchall() == [(7500,)]


# --- torch.compile -----------------------------------------------------------------------------------------------------

COMPILERS = ["eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("backend", COMPILERS)
def test_compiled_model(store: dp.Store, backend: str, warm: bool) -> None:
    """A compiled model, compiled before or while recording, is recorded like the plain one, and runs without hooks afterwards."""
    torch._dynamo.reset()
    model, images = ConvNet().eval(), torch.randn(IMAGES, 3, 7, 6)
    compiled = torch.compile(model, backend=backend)
    if warm:
        with torch.no_grad():
            compiled(images)
    before = fingerprint(model)
    for prefix, dataset in (("_orig_mod.", "by torch's name"), ("", "by the plain name")):
        with store.record(compiled, "net", dataset, layers=[prefix + "conv1"], output=prefix + "fc") as rec:
            for batch in (images, images[:3], images):
                rec(batch)
        expected = torch.cat([plain(model, "conv1", batch) for batch in (images, images[:3], images)]).amax((2, 3))
        assert same_bits(stored(store, "conv1", dataset), expected)
        assert fingerprint(model) == before
        for _ in range(3):
            compiled(images)
            with torch.no_grad():
                compiled(images)


@pytest.mark.parametrize("warm", [False, True])
def test_layers_of_a_compiled_model(warm: bool) -> None:
    """The layers of a compiled model are those of the plain one, whether it ran before or not."""
    torch._dynamo.reset()
    model, images = ConvNet().eval(), torch.randn(IMAGES, 3, 7, 6)
    compiled = torch.compile(model, backend="eager")
    if warm:
        with torch.no_grad():
            compiled(images)
    assert dp.layers(compiled, images) == dp.layers(model, images)


def test_compiled_model_is_the_same_model(store: dp.Store) -> None:
    """Compiling doesn't change the weights: the compiled model is recorded under the name of the plain one."""
    torch._dynamo.reset()
    model, inputs = mlp().eval(), torch.randn(IMAGES, 6)
    dp.record(model, [inputs], store=store, name="net", dataset="plain", layers=[], progress=False)
    dp.record(torch.compile(model, backend="eager"), [inputs], store=store, name="net", dataset="compiled", layers=[], progress=False)
    assert checksum(store, "plain") == checksum(store, "compiled")


def test_provenance(store: dp.Store) -> None:
    """A recording says with which torch, when and how it was made."""
    started = time.time()
    os.environ.pop("TZ", None)
    with store.record(mlp(), "net", "test", layers=["0"], output="2", output_kind="logits", pooling="mean") as rec:
        rec(torch.randn(2, 6))
    (row,) = store.sql(
        "select torch_version, epoch(recorded_at), arguments ->> 'call', arguments -> 'layers', arguments ->> 'pooling', status, images "
        "from recording"
    ).fetchall()
    assert row[0] == torch.__version__
    assert started - 2 < row[1] < time.time() + 2
    assert row[2:] == ("record", '["0","2"]', "mean", "complete", 2)


def test_loader_that_shuffles(store: dp.Store) -> None:
    """A loader that shuffles is refused: images would have other numbers each time."""
    data = torch.utils.data.TensorDataset(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))
    shuffling = torch.utils.data.DataLoader(data, shuffle=True)
    with pytest.raises(InvalidInputError, match="shuffle=False"):
        dp.record(mlp(), shuffling, store=store, name="net", dataset="test", layers=["0"], output="2", progress=False)
    assert store.recordings().fetchall() == []


# --- Layers that come later ---------------------------------------------------------------------------------------------


def test_layers_added_later(tmp_path: Path) -> None:
    """Layers of the same network, recorded later, are as if they had been recorded with the others; their places too."""
    net, random = ConvNet().eval(), torch.Generator().manual_seed(0)
    loader = [(torch.rand(4, 3, 9, 9, generator=random), torch.zeros(4, dtype=int)) for _ in range(3)]
    with dp.open(tmp_path / "together.duckdb") as together, dp.open(tmp_path / "apart.duckdb") as apart:
        dp.record(net, loader, store=together, name="net", dataset="day", layers=["conv1", "relu2"], progress=False)
        for layers, add in ((["relu2"], False), (["conv1"], True)):
            dp.record(net, loader, store=apart, name="net", dataset="day", layers=layers, add_layers=add, progress=False)
        for view in ("activation", "top_image", "neuron_summary", "category_response", "prediction"):
            text = f"select * from {view} order by all"
            assert apart.sql(text).fetchall() == together.sql(text).fetchall(), view
        assert apart.check() == []
        before = apart.layers("net").fetchall()
        with pytest.raises(RecordingExistsError, match="layer 'conv1' of model 'net' is recorded"):
            dp.record(net, loader, store=apart, name="net", dataset="day", layers=["conv1"], add_layers=True, progress=False)
        with pytest.raises(ModelDiffersError):
            dp.record(ConvNet(), loader, store=apart, name="net", dataset="day", layers=["bn1"], add_layers=True, progress=False)
        assert apart.layers("net").fetchall() == before


def test_layers_added_with_other_images(tmp_path: Path) -> None:
    """Images in another order are told by what the network predicts for them."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        net[0].weight.copy_(torch.cat([torch.eye(4)] * 2))
        net[2].weight.copy_(torch.cat([torch.eye(4)] * 2, dim=1))
    inputs = torch.eye(4).repeat(5, 1)
    with dp.open(tmp_path / "study.duckdb") as store:
        dp.record(net, [(inputs, torch.zeros(20, dtype=int))], store=store, name="net", dataset="day", layers=["0"], progress=False)
        with pytest.raises(DatasetDiffersError, match="20 of 20 predictions of model 'net' on 'day' are not those"):
            given = [(inputs.roll(1, 0), torch.zeros(20, dtype=int))]
            dp.record(net, given, store=store, name="net", dataset="day", layers=["1"], add_layers=True, progress=False)
        assert [row[1] for row in store.layers("net").fetchall()] == ["0", "output"]
