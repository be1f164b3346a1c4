"""The layer page: all neurons of a layer, ranked by a score on a dataset, filtered, with a scatter and the densities of the scores."""

import asyncio
import functools
import re
from collections.abc import Iterable

from deephys_sql.site import charts
from deephys_sql.site.pages import html, sets
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.context import Page, page

SORTS = ("spurious", "novelty", "response_loss", "activation_ratio", "share_positive", "max", "neuron")
ORDERS = ("descending", "ascending")
STATES = {
    "": "any",
    "scored": "with a spurious score",
    "silent": "silent in the reference",
    "silent_here": "silent here",
    "constant": "constant",
    "other": "no score for another reason",
}
ROWS = 50
STRIP = 5


@page(r"/model/(?P<model>[^/]+)/layer/(?P<layer>[^/]+)")
async def layer(page: Page):
    if page.dataset is None:
        return await page.render("layer.html", neurons=[], shown=[], facts=await page.layer_facts())
    sort, order = order_of(page)
    low, high = page.decimal_of("min"), page.decimal_of("max")
    state = page.choice_of("state", tuple(STATES), "")
    category = page.number_of("category", None, 0, 2**31 - 1)
    within = within_of(page)
    everything = await neurons_of(page, page.dataset)
    passing = [row for row in everything if _passes(row, sort, low, high, state, category) and _lies(row, within)]
    found = ranked(passing, sort, order)
    pages = max(1, -(-len(found) // ROWS))
    number = page.number_of("page", 1, 1, 1_000_000)
    shown = found[(number - 1) * ROWS : number * ROWS]
    tops, scatter, densities = await asyncio.gather(
        sets.top_images(page, sets.neurons_of(shown), [page.reference, page.dataset], k=STRIP),
        _scatter(page, [row for row in everything if _lies(row, within)], within),
        _densities(page),
    )
    pictures = await page.pictures(sets.wanted(tops))
    return await page.render(
        "layer.html",
        facts=await page.layer_facts(),
        neurons=everything, found=found, shown=shown, tops=tops, pictures=pictures, scatter=scatter, densities=densities,
        sort=sort, order=order, low=low, high=high, state=state, category=category, within=within, number=number, pages=pages,
        sorts=SORTS, states=STATES, rows_a_page=ROWS,
    )  # fmt: skip


def order_of(page: Page) -> tuple[str, str]:
    """Return by what neurons are sorted, and the order."""
    sort = page.choice_of("sort", SORTS, "spurious")
    return sort, page.choice_of("order", ORDERS, "ascending" if sort == "neuron" else "descending")


async def neurons_of(page: Page, dataset: str) -> list:
    """Return all neurons of the page's layer with their scores on a dataset."""
    return await page.query("layer_neurons", dataset=dataset, keep=True)


def ranked(rows: Iterable, sort: str, order: str) -> list:
    """Return rows by a column, those without a value last, ties to the lower neuron."""
    sign = -1 if order == "descending" else 1
    return sorted(rows, key=lambda row: (row[sort] is None, sign * (row[sort] or 0), row["neuron"]))


def within_of(page: Page) -> tuple[float, float, float, float] | None:
    """Return the part of the scatter that is shown: spurious from and to, response loss from and to; None for all of it."""
    text = page.args.get("within")
    if not text:
        return None
    found = re.fullmatch(",".join([r"(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)"] * 4), text)
    left, right, low, high = map(float, found.groups()) if found else (0, 0, 0, 0)
    if not (left < right and low < high):
        message = "It is spurious from and to, then response loss from and to, such as 0.5,1,0,0.3."
        raise PageError(400, f"within can't be “{text}”.", message, [(page.here(within=None), "This page without it")])
    return left, right, low, high


def _lies(row, within: tuple[float, float, float, float] | None) -> bool:
    if within is None:
        return True
    if row["spurious"] is None or row["response_loss"] is None:
        return False
    return within[0] <= row["spurious"] <= within[1] and within[2] <= row["response_loss"] <= within[3]


def _passes(row, sort: str, low: float | None, high: float | None, state: str, category: int | None) -> bool:
    value = row[sort]
    if (low is not None and (value is None or value < low)) or (high is not None and (value is None or value > high)):
        return False
    if category is not None and category not in (row["reference_category"], row["category"]):
        return False
    return {
        "": True,
        "scored": row["spurious"] is not None,
        "silent": row["reason"] == "silent_in_reference",
        "silent_here": row["max"] <= 0,
        "constant": row["reason"] == "constant",
        "other": row["reason"] in ("few_categories", "not_in_reference"),
    }[state]


async def _scatter(page: Page, neurons: list, within):
    key = ("scatter", page.database.name, page.mark(), page.reference, page.dataset, page.neuron_url(0), within)
    return await charts.kept(key, lambda: _draw_scatter(page, neurons, within))


async def _draw_scatter(page: Page, neurons: list, within):
    few = len(neurons) <= 500  # more points say less, or the page becomes heavy
    points = [
        {
            "spurious": round(row["spurious"], 4),
            "response_loss": round(row["response_loss"], 4),
            "href": page.neuron_url(row["neuron"]),
            "tip": f"neuron {row['neuron']}: spurious {html.fixed(row['spurious'])}, response loss {html.fixed(row['response_loss'])}"
            + (
                f", fires for {row['reference_category_name']} in the reference, for {row['category_name'] or 'nothing'} here"
                if few
                else ""
            ),
        }
        for row in neurons
        if row["spurious"] is not None and row["response_loss"] is not None
    ]
    if not points:
        return None
    title = f"Spurious and response loss of the neurons of {page.layer} on {page.dataset}"
    return await charts.scatter(points, title=title, within=within)


async def _densities(page: Page) -> dict[str, object]:
    drawn = {}
    for score in ("spurious", "novelty"):
        rows = await page.query("score_density", score=score, as_name=f"score_density_{score}", keep=True)
        key = ("densities", page.database.name, page.mark(), page.model, page.layer, page.reference, score)
        if rows:
            drawn[score] = await charts.kept(key, functools.partial(_draw_density, page, score, rows))
    return drawn


async def _draw_density(page: Page, score: str, rows: list):
    datasets = [name for name in page.recordings if any(row["dataset"] == name for row in rows)]
    title = f"Density of {score} over the neurons of {page.layer}, for " + ", ".join(datasets)
    return await charts.densities(rows, score=score, datasets=datasets, title=title)
