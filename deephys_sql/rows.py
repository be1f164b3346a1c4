"""The rows of a SELECT on a store, computed when they are read."""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import duckdb

from deephys_sql.errors import QueryError

LONGEST_KEPT = 20_000  # characters; statements with long lists of ids in them would fill the memory


def parsed(text: str) -> duckdb.Statement:
    """Return one SQL statement, parsed, which takes a tenth of the time of most questions, and only the first time.

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


_kept = lru_cache(maxsize=512)(_parsed)


class Rows:
    """The rows of a SELECT: a DuckDB relation that plans its statement once for each reading, where DuckDB's own does so twice.

    >>> rows = Rows(duckdb.connect(), parsed("select $x + 1 as y"), {"x": 1})
    >>> rows.fetchall(), rows.df()["y"].tolist(), rows.columns
    ([(2,)], [2], ['y'])

    `fetchall`, `df` and `fetchnumpy` run the statement, each time anew. Whatever else a relation has (`columns`, `show`, `pl`,
    `to_arrow_table`, `to_parquet`, `filter`, ...) is that of `relation`, and so is how it looks in a notebook.
    Raises `QueryError` with DuckDB's message when the statement can't be prepared, or fails while these read it; what a relation
    reads itself fails with `duckdb.Error`.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, parameters: Mapping[str, Any]):
        self._cursor, self._statement, self._parameters = cursor, statement, parameters

    @property
    def is_select(self) -> bool:
        """Whether there are rows to read; other statements are run by making their `relation`."""
        return self._statement.type == duckdb.StatementType.SELECT

    @cached_property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """DuckDB's relation of the statement, prepared."""
        try:
            return self._cursor.sql(self._statement, params=self._parameters)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def fetchall(self) -> list[tuple]:
        """Return the rows as tuples."""
        return self._read("fetchall")

    def df(self):
        """Return the rows as a pandas data frame."""
        return self._read("df")

    def fetchnumpy(self) -> dict[str, Any]:
        """Return the columns as NumPy arrays."""
        return self._read("fetchnumpy")

    def _read(self, method: str) -> Any:
        try:
            return getattr(self._cursor.execute(self._statement, self._parameters), method)()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

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
