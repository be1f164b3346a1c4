"""Starts Datasette on stores."""

import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from deephys_sql.errors import MissingExtraError, PortTakenError, StoreNotFoundError

# An option --setting overrules these; Datasette's own limit of 1,000 ms is for small SQLite files.
SETTINGS = {"sql_time_limit_ms": 5000}
FOLDERS = ("plugins_dir", "template_dir")  # with --reload the server starts again when something in them changes


def serve(stores: Sequence[str | os.PathLike], options: Sequence[str] = (), *, in_process: bool = False) -> None:
    """Serve stores in Datasette until it is stopped.

    >>> serve(["demo.duckdb"], ["--port", "8001", "--setting", "default_page_size", "50"])  # doctest: +SKIP

    options: those of `datasette serve`, as on its command line; what is no option there names a store too. Port 0 takes a free one.
    in_process: run visitors' SQL in the server's process: faster, and for a localhost that only you reach.
    Raises `StoreNotFoundError` for a file that isn't there, `NotAStoreError` and what else `deephys_sql.open` raises,
    `PortTakenError`, and `click.UsageError` for options that Datasette doesn't have.
    """
    import deephys_sql
    from deephys_sql.site import charts

    command = datasette_command()
    defaults = [word for name, value in SETTINGS.items() for word in ("--setting", name, str(value))]
    context = command.make_context("deephys-sql serve", [*defaults, *options])
    chosen = context.params
    paths = [Path(store).absolute() for store in (*stores, *chosen["files"])]
    if not paths:
        raise StoreNotFoundError("no store was named to serve. Name one: deephys-sql serve demo.duckdb")
    for path in paths:
        deephys_sql.open(path, read_only=True).close()  # says what is wrong, if anything is
    if not (chosen["uds"] or chosen["get"]):
        chosen["port"] = free_port(chosen["host"], chosen["port"])
    if chosen["reload"]:
        import hupper

        again = {"stores": stores, "options": [*options, "--port", str(chosen["port"])], "in_process": in_process}
        reloader = hupper.start_reloader("deephys_sql.site.serve.serve", worker_kwargs=again)  # goes on in a process of its own
        reloader.watch_files([str(file) for name in FOLDERS if chosen[name] for file in Path(chosen[name]).rglob("*") if file.is_file()])
    chosen["files"] = ()
    os.environ["DEEPHYS_SQL_SITE"] = json.dumps(
        {"stores": [str(path) for path in paths], "sandbox": not in_process, "memory": chosen["memory"]}
    )
    threading.Thread(target=charts.warm_up, daemon=True).start()
    with contextlib.suppress(click.Abort, KeyboardInterrupt), context:  # Ctrl-C is how it ends
        command.invoke(context)


def datasette_command() -> click.Command:
    """Return the command `datasette serve`, with our plugins loaded."""
    try:
        from datasette.cli import cli
        from datasette.plugins import pm
    except ImportError as error:
        raise MissingExtraError("the site needs Datasette. Install it: pip install 'datasette>=0.65.5'") from error
    from deephys_sql.site import pages, plugin

    for module in (plugin, pages):
        if not pm.is_registered(module):  # a checkout that was installed before it had the plugin
            pm.register(module)
    return cli.commands["serve"]


def free_port(host: str, port: int) -> int:
    """Return the port if it can be listened on, any free one for 0; raise `PortTakenError` if it is taken."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTakenError(
                f"port {port} of {host} is taken, perhaps by a site that you serve already. Take another one, such as --port {port + 1}, "
                f"or --port 0 for any that is free."
            ) from error
        return trial.getsockname()[1]
