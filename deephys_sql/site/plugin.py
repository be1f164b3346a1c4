"""The Datasette plugin: opens stores as databases, and shows their named queries, comments and pictures.

Configured with

    plugins:
      deephys-sql:
        stores: [demo.duckdb]
        annotate: {id: [ada, bob]}   # who may write on neurons and images, beside root: Datasette's "allow" block
        sandbox: true        # false: visitors' SQL runs in the server's process, for a trusted localhost only

in Datasette's metadata (0.65) or configuration (1.0), or by `deephys-sql serve`, through the variable DEEPHYS_SQL_SITE.
"""

import base64
import json
import os
import urllib.parse

import click
import markupsafe
from datasette import hookimpl
from datasette.utils import actor_matches_allow, tilde_decode, tilde_encode
from datasette.utils.asgi import Forbidden

from deephys_sql import query
from deephys_sql.errors import DeephysError
from deephys_sql.site import forms, permissions, policy, streaming
from deephys_sql.site.database import Request, StoreDatabase, request
from deephys_sql.site.named_queries import canned_queries

# Media types that are shown, by how such a file begins. SVG is not among them: it can hold scripts.
PICTURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"))
INLINE_BYTES = 65536  # larger pictures are links


def settings(datasette) -> dict:
    """Return the plugin's configuration, with that of `deephys-sql serve` on top."""
    return (datasette.plugin_config("deephys-sql") or {}) | json.loads(os.environ.get("DEEPHYS_SQL_SITE", "{}"))


def stores(datasette) -> list[StoreDatabase]:
    """Return the databases that are stores."""
    return [database for database in datasette.databases.values() if isinstance(database, StoreDatabase)]


@hookimpl
def startup(datasette):
    chosen = settings(datasette)
    for path in chosen.get("stores", ()):
        try:
            datasette.add_database(StoreDatabase(datasette, path, sandbox=chosen.get("sandbox", True)))
        except DeephysError as error:  # a line on the terminal, not a trace
            raise click.ClickException(str(error)) from error
    if chosen.get("stores") and not datasette.files and not chosen.get("memory") and "_memory" in datasette.databases:
        datasette.remove_database("_memory")  # Datasette adds it when it is given no SQLite file; any SQL runs there unguarded

    async def tell_datasette_1():
        for database in stores(datasette):
            for name, canned in canned_queries().items():
                await datasette.add_query(
                    database.name, name, canned["sql"], title=canned["title"], description=canned["description"],
                    parameters=canned["params"], is_trusted=True,
                )  # fmt: skip
            for table in database.version().tables.values():
                if table.comment:
                    await datasette.set_resource_metadata(database.name, table.name, "description", table.comment)
                for column, comment in table.column_comments.items():
                    await datasette.set_column_metadata(database.name, table.name, column, "description", comment)

    return tell_datasette_1 if hasattr(datasette, "add_query") else None


@hookimpl(optionalhook=True)
def permission_allowed(datasette, actor, action):
    """Datasette 0.65: who may annotate."""
    if action != permissions.ANNOTATE:
        return None
    allowed = settings(datasette).get("annotate")
    return (actor or {}).get("id") == "root" or (allowed is not None and actor_matches_allow(actor, allowed))


@hookimpl(optionalhook=True)
def register_actions(datasette):
    """Datasette 1.0: the right to annotate."""
    from datasette.permissions import Action
    from datasette.resources import DatabaseResource

    return [Action(name=permissions.ANNOTATE, description="Write on neurons and images", resource_class=DatabaseResource)]


@hookimpl(optionalhook=True)
def permission_resources_sql(datasette, actor, action):
    """Datasette 1.0: who may annotate, beside those to whom its own configuration gives it."""
    from datasette.permissions import PermissionSQL

    allowed = settings(datasette).get("annotate")
    if action != permissions.ANNOTATE or allowed is None or not actor_matches_allow(actor, allowed):
        return None
    return PermissionSQL.allow(reason="annotate in the configuration of deephys-sql")


@hookimpl(optionalhook=True, specname="canned_queries")
def queries_of_store(datasette, database):
    """Our queries, each with the `allow` block that the site's owner wrote under its name."""
    if not isinstance(datasette.databases.get(database), StoreDatabase):
        return None
    written = datasette.metadata("queries", database=database, fallback=False) or {}
    blocks = {name: {"allow": one["allow"]} for name, one in written.items() if isinstance(one, dict) and "allow" in one}
    return {name: canned | blocks.get(name, {}) for name, canned in canned_queries().items()}


@hookimpl(optionalhook=True)
def get_metadata(datasette, key):
    if key not in (None, "databases"):  # each check of a permission asks for "tables", and copies them all
        return {}
    described = {}
    for database in stores(datasette):
        described[database.name] = {
            "tables": {
                table.name: {
                    **({"description": table.comment} if table.comment else {}),
                    "columns": table.column_comments,
                    "sortable_columns": [column for column, kind in table.columns.items() if kind != "BLOB"],
                }
                for table in database.version().tables.values()
            }
        }
    return {"databases": described}


@hookimpl
def prepare_jinja2_environment(env):
    env.add_extension(policy.Nonces)


@hookimpl(trylast=True)  # outermost, so that the policy is on what other plugins answer too
def asgi_wrapper(datasette):
    def wrap(app):
        async def wrapped(scope, receive, send):
            if scope["type"] != "http":
                return await app(scope, receive, send)
            path = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0].decode("latin-1")
            scope = scope | {"query_string": await _filled_in(datasette, path, scope["query_string"])}
            arguments = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            token = request.set(Request(path, arguments))
            try:
                return await policy.guarded(app, scope, receive, send)
            finally:
                request.reset(token)

        return wrapped

    return wrap


async def _filled_in(datasette, path: str, query_string: bytes) -> bytes:
    """Return the query string of a named query's page with what it leaves out; any other as it is."""
    base = datasette.setting("base_url").rstrip("/")
    database, _, name = path.removeprefix(base).lstrip("/").partition("/")
    name, _, form = name.partition(".")
    known = query.available().get(tilde_decode(name))
    store = next((one for one in stores(datasette) if one.route == tilde_decode(database)), None)
    if known is None or store is None:
        return query_string
    may = await _may_know_names(datasette, store)
    return await forms.fill_in(known, store, query_string, examples=may and not form)  # who asks for data says of what


async def _may_know_names(datasette, store: StoreDatabase) -> bool:
    """Return whether anybody may see the names in a store; else no form tells them."""
    anybody = permissions.Visitor(datasette, None, store.name)
    try:
        await anybody.require("view-table", (permissions.NAMES | {"confusion"}) & store.version().tables.keys())
    except Forbidden:
        return False
    return True


@hookimpl
def extra_template_vars(template, database, request, datasette):
    if template is None or not template.startswith("query") or not isinstance(datasette.databases.get(database), StoreDatabase):
        return {}
    known = query.available().get(tilde_decode(request.path.rpartition("/")[2]))

    async def variables():
        store, hint = datasette.databases[database], None
        if known is not None and await _may_know_names(datasette, store):
            hint = await forms.unknown_name(known, store, {name: request.args[name] for name in request.args})
        return {"deephys_query": known, "deephys_required": query.REQUIRED, "deephys_hint": hint}

    return variables


@hookimpl
def register_routes():
    return [(r"^/(?P<database>[^/]+)/-/export\.(?P<format>csv|parquet)$", streaming.export)]


@hookimpl
def render_cell(row, value, column, table, database, datasette):
    store = datasette.databases.get(database)
    if not isinstance(store, StoreDatabase):
        return None
    if column in ("thumbnail", "original") and isinstance(value, bytes):
        return picture(value, column, row)
    names = {"layer": ("model", "layer"), "image": ("dataset", "image")}.get(column)
    if names and table and table != column and value is not None and column in store.version().tables:
        keys = [_get(row, name) for name in names]
        if all(key is not None for key in keys):
            address = f"{datasette.urls.table(database, column)}/{','.join(tilde_encode(str(key)) for key in keys)}"
            return markupsafe.Markup('<a href="{}">{}</a>').format(address, value)
    return None


def picture(value: bytes, column: str, row) -> markupsafe.Markup | None:
    """Return an <img> that holds the picture, None when it is large or not surely a picture.

    What the bytes are decides; a type in the column beside it must agree.
    """
    media_type = next((kind for start, kind in PICTURES if value.startswith(start)), None)
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        media_type = "image/webp"
    stated = _get(row, f"{column}_type")
    if media_type is None or len(value) > INLINE_BYTES or stated not in (None, media_type):
        return None
    number, dataset = _get(row, "image"), _get(row, "dataset")
    label = column if number is None else f"{column} of image {number}" + (f" of {dataset}" if dataset else "")
    return markupsafe.Markup('<img src="data:{};base64,{}" alt="{}" loading="lazy">').format(
        media_type, base64.b64encode(value).decode(), label
    )


def _get(row, column: str):
    value = row[column] if column in row.keys() else None  # noqa: SIM118 - sqlite3.Row iterates over values
    return value["value"] if isinstance(value, dict) else value
