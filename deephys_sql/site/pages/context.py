"""What all pages share: the address and what it asks for, checked; queries; links; pictures; errors as pages.

A page is a coroutine that takes a `Page` and is registered with its address below the database:

    @page(r"/model/(?P<model>[^/]+)/category/(?P<category>[^/]+)")
    async def category(page):
        rows = await page.query("accuracy_of_category", category=page.number("category"))
        return await page.render("category.html", rows=rows)
"""

import asyncio
import difflib
import functools
import json
import re
import sqlite3
import sys
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
from datasette.database import QueryInterrupted
from datasette.utils import tilde_decode, tilde_encode
from datasette.utils.asgi import Response

from deephys_sql import assets, query
from deephys_sql.errors import DeephysError
from deephys_sql.query import Query
from deephys_sql.site import contents, permissions
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.pages import html

# Nothing but our own scripts and styles runs on our pages, whatever a store holds.
PAGE_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
}
ROUTES: list[tuple[str, Any]] = []  # filled by @page as the modules of this package are imported

KEPT_LIMIT_MS = 300_000  # for what is computed once, such as scores against another reference than the default
SCORED = ("layer_neurons", "score_density")  # queries that ask for the scores of a layer, which are kept or else computed
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


@dataclass(frozen=True)
class Ran:
    """A query that was run for the page: its name, title, SQL and values, and the address of its SQL page."""

    name: str
    title: str
    statement: str
    values: dict[str, Any]
    address: str
    json: str
    csv: str
    parquet: str


class Page:
    """One request for a page of a store.

    What the address says, checked and ready: `model`, `reference`, `datasets` (the chosen ones, never the reference),
    `dataset` (the first of them), `layer`, `neurons` (of the layer), `k`, `categories` (names by id); and how it is shown:
    `size` of pictures, `digits` (None: as many as each number needs), `normalise`, `pictures_each` (of a neuron in a table).
    """

    def __init__(
        self, datasette, request, database: StoreDatabase, names: contents.Names, visitor: permissions.Visitor, *, needs_model: bool
    ):
        self.datasette, self.request, self.database, self.names, self.visitor = datasette, request, database, names, visitor
        self.parts = {key: tilde_decode(value) for key, value in request.url_vars.items() if value is not None}
        self.args = request.args
        self.ran: dict[str, Ran] = {}
        self._queries: dict[tuple, str] = {}
        self.base = datasette.urls.path(f"/{tilde_encode(database.route or database.name)}/-")
        self.base = str(self.base)
        self.k = self.number_of("k", 20, 1, 100)
        self.size = self.choice_of("size", SIZES, "medium")
        self.digits = self.number_of("digits", None, 1, 7)
        self.normalise = self.choice_of("normalise", NORMALISE, "reference")
        self.pictures_each = self.number_of("pictures", None, 1, 18)
        self.largest: dict[int, float | None] = {}  # activations in the reference, by neuron; filled when nothing is normalised
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

    async def layer_facts(self) -> dict[str, str | None]:
        """Return what is known of the page's layer: its non-linearity, its pooling, and the layer that it was made from."""
        text = "select nonlinearity, pooling, made_from from layer where model = $model and layer = $layer"
        rows = await self.rows(text, {"model": self.model, "layer": self.layer}, keep=True)
        return dict(rows[0]) if rows else {"nonlinearity": None, "pooling": None, "made_from": None}

    def mark(self) -> str:
        """Return what changes with the store's file."""
        return "-".join(format(part, "x") for part in self.database.version().stamp)

    def table_url(self, table: str, **filters: Any) -> str:
        pairs = urllib.parse.urlencode(filters)
        return str(self.datasette.urls.table(self.database.name, table)) + ("?" + pairs if pairs else "")

    def accent(self, dataset: str) -> str:
        """Return the class of a dataset's accent: `reference` or `other`."""
        return "reference" if dataset == self.reference else "other"

    # Data.

    async def query(self, name: str, *, keep: bool = False, **values: Any) -> list:
        """Run the named query, `queries/<name>.sql`, and return its rows.

        `model`, `layer`, `reference`, `dataset` and `k` are those of the page unless given; None or "" takes the query's default.
        What ran is in `page.ran[name]`, or `page.ran[as_name]`, for the block's SQL.
        keep: keep the rows as long as the store's file is the same; for what pages ask again and again. It is run once, however
        many ask at once, and may take longer than other queries.
        """
        as_name = values.pop("as_name", name)
        known = query.available()[name]
        await self.visitor.require("view-query", [name])
        own = {key: getattr(self, key, None) for key in ("model", "layer", "dataset", "k")} | {"reference": self.against}
        given = {key: value for key, value in {**own, **values}.items() if key in known.parameters and value not in (None, "")}
        text, bound = known.bind(given)
        self.ran[as_name] = self._ran(known, bound)
        return await self.rows(text, bound, keep=keep, scored=name in SCORED and self.against is not None)

    async def rows(self, sql: str, values: Mapping[str, Any] | None = None, *, keep: bool = False, scored: bool = False) -> list:
        """Run our own SQL, a file under `queries/site/` or a single line, with bound values.

        scored: it asks for scores of `layer` against `reference`, on `dataset` or on all: they are computed beforehand.
        Raises Datasette's `Forbidden` when the visitor may not see a table or view that it reads.
        """
        await self.visitor.require("view-table", permissions.tables_of(sql) & self.database.version().tables.keys())
        values = values or {}
        if not keep:
            return (await self.database.query(sql, values)).rows

        async def run() -> list:
            computed = await self._scores(values) if scored else None
            return (await self.database.query(sql, values, time_limit_ms=KEPT_LIMIT_MS, computed=computed)).rows

        return await self._kept((sql, json.dumps(values, sort_keys=True, default=str)), run)

    async def _kept(self, key: tuple, run: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `run` gives, which is asked once as long as the store's file is the same, however many ask at once."""
        kept = contents.kept(self.database)
        if key not in kept:
            kept[key] = asyncio.create_task(run())
            kept[key].add_done_callback(functools.partial(_settle, kept, key))
            while len(kept) > contents.KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        found = kept[key]
        return await asyncio.shield(found) if isinstance(found, asyncio.Task) else found

    async def _scores(self, values: Mapping[str, Any]) -> pa.Table | None:
        """Return the scores of a layer against a reference, on the dataset of these values or on all others; None where it has none."""
        datasets = [values["dataset"]] if "dataset" in values else [name for name in self.recordings if name != values["reference"]]
        tables = []
        for dataset in datasets:
            asked = values["model"], values["layer"], dataset, values["reference"]
            compute = functools.partial(self.database.scores, *asked, time_limit_ms=KEPT_LIMIT_MS)
            tables.append(await self._kept(("scores", *asked), compute))
        tables = [table for table in tables if table is not None]
        return pa.concat_tables(tables) if tables else None

    async def pictures(self, wanted: Iterable[tuple[str, int]], *, budget: int = html.INLINE_BUDGET) -> "html.Pictures":
        """Return the thumbnails of (dataset, image) pairs, by one query: `pictures.img(dataset, image, alt)`.

        They are written into the page as data: URIs until `budget` bytes are spent, beyond that as addresses.
        """
        pairs = list(dict.fromkeys(wanted))
        rows = []
        if pairs:
            datasets, images = zip(*pairs)
            rows = await self.rows(assets.sql("site/pictures.sql"), {"datasets": list(datasets), "images": list(images)})
        return html.Pictures(self, rows, pairs, budget)

    def said_response(self, response: float | None, neuron: int) -> str:
        """Return a response as text: in per cent of the neuron's largest in the reference, or as an activation (`normalise=none`)."""
        if self.normalise == "reference":
            return html.percent(response)
        largest = self.largest.get(neuron)
        return html.number(None if response is None or largest is None else response * max(largest, 0))

    def would_run(self, name: str, **values: Any) -> Ran:
        """Return a query as it would be run, for the SQL of what another request draws."""
        known = query.available()[name]
        given = {key: value for key, value in {"model": self.model, "layer": self.layer, **values}.items() if key in known.parameters}
        return self._ran(known, known.bind(given)[1])

    def _ran(self, known: Query, bound: dict[str, Any]) -> Ran:
        address = f"{self.datasette.urls.database(self.database.name)}/{known.name}"
        pairs = urllib.parse.urlencode({key: value for key, value in bound.items() if value is not None})
        export = f"query={known.name}&{pairs}"
        return Ran(
            known.name, known.title, known.statement.strip(), bound, f"{address}?{pairs}", f"{address}.json?{pairs}",
            f"{self.base}/export.csv?{export}", f"{self.base}/export.parquet?{export}",
        )  # fmt: skip

    # Answers.

    async def render(self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> Response:
        """Return the page of `templates/deephys/<template>`, with `page` and the values."""
        environment = _environment(self.datasette, self.request)
        body = environment.get_template(f"deephys/{template}").render(
            page=self, urls=self.datasette.urls, static=functools.partial(static_url, self.datasette), actor=self.request.actor, **values
        )
        return Response.html(body, status=status, headers={**PAGE_HEADERS, **(headers or {})})


def _settle(kept: dict, key: tuple, task: asyncio.Task) -> None:
    """Keep the result in place of the task that made it, which refers to the version of the store; of a failure, nothing."""
    if kept.get(key) is task:
        if task.cancelled() or task.exception() is not None:
            del kept[key]
        else:
            kept[key] = task.result()


def page(address: str, *, needs_model: bool = True):
    """Register a page at an address below `/{database}/-`, a regular expression with named groups."""

    def register(function):
        async def view(datasette, request):
            shown = None
            try:
                database = await _database(datasette, request)
                visitor = permissions.Visitor(datasette, request.actor, database.name)
                await visitor.require("view-table", permissions.NAMES & database.version().tables.keys())
                names = await contents.names_of(database)
                shown = Page(datasette, request, database, names, visitor, needs_model=needs_model)
                token = html.chosen_digits.set(shown.digits)
                try:
                    return await function(shown)
                finally:
                    html.chosen_digits.reset(token)
            except PageError as error:
                return await error_page(datasette, request, error)
            except QueryInterrupted:
                limit = f"It may take {datasette.sql_time_limit_ms / 1000:g} seconds here"
                longer = "whoever serves the site can give it longer: --setting sql_time_limit_ms 30000"
                message = f"{limit}. Try again, or ask for less: fewer datasets or a smaller k; {longer}."
                return await error_page(datasette, request, PageError(503, "This took too long and was stopped.", message))
            except (sqlite3.OperationalError, duckdb.Error) as error:
                sys.stderr.write(f"{request.path}: {error}\n")  # not for visitors: it may tell paths
                message = (
                    "Try again. If it stays so, the reason is in what the server wrote on its terminal; "
                    "the command deephys-sql check tells whether the store is damaged."
                )
                return await error_page(datasette, request, PageError(500, "The store could not answer.", message))
            except DeephysError as error:
                return await error_page(datasette, request, PageError(400, "The address asks for something that can't be.", str(error)))

        view.__name__, view.__doc__ = function.__name__, function.__doc__  # Datasette looks at the signature, so no functools.wraps
        ROUTES.append((rf"^/(?P<database>[^/]+)/-{address}/?$", view))
        return function

    return register


async def error_page(datasette, request, error: PageError) -> Response:
    """Return an error as a page."""
    database = request.url_vars.get("database")
    environment = _environment(datasette, request)
    links = list(error.links)
    if database is not None and any(
        store.route == tilde_decode(database) for store in datasette.databases.values() if isinstance(store, StoreDatabase)
    ):
        home = (str(datasette.urls.path(f"/{database}/-/home")), "Home of this store")
        links += [home] if home not in links else []
    body = environment.get_template("deephys/error.html").render(
        error=error, links=links, urls=datasette.urls, static=functools.partial(static_url, datasette), actor=request.actor, page=None
    )
    return Response.html(body, status=error.status, headers=PAGE_HEADERS)


async def _database(datasette, request) -> StoreDatabase:
    route = tilde_decode(request.url_vars["database"])
    found = next((one for one in datasette.databases.values() if isinstance(one, StoreDatabase) and (one.route or one.name) == route), None)
    if found is None:
        raise PageError(
            404,
            f"There is no store “{route}” on this site.",
            "Choose one from the list of all databases.",
            [(str(datasette.urls.instance()), "All databases")],
        )
    await permissions.ensure(datasette, request, "view-database", found.name)
    return found


@functools.lru_cache(maxsize=10_000)
def _encoded(part: str) -> str:
    return tilde_encode(part)


def _several(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


_environments: "weakref.WeakKeyDictionary" = weakref.WeakKeyDictionary()


def _environment(datasette, request) -> jinja2.Environment:
    """Return Datasette's environment without its asynchronous calls: pages have all they need when they are rendered."""
    if datasette not in _environments:
        base = datasette.get_jinja_environment(request) if hasattr(datasette, "get_jinja_environment") else datasette.jinja_env
        environment = base.overlay(enable_async=False, trim_blocks=True, lstrip_blocks=True)
        environment.undefined = jinja2.StrictUndefined
        environment.filters.update(html.FILTERS)
        environment.globals.update(html.GLOBALS)
        _environments[datasette] = environment
    return _environments[datasette]


def static_url(datasette, name: str) -> str:
    """Return the address of one of our static files, which changes with the file."""
    return str(datasette.urls.path(f"/-/deephys-sql/{html.static_mark(name)}/{name}"))
