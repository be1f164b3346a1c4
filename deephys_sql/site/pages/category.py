"""The page of a category: how often it is found, which neurons respond to it, and what it is mistaken for."""

import asyncio
from dataclasses import dataclass

from deephys_sql.site.pages import sets
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.context import page

ADDRESS = r"/model/(?P<model>[^/]+)/category/(?P<category>[^/]+)"
KINDS = {"false_negatives": "a_as_b", "false_positives": "b_as_a"}  # how the queries call each
NEURONS = 6  # of a category, in each dataset
NEURONS_OF_MISTAKES = 5
SUMMED = 32_768  # activations: the top neurons of more mistakes are taken over the most confident, unless all are asked for
FEWEST_SUMMED = 16


@dataclass(frozen=True)
class Asked:
    """What the address asks for of one kind of mistake: all, or those with one other category.

    others: (id, name, images) of the categories that it is taken for or that are taken for it, most frequent first.
    """

    kind: str
    direction: str
    others: list[tuple[int, str, int]]
    by: int | None
    total: int
    skip: int
    pager: sets.Pager


@dataclass(frozen=True)
class Mistakes:
    """The false negatives or false positives of a category in a dataset.

    neurons: those that respond most to them; None when they come by themselves, from `neurons_url`.
    """

    asked: Asked
    images: list
    neurons: sets.Neurons | None
    neurons_url: str


@page(ADDRESS)
async def category(page):
    """Recall and precision by dataset, top neurons in each, and every false negative and false positive.

    The top neurons of the mistakes come as requests of their own when they come near the window, or here with `neurons=1`.
    """
    number = require_category(page, "category")
    name = page.categories[number]
    columns = sets.shown(page)
    lead = sets.lead(page, columns, sets.OWN)
    at = _dataset(page)
    accuracy = await page.query("accuracy_by_category", keep=True)
    confusions = await page.query("confusion_matrix", dataset=at, mistakes_only=1, keep=True)
    asked = [_asked(page, kind, number, confusions) for kind in KINDS]
    with_neurons = all_images(page) or page.choice_of("neurons", ["0", "1"], "0") == "1"
    ranked, *shown = await asyncio.gather(
        page.query("top_neurons_of_category", category=name, lead=lead, k=NEURONS, keep=True),
        *(_images(page, at, name, one) for one in asked),
        *(_neurons(page, at, name, one) for one in asked if with_neurons),
    )
    images, found = shown[: len(asked)], shown[len(asked) :] or [None] * len(asked)
    neurons = sets.neurons_of(ranked).union(*(sets.neurons_of(rows) for rows in found if rows))
    await sets.measure(page, neurons)
    tops = await sets.top_images(page, neurons, list(dict.fromkeys([*columns, at])) if with_neurons else columns)
    mistakes = [
        Mistakes(one, rows, None if those is None else _table(page, at, those, tops), _neurons_url(page, number, at, one))
        for one, rows, those in zip(asked, images, found)
    ]
    table = sets.table(ranked, columns, lead, tops)
    pictures = await page.pictures(
        [(at, row["image"]) for one in mistakes for row in one.images]
        + [place for one in [table, *(one.neurons for one in mistakes if one.neurons)] for place in one.pictures()]
    )
    known = list(page.categories)
    place = known.index(number)
    return await page.render(
        "category.html",
        category=number,
        name=name,
        accuracy=[row for row in accuracy if row["category"] == number and row["dataset"] in columns],
        columns=columns,
        lead=lead,
        table=table,
        at=at,
        mistakes=mistakes,
        pictures=pictures,
        previous=page.category_url(known[place - 1]) if place else None,
        next=page.category_url(known[place + 1]) if place + 1 < len(known) else None,
    )


@page(ADDRESS + r"/(?P<kind>false_negatives|false_positives)")
async def neurons_of_mistakes(page):
    """The neurons that respond most to the mistakes of one kind, by themselves."""
    number = require_category(page, "category")
    at = _dataset(page)
    confusions = await page.query("confusion_matrix", dataset=at, mistakes_only=1, keep=True)
    asked = _asked(page, page.parts["kind"], number, confusions)
    rows = await _neurons(page, at, page.categories[number], asked)
    neurons = sets.neurons_of(rows)
    await sets.measure(page, neurons)
    table = _table(page, at, rows, await sets.top_images(page, neurons, _beside(page, at)))
    return await page.render(
        "category_neurons.html",
        asked=asked,
        neurons=table,
        at=at,
        pictures=await page.pictures(table.pictures()),
        take_all=page.category_url(number, at=at, all_images=1, **{f"{asked.kind}_by": asked.by}) + f"#{asked.kind}",
    )


def require_category(page, part: str) -> int:
    """Return the category id in the path; a 404 page unless the model has it."""
    number = page.number(part, what="category")
    if number not in page.categories:
        links = [(page.category_url(one), name) for one, name in list(page.categories.items())[:8]]
        raise PageError(404, f"There is no category “{number}” here.", f"{page.model} predicts {len(page.categories):,} categories.", links)
    return number


def most_summed(page) -> int:
    """Return over how many images of a dataset a page takes the top neurons of mistakes: all, if `all_images=1` is asked for."""
    return 1_000_000 if all_images(page) else max(FEWEST_SUMMED, SUMMED // max(page.neurons, 1))


def all_images(page) -> bool:
    """Return whether the top neurons of mistakes are to be taken over all of them."""
    return page.choice_of("all_images", ["0", "1"], "0") == "1"


def _asked(page, kind: str, number: int, confusions: list) -> Asked:
    own, other = (0, 2) if kind == "false_negatives" else (2, 0)  # label, label_name, predicted, predicted_name, images
    others = [(row[other], row[other + 1], row[4]) for row in confusions if row[own] == number]  # most frequent first, then by id
    by = page.number_of(f"{kind}_by", None, 0, 999_999_999)
    if by is not None and by not in page.categories:
        raise PageError(404, f"There is no category “{by}” here.", "", [(page.here(**{f"{kind}_by": None}), "All of them")])
    total = sum(images for one, _, images in others if by in (None, one))
    skip, pager = sets.pager(page, f"{kind}_page", total, page.k)
    return Asked(kind, KINDS[kind], others, by, total, skip, pager)


async def _images(page, at: str, name: str, asked: Asked) -> list:
    if not asked.total:
        return []
    other = None if asked.by is None else page.categories[asked.by]
    label, predicted = (name, other) if asked.kind == "false_negatives" else (other, name)
    return await page.query("mistaken_images", as_name=asked.kind, dataset=at, label=label, predicted=predicted, skip=asked.skip)


async def _neurons(page, at: str, name: str, asked: Asked) -> list:
    """Return the top neurons of mistakes."""
    if not asked.total:
        return []
    return await page.query(
        "top_neurons_of_confusion",
        as_name=f"neurons_of_{asked.kind}",
        a=name,
        b=None if asked.by is None else page.categories[asked.by],
        direction=asked.direction,
        datasets=sets.as_json([at]),
        most=most_summed(page),
        k=NEURONS_OF_MISTAKES,
        keep=True,  # the same on every page of the images
    )


def _table(page, at: str, rows: list, tops: dict) -> sets.Neurons:
    return sets.table(rows, _beside(page, at), at, tops, asked=[at])


def _beside(page, at: str) -> list[str]:
    """Return the datasets whose top images stand beside mistakes: the reference and that of the mistakes."""
    return list(dict.fromkeys([page.reference, at]))


def _neurons_url(page, number: int, at: str, asked: Asked) -> str:
    """Return the address of the neurons of mistakes by themselves."""
    return page.address("model", page.model, "category", number, asked.kind, at=at, **{f"{asked.kind}_by": asked.by})


def _dataset(page) -> str:
    """Return the dataset whose mistakes are asked for."""
    at = page.args.get("at") or page.dataset or page.reference
    page.require("dataset", at, page.recordings, lambda one: page.here(at=one))
    return at
