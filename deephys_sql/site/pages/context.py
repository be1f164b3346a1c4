"""What all pages share: queries, pictures, templates, and errors as pages.

A page is a coroutine that takes a `Page` and is registered with its address below the database:

    @page(r"/model/(?P<model>[^/]+)/category/(?P<category>[^/]+)")
    async def category(page):
        rows = await page.query("accuracy_of_category", category=page.number("category"))
        return await page.render("category.html", rows=rows)
"""

import asyncio
import functools
import json
import sqlite3
import sys
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
from datasette.database import QueryInterrupted
from datasette.utils import tilde_decode
from datasette.utils.asgi import Response

from deephys_sql import assets, query
from deephys_sql.errors import DeephysError
from deephys_sql.query import Query
from deephys_sql.site import contents, permissions
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.pages import html
from deephys_sql.site.pages.address import Address, PageError
from deephys_sql.site.policy import PAGE_HEADERS

ROUTES: list[tuple[str, Any]] = []  # filled by @page as the modules of this package are imported

KEPT_LIMIT_MS = 300_000  # for what is computed once, such as scores against another reference than the default
SCORED = ("layer_neurons", "score_density")  # queries that ask for the scores of a layer, which are kept or else computed


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


class Page(Address):
    """One request for a page of a store: its address, and what the page shows.

    ran: the queries that were run, by name. largest: activations in the reference, by neuron; filled when nothing is normalised.
    """

    def __init__(self, *address, visitor: permissions.Visitor, needs_model: bool):
        self.visitor = visitor
        self.ran: dict[str, Ran] = {}
        self.largest: dict[int, float | None] = {}
        super().__init__(*address, needs_model=needs_model)

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

    async def layer_facts(self) -> dict[str, str | None]:
        """Return what is known of the page's layer: its non-linearity, its pooling, and the layer that it was made from."""
        text = "select nonlinearity, pooling, made_from from layer where model = $model and layer = $layer"
        rows = await self.rows(text, {"model": self.model, "layer": self.layer}, keep=True)
        return dict(rows[0]) if rows else {"nonlinearity": None, "pooling": None, "made_from": None}

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
                shown = Page(datasette, request, database, names, visitor=visitor, needs_model=needs_model)
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
