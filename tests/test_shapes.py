"""Questions as users write them read no more than the best form of each, whatever the order of their joins.

Rows are counted, not seconds: what is measured here comes out the same on any machine. benchmarks/shapes.py measures times.
"""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("shapes", Path(__file__).parents[1] / "benchmarks" / "shapes.py")
shapes = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shapes)
SHAPES = {shape.title: shape for shape in shapes.shapes()}

# Their answer needs few rows of 64 activations, yet DuckDB makes a row of each activation of the dataset first. A response is a
# quotient, which could fail and so is computed below joins, and several columns joined at once leave nothing out of a scan;
# `image in (select image from prediction ...)` does, and so does the view activation. Neurons that a query finds reach a scan in the
# join that gives rows their neurons, which the quotient hides.
WHOLE = {
    "responses of neurons chosen by their score",
    "wrong images of a category, prediction joined to response",
    "wrong images of a category, response joined to prediction",
    "the largest activations of a dataset",
}

NAMES = 5 * 640  # rows that tell names and places of neurons


@pytest.fixture(scope="module")
def asker(tmp_path_factory):
    """A store of 6,200 images x 640 neurons x 2 datasets: 124,000 rows of 64 activations, in two row groups."""
    path = tmp_path_factory.mktemp("shapes") / "study.duckdb"
    shapes.build(path, images=6_200, neurons=640)
    return shapes.Asker(path, threads=1)


def test_there_are_forty():
    """The list is long, and no question is in it twice."""
    assert len(SHAPES) == len(shapes.shapes()) >= 40


@pytest.mark.parametrize("title", SHAPES)
def test_shape(asker, title):
    """The same rows as the best form, from at most three times the rows scanned, and no join that multiplies them.

    All activations of a dataset are 32 times as many as the rows that hold both: a question about some of them hands on less.
    """
    shape = SHAPES[title]
    assert asker.rows(shape.asked) == asker.rows(shape.best)
    asked, best = asker.profile(shape.asked), asker.profile(shape.best)
    assert asked["scanned"] <= 3 * best["scanned"] + NAMES
    rows = max(best["scanned"], best["handed_on"])
    assert (asked["handed_on"] <= 5 * rows) == (title not in WHOLE)
    assert asked["handed_on"] <= 5 * 64 * rows
