"""What the pages of images and sets of images share: top neurons in several datasets, each with its own top images."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deephys_sql import assets

OWN = "own"  # of `lead`: each dataset gives its own neurons
PICTURES_A_NEURON = 6
FEWER_PICTURES = 5  # beside more than three datasets, so that they fit on a screen


@dataclass
class Cell:
    """A neuron in one dataset: its mean response to the set, and the images of that dataset that activate it most."""

    neuron: int
    response: float | None
    top: list


@dataclass
class Neurons:
    """Neurons in rows, datasets in columns; `images` says how many images of each dataset the responses are means over.

    lead: the dataset that gave the neurons and their order, so that a row is one neuron; None when each column has its own.
    asked: the datasets whose responses were asked for; the other columns show top images only.
    """

    columns: list[str]
    lead: str | None
    rows: list[list[Cell | None]]
    images: dict[str, int]
    asked: list[str]

    @property
    def is_empty(self) -> bool:
        return not self.rows

    def pictures(self) -> list[tuple[str, int]]:
        """Return which pictures the table shows: datasets and images."""
        return [
            (dataset, row["image"])
            for cells in self.rows
            for dataset, cell in zip(self.columns, cells)
            if cell is not None
            for row in cell.top
        ]


def as_json(values: Iterable[Any]) -> str:
    """Return a list as the named queries take one."""
    return json.dumps(list(values), ensure_ascii=False)


def shown(page, *further: str) -> list[str]:
    """Return the reference, the chosen datasets and further ones, each once."""
    return [name for name in dict.fromkeys([page.reference, *page.datasets, *further]) if name is not None]


def lead(page, columns: Sequence[str], default: str) -> str | None:
    """Return the dataset whose order of neurons was asked for; None for each dataset's own."""
    chosen = page.choice_of("lead", [OWN, *columns], default)
    return None if chosen == OWN else chosen


def neurons_of(rows: Iterable) -> set[int]:
    return {row["neuron"] for row in rows}


async def top_images(
    page, neurons: Iterable[int], datasets: Sequence[str], k: int | None = None, *, keep: bool = False
) -> dict[tuple[str, int], list]:
    """Return the first few top images of each neuron in each dataset."""
    k = k or page.pictures_each or (PICTURES_A_NEURON if len(datasets) <= 3 else FEWER_PICTURES)
    found: dict[tuple[str, int], list] = {}
    neurons = sorted(set(neurons))
    if neurons:
        for row in await page.query("top_images_of_neurons", neurons=as_json(neurons), datasets=as_json(datasets), k=k, keep=keep):
            found.setdefault((row["dataset"], row["neuron"]), []).append(row)
    return found


async def measure(page, neurons: Iterable[int]) -> None:
    """Have each neuron's largest activation in the reference at hand, when the page shows activations in place of responses."""
    if page.normalise == "none" and page.layer is not None:
        values = {"model": page.model, "layer": page.layer, "reference": page.reference, "neurons": sorted(set(neurons))}
        page.largest = {row["neuron"]: row["max"] for row in await page.rows(assets.sql("site/largest_activations.sql"), values)}


async def images_of_confusions(page, confusions: Iterable, dataset: str, k: int, *, keep: bool = False) -> dict[tuple[int, int], list]:
    """Return the first k images of each confusion, a row with label and predicted, in a dataset."""
    found: dict[tuple[int, int], list] = {}
    pairs = [(row["label"], row["predicted"]) for row in confusions]
    if pairs:
        for row in await page.query("images_of_confusions", confusions=as_json(pairs), datasets=as_json([dataset]), k=k, keep=keep):
            found.setdefault((row["label"], row["predicted"]), []).append(row)
    return found


def table(
    rows: Iterable, columns: Sequence[str], lead: str | None, tops: dict[tuple[str, int], list], asked: Sequence[str] | None = None
) -> Neurons:
    """Arrange rows of `dataset, rank, neuron, response, images` for the page; `asked` are the datasets that they were asked for."""
    ranks: dict[int, dict[str, Cell]] = {}
    images: dict[str, int] = {}
    for row in rows:
        dataset = row["dataset"]
        cell = Cell(row["neuron"], row["response"], tops.get((dataset, row["neuron"]), []))
        ranks.setdefault(row["rank"], {})[dataset] = cell
        images[dataset] = row["images"]
    arranged = []
    for rank in sorted(ranks):
        cells = ranks[rank]
        if lead is not None:  # the same neuron in every column, also where no image is in the set
            (neuron,) = {cell.neuron for cell in cells.values()}
            arranged.append([cells.get(name) or Cell(neuron, None, tops.get((name, neuron), [])) for name in columns])
        else:
            arranged.append([cells.get(name) for name in columns])
    return Neurons(list(columns), lead, arranged, images, list(columns if asked is None else asked))


def wanted(tops: dict[tuple[str, int], list]) -> list[tuple[str, int]]:
    """Return which pictures the top images need."""
    return [(dataset, row["image"]) for (dataset, _), rows in tops.items() for row in rows]


@dataclass(frozen=True)
class Pager:
    """Which part of a list is shown, and the addresses of the parts before and after it."""

    first: int
    last: int
    total: int
    previous: str | None
    next: str | None


def pager(page, name: str, total: int, size: int) -> tuple[int, Pager]:
    """Return how many items to leave out and what to show below the list; `name` is the page's number in the query string."""
    pages = max(1, -(-total // size))
    number = page.number_of(name, 1, 1, max(pages, 1))
    skip = (number - 1) * size
    return skip, Pager(
        first=min(skip + 1, total),
        last=min(skip + size, total),
        total=total,
        previous=page.here(**{name: None if number == 2 else number - 1}) if number > 1 else None,
        next=page.here(**{name: number + 1}) if number < pages else None,
    )
