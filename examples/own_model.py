"""Records a classifier of your own on two datasets, and prints the neurons that changed most.

    python examples/own_model.py

It trains a small network on handwritten digits (scikit-learn's, 8 x 8 pixels), then records it on digits that it has not
seen and on the same digits shifted by one pixel. Its output:

    ┌─────────┬──────────┐
    │ dataset │ accuracy │
    │ varchar │  double  │
    ├─────────┼──────────┤
    │ digits  │    0.926 │
    │ shifted │     0.61 │
    └─────────┴──────────┘

    ┌────────┬──────────┬────────────────────┬──────────┐
    │ neuron │ spurious │ reference_category │ category │
    │ int32  │  double  │      varchar       │ varchar  │
    ├────────┼──────────┼────────────────────┼──────────┤
    │      3 │     0.47 │ 1                  │ 6        │
    │     10 │     0.41 │ 6                  │ 5        │
    │     19 │     0.28 │ 1                  │ 5        │
    └────────┴──────────┴────────────────────┴──────────┘
"""

import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import deephys_sql as dp

digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
labels = torch.tensor(digits.target)
unseen = slice(1200, None)

torch.manual_seed(0)
net = nn.Sequential()
net.add_module("features", nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)))
net.add_module("flatten", nn.Flatten())
net.add_module("hidden", nn.Sequential(nn.Linear(16 * 9, 32), nn.ReLU()))
net.add_module("head", nn.Linear(32, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(images[:1200]), labels[:1200]).backward()
    optimizer.step()


def loader(pictures: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(pictures.split(100), labels[unseen].split(100)))


datasets = {"digits": images[unseen], "shifted": torch.roll(images[unseen], 1, dims=3)}

with tempfile.TemporaryDirectory() as folder, dp.open(f"{folder}/study.duckdb") as store:
    for dataset, pictures in datasets.items():
        dp.record(
            net,
            loader(pictures),
            store=store,
            name="digits-net",
            dataset=dataset,
            layers=["features", "hidden"],
            output="head",
            categories=[str(digit) for digit in np.unique(digits.target)],
            images="inputs",
        )
    print(store.sql("select dataset, round(accuracy, 3) as accuracy from dataset_accuracy order by accuracy desc"))
    ranked = store.query("ranked_neurons", model="digits-net", layer="hidden", dataset="shifted", score="spurious", k=3)
    print(ranked.project("neuron, round(score, 2) as spurious, reference_category, category"))
