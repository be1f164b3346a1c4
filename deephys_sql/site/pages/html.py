# ruff: noqa: RUF001, RUF002 - a minus sign is a minus sign here
"""Pieces of HTML that pages share: numbers, pictures, cards of pictures. Everything that comes from a store is escaped."""

import base64
import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

STATIC = Path(__file__).parent.parent / "static"
TEMPLATES = Path(__file__).parent.parent / "templates"

# What a thumbnail is, by how its bytes begin. SVG is not among them: it can hold scripts.
MEDIA_TYPES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"))
INLINE_BUDGET = 250_000  # bytes of pictures written into a page; the rest are addresses
SMOOTH_FROM = 49  # pixels: smaller pictures are enlarged as squares, so that their pixels can be seen
SMOOTH_CROP_FROM = 100  # the same of pictures of which a part is shown
MOST = 0.7  # of a picture: a place that sees so much of it is shown as a place
POOLED = {
    "max": "the maximum over places",
    "mean": "the mean over places",
    "first": "of the first token",
    "flatten": "every value a neuron",
}

SCORES = {
    "spurious": "spurious",
    "novelty": "novelty",
    "response_loss": "response loss",
    "activation_ratio": "activation ratio",
}
MEANINGS = {
    "spurious": "High when the neuron fires for other categories than in the reference: "
    "1 − |Spearman’s correlation| of its category responses, 0 to 1.",
    "novelty": "High when what the neuron looks for is missing here: the response loss where it is positive.",
    "response_loss": "Largest category response in the reference less the largest here; negative when this dataset drives the neuron more.",
    "activation_ratio": "Largest response here, in per cent of the largest in the reference.",
}
REASONS = {
    "not_in_reference": "the reference was recorded without this layer",
    "silent_in_reference": "silent: no image of the reference activates it",
    "constant": "constant: it responds alike to every category",
    "few_categories": "fewer than 3 categories are shared",
}


def media_type(value: bytes | None) -> str | None:
    """Return the media type of a thumbnail that may be shown, None for anything else.

    >>> media_type(b"GIF89a..."), media_type(b"<svg>")
    ('image/gif', None)
    """
    if not value:
        return None
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in MEDIA_TYPES if value.startswith(start)), None)


# The number of significant digits that the visitor chose for this page; None for as many as each number needs.
chosen_digits: ContextVar[int | None] = ContextVar("chosen_digits", default=None)


class Pictures:
    """The thumbnails of a page."""

    def __init__(self, page, rows: Iterable, order: list[tuple[str, int]], budget: int):
        self._page = page
        found = {(row["dataset"], row["image"]): row for row in rows}
        self._sources: dict[tuple[str, int], tuple[Markup, bool, bool]] = {}
        self._sizes: dict[tuple[str, int], tuple[int, int]] = {}
        for key in order:
            row = found.get(key)
            kind = media_type(row["thumbnail"]) if row is not None else None
            if kind is None or row["thumbnail_type"] not in (None, kind):
                continue
            budget -= len(row["thumbnail"]) * 4 // 3 + 40
            source = (
                Markup(f"data:{kind};base64,{base64.b64encode(row['thumbnail']).decode()}")
                if budget > 0
                else escape(page.picture_url(*key))
            )
            if row["width"] and row["height"]:
                self._sizes[key] = row["width"], row["height"]
            self._sources[key] = source, budget <= 0, max(row["width"] or 0, row["height"] or 0) < SMOOTH_FROM

    def img(self, dataset: str, image: int, alt: str) -> Markup:
        """Return the <img>, or a box that says that there is no picture. Its size comes from what it stands in (see deephys.css)."""
        source, lazy, coarse = self._sources.get((dataset, image), (None, False, False))
        if source is None:
            return Markup('<span class="no-picture" role="img" aria-label="{}">{}</span>').format(f"{alt}; no picture", image)
        kind, loading = ' class="coarse"' if coarse else "", ' loading="lazy"' if lazy else ""
        return Markup(f'<img src="{source}" alt="{escape(alt)}"{kind}{loading}>')

    def img_with_place(self, dataset: str, row: Mapping, alt: str) -> Markup:
        """Return the <img> with the place marked that the activation came from, and beside it what that place sees."""
        whole = self.img(dataset, row["image"], alt)
        size = self._sizes.get((dataset, row["image"]))
        if size is None:
            return whole
        part = _part(row)
        mark = part or _cell(row)
        marked = Markup('<span class="marked">{}{}</span>').format(whole, _marked(size, mark) if mark else "")
        if part is None:
            return marked
        beside = Markup('<img src="{}" alt="What that place sees of it" loading="lazy"{}>').format(
            self._page.crop_url(dataset, row["image"], part), Markup(' class="coarse"') if max(size) < SMOOTH_CROP_FROM else ""
        )
        return Markup('<span class="with-part">{}{}</span>').format(marked, beside)


def _part(row: Mapping) -> tuple[float, float, float, float] | None:
    """Return the share of the picture that a place sees; None when that is not known, or most of it."""
    seen = tuple(row[f"seen_{side}"] for side in ("left", "top", "right", "bottom"))
    if None in seen:
        return None
    width, height = seen[2] - seen[0], seen[3] - seen[1]
    return seen if 0 < width * height < MOST else None


def _cell(row: Mapping) -> tuple[float, float, float, float] | None:
    """Return the share of the picture that a place takes in its feature map."""
    rows, columns = row["map_rows"], row["map_columns"]
    if row["place_row"] is None or rows in (None, 1):
        return None
    return row["place_column"] / columns, row["place_row"] / rows, (row["place_column"] + 1) / columns, (row["place_row"] + 1) / rows


def _marked(size: tuple[int, int], box: tuple[float, float, float, float]) -> Markup:
    """Return a frame around a part of a picture, drawn as the picture is: as large as fits."""
    width, height = size
    left, top, right, bottom = box
    return Markup(
        '<svg class="framed" viewBox="0 0 {} {}" aria-hidden="true"><rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/></svg>'
    ).format(width, height, left * width, top * height, (right - left) * width, (bottom - top) * height)


def place_told(top: Mapping[str, Iterable[Mapping]]) -> str:
    """Return in words what the frames on a neuron's top images are; "" when there are none."""
    row = next((row for rows in top.values() for row in rows if _cell(row) is not None), None)
    if row is None:
        return ""
    said = f"The map has {row['map_rows']} × {row['map_columns']} places. The frame is "
    if all(_part(row) is None for rows in top.values() for row in rows):
        return said + "the place of the maximum."
    return (
        said + "what the place of the maximum sees of the picture, its receptive field, and beside the picture is that part alone; "
        "where it sees most of the picture, the frame is the place."
    )


def layer_told(facts: Mapping) -> str:
    """Return in words what a layer's activations are.

    >>> layer_told({"nonlinearity": "relu", "pooling": "max", "made_from": None})
    'after relu, the maximum over places'
    """
    said = [f"directions of {facts['made_from']}"] if facts["made_from"] else []
    if facts["nonlinearity"] and facts["nonlinearity"] != "none":
        said.append(f"after {facts['nonlinearity']}")
    if facts["pooling"]:
        said.append(POOLED.get(facts["pooling"], facts["pooling"]))
    return ", ".join(said)


def is_wrong(row: Mapping) -> bool:
    """Return whether a row with `label` and `predicted` is a wrong prediction; unknown labels are not wrong."""
    return row["label"] is not None and row["predicted"] is not None and row["label"] != row["predicted"]


def told(row: Mapping, dataset: str) -> str:
    """Return in words what a picture is: for its alt text."""
    label = "unlabelled" if row["label"] is None else f"labelled {row['label_name']}"
    return f"Image {row['image']} of {dataset}, {label}, {'wrongly ' if is_wrong(row) else ''}predicted {row['predicted_name']}"


def card(page, pictures: Pictures, dataset: str, row, *, value: str = "value", unit: str = "") -> Markup:
    """Return a picture with label, prediction and value, that links to its image page.

    row: image, label, label_name, predicted, predicted_name and, when it has them, value, response and confidence.
    value: the column that stands below the picture, "" for none; response and confidence are shown in per cent.
    """
    words = told(row, dataset)
    label = "?" if row["label"] is None else row["label_name"]
    wrong, taken = "", ""
    if is_wrong(row):
        wrong, taken = " wrong", f'<span class="taken"><span aria-hidden="true">→</span> {escape(row["predicted_name"])}</span>'
    img = pictures.img_with_place(dataset, row, words) if "place_row" in row.keys() else pictures.img(dataset, row["image"], words)  # noqa: SIM118
    below = f'<span class="value">{escape(_value(row, value) + unit)}</span>' if value else ""
    return Markup(  # a page has hundreds, and Markup.format takes three times as long
        f'<a class="card {page.accent(dataset)}{wrong}" href="{escape(page.image_url(dataset, row["image"]))}" '
        f'title="{escape(_hover(row, dataset))}">{img}<span class="said"><b>{escape(label)}</b>{taken}</span>{below}</a>'
    )


def cards(page, pictures: Pictures, dataset: str, rows: Iterable, *, value: str = "value", unit: str = "") -> Markup:
    """Return a grid of cards; wider ones where they show parts too."""
    rows = list(rows)
    parts = any("seen_left" in row.keys() and row["seen_left"] is not None for row in rows)  # noqa: SIM118 - as sqlite3.Row
    return Markup('<div class="cards{}">{}</div>').format(
        " with-parts" if parts else "", Markup("").join(card(page, pictures, dataset, row, value=value, unit=unit) for row in rows)
    )


def strip(page, pictures: Pictures, dataset: str, rows: Iterable, *, href: str | None = None) -> Markup:
    """Return a row of pictures without words below them; each links to its image page, or the whole strip to `href`."""
    rows = list(rows)
    if not rows:
        return Markup('<span class="strip empty-strip">no image activates it</span>')
    if href is not None:
        inside = Markup("").join(
            Markup('<span class="still{}" title="{}">{}</span>').format(
                " wrong" if is_wrong(row) else "", _hover(row, dataset), pictures.img(dataset, row["image"], told(row, dataset))
            )
            for row in rows
        )
        return Markup('<a class="strip {}" href="{}">{}</a>').format(page.accent(dataset), href, inside)
    inside = "".join(  # a page has hundreds, and Markup.format takes three times as long
        f'<a class="still{" wrong" if is_wrong(row) else ""}" href="{escape(page.image_url(dataset, row["image"]))}" '
        f'title="{escape(_hover(row, dataset))}">{pictures.img(dataset, row["image"], told(row, dataset))}</a>'
        for row in rows
    )
    return Markup('<span class="strip {}">{}</span>').format(page.accent(dataset), Markup(inside))


def _hover(row, dataset: str) -> str:
    keys = row.keys()
    said = [f"image {row['image']} of {dataset}", f"label {row['label_name']}" if row["label"] is not None else "no label"]
    said.append(f"predicted {row['predicted_name']}" + (", wrong" if is_wrong(row) else ""))
    if "confidence" in keys and row["confidence"] is not None:
        said.append(f"confidence {chance(row['confidence'])}")
    if "value" in keys and row["value"] is not None:
        said.append(f"activation {number(row['value'], 4)}")
    if "place_row" in keys and row["place_row"] is not None:
        said.append(f"place: row {row['place_row']}, column {row['place_column']}")
    if "response" in keys and row["response"] is not None:
        said.append(f"response {percent(row['response'])} of the reference’s largest")
    return " · ".join(said)


def _value(row, column: str) -> str:
    value = row[column]
    if column == "confidence":
        return chance(value)
    return percent(value) if column in ("response", "share") else number(value)


def number(value: Any, digits: int = 3) -> str:
    """Return a number with so many significant digits, without an exponent for usual sizes; a dash for None.

    >>> number(34.9338), number(0.000123456), number(1234567.0), number(None), number(-0.5)
    ('34.9', '0.000123', '1,234,567', '–', '−0.500')
    """
    if value is None:
        return "–"
    value, digits = float(value), chosen_digits.get() or digits
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    elif abs(value) < 1e-4:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:#.{digits}g}"
    return text.replace("-", "−")


def fixed(value: Any, places: int = 2) -> str:
    """Return a score with so many decimal places, so that columns align; a dash for None.

    >>> fixed(0.98181), fixed(-0.5), fixed(None)
    ('0.98', '−0.50', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.{chosen_digits.get() or places}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def percent(value: Any, places: int | None = None) -> str:
    """Return a share in per cent, with as many decimal places near 0 and 100 % as tell it from them; a dash for None.

    >>> [percent(value).replace("\N{NO-BREAK SPACE}", " ") for value in (0.8786, 0.9996, 1.0, 0.004, 0.00001, None, -0.25)]
    ['88 %', '99.96 %', '100 %', '0.4 %', '< 0.1 %', '–', '−25 %']
    """
    if value is None:
        return "–"
    size, digits = abs(value), chosen_digits.get()
    if places is None and digits and size:
        places = min(max(0, digits - 1 - math.floor(math.log10(size * 100))), 12)
    if places is None:
        if 0 < value < 0.0005:
            return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
        places = 1 if 0 < size < 0.0995 or 0.985 < size < 1 else 0
        if 0.9999995 <= value < 1:
            return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
        while places and places < 4 and size < 1 and round(size * 100, places) == 100:
            places += 1
    return f"{value * 100:,.{places}f}\N{NO-BREAK SPACE}%".replace("-", "−")


def chance(probability: float | None) -> str:
    r"""Return a probability in per cent, without rounding it to impossible or certain.

    >>> [chance(one).replace("\N{NO-BREAK SPACE}", " ") for one in (0.8786, 1e-9, 0.99999, 1.0)]
    ['88 %', '< 0.1 %', '> 99.9 %', '100 %']
    """
    if chosen_digits.get():
        return percent(probability)
    if probability is not None and 0 < probability < 0.0005:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    if probability is not None and 0.9995 <= probability < 1:
        return ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"
    return percent(probability)


def count(value: Any, one: str = "", many: str = "") -> str:
    """Return a count with separators and its noun.

    >>> count(1, "image", "images"), count(10000, "image"), count(None)
    ('1 image', '10,000 images', '–')
    """
    if value is None:
        return "–"
    noun = one if value == 1 else many or (one + "s" if one else "")
    return f"{value:,}" + (f" {noun}" if noun else "")


def bar(value: float | None, accent: str, *, most: float = 1.0, title: str = "") -> Markup:
    """Return a bar whose length is value / most; `accent` is reference, other or plain. Decoration: the number stands beside it."""
    width = 0 if value is None or most <= 0 else max(0, min(100, 100 * value / most))
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '{}<rect class="track" width="100" height="10"/>'
        '<rect class="length" width="{:.1f}" height="10"/></svg>'
    ).format(accent, Markup("<title>{}</title>").format(title) if title else "", width)


@functools.cache
def _file(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def static_mark(name: str) -> str:
    """Return what changes with a static file."""
    return hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()


FILTERS = {"number": number, "fixed": fixed, "percent": percent, "chance": chance, "count": count}
GLOBALS = {
    "card": card,
    "cards": cards,
    "strip": strip,
    "bar": bar,
    "is_wrong": is_wrong,
    "told": told,
    "layer_told": layer_told,
    "place_told": place_told,
    "SCORES": SCORES,
    "MEANINGS": MEANINGS,
    "REASONS": REASONS,
}
