"""Search by name or number, and chance."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from datasette.utils.asgi import Response

from deephys_sql import assets
from deephys_sql.site.pages import sets
from deephys_sql.site.pages.address import Address, PageError
from deephys_sql.site.pages.context import page

KINDS = ("neuron", "image", "category", "layer", "dataset")
MOST = 30  # results of a kind
_chance = random.SystemRandom()


@dataclass(frozen=True)
class Found:
    """Something that matches: what it is, its address, its name, and what tells it from others of that name."""

    kind: str
    address: str
    name: str
    about: str = ""
    dataset: str | None = None
    image: int | None = None


@page(r"/search", needs_model=False)
async def search(page):
    """Neurons, images, categories, datasets, layers and models by name or number: of this model, or of the others if it has none."""
    text = " ".join((page.args.get("q") or "").split())[:200]
    found: list[Found] = []
    elsewhere = False
    if text and page.model is not None:
        pages = dict.fromkeys(page.recordings, page)
        found = [*_names(page, text), *_numbers(page, text), *await _images(page, text, pages)]
        if elsewhere := not found:
            found = await _elsewhere(page, text)
    found = _first({one.address: one for one in found}.values())
    if len(found) == 1 and page.args.get("stay") is None:
        return redirect(found[0].address)
    kinds = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    pictures = await page.pictures([(one.dataset, one.image) for one in found if one.image is not None])
    return await page.render("search.html", text=text, kinds=kinds, found=found, elsewhere=elsewhere, pictures=pictures, most=MOST)


async def _elsewhere(page, text: str) -> list[Found]:
    """Return what the other models have of it; a dataset's images by their names under the first model recorded on it."""
    found: list[Found] = []
    pages: dict[str, Address] = {}
    lists = [page.categories]  # of categories, that were looked through
    for model in page.names.models:
        if model == page.model or len(found) >= MOST:
            continue
        other = page.of(model)
        if other.categories in lists:
            other.categories = {}
        else:
            lists.append(other.categories)
        here = (*_names(other, text), *_numbers(other, text))
        found += [replace(one, about=", ".join(dict.fromkeys(filter(None, (one.about, model))))) for one in here]
        for dataset in other.recordings.keys() - page.recordings.keys():
            pages.setdefault(dataset, other)
    return found + await _images(page, text, pages)


async def _images(page, text: str, pages: dict[str, Address]) -> list[Found]:
    """Return images of datasets whose name or metadata has the text, each on a page of its dataset's model."""
    if len(text) < 2 or text.isdecimal() or not pages:
        return []
    return [
        Found(
            "image",
            pages[row["dataset"]].image_url(row["dataset"], row["image"]),
            f"Image {row['image']} of {row['dataset']}",
            row["uri"] or "",
            row["dataset"],
            row["image"],
        )
        for row in await page.rows(assets.sql("site/find_images.sql"), {"datasets": list(pages), "text": text, "k": MOST})
    ]


def _first(found: Iterable[Found]) -> list[Found]:
    """Return as many of each kind as are shown."""
    count: Counter = Counter()
    return [one for one in found if count.update([one.kind]) or count[one.kind] <= MOST]


def _names(page, text: str) -> list[Found]:
    """Return what has the text in its name; exact names first."""

    def matching(names):
        return sorted((name for name in names if low in name.lower()), key=lambda name: name.lower() != low)[:MOST]

    low = text.lower()
    found = [Found("model", page.model_url(name), name) for name in matching(page.names.models)]
    found += [
        Found("layer", page.layer_url(name), name, f"{page.names.layers[page.model][name]:,} neurons")
        for name in matching(page.names.layers[page.model])
    ]
    found += [
        Found("dataset", page.matrix_url(name), name, f"{page.recordings[name].images:,} images") for name in matching(page.recordings)
    ]
    numbers = {}
    for number, name in page.categories.items():
        numbers.setdefault(name, number)
    found += [Found("category", page.category_url(numbers[name]), name, f"number {numbers[name]}") for name in matching(numbers)]
    return found


def _numbers(page, text: str) -> list[Found]:
    """Return the neurons, images and categories that a number names, alone or after the name of their layer or dataset."""
    match = re.fullmatch(r"(?:(.*?)[\s/,:#]*)(\d{1,9})", text)
    if match is None:
        return []
    said, number = match[1].strip().lower(), int(match[2])
    words = [word for word in re.split(r"[\s/,:#]+", said) if word not in ("of", "in", "number", "no", "model", page.model.lower())]
    kinds = {kind for kind in ("neuron", "image", "category") if {kind, f"{kind}s"} & set(words)}
    rest = [word for word in words if word and word not in {f"{kind}{s}" for kind in KINDS for s in ("", "s")}]
    found = []
    if kinds <= {"neuron"}:
        for layer, neurons in page.names.layers[page.model].items():
            if number < neurons and all(word in layer.lower() for word in rest):
                found.append(Found("neuron", page.neuron_url(number, layer), f"Neuron {number} of {layer}", page.model))
    if kinds <= {"image"}:
        for dataset, one in page.recordings.items():
            if number < one.images and all(word in dataset.lower() for word in rest):
                found.append(Found("image", page.image_url(dataset, number), f"Image {number} of {dataset}", "", dataset, number))
    if kinds <= {"category"} and not rest and number in page.categories:
        found.append(Found("category", page.category_url(number), page.categories[number], f"number {number}"))
    return _first(found)


@page(r"/random/neuron")
async def random_neuron(page):
    """Redirect to a neuron of the layer that the address names, or of the default layer."""
    if not page.neurons:
        raise PageError(404, "There is no neuron here.", "Record a layer of the model first.", [(page.home_url(), "Home")])
    return redirect(page.neuron_url(_chance.randrange(page.neurons)))


@page(r"/random/mistake")
async def random_mistake(page):
    """Redirect to a wrongly predicted image of the chosen datasets; each is as likely as any other."""
    accuracy = await page.query("accuracy_by_category", keep=True)
    names = set(sets.shown(page))
    wrong = {name: sum(row["false_negatives"] for row in accuracy if row["dataset"] == name) for name in names}
    place = _chance.randrange(sum(wrong.values()) or 1)
    for name in sorted(names):
        if place < wrong[name]:
            (row,) = await page.query("mistaken_images", dataset=name, k=1, skip=place)
            return redirect(page.image_url(name, row["image"]))
        place -= wrong[name]
    message = "Every labelled image of these datasets is predicted right, or none has a label."
    raise PageError(404, "There is no wrong image.", message, [(page.model_url(), f"Model {page.model}")])


def redirect(address: str) -> Response:
    return Response.redirect(address, headers={"cache-control": "no-store"})
