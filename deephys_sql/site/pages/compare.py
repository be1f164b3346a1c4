"""The comparison of two datasets: which categories, which neurons and which images make the difference."""

import asyncio

from deephys_sql.site.pages import sets
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.context import page
from deephys_sql.site.pages.layer import neurons_of, ranked

NEURONS = 8
LISTED = 20  # categories
SORTS = ("drop", "recall", "category")


@page(r"/model/(?P<model>[^/]+)/compare")
async def compare(page):
    """Accuracy by category, the neurons that lost and gained most response, and the images most wrong."""
    dataset = page.dataset
    if dataset is None:
        message = f"{page.model} was recorded on {page.reference} only. Record it on another dataset, then compare here."
        raise PageError(404, "There is nothing to compare with.", message, [(page.model_url(), f"Model {page.model}")])
    sort = page.choice_of("sort", SORTS, "drop")
    columns = [page.reference, dataset]
    accuracy, neurons, wrong = await asyncio.gather(
        page.query("accuracy_by_category", keep=True),
        neurons_of(page, dataset),
        page.query("mistaken_images", dataset=dataset),
    )
    categories = _by_category(accuracy, page.reference, dataset, sort)
    skip, pager = sets.pager(page, "page", len(categories), LISTED)
    changed = {
        "loss": [row for row in ranked(neurons, "response_loss", "descending") if (row["response_loss"] or 0) > 0][:NEURONS],
        "gain": [row for row in ranked(neurons, "response_loss", "ascending") if (row["response_loss"] or 0) < 0][:NEURONS],
    }
    tops = await sets.top_images(page, sets.neurons_of(row for rows in changed.values() for row in rows), columns, k=sets.FEWER_PICTURES)
    pictures = await page.pictures([*((dataset, row["image"]) for row in wrong), *sets.wanted(tops)])
    return await page.render(
        "compare.html",
        dataset=dataset,
        columns=columns,
        categories=categories[skip : skip + LISTED],
        pager=pager,
        sort=sort,
        sorts=SORTS,
        changed=changed,
        tops=tops,
        wrong=wrong,
        pictures=pictures,
    )


def _by_category(accuracy: list, reference: str, dataset: str, sort: str) -> list[dict]:
    """Return the recall of each category in both datasets; those without a drop come last."""
    before = {row["category"]: row for row in accuracy if row["dataset"] == reference}
    found = []
    for row in accuracy:
        if row["dataset"] == dataset:
            first = before[row["category"]]
            drop = None if row["recall"] is None or first["recall"] is None else first["recall"] - row["recall"]
            found.append({"category": row["category"], "name": row["category_name"], "before": first, "after": row, "drop": drop})
    if sort == "drop":
        found.sort(key=lambda one: (one["drop"] is None, -(one["drop"] or 0), one["category"]))
    elif sort == "recall":
        found.sort(key=lambda one: (one["after"]["recall"] is None, one["after"]["recall"], one["category"]))
    return found
