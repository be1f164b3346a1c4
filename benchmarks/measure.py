"""What the benchmarks share: interleaved runs, their medians and ratios, tables, and what they were measured on."""

import datetime
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import deephys_sql as dp
from deephys_sql.errors import StoreVersionError


class Timing(NamedTuple):
    """Wall and processor seconds of one run, all threads."""

    wall: float
    processor: float


@dataclass
class Taken:
    """What the runs of one form took, turn by turn."""

    timings: list[Timing] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """The median, in seconds."""
        return statistics.median(timing.wall for timing in self.timings)

    @property
    def processor(self) -> float:
        """The median, in seconds."""
        return statistics.median(timing.processor for timing in self.timings)

    def ratio(self, other: "Taken") -> str:
        """Return the median of the ratios of runs of the same turn, and how far they are apart."""
        ratios = [mine.wall / theirs.wall for mine, theirs in zip(self.timings, other.timings)]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def timed(call: Callable[..., object], *arguments: object) -> tuple[Timing, object]:
    """Return what a call took, and what it gave; a call that gives a `Timing` has measured itself."""
    wall, processor = time.perf_counter(), time.process_time()
    given = call(*arguments)
    timing = Timing(time.perf_counter() - wall, time.process_time() - processor)
    return (given, None) if isinstance(given, Timing) else (timing, given)


def interleaved(forms: dict[str, Callable[[int], object]], turns: int, *, warm_up: bool = True) -> dict[str, Taken]:
    """Run each form once a turn, so that a busy machine slows all of them; a first turn, which warms up, is not counted.

    A form is called with the number of its turn, and may ask about something else in each. Raises `ValueError` when the forms
    give different answers.
    """
    taken = {name: Taken() for name in forms}
    for turn in range(0 if warm_up else 1, turns + 1):
        answers = {}
        for name in sorted(forms, reverse=turn % 2 == 1):
            timing, answers[name] = timed(forms[name], turn)
            if turn:
                taken[name].timings.append(timing)
        first = next(iter(forms))
        for name, answer in answers.items():
            if answer != answers[first]:
                raise ValueError(f"{name!r} gives {str(answer)[:300]}, and {first!r} {str(answers[first])[:300]} (turn {turn})")
    return taken


def kept_store(path: Path, record: Callable[[Path], None]) -> Path:
    """Return the path of a store that is used again; it is recorded when it isn't there, or has an older schema."""
    try:
        if path.exists():
            dp.open(path).close()  # brings its views up to date
            return path
    except StoreVersionError:
        path.unlink()
    record(path)
    return path


def machine(*packages: str) -> str:
    """Return the date, the machine, how busy it was, and the versions of packages."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {versions}."
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(map(row, [columns, ["---"] * len(columns), *rows]))


def row(cells: Sequence[object]) -> str:
    """Return one row of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds, with as many digits as count."""
    return f"{seconds * 1e3:.{max(0, 1 - int(seconds * 1e3 >= 10))}f}"


def over(bound: float | None, found: float) -> str:
    """Return a mark for what is over its bound."""
    return " **over**" if bound is not None and found > bound else ""


def peak_megabytes() -> float:
    """Return the most memory that this process ever held."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1e3 * 1.024
