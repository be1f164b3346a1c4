"""The address of a page and what it asks for, checked; and the addresses that a page links."""

import copy
import difflib
import functools
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasette.utils import MultiParams, tilde_decode, tilde_encode

from deephys_sql.site import contents
from deephys_sql.site.database import StoreDatabase

SIZES = ("small", "medium", "large")  # of pictures
NORMALISE = ("reference", "none")  # what responses are divided by: the neuron's largest in the reference, or nothing
# What links carry on from page to page, unless it is the default; and an address without any of it.
CHOICES = ("reference", "dataset", "layer", "k", "size", "digits", "normalise", "pictures")
NO_CHOICES: dict[str, None] = dict.fromkeys(CHOICES)
DATASETS_SHOWN = 4  # beside the reference, unless the address names them


class PageError(Exception):
    """Becomes a page that says what was asked, what is there, and where to go on.

    links: pairs of an address and its text.
    """

    def __init__(self, status: int, title: str, message: str, links: Sequence[tuple[str, str]] = ()):
        super().__init__(f"{title} {message}")
        self.status, self.title, self.message, self.links = status, title, message, links


class Address:
    """What the address of a request for a page says, and addresses of other pages.

    What it says, checked and ready: `model`, `reference`, `datasets` (the chosen ones, never the reference),
    `dataset` (the first of them), `layer`, `neurons` (of the layer), `k`, `categories` (names by id); and how it is shown:
    `size` of pictures, `digits` (None: as many as each number needs), `normalise`, `pictures_each` (of a neuron in a table).
    """

    def __init__(self, datasette, request, database: StoreDatabase, names: contents.Names, *, needs_model: bool):
        self.datasette, self.request, self.database, self.names = datasette, request, database, names
        self.parts = {key: tilde_decode(value) for key, value in request.url_vars.items() if value is not None}
        self.args = request.args
        self._queries: dict[tuple, str] = {}
        self.base = str(datasette.urls.path(f"/{tilde_encode(database.route or database.name)}/-"))
        self.k = self.number_of("k", 20, 1, 100)
        self.size = self.choice_of("size", SIZES, "medium")
        self.digits = self.number_of("digits", None, 1, 7)
        self.normalise = self.choice_of("normalise", NORMALISE, "reference")
        self.pictures_each = self.number_of("pictures", None, 1, 18)
        self.model = self.parts.get("model") or self.args.get("model") or next(iter(names.models), None)
        if self.model is not None or needs_model:
            self._read_model()

    def _read_model(self) -> None:
        names = self.names
        self.layer = self.default_layer = None
        self.datasets, self.default_datasets = [], []
        if not names.models:
            raise PageError(404, "Nothing is recorded yet.", "Record a model into this store, then open this page again.")
        self.require("model", self.model, names.models, lambda model: self.address("model", model))
        self.recordings = names.recordings[self.model]
        self.default_reference = names.models[self.model] or next(iter(self.recordings), None)
        self.reference = self.args.get("reference") or self.default_reference
        self.require("dataset", self.reference, self.recordings, lambda name: self.here(reference=name))
        self.default_datasets = [name for name in self.recordings if name != self.reference][:DATASETS_SHOWN]
        chosen = [name for name in dict.fromkeys(self.args.getlist("dataset")) if name]
        for name in chosen:
            self.require("dataset", name, self.recordings, lambda name: self.here(dataset=[name]))
        self.datasets = [name for name in chosen if name != self.reference] or self.default_datasets
        if "dataset" in self.parts:
            self.require(
                "dataset",
                self.parts["dataset"],
                self.recordings,
                lambda name: self.address("model", self.model, "dataset", name, "confusion"),
            )
        self.dataset = self.parts.get("dataset") or next(iter(self.datasets), None)
        layers = names.layers[self.model]
        self.default_layer = names.default_layer(self.model)
        self.layer = self.parts.get("layer") or self.args.get("layer") or self.default_layer
        self.require("layer", self.layer, layers, self.layer_url)
        self.neurons = layers[self.layer] if self.layer else 0
        self.categories = names.categories[self.model]

    def of(self, model: str) -> "Address":
        """Return the same for another model, without what was chosen of this one's datasets and layers."""
        other = copy.copy(self)
        other.__dict__.pop("choices", None)
        other.parts, other._queries, other.model = {}, {}, model
        left_out = ("model", "reference", "dataset", "layer")
        other.args = MultiParams({key: self.args.getlist(key) for key in self.args if key not in left_out})
        other._read_model()
        return other

    @property
    def against(self) -> str | None:
        """The reference as queries take it: None for the model's default, whose scores are kept."""
        return None if self.reference == self.default_reference else self.reference

    # Checks of what the address says.

    def require(self, what: str, name: Any, known: Iterable[Any], address) -> None:
        """Raise a 404 page unless the name is known, with links to the nearest."""
        known = list(known)
        if name in known or not known:
            return
        near = difflib.get_close_matches(str(name), map(str, known), n=3, cutoff=0.4) or known[:8]
        raise PageError(
            404,
            f"There is no {what} “{name}” here.",
            "Did you mean one of these?" if near else "",
            [(address(one), str(one)) for one in near],
        )

    def number(self, part: str, count: int | None = None, what: str | None = None) -> int:
        """Return a number from the path; a 404 page unless it is one of 0..count-1."""
        text, what = self.parts[part], what or part
        if not re.fullmatch(r"[0-9]{1,9}", text) or (count is not None and int(text) >= count):
            hint = "" if count is None else f"They are numbered from 0 to {count - 1:,}." if count else "There is none."
            raise PageError(
                404,
                f"There is no {what} “{text}” here.",
                hint,
                [(self.layer_url(), f"All neurons of {self.layer}"), (self.home_url(), "Home")],
            )
        return int(text)

    def number_of(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """Return a whole number from the query string; a 400 page when it is none or out of range."""
        text = self.args.get(name)
        if text is None or text == "":
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise PageError(
                400,
                f"{name} can't be “{text}”.",
                f"It is a whole number from {low:,} to {high:,}.",
                [(self.here(**{name: None}), "This page without it")],
            )
        return int(text)

    def decimal_of(self, name: str) -> float | None:
        """Return a number from the query string, None without it; a 400 page when it is none."""
        text = self.args.get(name)
        if text is None or text == "":
            return None
        if not re.fullmatch(r"[-+]?([0-9]{1,9}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][-+]?[0-9]{1,2})?", text):
            raise PageError(
                400, f"{name} can't be “{text}”.", "It is a number, such as 0.5.", [(self.here(**{name: None}), "This page without it")]
            )
        return float(text)

    def choice_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of the choices from the query string; a 400 page when it is another."""
        text = self.args.get(name) or default
        if text not in choices:
            raise PageError(
                400,
                f"{name} can't be “{text}”.",
                "It is one of: " + ", ".join(choices) + ".",
                [(self.here(**{name: None}), "This page without it")],
            )
        return text

    # Addresses. Each carries what the visitor chose: reference, datasets, layer, k.

    def address(self, *parts: Any, **changes: Any) -> str:
        """Return an address below the database, `address("model", "net", layer="fc")`; None leaves a choice out."""
        path = "/".join(_encoded(str(part)) for part in parts)
        return f"{self.base}/{path}{self._query(changes)}"

    def here(self, **changes: Any) -> str:
        """Return this page's address with some of its query string changed; None leaves out."""
        kept = {key: self.args.getlist(key) for key in self.args if key not in changes}
        pairs = [(key, one) for key, value in {**kept, **changes}.items() for one in _several(value)]
        path = self.request.scope.get("raw_path", self.request.path.encode()).partition(b"?")[0].decode("latin-1")
        return path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")

    @functools.cached_property
    def choices(self) -> dict[str, list[str]]:
        """Return what the visitor chose beyond the defaults, as links carry it."""
        if getattr(self, "recordings", None) is None:
            return {}
        chosen = {}
        if self.reference != self.default_reference:
            chosen["reference"] = [self.reference]
        if self.datasets != self.default_datasets:
            chosen["dataset"] = list(self.datasets)
        if self.layer != self.default_layer:
            chosen["layer"] = [self.layer]
        if self.k != 20:
            chosen["k"] = [str(self.k)]
        for name, value, default in (("size", self.size, "medium"), ("normalise", self.normalise, "reference")):
            if value != default:
                chosen[name] = [value]
        for name, value in (("digits", self.digits), ("pictures", self.pictures_each)):
            if value is not None:
                chosen[name] = [str(value)]
        return chosen

    def _query(self, changes: Mapping[str, Any]) -> str:
        key = tuple(changes.items())
        if any(isinstance(value, list) for value in changes.values()):
            return self._query_of(changes)
        if key not in self._queries:  # the same for a thousand links of a page
            self._queries[key] = self._query_of(changes)
        return self._queries[key]

    def _query_of(self, changes: Mapping[str, Any]) -> str:
        values = {**self.choices, **changes}
        pairs = [(key, one) for key, value in values.items() for one in _several(value)]
        return "?" + urllib.parse.urlencode(pairs) if pairs else ""

    def home_url(self, **changes) -> str:
        return self.address("home", **{"layer": None, **changes})

    def model_url(self, model: str | None = None, **changes) -> str:
        if model not in (None, self.model):
            changes = {"reference": None, "dataset": None, "layer": None, **changes}
        return self.address("model", model or self.model, **{"layer": None, **changes})

    def layer_url(self, layer: str | None = None, **changes) -> str:
        return self.address("model", self.model, "layer", layer or self.layer, **{"layer": None, **changes})

    def neuron_url(self, neuron: int, layer: str | None = None, **changes) -> str:
        return self.address("model", self.model, "layer", layer or self.layer, "neuron", neuron, **{"layer": None, **changes})

    def part_url(self, neuron: int, part: str, **changes) -> str:
        """Return the address of a part of a neuron page."""
        return self.address(
            "model", self.model, "layer", self.layer, "neuron", neuron, part, **{"layer": None, "k": None, "size": None, **changes}
        )

    def image_url(self, dataset: str, image: int, **changes) -> str:
        return self.address("model", self.model, "dataset", dataset, "image", image, **changes)

    def category_url(self, category: int, **changes) -> str:
        return self.address("model", self.model, "category", category, **changes)

    def matrix_url(self, dataset: str, **changes) -> str:
        return self.address("model", self.model, "dataset", dataset, "confusion", **changes)

    def confusion_url(self, a: int, b: int, **changes) -> str:
        return self.address("model", self.model, "confusion", a, b, **changes)

    def compare_url(self, **changes) -> str:
        return self.address("model", self.model, "compare", **changes)

    def search_url(self, **changes) -> str:
        return self.address("search", **{"model": self.model, **changes})

    def random_url(self, what: str) -> str:
        """Return the address of a random `neuron` or `mistake`."""
        return self.address("random", what, model=self.model)

    def picture_url(self, dataset: str, image: int) -> str:
        """Return the address of a thumbnail, which changes when the store does, so that browsers may keep it."""
        return f"{self.base}/picture/{tilde_encode(dataset)}/{image}?version={self.mark()}"

    def crop_url(self, dataset: str, image: int, box: Sequence[float]) -> str:
        """Return the address of a part of a picture: left, top, right and bottom as shares of it."""
        return f"{self.picture_url(dataset, image)}&crop={','.join(f'{share:.6f}' for share in box)}"

    def mark(self) -> str:
        """Return what changes with the store's file."""
        return "-".join(format(part, "x") for part in self.database.version().stamp)

    def table_url(self, table: str, **filters: Any) -> str:
        pairs = urllib.parse.urlencode(filters)
        return str(self.datasette.urls.table(self.database.name, table)) + ("?" + pairs if pairs else "")

    def accent(self, dataset: str) -> str:
        """Return the class of a dataset's accent: `reference` or `other`."""
        return "reference" if dataset == self.reference else "other"


@functools.lru_cache(maxsize=10_000)
def _encoded(part: str) -> str:
    return tilde_encode(part)


def _several(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
