"""The home page of a store: what was recorded, how accurate, and where to look first; and the overview of all stores."""

import asyncio
import contextlib

from datasette.utils.asgi import Forbidden

from deephys_sql.site import permissions
from deephys_sql.site.contents import names_of
from deephys_sql.site.pages import sets
from deephys_sql.site.pages.context import Page, page
from deephys_sql.site.pages.layer import neurons_of, ranked
from deephys_sql.site.plugin import stores

SUSPECTS = 4
CONFUSIONS = 6
STRIP = 6


@page(r"/home", needs_model=False)
async def home(page: Page):
    if page.model is None:
        return await page.render("home_empty.html")
    return await _model(page)


@page(r"/model/(?P<model>[^/]+)")
async def model(page: Page):
    return await _model(page)


async def _model(page: Page):
    await page.query("recordings", keep=True)
    runs = await _runs(page)
    if page.dataset is None:
        return await page.render("home.html", suspects={}, confusions=[], about=None, chosen={}, runs=runs)
    neurons = await neurons_of(page, page.dataset)
    suspects = {
        score: [row for row in ranked(neurons, score, "descending") if row[score] is not None][:SUSPECTS]
        for score in ("spurious", "novelty")
    }
    mistakes = (await page.query("confusion_matrix", mistakes_only=1, keep=True))[:CONFUSIONS]
    chosen = sets.neurons_of(row for rows in suspects.values() for row in rows)
    tops, confused = await asyncio.gather(
        sets.top_images(page, chosen, [page.reference, page.dataset], k=STRIP, keep=True),
        sets.images_of_confusions(page, mistakes, page.dataset, k=STRIP, keep=True),
    )
    pictures = await page.pictures([*sets.wanted(tops), *((page.dataset, row["image"]) for rows in confused.values() for row in rows)])
    return await page.render(
        "home.html",
        suspects=suspects, tops=tops, pictures=pictures, confusions=mistakes, confused=confused, runs=runs,
    )  # fmt: skip


async def _runs(page: Page) -> list[dict]:
    """Return the runs of a model, each with its `values`: lists of (key, value) by kind; none for who may not see runs."""
    try:
        rows = await page.query("runs_of_model", keep=True)
    except Forbidden:
        return []
    runs: dict[str, dict] = {}
    for row in rows:
        run = runs.setdefault(row["run"], {**dict(row), "values": {"param": [], "metric": [], "tag": []}})
        if row["kind"] is not None:
            run["values"][row["kind"]].append((row["key"], row["value"]))
    return list(runs.values())


async def stores_of(datasette, request) -> list[dict]:
    """Return what Datasette's own first page says about the stores that this visitor may see."""
    seen = []
    for database in stores(datasette):
        with contextlib.suppress(Forbidden):
            await permissions.ensure(datasette, request, "view-database", database.name)
            visitor = permissions.Visitor(datasette, request.actor, database.name)
            await visitor.require("view-table", permissions.NAMES & database.version().tables.keys())
            names = await names_of(database)
            seen.append({"name": database.name, "href": str(datasette.urls.database(database.name)) + "/-/home", "names": names})
    return seen
