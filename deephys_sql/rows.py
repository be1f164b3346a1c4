"""The rows of a SELECT on a store, computed when they are read."""

import threading
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import duckdb

from deephys_sql.errors import QueryError

if TYPE_CHECKING:
    import pandas

LONGEST_KEPT = 8_000  # characters; 256 statements of lists of ids take 65 MB
# Others are of the file or the machine.
STATEMENT_ERRORS = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, duckdb.ConnectionException)


def parsed(text: str) -> duckdb.Statement:
    """Return one SQL statement, parsed, which takes a tenth of the time of most questions, and unless it is long only the first time.

    >>> parsed("select 1").type.name
    'SELECT'

    Raises `QueryError` for a text that isn't exactly one statement.
    """
    return _kept(text) if len(text) <= LONGEST_KEPT else _parsed(text)


def _parsed(text: str) -> duckdb.Statement:
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if not statements:
        raise QueryError(f'{text!r} is no SQL statement. Write one, such as "select * from recording".')
    if len(statements) > 1:
        raise QueryError(f"these are {len(statements)} statements, and one is run at a time: {text!r}.")
    return statements[0]


_kept = lru_cache(maxsize=256)(_parsed)


class Rows:
    """The rows of a SELECT: a DuckDB relation that reads by running its statement, where DuckDB's own parses and plans it once more.

    >>> rows = Rows(duckdb.connect(), parsed("select $x + 1 as y"), {"x": 1})
    >>> rows.fetchall(), rows.df()["y"].tolist(), rows.columns
    ([(2,)], [2], ['y'])

    `fetchall`, `df` and `fetchnumpy` run the statement, each time anew, on the version of the store that they were asked of (one
    that was opened in place has only one). Whatever else a relation has (`columns`, `show`, `pl`, `to_arrow_table`, `to_parquet`,
    `filter`, ...) is that of `relation`, and so is how it looks in a notebook; `rows.relation.union(others.relation)` needs the
    relations themselves. All are of one connection, which does one thing at a time: threads that read with these three wait for
    each other, and what else is read meanwhile raises `duckdb.ResourceInUseException`; let each thread ask for itself.
    Raises `QueryError` with DuckDB's message when the statement can't be prepared or is wrong for the rows that these three read,
    and for a store that was closed; all else is a `duckdb.Error`.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Mapping[str, Any]):
        self._cursor, self._statement, self._parameters = cursor, statement, parameters
        self._reading = threading.Lock()  # a connection has one result at a time

    @property
    def is_select(self) -> bool:
        """Whether there are rows to read; other statements are run by making their `relation`."""
        return self._statement.type == duckdb.StatementType.SELECT

    @cached_property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """DuckDB's relation of the statement, prepared."""
        try:
            with self._reading:
                return self._cursor.sql(self._statement, params=self._parameters)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def fetchall(self) -> list[tuple]:
        """Return the rows as tuples."""
        return self._read("fetchall")

    def df(self, **options: Any) -> "pandas.DataFrame":
        """Return the rows as a pandas data frame."""
        return self._read("df", **options)

    def fetchnumpy(self) -> dict[str, Any]:
        """Return the columns as NumPy arrays."""
        return self._read("fetchnumpy")

    def _read(self, method: str, **options: Any) -> Any:
        try:
            with self._reading:
                return getattr(self._cursor.execute(self._statement, self._parameters), method)(**options)
        except STATEMENT_ERRORS as error:
            raise QueryError(str(error)) from error

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *dir(duckdb.DuckDBPyRelation)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copying and pickling look for, before there is a statement
            raise AttributeError(name)
        return getattr(self.relation, name)

    def __getitem__(self, key: Any) -> Any:
        return self.relation[key]

    def __contains__(self, column: str) -> bool:
        return column in self.relation

    def __len__(self) -> int:
        return len(self.relation)

    def __repr__(self) -> str:
        return repr(self.relation)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.relation.__arrow_c_stream__(requested_schema)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.relation._repr_mimebundle_(**options)
