"""Takes apart what a loader gives: the inputs of the model, and the labels."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.hooks import describe, first_tensor, torch

if TYPE_CHECKING:
    from torch import nn

LABELS = ("labels", "label", "targets", "target", "fine_label")
INPUTS = ("pixel_values", "inputs", "input", "images", "image", "img", "x")


def split(batch: Any, model: "nn.Module", function: Callable[[Any], Any] | None = None) -> tuple[Any, Any]:
    """Return the inputs of the model, and the labels or None, of what a loader gave.

    >>> inputs, labels = split({"pixel_values": torch.zeros(2, 3), "labels": torch.tensor([1, 0])}, torch.nn.Linear(3, 2))
    >>> inputs.shape, labels
    (torch.Size([2, 3]), tensor([1, 0]))

    A pair is inputs and labels. Of a dict the labels are those of such a name; the inputs are what the model's `forward` has
    parameters for, by name, or else the one entry named as inputs are. `function` decides instead.
    """
    if function is not None:
        batch = function(batch)
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise InvalidInputError(f"batch= must return a pair, (inputs, labels), labels None if unknown; it gave {describe(batch)}.")
        return batch
    if not isinstance(batch, Mapping):
        return batch if isinstance(batch, list | tuple) and len(batch) == 2 else (batch, None)
    labels = next((batch[name] for name in LABELS if name in batch), None)
    rest = {name: value for name, value in batch.items() if name not in LABELS}
    accepted, takes_any = _parameters(model)
    if named := {name: value for name, value in rest.items() if name in accepted}:
        return named, labels
    found = [name for name in INPUTS if isinstance(rest.get(name), torch.Tensor)]
    if not found:
        found = [name for name, value in rest.items() if isinstance(value, torch.Tensor) and value.dtype.is_floating_point]
    if len(found) == 1:
        return rest[found[0]], labels
    if takes_any and rest:
        return rest, labels
    raise InvalidInputError(
        f"the loader gives a dict with {', '.join(map(repr, batch))}, and the model's forward takes {', '.join(accepted) or 'nothing'}: "
        f"say which are its inputs with batch=, a function from such a dict to (inputs, labels)."
    )


def count(inputs: Any) -> int:
    """Return the number of images of a model's inputs."""
    tensor = first_tensor(inputs)
    if tensor is None or not tensor.ndim:
        raise InvalidInputError(
            f"a batch must be a tensor, a tuple or a dict of tensors, or a pair (inputs, labels); the loader gave {describe(inputs)}. "
            f"For another kind pass batch=, a function from a batch to (inputs, labels)."
        )
    return len(tensor)


def _parameters(model: "nn.Module") -> tuple[list[str], bool]:
    parameters = inspect.signature(model.forward).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return named, any(one.kind is one.VAR_KEYWORD for one in parameters)
