"""What people say of neurons and images: the block that shows it, and the form for those who may write."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from datasette.utils.asgi import Forbidden, Response

from deephys_sql import annotations, assets
from deephys_sql.errors import AnnotationError, DeephysError, InvalidInputError
from deephys_sql.site import permissions
from deephys_sql.site.pages.address import NO_CHOICES, PageError
from deephys_sql.site.pages.context import page

MOST_BYTES = 200_000  # of what a form sends


@dataclass(frozen=True)
class Said:
    """What is shown of a subject: rows, what this visitor says himself, and the form's hidden fields; None when he may not write."""

    rows: list[dict[str, Any]]
    own: dict[str, Any] | None
    fields: dict[str, Any] | None
    token: str
    action: str
    history: str
    judgements: tuple[str, ...] = annotations.JUDGEMENTS


async def said_of(page, subject: str, *, label: int | None = None, predicted: int | None = None, **names: Any) -> Said | None:
    """Return what is said of a neuron, an image or a set; `label` and `predicted` tell which images a set is.

    None for who may not see annotations: the rest of the page is his all the same.
    """
    unasked = {"dataset": ""} if subject == "neuron" else {"model": "", "layer": ""}
    try:
        found = await page.query("annotations_on", subject=subject, **unasked, **names)
    except Forbidden:
        return None
    rows = [dict(row) | {"tags": json.loads(row["tags"])} for row in found]
    author = _author(page)
    own = next((row for row in rows if row["author"] == author and row["subject"] == subject), None)
    fields, token = None, ""
    if author and await permissions.may(page.datasette, page.request, permissions.ANNOTATE, page.database.name):
        given = {"subject": subject, "model": page.model, **names, "label": label, "predicted": predicted, "next": page.here()}
        fields = {name: value for name, value in given.items() if value is not None and name != "image_set"}
        token = page.request.scope["csrftoken"]() if "csrftoken" in page.request.scope else ""
    history = page.table_url("annotation_history", subject=subject, **names, **({"model": page.model} if subject == "neuron" else {}))
    return Said(rows, own, fields, token, page.address("annotate", **NO_CHOICES), history)


def set_name(page, label: int, predicted: int) -> str:
    """Return what the set of images with a label and a prediction is called."""
    return _set_name(page.categories, label, predicted, page.model)


@page(r"/annotate", needs_model=False)
async def annotate(page):
    """Write what a form says, and go back to where it stood."""
    if page.request.method != "POST":
        raise PageError(405, "Nothing was sent.", "Write on the page of a neuron or image.", [(page.home_url(), "Home")])
    author = _author(page)
    if not author or not await permissions.may(page.datasette, page.request, permissions.ANNOTATE, page.database.name):
        raise Forbidden(f"You do not have permission for {permissions.ANNOTATE} on {page.database.name}")
    if int(page.request.headers.get("content-length") or 0) > MOST_BYTES:
        raise PageError(413, "This is too long.", f"A form holds at most {MOST_BYTES:,} bytes.", [(page.home_url(), "Home")])
    fields = await page.request.post_vars()
    back = fields.get("next", "")
    back = back if _is_ours(page, back) else page.home_url()
    try:
        subject = await _subject(page, fields)
        withdraw = fields.get("withdraw") == "1"
        tags = [tag for tag in fields.get("tags", "").split(",") if tag.strip()]
        words = annotations.Words() if withdraw else annotations.Words(fields.get("judgement", ""), fields.get("note", ""), tags)

        def write() -> None:
            with contextlib.closing(page.database.version().cursor()) as cursor:
                before = annotations.embedded(cursor, subject, author)
            page.database.log.write(subject, words, author=author, withdraw=withdraw, before=before)

        await asyncio.to_thread(write)
    except AnnotationError as error:
        raise PageError(503, "This could not be kept.", str(error), [(back, "Back")]) from error
    except DeephysError as error:
        raise PageError(400, "This can\N{RIGHT SINGLE QUOTATION MARK}t be kept.", str(error), [(back, "Back")]) from error
    return Response.redirect(back.partition("#")[0] + "#annotations")


async def _subject(page, fields: dict[str, str]) -> annotations.Subject:
    """Return what a form is about, when it is there."""
    kind, names = fields.get("subject"), page.names
    recordings = names.recordings.get(fields.get("model", ""), {})
    if kind == "neuron":
        neurons = names.layers.get(fields.get("model", ""), {}).get(fields.get("layer", ""), 0)
        return (
            annotations.Subject("neuron", fields["model"], fields["layer"], _number(fields, "neuron", neurons)) if neurons else _nothing()
        )
    dataset = fields.get("dataset", "")
    if dataset not in recordings:
        _nothing()
    if kind == "image":
        return annotations.Subject("image", dataset=dataset, images=(_number(fields, "image", recordings[dataset].images),))
    if kind == "images":
        model, categories = fields["model"], names.categories[fields["model"]]
        label, predicted = (_number(fields, name, max(categories, default=-1) + 1) for name in ("label", "predicted"))
        values = {"model": model, "dataset": dataset, "label": label, "predicted": predicted}
        images = tuple(row["image"] for row in await page.rows(assets.sql("site/images_of_mistake.sql"), values))
        if not images or not {label, predicted} <= set(categories):
            _nothing()
        return annotations.Subject("images", dataset=dataset, image_set=_set_name(categories, label, predicted, model), images=images)
    return _nothing()


def _set_name(categories: dict[int, str], label: int, predicted: int, model: str) -> str:
    return f"{categories[label]} taken for {categories[predicted]} by {model}"[: annotations.LONGEST["image_set"]]


def _number(fields: dict[str, str], name: str, count: int) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < count):
        _nothing()
    return int(text)


def _nothing() -> annotations.Subject:
    raise InvalidInputError("there is no such neuron, image or set in this store. Write on its page.")


def _author(page) -> str | None:
    return str((page.request.actor or {}).get("id") or "") or None


def _is_ours(page, address: str) -> bool:
    """Whether an address is one of this store's pages, so that nobody is led elsewhere."""
    return address.startswith(f"{page.base}/") and address.isprintable() and "\\" not in address and "//" not in address.partition("?")[0]
