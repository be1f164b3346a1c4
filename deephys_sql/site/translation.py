"""Turns the SQL that Datasette writes for its own pages into DuckDB's SQL.

Datasette composes that SQL from a few templates (its `views/table.py`, `views/row.py`, `filters.py` and `facets.py`),
so rules on words and on the types of columns are enough. SQL that people wrote is never translated; `named_parameters`
alone is for both.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deephys_sql.site.schema import Table, quote

# Strings, quoted names, comments and casts are passed over; a parameter is :name or $name.
_WORD = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::|[:$](?P<name>[A-Za-z_]\w*)", re.S
)
_NAME = r'(?:\[[^\]]+\]|"(?:[^"]|"")+"|[A-Za-z_]\w*)'
_COLUMN = rf"(?:{_NAME}\.)?(?P<c>{_NAME})"
_COMPARISON = re.compile(rf"{_COLUMN}\s*(?P<op>!=|<=|>=|=|<|>)\s*:(?P<p>\w+)")
_IN = re.compile(rf"(?P<c>{_NAME}) (?P<op>not in|in) \((?P<list>:p\d+(?:, :p\d+)*)\)")
_LIKE = re.compile(rf"(?P<c>{_NAME}) (?P<op>not like|like|glob) (?P<p>:\w+)(?P<escape> escape char\(92\))?")
_EMPTY = re.compile(rf"(?P<c>{_NAME}) (?P<op>!=|=) ''")
_CONTAINS = re.compile(rf":(?P<p>\w+) (?P<op>not in|in) \(select value from json_each\({_COLUMN}\)\)")
_DATE = re.compile(rf"\bdate\((?P<c>{_NAME})\)(?P<to> = :\w+)?")
_LENGTH = re.compile(rf"(?P<f>json_array_length|json_type)\((?P<c>{_NAME})\)")
_GLOB = re.compile(rf'where (?P<c>{_NAME}) glob "(?P<pattern>[^"]*)"')
_ORDER = re.compile(r"order by (?P<by>[^()]*?) (?=limit \d+(?: offset \d+)?\s*$)")
_PAGE = re.compile(r"\blimit \d+(?: offset \d+)?\s*$")
_SUGGESTION = re.compile(
    rf"^\s*(?:with limited as .*)?select (?P<c>{_NAME}) as value, count\(\*\) as n from .*group by value\s+limit", re.S
)
_GROUP = re.compile(r"where value is not null\s+group by value")
_ARRAYS = re.compile(
    rf"^\s*with inner as \((?P<sql>.*)\),\s*deduped_array_items as .*json_each\(\[inner\]\.(?P<c>{_NAME})\) j.*limit (?P<limit>\d+)\s*$",
    re.S,
)
_PROBE = re.compile(rf"select (?:distinct json_type|date)\((?P<c>{_NAME})\)\s")  # may this column be faceted by array, by date?
_BRACKETS = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|\[([^\]]+)\]")

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}


def named_parameters(sql: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the statement with every `:name` that has a value written `$name`, and the values that it uses.

    >>> named_parameters("select :k, '12:30', x::int from t", {"k": 3, "unused": 1})
    ("select $k, '12:30', x::int from t", {'k': 3})
    """
    used = {}

    def replace(found: re.Match) -> str:
        name = found["name"]
        if name is None or name not in values:
            return found[0]
        used[name] = values[name]
        return f"${name}"

    return _WORD.sub(replace, sql), used


def translate(sql: str, parameters: Mapping[str, Any], table: Table, *, conditions: Sequence[str] = ()) -> str | None:
    """Return DuckDB's form of a statement that Datasette wrote for the page of a table.

    conditions: what visitors wrote in the statement; left as it is. A page with such is sorted by the table's key when it has
    no other order.
    None means that the answer is no rows: a question whether a column could be a facet that its type answers already.
    """
    types = table.columns | {"rowid": "BIGINT"}

    def kind(found: re.Match) -> str:
        return types.get(unquote(found["c"]), "VARCHAR")

    def cast(name: str, to: str) -> str:
        """A text becomes the column's type, and NULL when it isn't one; 2.5 stays 2.5 beside an integer."""
        if to in _INTEGERS:
            to = "BIGINT" if re.fullmatch(r"\s*-?\d{1,18}\s*", str(parameters.get(name, ""))) else "DOUBLE"
        return f"try_cast(:{name} as {to})"

    def text(found: re.Match) -> str:
        return found["c"] if kind(found) == "VARCHAR" else f"cast({found['c']} as varchar)"

    def comparison(found: re.Match) -> str:
        if unquote(found["c"]) not in types or (kind(found) == "VARCHAR" and isinstance(parameters.get(found["p"]), str)):
            return found[0]
        return f"{found['c']} {found['op']} {cast(found['p'], kind(found))}"

    def membership(found: re.Match) -> str:
        values = (cast(name.strip()[1:], kind(found)) for name in found["list"].split(","))
        return f"{found['c']} {found['op']} ({', '.join(values)})"

    def like(found: re.Match) -> str:  # SQLite's like is blind to case
        operator = found["op"].replace("like", "ilike")
        return f"{text(found)} {operator} {found['p']}" + (" escape '\\'" if found["escape"] else "")

    def contains(found: re.Match) -> str:
        answer = f"coalesce(list_contains({as_list(found)}, :{found['p']}), false)"
        return answer if found["op"] == "in" else f"not {answer}"

    def as_list(found: re.Match) -> str:
        return f"try_cast({found['c']} as varchar[])"

    def date(found: re.Match) -> str:
        compared = f" = try_cast({found['to'][3:]} as date)" if found["to"] else ""
        return f"try_cast(cast({found['c']} as varchar) as date){compared}"

    def length(found: re.Match) -> str:
        if kind(found).endswith("[]"):
            return "'array'" if found["f"] == "json_type" else f"len({found['c']})"
        return f"lower(json_type({found['c']}))" if found["f"] == "json_type" else f"json_array_length({found['c']})"

    for number, condition in enumerate(conditions):
        sql = re.sub(rf"(where | and ){re.escape(condition)}(?=\s|\)|$)", lambda found, mark=f"\0{number}\0": found[1] + mark, sql)
    if found := _SUGGESTION.search(sql):
        if kind(found) == "BLOB":
            return None
        sql = _GROUP.sub(f"where {found['c']} is not null group by {found['c']}", sql)
    elif (found := _PROBE.search(sql)) and "as value" not in sql:
        may_be = kind(found).endswith("[]") or kind(found) == "JSON"
        if "json_type" not in found[0]:
            may_be = kind(found) in ("VARCHAR", "DATE") or kind(found).startswith("TIMESTAMP")
        if not may_be:
            return None
    if found := _ARRAYS.search(sql):
        sql = (
            f"select value, count(*) as count from (select unnest(list_distinct({as_list(found)})) as value from ({found['sql']})) "
            f"group by value order by count(*) desc, value limit {found['limit']}"
        )
    sql = _CONTAINS.sub(contains, sql)
    sql = _COMPARISON.sub(comparison, sql)
    sql = _IN.sub(membership, sql)
    sql = _LIKE.sub(like, sql)
    sql = _GLOB.sub(lambda found: f"where {text(found)} glob '{found['pattern']}'", sql)
    sql = _EMPTY.sub(lambda found: f"{text(found)} {found['op']} ''", sql)
    sql = _DATE.sub(date, sql)
    sql = _LENGTH.sub(length, sql)
    if "count(*)" not in sql:
        sql = _ORDER.sub(lambda found: f"order by {stable_order(found['by'], table)} ", sql)
        if conditions and table.key and is_unsorted_page(sql):
            sql = _PAGE.sub(lambda found: f"order by {', '.join(map(quote, table.key))} {found[0]}", sql)
    sql = _BRACKETS.sub(lambda found: found[1] or quote(found[2]), sql)
    return re.sub("\0(\\d+)\0", lambda found: conditions[int(found[1])], sql)


def is_unsorted_page(sql: str) -> bool:
    """Tell whether the statement asks for some of a table's rows in no order.

    >>> is_unsorted_page("select a from t where b = :p0 limit 101 offset 100")
    True
    """
    return _PAGE.search(sql) is not None and not re.search(r"\b(order|group) by\b", sql, re.I)


def stable_order(by: str, table: Table) -> str:
    """Return an order with NULLs where SQLite has them, first, last when descending, and the key to break ties.

    >>> stable_order("[value] desc", Table("t", {}, ("a", "b"), True, "", None, {}))
    '[value] desc nulls last, "a", "b"'
    """
    items = by.split(", ")
    ordered = [f"{item} nulls {'last' if item.endswith(' desc') else 'first'}" for item in items]
    there = {unquote(item.removesuffix(" desc")) for item in items}
    key = table.key or (() if table.is_view else ("rowid",))
    return ", ".join(ordered + [quote(column) for column in key if column not in there])


def unquote(name: str) -> str:
    """Return the name without brackets or quotes.

    >>> unquote('[a b]'), unquote('"a""b"'), unquote("a")
    ('a b', 'a"b', 'a')
    """
    if name.startswith("["):
        return name[1:-1]
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
