"""Finds the SQL files that travel with the package: `migrations/` and `queries/`."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the folder `migrations` or `queries`: beside the package in a checkout, inside it in a wheel.

    >>> folder("migrations").name
    'migrations'
    """
    installed = _PACKAGE / "sql_files" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def sql(path: str) -> str:
    """Return the text of one file under `queries/`.

    >>> "insert" in sql("recording/insert_recording.sql")
    True
    """
    return (folder("queries") / path).read_text(encoding="utf-8")
