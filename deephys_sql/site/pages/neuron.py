"""The neuron page: what a neuron fires for in the reference and in the other datasets, side by side."""

import asyncio

from datasette.utils.asgi import Response

from deephys_sql.site import charts, contents
from deephys_sql.site.pages import sets
from deephys_sql.site.pages.annotate import said_of
from deephys_sql.site.pages.context import Page, page
from deephys_sql.site.pages.layer import neurons_of, order_of, ranked

CATEGORIES = 12
BINS = 64  # of a histogram, at most
PLACES = {
    "lowest": "lowest",
    "near_zero": "near zero",
    "q05": "5 %",
    "q25": "25 %",
    "q50": "median",
    "q75": "75 %",
    "q95": "95 %",
    "highest": "highest",
}
ADDRESS = r"/model/(?P<model>[^/]+)/layer/(?P<layer>[^/]+)/neuron/(?P<neuron>[^/]+)"


@page(ADDRESS)
async def neuron(page: Page):
    number = page.number("neuron", page.neurons)
    every = page.args.get("categories") == "all"
    facts, overview, images, responses, beside, scores, mistakes, said = await asyncio.gather(
        page.layer_facts(),
        page.query("neuron_overview", neuron=number),
        page.query("top_images_of_neurons", neurons=sets.as_json([number])),
        page.query("category_responses", neuron=number, datasets=sets.as_json(sets.shown(page)), most=None if every else CATEGORIES + 1),
        _beside(page, number),
        _scores(page, number),
        _mistakes(page),
        said_of(page, "neuron", layer=page.layer, neuron=number),
    )
    here = {row["dataset"]: row for row in overview}
    page.largest = {number: here[page.reference]["max"]} if page.reference in here else {}
    if page.against is None:
        scores = here
    recorded = [name for name in [page.reference, *page.datasets] if name in here]
    top = {name: [row for row in images if row["dataset"] == name] for name in recorded}
    by_category: dict[int, dict[str, object]] = {}
    for row in responses:
        if row["dataset"] in recorded:
            by_category.setdefault(row["category"], {})[row["dataset"]] = row
    pictures, examples = await asyncio.gather(
        page.pictures((name, row["image"]) for name in recorded for row in top[name]),
        _examples(page, number) if page.args.get("examples") else _nothing(),
    )
    order = sorted(by_category, key=lambda one: (-max(row["response"] or 0 for row in by_category[one].values()), one))
    return await page.render(
        "neuron.html",
        number=number, facts=facts,
        here=here, scores=scores, recorded=recorded, missing=[name for name in page.datasets if name not in here],
        top=top, pictures=pictures, by_category=by_category, order=order if every else order[:CATEGORIES],
        has_more_categories=not every and len(order) > CATEGORIES,
        most=max((row["response"] or 0 for one in by_category.values() for row in one.values()), default=0),
        strongest={name: _strongest(by_category, name) for name in recorded}, mistakes=mistakes,
        previous=beside[0], next=beside[1], rank=beside[2],
        examples=examples, bins=BINS, said=said,
    )  # fmt: skip


@page(ADDRESS + r"/examples")
async def examples(page: Page):
    """The examples across the range by themselves, which the neuron page asks for when they come near the window."""
    number = page.number("neuron", page.neurons)
    return await page.render("neuron_examples.html", examples=await _examples(page, number))


@page(ADDRESS + r"/histogram")
async def histogram(page: Page):
    """The histograms of a neuron, a picture by itself, asked for when it comes near the window."""
    number = page.number("neuron", page.neurons)
    rows = await page.query("activation_histogram", neuron=number, bins=BINS)
    datasets = [
        (name, page.accent(name), page.recordings[name].images)
        for name in [page.reference, *page.datasets]
        if any(row["dataset"] == name for row in rows)
    ]
    title = f"Histograms of neuron {number} of {page.layer}"
    svg = await charts.kept(
        ("histograms", page.database.name, page.mark(), page.model, page.layer, number, *datasets),
        lambda: charts.histograms(rows, datasets=datasets, title=title),
    )
    headers = {
        "x-content-type-options": "nosniff",
        "cache-control": "private, max-age=31536000, immutable" if page.args.get("version") else "private, no-cache",
    }
    response = Response(str(svg), headers=headers)
    response.content_type = "image/svg+xml"
    return response


def _strongest(by_category: dict, dataset: str):
    rows = [one[dataset] for one in by_category.values() if dataset in one and (one[dataset]["response"] or 0) > 0]
    return max(rows, key=lambda row: (row["response"], -row["category"]), default=None)


async def _beside(page: Page, number: int) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Return the neurons before and after: by number, or in the ranking that the visitor came from."""
    if not page.args.get("sort") or page.dataset is None:
        return (number - 1 if number > 0 else None), (number + 1 if number + 1 < page.neurons else None), None
    sort, order = order_of(page)
    numbers = [row["neuron"] for row in ranked(await neurons_of(page, page.dataset), sort, order)]
    if number not in numbers:
        return None, None, None
    place = numbers.index(number)
    return (
        numbers[place - 1] if place > 0 else None,
        numbers[place + 1] if place + 1 < len(numbers) else None,
        (place + 1, len(numbers)),
    )


async def _scores(page: Page, number: int) -> dict[str, object]:
    if page.against is None:
        return {}
    found = {}
    for dataset in page.datasets:
        row = next((row for row in await neurons_of(page, dataset) if row["neuron"] == number), None)
        if row is not None:
            found[dataset] = row
    return found


async def _mistakes(page: Page) -> dict[str, dict[tuple[int, int], object]]:
    """Return for each dataset how often a label got a prediction."""
    kept, found = contents.kept(page.database), {}
    for dataset in page.datasets:
        rows = await page.query("confusion_matrix", dataset=dataset, mistakes_only=1, keep=True, as_name=f"confusion_matrix {dataset}")
        key = ("mistakes", page.model, dataset)
        if key not in kept:
            kept[key] = {(row["label"], row["predicted"]): row for row in rows}
        found[dataset] = kept[key]
    return found


async def _examples(page: Page, number: int) -> dict:
    rows = await page.query("examples_across_range", neuron=number, k=3)
    datasets = [name for name in [page.reference, *page.datasets] if any(row["dataset"] == name for row in rows)]
    rows = [row for row in rows if row["dataset"] in datasets]
    return {
        "rows": {name: _places([row for row in rows if row["dataset"] == name]) for name in datasets},
        "pictures": await page.pictures((row["dataset"], row["image"]) for row in rows),
    }


def _places(rows: list) -> list[tuple[str, list]]:
    """Return the places of a range with their images; places with the same images, as the zeros of a ReLU, become one."""
    found: list[tuple[str, list]] = []
    for place, text in PLACES.items():
        here = [row for row in rows if row["place"] == place]
        if found and [row["image"] for row in here] == [row["image"] for row in found[-1][1]]:
            found[-1] = f"{found[-1][0]}, {text}", here
        else:
            found.append((text, here))
    return found


async def _nothing() -> None:
    return None
