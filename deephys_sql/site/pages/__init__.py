"""Our pages: a module a page, each registers its addresses with `context.page`.

A new page: write the module, import it here.
"""

import asyncio
import mimetypes
import re

import jinja2
from datasette import hookimpl
from datasette.utils import tilde_decode
from datasette.utils.asgi import NotFound, Response

from deephys_sql import assets
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.pages import crops, html
from deephys_sql.site.pages.address import PageError
from deephys_sql.site.pages.context import ROUTES, error_page, page, static_url

from deephys_sql.site.pages import annotate, category, compare, confusion, home, image, layer, neuron, search  # isort: skip  # noqa: F401 - they register their addresses


@page(r"/picture/(?P<of>[^/]+)/(?P<image>[^/]+)", needs_model=False)  # not `dataset`: any model's will do
async def picture(page):
    """A thumbnail by itself, for what doesn't fit into a page; with ?crop=, shares of its width and height, a part of the picture."""
    number = page.number("image")
    dataset = tilde_decode(page.request.url_vars["of"])
    if page.args.get("crop"):
        return await _part(page, dataset, number)
    rows = await page.rows(assets.sql("site/pictures.sql"), {"datasets": [dataset], "images": [number]})
    kind = html.media_type(rows[0]["thumbnail"]) if rows else None
    if kind is None:
        raise PageError(404, f"There is no picture of image {number} of “{dataset}”.", "It was recorded without one, or isn't there.")
    return _picture(page, rows[0]["thumbnail"], kind)


async def _part(page, dataset: str, number: int):
    box = crops.box_of(page.args["crop"])
    if box is None:
        raise PageError(400, "There is no such part of a picture.", "A part is left,top,right,bottom, from 0 to 1: crop=0.25,0,0.75,0.5.")
    rows = await page.rows(assets.sql("site/picture_to_crop.sql"), {"dataset": dataset, "image": number})
    part = await asyncio.to_thread(crops.crop, rows[0]["original"], rows[0]["thumbnail"], box) if rows else None
    if part is None:
        raise PageError(404, f"There is no picture of image {number} of “{dataset}”.", "It was recorded without one, or isn't there.")
    return _picture(page, part, "image/png")


def _picture(page, data: bytes, kind: str) -> Response:
    headers = {
        "x-content-type-options": "nosniff",
        "cache-control": "private, max-age=31536000, immutable" if page.args.get("version") else "private, no-cache",
    }
    response = Response(data, headers=headers)
    response.content_type = kind
    return response


async def static(datasette, request):
    name = request.url_vars["name"]
    if not re.fullmatch(r"[a-z0-9.-]+", name) or not (html.STATIC / name).is_file():
        return Response.text("There is no such file.", status=404)
    fresh = html.static_mark(name) == request.url_vars["mark"]
    headers = {"x-content-type-options": "nosniff", "cache-control": "public, max-age=31536000, immutable" if fresh else "no-cache"}
    body = await asyncio.to_thread((html.STATIC / name).read_bytes)
    kind = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}.get(name.rpartition(".")[2])
    response = Response(body, headers=headers)
    response.content_type = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return response


def routes() -> list[tuple]:
    """Return all addresses of this package, for Datasette."""
    return [*ROUTES, (r"^/-/deephys-sql/(?P<mark>[^/]+)/(?P<name>[^/]+)$", static)]


@hookimpl
def register_routes():
    return routes()


@hookimpl(hookwrapper=True)
def handle_exception(datasette, request, exception):
    """Answer an address where no page of a store is, in place of Datasette and of other plugins."""
    answers = yield
    path = request.scope.get("route_path") or request.path.removeprefix(datasette.setting("base_url").rstrip("/"))
    below = re.match(r"/([^/]+)/-/", path)
    is_row = request.url_vars.get("table") == "-"  # as Datasette reads /store/-/nowhere: the row `nowhere` of a table `-`
    if below is None or not (is_row or isinstance(exception, NotFound)):
        return
    if any(isinstance(one, StoreDatabase) and one.route == tilde_decode(below[1]) for one in datasette.databases.values()):
        links = [(str(datasette.urls.path(f"/{below[1]}/-/home")), "Home of this store")]
        nothing = PageError(404, "There is no such page.", "Check the address, or go on from here.", links)
        answers.force_result([error_page(datasette, request, nothing)])


@hookimpl
def menu_links(datasette, request):
    async def homes():
        if request is None:  # Datasette 1.0 refuses a forged form before there is one
            return []
        return [
            {"href": store["href"], "label": f"Neurons and images of {store['name']}"} for store in await home.stores_of(datasette, request)
        ]

    return homes


@hookimpl
def extra_template_vars(template, request, datasette):
    async def stores():
        return {"deephys_stores": await home.stores_of(datasette, request), "deephys_css": static_url(datasette, "deephys.css")}

    return stores if template == "index.html" else {}


@hookimpl
def prepare_jinja2_environment(env):
    for loader in getattr(env.loader, "loaders", ()):
        if isinstance(loader, jinja2.FileSystemLoader):  # after the templates of the site's owner, before Datasette's
            loader.searchpath.insert(len(loader.searchpath) - 1, str(html.TEMPLATES))
            return
