"""Connects to any database that SQLAlchemy knows; reads rows of a query, or runs of MLflow's tables."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import exc

from deephys_sql.errors import MissingExtraError, SourceError
from deephys_sql.experiments.items import Item, Metric, Param, Run, Tag, moment, require_name, text

BATCH = 10_000  # rows that are held at a time
MLFLOW_TABLES = ("experiments", "metrics", "params", "runs", "tags")
DRIVERS = {"postgresql": "psycopg[binary]", "mysql": "pymysql", "mariadb": "pymysql", "mssql": "pyodbc", "duckdb": "duckdb-sqlalchemy"}


@contextlib.contextmanager
def connected(address: str) -> Iterator[sqlalchemy.Connection]:
    """Give a connection to the database at a SQLAlchemy URL, whose rows are fetched in batches.

    Raises `SourceError` when there is none, or when it says no, meanwhile too; `MissingExtraError` without its driver.
    A password is never in a message.
    """
    try:
        url = sqlalchemy.make_url(address)
    except exc.ArgumentError as error:
        raise SourceError(
            "this is no address of a database. Write one such as sqlite:///mlflow.db or postgresql+psycopg://user@host/mlflow."
        ) from error
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    shown = named(url)
    _require_file(url, shown)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except (exc.NoSuchModuleError, ImportError) as error:
        driver = DRIVERS.get(url.get_backend_name(), "its SQLAlchemy driver")
        raise MissingExtraError(f"{shown} needs a driver that isn't installed. Install it: pip install '{driver}'") from error
    except (exc.SQLAlchemyError, TypeError, ValueError) as error:
        raise SourceError(f"{shown} can't be opened: {_said(error, url)}") from error
    try:
        with engine.connect() as connection:
            yield connection.execution_options(stream_results=True, yield_per=BATCH)
    except exc.SQLAlchemyError as error:
        raise SourceError(f"{shown} can't be read: {_said(error, url)}") from error
    finally:
        engine.dispose()


def named(url: sqlalchemy.URL) -> str:
    """Return an address without its password and without options, in which drivers take secrets too.

    >>> named(sqlalchemy.make_url("postgresql+psycopg://me:secret@host/runs?password=secret"))
    'postgresql+psycopg://me@host/runs'
    """
    return url._replace(password=None, query=sqlalchemy.util.immutabledict()).render_as_string()


def read_query(connection: sqlalchemy.Connection, query: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one SQL query of that database."""
    result = connection.execution_options(no_parameters=True).exec_driver_sql(query)  # so that % is a percent sign
    if not result.returns_rows:
        raise SourceError("the query gives no rows: write a SELECT with a row a run.")
    columns = list(result.keys())
    for row in result:
        yield dict(zip(columns, row, strict=True))


def read_mlflow(connection: sqlalchemy.Connection, experiment: str | None = None) -> Iterator[Item]:
    """Yield what MLflow tracked: runs that aren't deleted, with parameters, tags and every step of every metric.

    experiment: only the runs of MLflow's experiment of this name.
    Raises `SourceError` when these aren't MLflow's tables, or there is no such experiment.
    """
    found = sqlalchemy.inspect(connection).get_table_names()
    if missing := [table for table in MLFLOW_TABLES if table not in found]:
        raise SourceError(
            f"{named(connection.engine.url)} isn't a tracking database of MLflow: it has no table {missing[0]!r}. Give query= "
            f"with a SELECT of a row a run for any other database; here are: {', '.join(sorted(found)[:12]) or 'no tables'}."
        )
    metadata = sqlalchemy.MetaData()
    metadata.reflect(connection, only=MLFLOW_TABLES)
    runs, experiments = metadata.tables["runs"], metadata.tables["experiments"]
    chosen = sqlalchemy.select(runs, experiments.c.name.label("study")).outerjoin(
        experiments, experiments.c.experiment_id == runs.c.experiment_id
    )
    chosen = chosen.where(sqlalchemy.or_(runs.c.lifecycle_stage.is_(None), runs.c.lifecycle_stage != "deleted"))
    if experiment is not None:
        names = list(connection.execute(sqlalchemy.select(experiments.c.name).order_by(experiments.c.name)).scalars())
        if experiment not in names:
            raise SourceError(f"there is no MLflow experiment {experiment!r}; there are: {', '.join(names[:12])}.")
        chosen = chosen.where(experiments.c.name == experiment)
    ids = chosen.with_only_columns(runs.c.run_uuid)
    tags = metadata.tables["tags"]
    rows = connection.execute(sqlalchemy.select(tags.c.run_uuid, tags.c.value).where(tags.c.key == "mlflow.runName"))
    names = {row.run_uuid: row.value for row in rows}  # in old databases the column is empty
    for number, row in enumerate(connection.execute(chosen.order_by(runs.c.start_time, runs.c.run_uuid)).mappings(), start=1):
        run = require_name(row["run_uuid"], "a run")
        where = f"run {run}"
        yield Run(
            number, run, text(row["name"]) or names.get(run), text(row["study"]), text(row["status"]),
            _from_ms(row["start_time"], where), _from_ms(row["end_time"], where),
        )  # fmt: skip
    for kind, name in ((Param, "params"), (Tag, "tags")):
        table = metadata.tables[name]
        for row in connection.execute(sqlalchemy.select(table).where(table.c.run_uuid.in_(ids))).mappings():
            yield kind(row["run_uuid"], require_name(row["key"], f"run {row['run_uuid']}"), text(row["value"]))
    table = metadata.tables["metrics"]
    for row in connection.execute(sqlalchemy.select(table).where(table.c.run_uuid.in_(ids))).mappings():
        value = float("nan") if row.get("is_nan") else row["value"]
        if abs(value) >= sys.float_info.max:  # how MLflow writes infinities
            value = float("inf") if value > 0 else float("-inf")
        at = _from_ms(row["timestamp"], f"run {row['run_uuid']}")
        yield Metric(row["run_uuid"], require_name(row["key"], f"run {row['run_uuid']}"), int(row.get("step") or 0), at, float(value))


def _from_ms(value: int | None, where: str):
    return None if value is None else moment(value / 1000, where)


def _require_file(url: sqlalchemy.URL, shown: str) -> None:
    """Databases that are files are made when they aren't there; a source is there."""
    path = url.database
    in_file = url.get_backend_name() in ("sqlite", "duckdb") and path not in (None, "", ":memory:") and not str(path).startswith("file:")
    if in_file and not Path(os.path.expanduser(path)).is_file():
        raise SourceError(
            f"{shown} names the file {path}, and it isn't there. A path from / on has four slashes: sqlite:////data/mlflow.db."
        )


def _said(error: BaseException, url: sqlalchemy.URL) -> str:
    """Return what the database said, without a password."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
    for secret in (url.password, *(value for key, value in url.query.items() if "pass" in key.lower() or "token" in key.lower())):
        if secret:
            said = said.replace(str(secret), "***")
    return said
