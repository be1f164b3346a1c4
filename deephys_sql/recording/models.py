"""Records a torch model while it runs: `layers` and `ModelRecorder`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.hooks import (
    Capture,
    Layer,
    as_numpy,
    describe,
    device_of,
    evaluating,
    first_tensor,
    forward,
    image_of,
    nonlinearity_of,
    torch,
    uncompiled,
    weights_checksum,
    with_image,
)
from deephys_sql.recording.inputs import NUMBERS, Records, as_json, as_labels, by_layer
from deephys_sql.recording.pictures import Encoder
from deephys_sql.recording.places import patches, receptive_fields
from deephys_sql.recording.request import Batch, RecordingRequest
from deephys_sql.recording.writer import RecordingWriter, Writing

if TYPE_CHECKING:
    from torch import nn

RETURNED = "output"  # the layer that holds what the model returns, when no module is named


def layers(model: "nn.Module", example_input: Any) -> list[Layer]:
    """List the layers that can be recorded, in the order in which they run, with the shapes they give out.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> [str(layer) for layer in layers(net, torch.zeros(2, 4))]
    ['0  Linear  2 x 3', '1  ReLU  2 x 3']

    example_input: what the model is called with: a tensor, a tuple of arguments or a dict of named ones.
    Layers that run more than once in a forward pass are left out, and so is the model itself.
    """
    model = uncompiled(model)
    found: dict[str, list[Layer]] = {}

    def hook(name: str) -> Callable:
        def note(module: "nn.Module", inputs: Any, output: Any) -> None:
            values = first_tensor(output)
            shape = () if values is None else tuple(values.shape)
            found.setdefault(name, []).append(Layer(name, type(module).__name__, shape))

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    try:
        with evaluating(model):
            forward(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return [runs[0] for runs in found.values() if len(runs) == 1 and len(runs[0].shape) >= 2]


class ModelRecorder:
    """Runs a model on batches and records chosen layers; made by `Store.record`.

    >>> with store.record(net, "resnet18", "CIFAR-10", layers=["avgpool"], output="fc") as rec:  # doctest: +SKIP
    ...     for inputs, labels in loader:
    ...         rec(inputs, labels=labels)

    model: any `torch.nn.Module`, on any device; it runs in evaluation mode without gradients, and is left as it was.
    name, dataset: what the model (one set of weights) and the set of images are called in the store.
    layers: names of modules, as `deephys_sql.layers` lists them; patterns, such as "layer4.*", for those of such names that can
        be recorded; or "penultimate", what goes into the linear layer that makes the output. One, or a list.
    output: the module that gives the logits; None takes what the model returns, stored as the layer `output`.
    output_kind: what the output holds: `logits`, `log_softmax` or `probabilities`.
    categories: names in the order of the outputs; left out, those stored, or numbers.
    pooling: how feature maps (images x channels x height x width) and tokens (images x tokens x dimensions) become one
        value a neuron: `max` (default), `mean`, `first` (token) or `flatten`; one for all, or a dict by layer. With the maximum
        the place that it came from is kept for each neuron's top images, the first in the order of rows where several are equal,
        and the part of the input that it sees: the receptive field, measured with the gradients of an image of noise, by
        some passes a layer, the first time that the model is recorded with inputs of this size.
    channels: `first` or `last` where a layer's neurons lie along that axis and its modules don't tell; one for all, or a dict.
    nonlinearity: what the values came out of, when the module does not tell; one for all, or a dict by layer.
    reference, replace, thumbnail_size, thumbnail_format, keep_originals: as in `Store.add_recording`.
    add_layers: add the layers to what is recorded of the model on the dataset; what it predicts is compared, and the images must come
        in the same order.

    Raises what `Store.add_recording` raises, and `UnknownNameError` for a layer that isn't there, with the nearest.
    """

    _writer: RecordingWriter | None = None
    _input_size: tuple[int, int] | None = None

    def __init__(
        self,
        writing: Writing,
        model: "nn.Module",
        name: str,
        dataset: str,
        *,
        layers: str | Sequence[str],
        output: str | None = None,
        output_kind: str = "logits",
        categories: Sequence[str] | None = None,
        pooling: str | Mapping[str, str] = "max",
        channels: str | Mapping[str, str] | None = None,
        nonlinearity: str | Mapping[str, str] | None = None,
        reference: bool = False,
        replace: bool = False,
        add_layers: bool = False,
        thumbnail_size: int = 64,
        thumbnail_format: str = "webp",
        keep_originals: bool = False,
    ):
        self._open_writer = writing
        self._model = model = uncompiled(model)
        self._output = output
        layers = [layers] if isinstance(layers, str) else layers
        if not isinstance(layers, Sequence):
            raise InvalidInputError(f"layers must be a list of names, such as layers=['fc1']; got {layers!r}.")
        layers = [_plain_name(layer) for layer in layers]
        output = _plain_name(output)
        self._capture = Capture(model, layers, output, pooling, channels)
        hooked = self._capture.layers
        given = by_layer(nonlinearity, hooked, "nonlinearity")
        known = {layer: nonlinearity_of(module) for layer, module in self._capture.modules.items()}
        self._request = RecordingRequest(
            model=name,
            dataset=dataset,
            layers=self._capture.asked,
            categories=categories,
            output=RETURNED if output is None else output,
            output_kind=output_kind,
            nonlinearity={layer: given.get(layer) or known.get(layer) for layer in hooked},
            pooling=self._capture.pooled,
            maps=self._capture.maps,
            reference=reference,
            replace=replace,
            add_layers=add_layers,
            encoder=Encoder(thumbnail_size, thumbnail_format, keep_originals),
            torch_version=torch.__version__,
            call="record",
            options={
                "pooling": pooling if isinstance(pooling, str) else dict(pooling),
                "channels": channels if channels is None or isinstance(channels, str) else dict(channels),
                "found": self._capture.found,
            },
        )
        if output is None and RETURNED in hooked:
            raise InvalidInputError(
                f"layer {RETURNED!r} is recorded, and what the model returns would be stored under that name: pass output={RETURNED!r} "
                f"if that module gives the logits."
            )

    def __enter__(self) -> "ModelRecorder":
        request = dataclasses.replace(self._request, weights_checksum=weights_checksum(self._model))
        self._writing = self._open_writer(request)
        self._writer = self._writing.__enter__()
        return self

    def __exit__(self, *raised) -> None:
        self._writer = None
        self._writing.__exit__(*raised)

    def __call__(self, inputs: Any, *, labels: Any = None, images: Any = None, metadata: Any = None) -> Any:
        """Run the model on a batch, record it, and return what the model returned.

        inputs: a tensor, a tuple of arguments or a dict of named ones; moved to the model's device.
        labels: one category id an image, -1 or None where unknown. images, metadata: as in `Store.add_recording`, of this
        batch.
        """
        if self._writer is None:
            raise InvalidInputError("record batches inside the block: `with store.record(...) as rec: rec(inputs)`.")
        self._writer.begin_batch()
        with self._capture, evaluating(self._model):
            returned = forward(self._model, inputs)
            captured = self._capture.take(returned)
        if self._capture.maps:
            self._describe_maps(inputs)
        matrices = {layer: values.matrix for layer, values in captured.items()}
        if self._output is None:
            matrices[RETURNED] = _logits(returned)
        numbers = NUMBERS[self._writer.images :]
        batch = Batch(
            matrices,
            places={layer: values.places for layer, values in captured.items() if values.places is not None},
            labels=None if labels is None else as_labels(labels),
            pictures=None if images is None else self._request.encoder.encode_all(images, self._writer.images),
            metadata=None if metadata is None else as_json(Records(metadata, numbers)[:], numbers),
        )
        self._writer.add(batch)
        return returned

    def _describe_maps(self, inputs: Any) -> None:
        """Complete the maps with what their places see of the input, measured with the first batch."""
        maps = self._capture.maps
        image = image_of(inputs)
        size = None if image is None or not len(image) else tuple(image.shape[2:])
        if self._input_size is None:
            self._input_size = size
            if size is None:
                return
            grids = {layer for layer, found in maps.items() if found.rows not in (None, 1) and self._capture.dimensions[layer] == 3}
            fields = {layer: patches(maps[layer], size) for layer in grids}
            for layer in maps.keys() - grids:
                fields[layer] = self._writer.measured_fields(layer, maps[layer], size)
            if unknown := [layer for layer, known in fields.items() if known is None]:
                fields |= self._measure_fields(unknown, inputs, image)
            for layer, found in maps.items():
                maps[layer] = dataclasses.replace(found, input_size=size, fields=fields.get(layer))
        elif size != self._input_size:
            for layer, found in maps.items():
                maps[layer] = dataclasses.replace(found, input_size=None, fields=None)

    def _measure_fields(self, layers: Sequence[str], inputs: Any, image: Any) -> dict[str, Any]:
        axes = self._capture.axes
        seen: dict[str, Any] = {}

        def hook(layer: str) -> Callable:
            def note(module: "nn.Module", given: Any, output: Any) -> None:
                seen[layer] = first_tensor(output).movedim(axes[layer], 1).clone()

            return note

        def run(noise: Any) -> dict[str, Any]:
            seen.clear()
            forward(self._model, with_image(inputs, image, noise))
            return seen

        modules = self._capture.modules
        handles = [modules[layer].register_forward_hook(hook(layer)) for layer in layers if self._capture.dimensions[layer] == 4]
        try:
            with evaluating(self._model), torch.enable_grad(), torch.random.fork_rng():
                return receptive_fields(run, (1, *image.shape[1:]), image.dtype, device_of(self._model))
        except Exception:  # a model that can't run on one image of noise, or has no gradient: the fields are not known
            return {}
        finally:
            for handle in handles:
                handle.remove()


def _logits(returned: Any) -> Any:
    logits = first_tensor(returned)
    if logits is None or logits.ndim != 2:
        raise InvalidInputError(
            f"the model returns {describe(returned)}; logits, images x categories, are needed. Name the module that gives "
            f"them: output='fc'."
        )
    return as_numpy(logits.detach())


def _plain_name(layer: Any) -> Any:
    """Return the name that a layer has in the model that was not compiled."""
    return layer.removeprefix("_orig_mod.") if isinstance(layer, str) else layer
