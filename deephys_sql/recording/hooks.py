"""Captures what layers of a torch model give out, and leaves the model as it was."""

import contextlib
import fnmatch
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deephys_sql.errors import InvalidInputError, MissingExtraError, UnknownNameError
from deephys_sql.names import require_name
from deephys_sql.recording.inputs import by_layer
from deephys_sql.recording.places import FeatureMap, map_of, pack

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("recording a model needs torch: pip install 'deephys-sql[torch]'.") from error

POOLINGS = ("max", "mean", "first", "flatten")
PENULTIMATE = "penultimate"
AXIS = "_deephys_sql_axis"  # attribute of a tensor, during the first batch

# What is known of where a module's neurons lie, whatever the number of dimensions.
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd
    | nn.modules.batchnorm._BatchNorm
    | nn.modules.instancenorm._InstanceNorm
    | nn.GroupNorm
    | nn.modules.pooling._MaxPoolNd
    | nn.modules.pooling._AvgPoolNd
    | nn.modules.pooling._AdaptiveMaxPoolNd
    | nn.modules.pooling._AdaptiveAvgPoolNd
)
CHANNELS_LAST = nn.Linear | nn.LayerNorm | nn.Embedding | nn.MultiheadAttention


@dataclass(frozen=True)
class Layer:
    """A recordable layer: its name, the kind of module, and the shape of what it gives out, images first."""

    name: str
    kind: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}  {self.kind}  {' x '.join(map(str, self.shape))}"


@dataclass(frozen=True)
class Captured:
    """What a layer gave for a batch: images x neurons, and the place of each maximum, None unless it is one over places."""

    matrix: np.ndarray
    places: np.ndarray | None = None


class Capture:
    """Forward hooks on some layers, while in its `with` block: `take` gives what they gave out, as float32 matrices.

    layers: names of modules, patterns such as "layer4.*", or "penultimate": what goes into the linear layer that makes the
    output. A pattern means the layers of such names that can be recorded, which the first batch tells.
    The values are copied as soon as a layer is done, so that a later layer that works in place can't change them.
    After the first batch `pooled` tells the pooling that each layer's values went through (None when they were images x
    neurons already), `maps` the places of those that are maxima over places, `axes` where their neurons lie, `dimensions`
    how many their values have, and `found` what "penultimate" is.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], output: str | None, pooling: Any = "max", channels: Any = None):
        if not isinstance(model, nn.Module):
            raise InvalidInputError(f"the model must be a torch.nn.Module; got {type(model).__name__}.")
        self._model = model
        self._modules = {name: module for name, module in model.named_modules() if name}
        self._output = output
        self.asked = list(dict.fromkeys([*layers, *([] if output is None else [output])]))
        self.layers = self._expand(self.asked)
        self._by_pattern = set(self.layers) - set(self.asked)
        self._pooling = self._options(pooling, "pooling", POOLINGS, default="max")
        self._channels = self._options(channels, "channels", (None, "first", "last"), default=None)
        self.pooled: dict[str, str | None] = {}
        self.maps: dict[str, FeatureMap] = {}
        self.axes: dict[str, int] = {}
        self.dimensions: dict[str, int] = {}
        self.found: dict[str, str] = {}
        self._head: str | None = None
        self._captured: dict[str, Captured] = {}
        self._unrecordable: dict[str, str] = {}
        self._linear: list[tuple[str, torch.Tensor, torch.Tensor]] = []
        self._explored = False

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules of the layers, by the layers' names; "penultimate" has none."""
        return {name: self._modules[name] for name in self.layers if name in self._modules}

    def __enter__(self) -> "Capture":
        self._captured.clear()
        self._linear.clear()
        self._handles = []
        if not self._explored:
            others = self._harmless()
            self._handles += [module.register_forward_hook(_note_axis) for module in others.values()]
            if self._wants_penultimate:
                linear = {name: module for name, module in others.items() if isinstance(module, nn.Linear | nn.Conv2d)}
                self._handles += [module.register_forward_hook(self._linear_hook(name)) for name, module in linear.items()]
        elif self._head is not None:
            self._handles.append(self._modules[self._head].register_forward_hook(self._linear_hook(self._head)))
        self._handles += [module.register_forward_hook(self._hook(name)) for name, module in self.modules.items()]
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self, returned: Any) -> dict[str, Captured]:
        """Return what one forward pass gave, by layer; `returned` is what the model returned."""
        if not self._explored:
            self._drop_unrecordable()
        if self._wants_penultimate:
            self._captured[PENULTIMATE] = Captured(as_numpy(self._penultimate(returned)))
            self.pooled.setdefault(PENULTIMATE, None)
        missing = [name for name in self.layers if name not in self._captured]
        if missing:
            raise InvalidInputError(
                f"layers {missing} did not run in this forward pass. List those that do with deephys_sql.layers(model, example_input)."
            )
        self._explored = True
        return {name: self._captured.pop(name) for name in self.layers}

    def _harmless(self) -> dict[str, nn.Module]:
        """Return the modules that compute the same with a hook: all but torch's own transformer layers, which have a fast path."""
        inside = {part for module in self._modules.values() if isinstance(module, nn.TransformerEncoderLayer) for part in module.modules()}
        return {name: module for name, module in self._modules.items() if module not in inside}

    @property
    def _wants_penultimate(self) -> bool:
        return PENULTIMATE in self.layers and PENULTIMATE not in self._modules

    def _expand(self, asked: Sequence[str]) -> list[str]:
        """Return the names that are meant, those of a pattern in the order of the modules."""
        names: list[str] = []
        for name in asked:
            if name in self._modules or name == PENULTIMATE or not is_pattern(name):
                if name != PENULTIMATE:
                    require_name("layer", name, list(self._modules))
                names.append(name)
                continue
            found = [known for known in self._modules if fnmatch.fnmatchcase(known, name)]
            if not found:
                raise UnknownNameError(f"no layer has a name like {name!r}; there are {', '.join(map(repr, list(self._modules)[:8]))}…")
            names += found
        return list(dict.fromkeys(names))

    def _options(self, value: Any, what: str, choices: Sequence[Any], default: Any) -> dict[str, Any]:
        """Return an option by layer; given for all, or by names and patterns."""
        for choice in value.values() if isinstance(value, Mapping) else [value]:
            if choice not in choices:
                raise InvalidInputError(f"{what} must be one of {list(choices)}; got {choice!r}.")
        if not isinstance(value, Mapping):
            return by_layer(value, self.layers, what)
        patterns = {key: [name for name in self.layers if fnmatch.fnmatchcase(name, key)] for key in value if key not in self.layers}
        spread = {name: value[key] for key, names in reversed(patterns.items()) for name in names}
        unmatched = {key: value[key] for key, names in patterns.items() if not names}
        return by_layer(spread | unmatched | {key: value[key] for key in value if key in self.layers}, self.layers, what, default)

    def _drop_unrecordable(self) -> None:
        for name in self._by_pattern:
            if name not in self._captured:
                self._unrecordable.setdefault(name, "did not run")
        for name in self._unrecordable:
            for kept in (self._captured, self.pooled, self.maps):
                kept.pop(name, None)
        self.layers = [name for name in self.layers if name not in self._unrecordable]
        for pattern in self.asked:
            if pattern not in self.layers and pattern != self._output and not any(fnmatch.fnmatchcase(n, pattern) for n in self.layers):
                why = ", ".join(f"{name} {reason}" for name, reason in list(self._unrecordable.items())[:3])
                raise InvalidInputError(
                    f"no layer like {pattern!r} can be recorded ({why}). Choose from deephys_sql.layers(model, example_input)."
                )

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name in self._unrecordable:
                return
            try:
                self._capture(name, module, output)
            except InvalidInputError as error:
                if name not in self._by_pattern or self._explored:
                    raise
                self._unrecordable[name] = "runs more than once" if name in self._captured else f"is refused: {error}"

        return hook

    def _capture(self, name: str, module: nn.Module, output: Any) -> None:
        if name in self._captured:
            raise InvalidInputError(
                f"layer {name!r} ran more than once in one forward pass, so its name does not say which values are "
                f"meant. Choose a layer that runs once: deephys_sql.layers(model, example_input) lists them."
            )
        values = first_tensor(output)
        if values is None or values.ndim < 2 or not values.dtype.is_floating_point:
            raise InvalidInputError(f"layer {name!r} gives {describe(output)}; a tensor of floats, images first, is needed.")
        if values.ndim > 2 and name not in self.axes:
            asked = self._channels[name]
            known = neuron_axis(module, values.ndim) if (noted := axis_noted(values)) is None else noted
            self.axes[name] = known if asked is None else {"first": 1, "last": -1}[asked]
        self.dimensions[name] = values.ndim
        pooling = self._pooling[name]
        self.pooled[name] = pooling if values.ndim > 2 else None
        matrix, places = pool(values.detach(), pooling, self.axes.get(name, -1))
        if places is not None:
            places = self._packed(name, places, values)
        self._captured[name] = Captured(as_numpy(matrix), places)

    def _packed(self, name: str, places: torch.Tensor, values: torch.Tensor) -> np.ndarray:
        axis = self.axes[name] % values.ndim
        shape = tuple(length for place, length in enumerate(values.shape) if place not in (0, axis))
        found = map_of(shape, are_tokens=len(shape) == 1 and axis == values.ndim - 1)
        kept = self.maps.setdefault(name, found)
        if (kept.rows, kept.columns) not in ((found.rows, found.columns), (None, None)):
            self.maps[name] = FeatureMap(None, None)
        return pack(places.cpu().numpy(), found)

    def _linear_hook(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            given = inputs[0] if inputs else None
            for tensor in (given, output):
                if not isinstance(tensor, torch.Tensor) or tensor.ndim not in (2, 4) or tensor.shape[2:].numel() != 1:
                    return
            self._linear.append((name, given.detach().flatten(1).clone(), output.detach()))

        return hook

    def _penultimate(self, returned: Any) -> torch.Tensor:
        """Return what went into the linear layer that made the output."""
        if self._head is None:
            self._head = self._find_head(returned)
            self.found[PENULTIMATE] = f"input of {self._head}"
        inputs = [given for name, given, _ in self._linear if name == self._head]
        self._linear.clear()
        if len(inputs) != 1:
            raise InvalidInputError(
                f"layer {PENULTIMATE!r} is the input of {self._head!r}, which ran {len(inputs)} times in this forward pass. "
                f"Name a layer instead: deephys_sql.layers(model, example_input) lists them."
            )
        return inputs[0]

    def _find_head(self, returned: Any) -> str:
        if any(name == self._output for name, _, _ in self._linear):
            return self._output
        captured = self._captured.get(self._output)
        logits = first_tensor(returned) if captured is None else torch.from_numpy(captured.matrix)
        same_shape, makers = [], []
        for name, _, given in self._linear:
            if logits is not None and given.flatten(1).shape == logits.shape:
                same_shape.append(name)
                if torch.equal(given.flatten(1).float().cpu(), logits.float().cpu()):
                    makers.append(name)
        if makers:
            return makers[-1]
        if len(same_shape) == 1 and same_shape[0] == self._linear[-1][0]:
            return same_shape[0]  # followed by something that is no layer, such as a softmax
        found = f"{len(same_shape)} linear layers give values of its shape ({', '.join(same_shape)})" if same_shape else "none does"
        raise InvalidInputError(
            f"layer {PENULTIMATE!r} can't be found: it is what goes into the linear layer that makes the output, and {found}. "
            f"Name a layer instead: deephys_sql.layers(model, example_input) lists them."
        )


def is_pattern(name: str) -> bool:
    """Tell a pattern, such as "layer4.*", from a name."""
    return any(sign in name for sign in "*?[")


def neuron_axis(module: nn.Module, dimensions: int) -> int:
    """Return which axis of a module's output tells neurons apart: channels of a feature map, dimensions of tokens.

    >>> neuron_axis(nn.Conv1d(2, 7, 3), 3), neuron_axis(nn.Linear(2, 7), 4), neuron_axis(nn.ReLU(), 4), neuron_axis(nn.ReLU(), 3)
    (1, -1, 1, -1)

    The module decides where it can, by what it is or is made of; else three dimensions are images x tokens x dimensions,
    more are images x channels x places.
    """
    while isinstance(module, nn.Sequential) and len(module):
        module = module[0] if isinstance(module[0], CHANNELS_FIRST | CHANNELS_LAST) else module[-1]
        if isinstance(module, CHANNELS_FIRST | CHANNELS_LAST):
            break
    if (known := _axis_of(module)) is not None:
        return known
    axes = {_axis_of(part) for part in module.modules()} - {None}
    return axes.pop() if len(axes) == 1 else 1 if dimensions > 3 else -1


def _axis_of(module: nn.Module) -> int | None:
    if isinstance(module, nn.LayerNorm) and type(module).__name__.endswith("2d"):  # torchvision's and timm's, of channels
        return 1
    return -1 if isinstance(module, CHANNELS_LAST) else 1 if isinstance(module, CHANNELS_FIRST) else None


def axis_noted(values: torch.Tensor) -> int | None:
    """Return the axis of the neurons that `_note_axis` found for this tensor; None when it found none."""
    return getattr(values, AXIS, None)


def _note_axis(module: nn.Module, inputs: Any, output: Any) -> None:
    """Mark what a layer gives out with the axis of its neurons; what has no weights goes on with that of its input."""
    values = first_tensor(output)
    if values is None or values.is_nested or values.ndim < 3:
        return
    if (known := _axis_of(module)) is not None:
        setattr(values, AXIS, known)
    elif next(module.parameters(), None) is None and inputs and isinstance(given := inputs[0], torch.Tensor):
        same = not given.is_nested and given.shape == values.shape and given.stride() == values.stride()
        if same and axis_noted(given) is not None:
            setattr(values, AXIS, axis_noted(given))


def pool(values: torch.Tensor, pooling: str, axis: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a copy as images x neurons, and the places of maxima over places; the neurons lie along `axis`.

    >>> pool(torch.tensor([[[[1.0, 2.0, 2.0]]]]), "max", 1)
    (tensor([[2.]]), tensor([[1]]))

    `max` and `mean` go over all other places or tokens; `first` takes the first token (images x tokens x dimensions),
    often the class token; `flatten` makes every value a neuron. Places are numbered row after row, the first of equal ones.
    """
    if values.is_nested:
        # Tokens of images of different numbers lie in no common grid.
        return torch.stack([pool(image[None], pooling, axis)[0][0] for image in values.unbind()]), None
    if values.ndim == 2:
        return values.clone(), None
    if pooling == "flatten":
        return values.flatten(1).clone(), None
    if pooling == "first":
        if values.ndim != 3:
            raise InvalidInputError(f"pooling 'first' takes the first of images x tokens x dimensions; got shape {tuple(values.shape)}.")
        return values[:, 0].clone(), None
    places = values.movedim(axis, 1).flatten(2)
    if pooling == "mean":
        return values.float().mean(dim=[place for place in range(1, values.ndim) if place != axis % values.ndim]), None
    if not places.shape[2]:
        raise InvalidInputError(f"a maximum over no places: the layer gave shape {tuple(values.shape)}.")
    return tuple(places.max(dim=2))


def as_numpy(values: torch.Tensor) -> np.ndarray:
    """Return a tensor as NumPy float32."""
    return values.float().cpu().numpy()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def forward(model: nn.Module, inputs: Any) -> Any:
    """Run a model on a tensor, a tuple of arguments or a dict of named ones, moved to the model's device."""
    device = device_of(model)
    if isinstance(inputs, Mapping):
        return model(**{name: _moved(value, device) for name, value in inputs.items()})
    if isinstance(inputs, list | tuple):
        return model(*(_moved(value, device) for value in inputs))
    return model(_moved(inputs, device))


def device_of(model: nn.Module) -> torch.device:
    """Return where a model is: the device of its first parameter."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def image_of(inputs: Any) -> torch.Tensor | None:
    """Return the only pictures among a model's inputs, images x channels x height x width; None without such a tensor."""
    given = [inputs] if isinstance(inputs, torch.Tensor) else inputs.values() if isinstance(inputs, Mapping) else inputs
    found = [value for value in given if isinstance(value, torch.Tensor) and value.ndim == 4 and value.dtype.is_floating_point]
    return found[0] if len(found) == 1 else None


def with_image(inputs: Any, image: torch.Tensor, other: torch.Tensor) -> Any:
    """Return a model's inputs with one image in place of `image`, and of the other tensors what belongs to the first."""

    def one(value: Any) -> Any:
        if value is image:
            return other
        return value[:1] if isinstance(value, torch.Tensor) and value.ndim and len(value) == len(image) else value

    if isinstance(inputs, Mapping):
        return {name: one(value) for name, value in inputs.items()}
    return [one(value) for value in inputs] if isinstance(inputs, list | tuple) else one(inputs)


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that `torch.compile` wrapped: a compiled one may leave out hooks."""
    return getattr(model, "_orig_mod", model)


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the tensor that a module gives out: itself, `.logits`, `.last_hidden_state`, or the first of a tuple."""
    for name in ("logits", "last_hidden_state"):
        output = getattr(output, name, output)
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, list | tuple) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def describe(output: Any) -> str:
    """Return a few words on what a module gives out, for an error."""
    if isinstance(output, torch.Tensor):
        return f"a tensor of shape {tuple(output.shape)} of {output.dtype}"
    return f"a {type(output).__name__}"


def nonlinearity_of(module: nn.Module) -> str | None:
    """Return the name of the activation function that a module ends with, in lower case; None when it is not known.

    >>> nonlinearity_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    'relu'
    """
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        return "none"
    return type(module).__name__.lower() if type(module).__module__ == "torch.nn.modules.activation" else None


def weights_checksum(model: nn.Module) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of what `state_dict` holds: parameters and kept buffers."""
    return state_checksum(model.state_dict())


def state_checksum(state: Mapping[str, Any]) -> str:
    """Return the same of a state that was saved."""
    checksum = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if isinstance(tensor, torch.Tensor):
            checksum.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            checksum.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value
