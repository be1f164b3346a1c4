"""The paper's small convolutional network for coloured digits, and its training."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from deephys_sql.errors import InvalidInputError

CATEGORIES = 10


class ColoredMnistNetwork(nn.Module):
    """The network of the paper's Colored MNIST experiment.

    Example:
        >>> network = ColoredMnistNetwork().eval()
        >>> network(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 10])

    Input: n x 3 x 28 x 28, float32, 0..1. Result: n x 10 logits, float32.
    Submodules worth a forward hook: `linear1`, 50 values after its ReLU (never negative), and `output`, the 10 logits.

    Source: Sarkar et al., "Deephys", Colored MNIST.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.dropout_channels = nn.Dropout2d()
        self.linear1 = nn.Sequential(nn.Linear(320, 50), nn.ReLU())
        self.dropout = nn.Dropout()
        self.output = nn.Linear(50, CATEGORIES)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(functional.max_pool2d(self.conv1(images), 2))
        x = functional.relu(functional.max_pool2d(self.dropout_channels(self.conv2(x)), 2))
        x = self.linear1(x.flatten(start_dim=1))
        return self.output(self.dropout(x))


def default_epochs(images: int) -> int:
    """How many epochs suffice for this many training images: 10 below 20,000 images, 3 from there on.

    Example:
        >>> default_epochs(4_000), default_epochs(60_000)
        (10, 3)

    Source: measured; the paper does not publish its training settings.
    """
    return 10 if images < 20_000 else 3


def train(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    progress: bool = True,
) -> ColoredMnistNetwork:
    """Train a fresh network with Adam and cross entropy, and return it in eval mode.

    Example:
        >>> network = train(images, labels, seed=0, epochs=default_epochs(len(images)))  # doctest: +SKIP

    images: n x 28 x 28 x 3, float32, 0..1. labels: n, integers 0..9. `progress` draws a bar on stderr.

    The same seed gives the same weights, bit for bit, whatever `torch.get_num_threads()` is: training runs on the CPU
    in one thread, because sums split over threads round differently. The caller's thread count and random state are
    left as they were.

    Raises InvalidInputError when a shape, a type or a label does not fit, or an option is not positive.

    Source: Sarkar et al., "Deephys", Colored MNIST; the training settings are ours, the paper does not publish its own.
    """
    images, labels = _checked(images, labels)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate)):
        if not value > 0:
            raise InvalidInputError(f"train: {name} is {value!r}; give a number above 0.")

    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        network = ColoredMnistNetwork()
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        batches = -(-len(images) // batch_size)
        with tqdm(total=epochs * batches, desc="training", unit="batch", file=sys.stderr, disable=None if progress else True) as bar:
            for epoch in range(epochs):
                bar.set_postfix_str(f"epoch {epoch + 1} of {epochs}")
                order = torch.randperm(len(images)).numpy()
                for start in range(0, len(order), batch_size):
                    chosen = order[start : start + batch_size]
                    batch = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).contiguous()
                    optimizer.zero_grad()
                    functional.cross_entropy(network(batch), torch.from_numpy(labels[chosen])).backward()
                    optimizer.step()
                    bar.update()
    return network.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, so that the same input gives the same bits on every machine of a kind."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _checked(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or images.shape[1:] != (28, 28, 3) or images.dtype != np.float32 or len(images) == 0:
        raise InvalidInputError(
            "train: 'images' must be n x 28 x 28 x 3, float32, n at least 1 "
            f"(got {images.shape}, {images.dtype}). colored_mnist.color() makes such images."
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidInputError(f"train: 'labels' must be {len(images)} integers, one an image (got {labels.shape}, {labels.dtype}).")
    if labels.min() < 0 or labels.max() >= CATEGORIES:
        raise InvalidInputError(f"train: 'labels' must lie in 0..{CATEGORIES - 1} (got {labels.min()}..{labels.max()}).")
    return images, labels.astype(np.int64)
