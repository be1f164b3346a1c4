"""The confusion matrix of a dataset, and the confusion of two categories in every dataset."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from deephys_sql.site.pages import html, sets
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.annotate import said_of, set_name
from deephys_sql.site.pages.category import most_summed, require_category
from deephys_sql.site.pages.context import page

CELLS_A_SIDE = 25  # of a matrix whose cells are pairs of categories; larger ones are drawn in blocks
BLOCKS_A_SIDE = 40
LISTED = 25  # pairs
NEURONS = 6
PICTURES = 12
SHADES = 9


@dataclass(frozen=True)
class Block:
    """A rectangle of the matrix: ranges of labels (rows) and predictions (columns), and its mistakes."""

    rows: range
    columns: range
    images: int
    shade: int


@page(r"/model/(?P<model>[^/]+)/dataset/(?P<dataset>[^/]+)/confusion")
async def matrix(page):
    """The matrix as a picture whose cells are links, and the most frequent confusions."""
    dataset = page.dataset
    cells = await page.query("confusion_matrix", mistakes_only=0, keep=True)
    wrong = [row for row in cells if row[0] != row[2]]
    count = max(page.categories, default=-1) + 1
    rows, columns = (_range(page, name, count) for name in ("labels", "predictions"))
    inside = [row for row in wrong if row[0] in rows and row[2] in columns]
    skip, pager = sets.pager(page, "page", len(inside), LISTED)
    listed = inside[skip : skip + LISTED]
    small = len(rows) <= CELLS_A_SIDE and len(columns) <= CELLS_A_SIDE
    labelled: dict[int, int] = {}
    for row in cells:
        labelled[row[0]] = labelled.get(row[0], 0) + row[4]
    firsts = {pair: rows[0]["image"] for pair, rows in (await sets.images_of_confusions(page, listed, dataset, k=1)).items()}
    return await page.render(
        "matrix.html",
        dataset=dataset,
        total=sum(labelled.values()),
        mistaken=sum(row[4] for row in wrong),
        confused=len(wrong),
        rows=rows,
        columns=columns,
        is_part=len(rows) < count or len(columns) < count,
        count=count,
        cells={(row[0], row[2]): row for row in cells} if small else {},
        shade=shade,
        labelled=labelled,
        blocks=None if small else _drawn(page, _blocks(rows, columns, inside), rows, columns),
        listed=listed,
        firsts=firsts,
        pictures=await page.pictures([(dataset, image) for image in firsts.values()]),
        pager=pager,
        most=listed[0]["images"] if listed else 1,
    )


def shade(share: float | None) -> int:
    """Return how dark a cell is, 0 (none) to SHADES.

    >>> shade(None), shade(0.001), shade(1.0)
    (0, 1, 9)
    """
    return 0 if not share else max(1, round(share**0.5 * SHADES))


def _range(page, name: str, count: int) -> range:
    """Return the categories asked for with `labels=25-49`; all without it."""
    text = page.args.get(name)
    if not text:
        return range(count)
    match = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", text)
    if match is None or not int(match[1]) <= int(match[2]) < count:
        message = f"It is a range of categories, such as 0-{min(count, CELLS_A_SIDE) - 1}; the last is {count - 1}."
        raise PageError(400, f"{name} can't be “{text}”.", message, [(page.here(**{name: None}), "All categories")])
    return range(int(match[1]), int(match[2]) + 1)


def _blocks(rows: range, columns: range, wrong: list) -> list[Block]:
    """Divide the ranges into blocks, each small enough to be a matrix of its own if that doesn't make too many."""
    height, width = (max(CELLS_A_SIDE, -(-len(side) // BLOCKS_A_SIDE)) for side in (rows, columns))
    sums: dict[tuple[int, int], int] = {}
    for row in wrong:
        key = (row[0] - rows.start) // height, (row[2] - columns.start) // width
        sums[key] = sums.get(key, 0) + row[4]
    most = max(sums.values(), default=1)
    return [
        Block(
            range(rows.start + i * height, min(rows.start + (i + 1) * height, rows.stop)),
            range(columns.start + j * width, min(columns.start + (j + 1) * width, columns.stop)),
            images,
            shade(images / most),
        )
        for (i, j), images in sorted(sums.items())
    ]


def _drawn(page, blocks: list[Block], rows: range, columns: range) -> Markup:
    """Return the blocks as rectangles of an SVG, each a link to its part of the matrix."""
    others = page.here(labels=None, predictions=None, page=None).partition("?")[2]
    begin = escape("?" + (others + "&" if others else ""))  # relative to this page, as there may be many
    part = (
        '<a href="{}labels={}-{}&amp;predictions={}-{}"><title>labels {} to {}, predicted {} to {}: {}</title>'
        '<rect class="fill-{}" x="{}" y="{}" width="{}" height="{}"/></a>'
    )
    drawn = []
    for block in blocks:
        sides = block.rows.start, block.rows.stop - 1, block.columns.start, block.columns.stop - 1
        place = block.columns.start - columns.start, block.rows.start - rows.start, len(block.columns), len(block.rows)
        drawn.append(part.format(begin, *sides, *sides, html.count(block.images, "mistake"), block.shade, *place))
    return Markup("\n".join(drawn))


@page(r"/model/(?P<model>[^/]+)/confusion/(?P<a>[^/]+)/(?P<b>[^/]+)")
async def confusion(page):
    """Images of a predicted as b and of b predicted as a, in every dataset, and the neurons that drive each."""
    a, b = (require_category(page, part) for part in "ab")
    names = page.categories[a], page.categories[b]
    if a == b:
        links = [(page.category_url(a), f"The category {names[0]}")]
        raise PageError(404, f"{names[0]} can't be confused with itself.", "Choose two categories.", links)
    columns = sets.shown(page)
    at = page.args.get("at")
    if at:
        page.require("dataset", at, page.recordings, lambda one: page.here(at=one))
        return await _all_images(page, a, b, names, at)
    lead = sets.lead(page, columns, page.dataset or page.reference)
    datasets = sets.as_json(columns)
    asked = {"a": names[0], "b": names[1], "datasets": datasets, "most": most_summed(page), "k": NEURONS}
    images, accuracy = await asyncio.gather(
        page.query("images_of_confusions", confusions=sets.as_json([(a, b), (b, a)]), datasets=datasets, k=PICTURES),
        page.query("accuracy_by_category", keep=True),
    )
    leads = {}
    for direction, label in (("a_as_b", a), ("b_as_a", b)):
        wrong = {row["dataset"]: row["images"] for row in images if row["label"] == label}
        leads[direction] = lead
        if wrong and lead is not None and lead not in wrong and "lead" not in page.args:
            leads[direction] = max(wrong, key=lambda name: (wrong[name], name))  # the dataset that leads otherwise has no such image
    ranked = await _neurons(page, leads, asked)
    await sets.measure(page, sets.neurons_of(ranked))
    tops = await sets.top_images(page, sets.neurons_of(ranked), columns)
    labelled = {(row["dataset"], row["category"]): row["images"] for row in accuracy}
    directions = []
    for direction, label, predicted in (("a_as_b", a, b), ("b_as_a", b, a)):
        of = {name: [row for row in images if row["dataset"] == name and row["label"] == label] for name in columns}
        directions.append(
            {
                "direction": direction,
                "label": label,
                "predicted": predicted,
                "images": of,
                "totals": {name: rows[0]["images"] if rows else 0 for name, rows in of.items()},
                "labelled": {name: labelled.get((name, label), 0) for name in columns},
                "lead": leads[direction],
                "neurons": sets.table([row for row in ranked if row["direction"] == direction], columns, leads[direction], tops),
            }
        )
    pictures = await page.pictures([*((row["dataset"], row["image"]) for row in images), *sets.wanted(tops)])
    return await page.render(
        "confusion.html", a=a, b=b, columns=columns, lead=lead, directions=directions, pictures=pictures, most_summed=most_summed(page)
    )


async def _neurons(page, leads: dict[str, str | None], asked: dict[str, Any]) -> list:
    """Return the top neurons of both directions, each in the order of its lead; in one query where that is the same."""
    name = "top_neurons_of_confusion"
    if len(set(leads.values())) == 1:
        (lead,) = set(leads.values())
        return await page.query(name, lead=lead, **asked)
    found = [page.query(name, as_name=f"{name} {way}", lead=lead, direction=way, **asked) for way, lead in leads.items()]
    return [row for rows in await asyncio.gather(*found) for row in rows]


async def _all_images(page, a, b, names, at):
    """One direction in one dataset: all images, paged."""
    direction = page.choice_of("direction", ["a_as_b", "b_as_a"], "a_as_b")
    label, predicted = (a, b) if direction == "a_as_b" else (b, a)
    matrix = await page.query("confusion_matrix", dataset=at, mistakes_only=1, keep=True)
    total = next((row["images"] for row in matrix if row["label"] == label and row["predicted"] == predicted), 0)
    skip, pager = sets.pager(page, "page", total, page.k)
    images = await page.query("mistaken_images", dataset=at, label=page.categories[label], predicted=page.categories[predicted], skip=skip)
    pictures = await page.pictures([(at, row["image"]) for row in images])
    name = set_name(page, label, predicted)
    said = await said_of(page, "images", dataset=at, image_set=name, label=label, predicted=predicted) if images else None
    return await page.render(
        "confusion_images.html",
        said=said,
        a=a,
        b=b,
        at=at,
        direction=direction,
        label=label,
        predicted=predicted,
        images=images,
        pager=pager,
        pictures=pictures,
    )
