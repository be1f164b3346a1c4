"""The page of a category: how often it is found, which neurons respond to it, and what it is mistaken for."""

import asyncio
from dataclasses import dataclass

from deephys_sql.site.pages import sets
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.context import page

KINDS = {"false_negatives": "a_as_b", "false_positives": "b_as_a"}  # how the queries call each
NEURONS = 6  # of a category, in each dataset
NEURONS_OF_MISTAKES = 5
SUMMED = 32_768  # activations: the top neurons of more mistakes are taken over the most confident, unless all are asked for
FEWEST_SUMMED = 16


@dataclass
class Mistakes:
    """The false negatives or false positives of a category in a dataset, all or those with one other category.

    others: (id, name, images) of the categories that it is taken for or that are taken for it, most frequent first.
    """

    kind: str
    total: int
    others: list[tuple[int, str, int]]
    by: int | None
    images: list
    pager: sets.Pager
    neurons: sets.Neurons
    summed: int
    is_partial: bool


@page(r"/model/(?P<model>[^/]+)/category/(?P<category>[^/]+)")
async def category(page):
    """Recall and precision by dataset, top neurons in each, and every false negative and false positive."""
    number = require_category(page, "category")
    name = page.categories[number]
    columns = sets.shown(page)
    lead = sets.lead(page, columns, sets.OWN)
    at = page.args.get("at") or page.dataset or page.reference
    page.require("dataset", at, page.recordings, lambda one: page.here(at=one))
    accuracy = await page.query("accuracy_by_category", keep=True)
    confusions = await page.query("confusion_matrix", dataset=at, mistakes_only=1, keep=True)
    asked = [_asked(page, kind, number, confusions) for kind in KINDS]
    found, ranked, *images = await asyncio.gather(
        _neurons(page, at, name, asked),
        page.query("top_neurons_of_category", category=name, lead=lead, k=NEURONS, keep=True),
        *(_images(page, at, name, one) for one in asked),
    )
    beside = list(dict.fromkeys([page.reference, at]))
    neurons = sets.neurons_of(ranked).union(*map(sets.neurons_of, found.values()))
    await sets.measure(page, neurons)
    tops = await sets.top_images(page, neurons, list(dict.fromkeys([*columns, at])))
    mistakes = [_mistakes(one, shown, found[one.direction], at, beside, tops) for one, shown in zip(asked, images)]
    table = sets.table(ranked, columns, lead, tops)
    wanted = [(at, row["image"]) for one in mistakes for row in one.images]
    wanted += [
        (dataset, row["image"])
        for one in [table, *(one.neurons for one in mistakes)]
        for cells in one.rows
        for dataset, cell in zip(one.columns, cells)
        if cell is not None
        for row in cell.top
    ]
    pictures = await page.pictures(wanted)
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


def require_category(page, part: str) -> int:
    """Return the category id in the path; a 404 page unless the model has it."""
    number = page.number(part, what="category")
    if number not in page.categories:
        links = [(page.category_url(one), name) for one, name in list(page.categories.items())[:8]]
        raise PageError(404, f"There is no category “{number}” here.", f"{page.model} predicts {len(page.categories):,} categories.", links)
    return number


def most_summed(page) -> int:
    """Return over how many images of a dataset a page takes the top neurons of mistakes: all, if `all_images=1` is asked for."""
    if page.choice_of("all_images", ["0", "1"], "0") == "1":
        return 1_000_000
    return max(FEWEST_SUMMED, SUMMED // max(page.neurons, 1))


@dataclass(frozen=True)
class _Asked:
    """What the address asks for of one kind of mistake."""

    kind: str
    direction: str
    others: list[tuple[int, str, int]]
    by: int | None
    total: int
    skip: int
    pager: sets.Pager


def _asked(page, kind: str, number: int, confusions: list) -> _Asked:
    own, other = (0, 2) if kind == "false_negatives" else (2, 0)  # label, label_name, predicted, predicted_name, images
    others = [(row[other], row[other + 1], row[4]) for row in confusions if row[own] == number]  # most frequent first, then by id
    by = page.number_of(f"{kind}_by", None, 0, 999_999_999)
    if by is not None and by not in page.categories:
        raise PageError(404, f"There is no category “{by}” here.", "", [(page.here(**{f"{kind}_by": None}), "All of them")])
    total = sum(images for one, _, images in others if by in (None, one))
    skip, pager = sets.pager(page, f"{kind}_page", total, page.k)
    return _Asked(kind, KINDS[kind], others, by, total, skip, pager)


async def _images(page, at: str, name: str, asked: _Asked) -> list:
    if not asked.total:
        return []
    other = None if asked.by is None else page.categories[asked.by]
    label, predicted = (name, other) if asked.kind == "false_negatives" else (other, name)
    return await page.query("mistaken_images", as_name=asked.kind, dataset=at, label=label, predicted=predicted, skip=asked.skip)


async def _neurons(page, at: str, name: str, asked: list[_Asked]) -> dict[str, list]:
    """Return the top neurons of both kinds of mistakes, by direction; in one query unless they are filtered differently."""
    some = [one for one in asked if one.total]
    together = len({one.by for one in some}) == 1
    found: dict[str, list] = {direction: [] for direction in KINDS.values()}
    for one in some[:1] if together else some:
        rows = await page.query(
            "top_neurons_of_confusion",
            as_name="top_neurons_of_confusion" if together else f"neurons_of_{one.kind}",
            a=name,
            b=None if one.by is None else page.categories[one.by],
            direction="both" if together and len(some) > 1 else one.direction,
            datasets=sets.as_json([at]),
            most=most_summed(page),
            k=NEURONS_OF_MISTAKES,
            keep=True,  # the same on every page of the images
        )
        for row in rows:
            found[row["direction"]].append(row)
    return found


def _mistakes(asked: _Asked, images: list, rows: list, at: str, beside: list[str], tops: dict) -> Mistakes:
    neurons = sets.table(rows, beside, at, tops, asked=[at])
    summed = neurons.images.get(at, 0)
    return Mistakes(asked.kind, asked.total, asked.others, asked.by, images, asked.pager, neurons, summed, 0 < summed < asked.total)
