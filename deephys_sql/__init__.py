"""Record what a network's neurons do on several datasets into one DuckDB file, and ask it in SQL.

>>> import deephys_sql as dp
>>> dp.open  # doctest: +ELLIPSIS
<function open at ...>
"""

from deephys_sql.errors import DeephysError
from deephys_sql.formats.arrays import import_arrays
from deephys_sql.formats.deephys_export import export_deephys
from deephys_sql.formats.deephys_import import import_deephys
from deephys_sql.formats.parquet_export import export_parquet
from deephys_sql.formats.parquet_import import import_parquet
from deephys_sql.formats.shards import ShardWriter
from deephys_sql.store import Store, migrate, open

__all__ = [
    "DeephysError",
    "ShardWriter",
    "Store",
    "export_deephys",
    "export_parquet",
    "import_arrays",
    "import_deephys",
    "import_parquet",
    "layers",
    "migrate",
    "open",
    "record",
]


def __getattr__(name: str):
    """Load the verbs that need torch when they are first used."""
    if name == "layers":
        from deephys_sql.recording.models import layers

        return layers
    if name == "record":
        from deephys_sql.loop import record

        return record
    raise AttributeError(f"module 'deephys_sql' has no attribute {name!r}")
