"""Captures what layers of a torch model give out, and leaves the model as it was."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deephys_sql.errors import InvalidInputError, MissingExtraError
from deephys_sql.names import require_name

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("recording a model needs torch: pip install 'deephys-sql[torch]'.") from error

POOLINGS = ("max", "mean", "first", "flatten")

# What is known of where a module's neurons lie, whatever the number of dimensions.
CHANNELS_FIRST = nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm | nn.modules.pooling._MaxPoolNd | nn.modules.pooling._AvgPoolNd
CHANNELS_LAST = nn.Linear | nn.LayerNorm | nn.Embedding | nn.MultiheadAttention


@dataclass(frozen=True)
class Layer:
    """A recordable layer: its name, the kind of module, and the shape of what it gives out, images first."""

    name: str
    kind: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}  {self.kind}  {' x '.join(map(str, self.shape))}"


@dataclass
class Capture:
    """Forward hooks on some layers, while in its `with` block: `take` gives what they gave out, as float32 matrices.

    The values are copied as soon as a layer is done, so that a later layer that works in place can't change them.
    `pooled` tells, after the first pass, the pooling that each layer's values went through; None when they were
    images x neurons already.
    """

    model: nn.Module
    layers: Sequence[str]
    pooling: Mapping[str, str]
    pooled: dict[str, str | None] = field(default_factory=dict)
    _captured: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.model, nn.Module):
            raise InvalidInputError(f"the model must be a torch.nn.Module; got {type(self.model).__name__}.")
        modules = dict(self.model.named_modules())
        for name in self.layers:
            require_name("layer", name, [known for known in modules if known])
        for name, pooling in self.pooling.items():
            if pooling not in POOLINGS:
                raise InvalidInputError(f"pooling of layer {name!r} must be one of {list(POOLINGS)}; got {pooling!r}.")

    def __enter__(self) -> "Capture":
        self._captured.clear()
        modules = dict(self.model.named_modules())
        self._handles = [modules[name].register_forward_hook(self._hook(name)) for name in self.layers]
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self) -> dict[str, Any]:
        """Return what one forward pass gave: by layer, images x neurons, NumPy float32."""
        missing = [name for name in self.layers if name not in self._captured]
        if missing:
            raise InvalidInputError(
                f"layers {missing} did not run in this forward pass. List those that do with deephys_sql.layers(model, example_input)."
            )
        return {name: self._captured.pop(name).float().cpu().numpy() for name in self.layers}

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name in self._captured:
                raise InvalidInputError(
                    f"layer {name!r} ran more than once in one forward pass, so its name does not say which values are "
                    f"meant. Choose a layer that runs once: deephys_sql.layers(model, example_input) lists them."
                )
            values = first_tensor(output)
            if values is None or values.ndim < 2 or not values.dtype.is_floating_point:
                raise InvalidInputError(f"layer {name!r} gives {describe(output)}; a tensor of floats, images first, is needed.")
            self.pooled[name] = self.pooling[name] if values.ndim > 2 else None
            self._captured[name] = pool(values.detach(), self.pooling[name], neuron_axis(module, values.ndim))

        return hook


def neuron_axis(module: nn.Module, dimensions: int) -> int:
    """Return which axis of a module's output tells neurons apart: channels of a feature map, dimensions of tokens.

    >>> neuron_axis(nn.Conv1d(2, 7, 3), 3), neuron_axis(nn.Linear(2, 7), 4), neuron_axis(nn.ReLU(), 4), neuron_axis(nn.ReLU(), 3)
    (1, -1, 1, -1)

    The module decides where it can; else three dimensions are images x tokens x dimensions, more are
    images x channels x places.
    """
    while isinstance(module, nn.Sequential) and len(module):
        module = module[0] if isinstance(module[0], CHANNELS_FIRST | CHANNELS_LAST) else module[-1]
        if isinstance(module, CHANNELS_FIRST | CHANNELS_LAST):
            break
    if isinstance(module, CHANNELS_LAST):
        return -1
    return 1 if isinstance(module, CHANNELS_FIRST) or dimensions > 3 else -1


def pool(values: torch.Tensor, pooling: str, axis: int) -> torch.Tensor:
    """Return a copy as images x neurons; the neurons lie along `axis`.

    >>> pool(torch.tensor([[[[1.0, 2.0]]]]), "max", 1)
    tensor([[2.]])

    `max` and `mean` go over all other places or tokens; `first` takes the first token (images x tokens x dimensions),
    often the class token; `flatten` makes every value a neuron.
    """
    if values.is_nested:
        return torch.stack([pool(image[None], pooling, axis)[0] for image in values.unbind()])
    if values.ndim == 2:
        return values.clone()
    if pooling == "flatten":
        return values.flatten(1).clone()
    if pooling == "first":
        if values.ndim != 3:
            raise InvalidInputError(f"pooling 'first' takes the first of images x tokens x dimensions; got shape {tuple(values.shape)}.")
        return values[:, 0].clone()
    places = [place for place in range(1, values.ndim) if place != axis % values.ndim]
    return values.amax(dim=places) if pooling == "max" else values.float().mean(dim=places)


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
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if isinstance(inputs, Mapping):
        return model(**{name: _moved(value, device) for name, value in inputs.items()})
    if isinstance(inputs, list | tuple):
        return model(*(_moved(value, device) for value in inputs))
    return model(_moved(inputs, device))


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
