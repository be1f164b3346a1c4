"""How the answers grow with images, neurons, datasets and recordings.

    python benchmarks/growth.py --size full --picture benchmarks/growth.svg     (three minutes, 2 GB of disk)
    python benchmarks/growth.py --size imagenet --folder build/bench/imagenet   (ten minutes, 10 GB of disk)

From one study, each of the four is made larger alone, to three sizes; all sizes are asked in turn. `imagenet` goes to the 1.28 million
images of ImageNet's training set.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import altair
import click
import measure
import pandas
import questions
from questions import Asked, Question, Study

SIZES = {
    "full": {
        "images": [Study(5_000, 512), Study(15_000, 512), Study(50_000, 512)],
        "neurons": [Study(5_000, 128), Study(5_000, 512), Study(5_000, 2048)],
        "datasets": [Study(5_000, 512, datasets=1), Study(5_000, 512, datasets=2), Study(5_000, 512, datasets=4)],
        "models": [Study(5_000, 512, models=1), Study(5_000, 512, models=4), Study(5_000, 512, models=10)],
    },
    "small": {
        "images": [Study(500, 64), Study(1_500, 64), Study(5_000, 64)],
        "neurons": [Study(500, 16), Study(500, 64), Study(500, 256)],
        "datasets": [Study(500, 64, datasets=1), Study(500, 64, datasets=2), Study(500, 64, datasets=4)],
        "models": [Study(500, 64, models=1), Study(500, 64, models=4), Study(500, 64, models=10)],
    },
    "imagenet": {
        "images": [
            Study(50_000, 2048, datasets=1, categories=1000),
            Study(250_000, 2048, datasets=1, categories=1000),
            Study(1_280_000, 2048, datasets=1, categories=1000),
        ]
    },
}


def recorded(study: Study, folder: Path) -> list[str]:
    """Make the store of a study; give a row of what that took in this process, which is to be a new one."""
    before = measure.peak_megabytes()
    timing, path = measure.timed(study.store, folder)
    size = path.stat().st_size
    activations = study.images * study.neurons * study.datasets * study.models
    return [
        f"{study.images:,} images x {study.neurons:,} neurons x {study.datasets} x {study.models}",
        f"{timing.wall:.0f} ({timing.processor:.0f})",
        f"{measure.peak_megabytes() - before:,.0f}",
        f"{size / 1e9:.2f}",
        f"{size / activations:.2f}",
    ]


def hot(asked: Asked) -> Iterator[Question]:
    """The questions of `questions.py` without what is beside them, and two that read all of a dataset."""
    yield from questions.top_images(asked, None)
    yield from questions.top_neurons(asked, None)
    dataset, names = asked.dataset, asked.study.names
    live = f"select spurious from scores('{questions.MODEL}', '{questions.LAYER}', '{dataset}', '{names[0]}')"
    yield Question("all scores, computed", None, {"macro": lambda turn: len(asked.sql(live))})
    near = f"select image from similar_images('{questions.MODEL}', '{questions.LAYER}', '{dataset}', ?, '{dataset}', 10)"
    yield Question("images nearest by cosine", None, {"macro": lambda turn: len(asked.sql(near, turn))})


def grown(sizes: list[Study], what: str, folder: Path, turns: int) -> Iterator[dict[str, object]]:
    """Give a row a question and size, in milliseconds."""
    asked = {getattr(study, what): list(hot(Asked(study, study.store(folder)))) for study in sizes}
    for same in zip(*asked.values()):
        forms = {str(number): partial(_ask, question) for number, question in zip(asked, same)}
        for number, taken in measure.interleaved(forms, turns).items():
            yield {
                "grows": what,
                "number": int(number),
                "question": same[0].title,
                "ms": taken.wall * 1e3,
                "processor": taken.processor * 1e3,
            }


def _ask(question: Question, turn: int) -> None:
    """Ask in the store's form; answers differ from size to size."""
    next(iter(question.forms.values()))(turn)


def picture(found: pandas.DataFrame) -> altair.Chart:
    """Draw a panel a dimension and a line a question, both axes logarithmic: what grows in proportion rises by 45 degrees."""
    panels = [
        altair.Chart(part, width=200, height=300)
        .mark_line(point=True)
        .encode(
            x=altair.X("number:Q", title=what, scale=altair.Scale(type="log"), axis=altair.Axis(values=sorted(part["number"].unique()))),
            y=altair.Y("processor:Q", title="ms of processor time", scale=altair.Scale(type="log")),
            color=altair.Color(
                "question:N", title=None, sort=None, legend=altair.Legend(labelLimit=400), scale=altair.Scale(scheme="tableau10")
            ),
        )
        for what, part in found.groupby("grows", sort=False)
    ]
    return altair.hconcat(*panels).resolve_scale(y="shared")


@click.command(help=__doc__.splitlines()[0])
@click.option("--size", "named", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where stores are kept and used again; else a temporary folder.")
@click.option("--turns", default=7, show_default=True)
@click.option("--picture", "file", type=click.Path(path_type=Path), help="Draw the curves into this SVG or PNG file.")
def main(named: str, folder: Path | None, turns: int, file: Path | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for study in dict.fromkeys(study for sizes in SIZES[named].values() for study in sizes):
            if study.path(folder).exists():
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows.append(pool.submit(recorded, study, folder).result())
        if rows:
            print(measure.table(["recorded", "s (processor s)", "MB of memory more at most", "GB", "bytes an activation"], rows) + "\n")
        found = pandas.DataFrame([row for what, sizes in SIZES[named].items() for row in grown(sizes, what, folder, turns)])
    base = next(reversed(SIZES[named].values()))[0]
    print(
        f"From {base.images:,} images x {base.neurons:,} neurons x {base.datasets} datasets of one model, each made larger alone. "
        f"Milliseconds, medians of {turns} turns (of processor time).\n"
    )
    columns = [(what, number) for what, sizes in SIZES[named].items() for number in (getattr(study, what) for study in sizes)]
    cells = {(row.question, row.grows, row.number): f"{row.ms:.0f} ({row.processor:.0f})" for row in found.itertuples()}
    rows = [[question, *(cells[question, *column] for column in columns)] for question in found["question"].unique()]
    print(measure.table(["question", *(f"{number:,} {what}" for what, number in columns)], rows))
    if file:
        picture(found).save(file)


if __name__ == "__main__":
    main()
