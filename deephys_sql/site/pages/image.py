"""The page of an image, and its original picture."""

import asyncio
import json

from datasette.utils import tilde_decode
from datasette.utils.asgi import Response

from deephys_sql import assets
from deephys_sql.site.pages import crops, html, sets
from deephys_sql.site.pages.address import NO_CHOICES, PageError
from deephys_sql.site.pages.annotate import said_of
from deephys_sql.site.pages.context import page

NEURONS = 10


@page(r"/model/(?P<model>[^/]+)/dataset/(?P<dataset>[^/]+)/image/(?P<image>[^/]+)")
async def image(page):
    """The picture, what was predicted, and the neurons that respond most, with what else activates them."""
    dataset = page.dataset
    number = page.number("image", page.recordings[dataset].images, f"image of {dataset}")
    columns = sets.shown(page, dataset)
    others = [name for name, one in page.recordings.items() if name != dataset and number < one.images]
    lead = page.choice_of("lead", [dataset, *others], dataset)
    k = page.number_of("k", NEURONS, 1, 100)
    records, top_predictions, neurons, mistakes, said = await asyncio.gather(
        page.query("image_record", dataset=dataset, image=number),
        page.query("top_predictions_of_image", dataset=dataset, image=number),
        page.query("top_neurons_of_image", dataset=dataset, image=number, lead=None if lead == dataset else lead, k=k),
        page.rows(assets.sql("site/mistakes_beside.sql"), {"model": page.model, "dataset": dataset, "image": number}),
        said_of(page, "image", dataset=dataset, image=number),
    )
    if not records:
        raise PageError(404, f"Image {number} of “{dataset}” has no prediction by {page.model}.", "", [(page.matrix_url(dataset), dataset)])
    record = records[0]
    tops = await sets.top_images(page, sets.neurons_of(neurons), columns)
    elsewhere = [name for name in sets.shown(page, *others) if name in others]
    await sets.measure(page, sets.neurons_of(neurons))
    pictures = await page.pictures([(dataset, number), *((name, number) for name in elsewhere), *sets.wanted(tops)])
    return await page.render(
        "image.html",
        record=record,
        wrong=html.is_wrong(record),
        mistakes={row["kind"]: row for row in mistakes if row["images"]},
        top_predictions=top_predictions,
        neurons=neurons,
        most=max((row["response"] for row in neurons), default=1),
        columns=columns,
        lead=lead,
        leads=[dataset, *others],
        k=k,
        tops=tops,
        pictures=pictures,
        elsewhere=elsewhere,
        said=said,
        metadata=fields(record["metadata"]),
        original=original_url(page, dataset, number) if record["original_type"] is not None else None,
        png=original_url(page, dataset, number, "png") if record["width"] else None,
        shown_original=record["original_type"] in SHOWN,
        last=page.recordings[dataset].images - 1,
    )


SHOWN = {kind for _, kind in html.MEDIA_TYPES} | {"image/webp"}  # what a browser may show; anything else is downloaded


def fields(metadata: str | None) -> list[tuple[str, str]]:
    """Return the fields of an image's metadata with their values as text.

    >>> fields('{"camera": "X", "size": [1, 2]}'), fields(None), fields('"text"')
    ([('camera', 'X'), ('size', '[1, 2]')], [], [('metadata', 'text')])
    """
    if metadata is None:
        return []
    value = json.loads(metadata)
    pairs = value.items() if isinstance(value, dict) else [("metadata", value)]
    return [(name, one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) for name, one in pairs]


def mark(page) -> str:
    """Return what changes with the store's file."""
    return "-".join(format(part, "x") for part in page.database.version().stamp)


def original_url(page, dataset: str, number: int, form: str | None = None) -> str:
    """Return the address of the original picture, which changes when the store does; or of the picture as `png`."""
    return page.address("original", dataset, number, version=mark(page), **NO_CHOICES | {"format": form})


@page(r"/original/(?P<of>[^/]+)/(?P<image>[^/]+)", needs_model=False)
async def original(page):
    """The original picture as it was kept; shown only when its bytes are a picture, else offered for download. With ?format=png,
    the original or else the thumbnail as PNG, to be saved.
    """
    dataset, number = tilde_decode(page.request.url_vars["of"]), page.number("image")
    is_png = page.choice_of("format", ["kept", "png"], "kept") == "png"
    etag = f'"{mark(page)}-{number}{"-png" if is_png else ""}"'
    headers = {
        "etag": etag,
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "private, max-age=31536000, immutable" if page.args.get("version") == mark(page) else "private, no-cache",
    }
    if is_png:
        rows = await page.rows(assets.sql("site/picture_to_crop.sql"), {"dataset": dataset, "image": number})
        png = await asyncio.to_thread(crops.as_png, rows[0]["original"], rows[0]["thumbnail"]) if rows else None
        if png is None:
            raise PageError(404, f"There is no picture of image {number} of “{dataset}”.", "It was recorded without one, or is not there.")
        headers["content-disposition"] = f'attachment; filename="image-{number}.png"'
        response = Response(png, headers=headers)
        response.content_type = "image/png"
        return response
    rows = await page.rows(
        "select original, original_type from image where dataset = $dataset and image = $image", {"dataset": dataset, "image": number}
    )
    if not rows or rows[0]["original"] is None:
        raise PageError(404, f"No original of image {number} of “{dataset}” was kept.", "A recording keeps originals when it is asked to.")
    if etag in (page.request.headers.get("if-none-match") or ""):
        return Response("", status=304, headers=headers)
    value, stated = rows[0]["original"], rows[0]["original_type"]
    kind = html.media_type(value)
    if kind is None or stated not in (None, kind):
        kind = "application/octet-stream"
        headers["content-disposition"] = f'attachment; filename="image-{number}"'
    response = Response(value, headers=headers)
    response.content_type = kind
    return response
