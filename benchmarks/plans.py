"""Where the time of each hot question goes, by DuckDB's own profile: planning, running, and what is read.

    python benchmarks/plans.py --size full --folder build/bench/questions-full

The profile counts the statement alone, on a warm connection, the median of some turns; the plans stand below the table.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import growth
import measure
import questions
from questions import Asked, Question, Study

from deephys_sql import query

WIDTH = 100  # of what is said of a step


class Profiled(Asked):
    """A store whose statements are run with a profile, which is kept."""

    def __init__(self, study: Study, path: Path):
        super().__init__(study, path)
        self.profiles: list[dict] = []
        self._folder = tempfile.TemporaryDirectory()  # removed with this object
        self._file = Path(self._folder.name) / "profile.json"
        self._plain.execute(f"pragma enable_profiling = 'json'; set profiling_output = '{self._file}'; set profiling_mode = 'detailed'")

    def sql(self, text: str, *values: object) -> list[tuple]:
        rows = super().sql(text, *values)
        self.profiles.append(json.loads(self._file.read_text()))
        return rows

    def query(self, name: str, **parameters: object) -> list[tuple]:
        known = query.available()[name]
        own = {"model": questions.MODEL, "layer": questions.LAYER}
        text, bound = known.bind({key: value for key, value in {**own, **parameters}.items() if key in known.parameters})
        rows = self._plain.execute(text, bound).fetchall()
        self.profiles.append(json.loads(self._file.read_text()))
        return rows


def steps(level: list[dict], depth: int = 0) -> Iterator[str]:
    """Give a line a step of a plan: what it took, what it does, and how many rows it handed on; what it reads from stands below it."""
    for step in level:
        more = step["extra_info"]
        on = more.get("Table", "").rpartition(".")[2] or more.get("Conditions", "")
        on = ", ".join(on) if isinstance(on, list) else on
        what = f"{step['type'].lower()} {on}".strip()
        groups = f", {more['Row Groups Scanned']} row groups" if "Row Groups Scanned" in more else ""
        yield f"{step['timing'] * 1e3:8.2f} ms  {'  ' * depth}{what[:WIDTH]} ({step['intermediate_rows']:,} rows{groups})"
        yield from steps(step.get("children", []), depth + 1)


def profiled(asked: Profiled, question: Question, turns: int) -> tuple[list[str], list[str]]:
    """Return a row of the table, and the plan of the last turn."""
    (form, *_) = question.forms.values()
    for turn in range(turns + 1):
        if turn == 1:
            asked.profiles.clear()
        form(turn)
    times = {
        "all": [one["query"]["total_time"] for one in asked.profiles],
        "plan": [sum(one[part]["total_time"] for part in ("planner", "optimizer", "physical_planner")) for one in asked.profiles],
        "run": [one["query"]["cpu_time"] for one in asked.profiles],
    }
    last = asked.profiles[-1]
    plan = list(steps(last["operator"]))
    row = [
        question.title,
        *(measure.milliseconds(statistics.median(values)) for values in times.values()),
        f"{last['query']['total_rows_scanned']:,}",
        f"{len(plan)}",
    ]
    return row, plan


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", "named", type=click.Choice(list(questions.SIZES)), default="small", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where stores are kept and used again; else a temporary folder.")
def main(named: str, folder: Path | None) -> None:
    size = questions.SIZES[named]
    with tempfile.TemporaryDirectory() as name:
        folder = folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        study, small = Study(size.images, size.neurons, size.datasets, size.categories), Study(10_000, 512)
        large = Profiled(study, study.store(folder))
        on_neurons = Profiled(small, small.store(folder))
        print(
            "Milliseconds of the first form of each question: all of the statement; binding and planning it; running it, summed over "
            "threads. What is in neither is parsing, the start of threads and the handing out of rows.\n"
        )
        print(measure.table(["question", "all", "planning", "running", "rows scanned", "steps"], []))
        plans = {}
        asked = [(large, question) for question in growth.hot(large)]
        asked += [(on_neurons, question) for question in questions.similar_on(on_neurons, None)]
        for store, question in asked:
            row, plans[question.title] = profiled(store, question, size.fresh_turns)
            print(measure.row(row), flush=True)
        for title, plan in plans.items():
            print(f"\n<details><summary>{title}</summary>\n", "```", *plan, "```\n", "</details>", sep="\n")


if __name__ == "__main__":
    main()
