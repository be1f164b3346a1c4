"""The layout of Parquet trees: a folder a table, in it a folder a model, layer and dataset, as `model=net/dataset=day`.

Names are percent-encoded where they hold characters that mean something in paths, patterns or Hive's own layout; DuckDB,
pandas, Polars and Spark decode them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from deephys_sql.errors import FileFormatError, InvalidInputError

# The names that tell a table's parts apart, in the order of the folders.
PARTITIONS = {
    "model": (),
    "dataset": (),
    "layer": ("model",),
    "image": ("dataset",),
    "recording": ("model", "dataset"),
    "prediction": ("model", "dataset"),
    "activation": ("model", "layer", "dataset"),
}
LONGEST_FOLDER = 255  # bytes that file systems allow
EVERYWHERE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~ ")


@dataclass(frozen=True)
class Part:
    """Some rows of a table: one file."""

    table: str
    names: dict[str, str]
    path: Path


def encode(name: str) -> str:
    """Return a name as it stands in a path: letters of any script as they are, other characters of ASCII percent-encoded.

    >>> encode("resnet/été=1")
    'resnet%2Fété%3D1'
    """
    text = "".join(c if c in EVERYWHERE or (ord(c) > 127 and c.isprintable()) else _percent(c) for c in name)
    return text.replace("__HIVE", "%5F_HIVE", 1) if text.startswith("__HIVE") else text


def place(table: str, names: dict[str, str]) -> Path:
    """Return the folder of a part of a table, relative to the tree.

    >>> place("image", {"dataset": "day 1"}).as_posix()
    'image/dataset=day 1'
    """
    folders = [f"{key}={encode(name)}" for key, name in names.items()]
    for folder, name in zip(folders, names.values()):
        if len(folder.encode()) > LONGEST_FOLDER:
            raise InvalidInputError(f"{name[:40]!r}… is too long for the name of a folder: {len(folder.encode())} bytes, at most 255.")
    return Path(table, *folders)


def find_parts(root: Path) -> list[Part]:
    """Return the Parquet files of a tree in the order of their paths; files and folders that begin with . or _ are left out.

    Raises `FileFormatError` when the folder isn't there, holds no such file, or one in a place that is not of the layout.
    """
    if not root.is_dir():
        raise FileFormatError(f"there is no folder {root}. Give the folder that an export or shard writers made.")
    parts = []
    for path in sorted(root.rglob("*.parquet")):
        table, *folders = path.relative_to(root).parts[:-1] or ("",)
        if any(name.startswith((".", "_")) for name in (table, *folders, path.name)):
            continue
        found = [re.fullmatch("([a-z_]+)=(.+)", folder, re.DOTALL) for folder in folders]
        if not table or None in found:
            raise FileFormatError(f"{path} is not where a table's files are, such as {root}/image/dataset=day/part-0.parquet.")
        names = {match[1]: _decode(match[2], path) for match in found}
        if tuple(names) != PARTITIONS.get(table, tuple(names)):
            wanted = "/".join(f"{key}=…" for key in PARTITIONS[table])
            raise FileFormatError(f"{path}: the files of {table} are in folders {table}/{wanted}.")
        parts.append(Part(table, names, path))
    if not parts:
        raise FileFormatError(f"{root} holds no Parquet files. Give the folder that an export or shard writers made.")
    return parts


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _decode(text: str, path: Path) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: {text!r} is no percent-encoded UTF-8.") from error
