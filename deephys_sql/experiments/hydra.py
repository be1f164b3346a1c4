"""Reads the runs of a folder in which Hydra wrote: each has .hydra/config.yaml, and .hydra/overrides.yaml beside it."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deephys_sql.errors import SourceError
from deephys_sql.experiments.items import Item, Param, Run, Tag, flat, require_name, text

CONFIG = ".hydra/config.yaml"
MOST_BYTES = 5_000_000


def read_folder(folder: Path) -> Iterator[Item]:
    """Yield the runs at any depth of a folder: their configuration as parameters, their overrides as a tag.

    A run is called by its folder, relative to this one; it started when its configuration was written.
    Raises `SourceError` when there is none, or a file isn't YAML.
    """
    found = sorted(path for path in folder.rglob("config.yaml") if path.parent.name == ".hydra")
    if not found:
        raise SourceError(f"{folder} holds no run of Hydra: there is no {CONFIG} in it or in a folder below.")
    for number, path in enumerate(found, start=1):
        home = path.parent.parent
        run = home.relative_to(folder).as_posix()
        run = require_name(folder.resolve().name if run == "." else run, str(path))
        written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).replace(tzinfo=None)
        settings = _read(path.with_name("hydra.yaml"))
        job = settings.get("hydra", {}).get("job", {}) if isinstance(settings, dict) and isinstance(settings.get("hydra"), dict) else {}
        yield Run(number, run, run, text(job.get("name")) if isinstance(job, dict) else None, None, written)
        config = _read(path) or {}
        if not isinstance(config, dict):
            raise SourceError(f"{path} holds no configuration: it is {type(config).__name__}, and a mapping was expected.")
        for name, value in flat(config, str(path)):
            if text(value) is not None:
                yield Param(run, require_name(name, str(path)), text(value))
        overrides = _read(path.with_name("overrides.yaml"))
        if isinstance(overrides, list) and overrides:
            yield Tag(run, "hydra.overrides", ",".join(map(str, overrides)))


def _read(path: Path) -> Any:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path} has {path.stat().st_size:,} bytes, too many for a configuration.")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SourceError(f"{path} can't be read: {' '.join(str(error).split())}") from error
