"""Starts Datasette on stores."""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from deephys_sql.errors import MissingExtraError, StoreNotFoundError

# An option --setting overrules these; Datasette's own limit of 1,000 ms is for small SQLite files.
SETTINGS = {"sql_time_limit_ms": 5000}


def serve(
    stores: Sequence[str | os.PathLike],
    *,
    host: str = "127.0.0.1",
    port: int = 8001,
    reload: bool = False,
    settings: Iterable[tuple[str, object]] = (),
    plugins_dir: str | os.PathLike | None = None,
    in_process: bool = False,
    options: Sequence[str] = (),
) -> None:
    """Serve stores in Datasette until it is stopped.

    >>> serve(["demo.duckdb"], port=8001)  # doctest: +SKIP

    settings: pairs of the name of a Datasette setting and its value.
    in_process: run visitors' SQL in the server's process: faster, and for a localhost that only you reach.
    options: any other options of `datasette serve`, as on its command line: `["--metadata", "about.yml", "--cors"]`.
    Raises `StoreNotFoundError` for a file that isn't there, `NotAStoreError` and what else `deephys_sql.open` raises.
    """
    import deephys_sql

    try:
        from datasette.cli import cli
        from datasette.plugins import pm
    except ImportError as error:
        raise MissingExtraError("the site needs Datasette. Install it: pip install 'datasette>=0.65.5'") from error
    from deephys_sql.site import charts, pages, plugin

    for module in (plugin, pages):
        if not pm.is_registered(module):  # a checkout that was installed before it had the plugin
            pm.register(module)
    paths = [Path(store).absolute() for store in stores]
    if not paths:
        raise StoreNotFoundError("no store was named to serve. Name one: deephys-sql serve demo.duckdb")
    for path in paths:
        deephys_sql.open(path, read_only=True).close()  # says what is wrong, if anything is
    arguments = ["serve", "--host", host, "--port", str(port)]
    for name, value in [*SETTINGS.items(), *settings]:
        arguments += ["--setting", name, str(value)]
    if reload:
        arguments.append("--reload")
    if plugins_dir is not None:
        arguments += ["--plugins-dir", str(plugins_dir)]
    os.environ["DEEPHYS_SQL_SITE"] = json.dumps(
        {"stores": [str(path) for path in paths], "sandbox": not in_process, "memory": "--memory" in options}
    )
    threading.Thread(target=charts.warm_up, daemon=True).start()
    with contextlib.suppress(click.Abort, KeyboardInterrupt):  # Ctrl-C is how it ends
        cli.main(args=[*arguments, *options], prog_name="datasette", standalone_mode=False)
