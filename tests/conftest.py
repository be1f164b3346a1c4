"""Fixtures for all tests: an empty store, and stores that hold a small study."""

import itertools

import browsing
import pytest
import study as studies
from hypothesis import settings

import deephys_sql as dp

# An example records two datasets, which takes a tenth of a second: few examples, the same in every run.
settings.register_profile("deephys", max_examples=15, deadline=None, database=None, derandomize=True)
settings.register_profile("deep", max_examples=300, deadline=None, database=None)  # pytest --hypothesis-profile=deep
settings.load_profile("deephys")


def pytest_terminal_summary(terminalreporter):
    """Say once, at the end, why the tests in a browser were left out."""
    if browsing.CHROMIUM is None:
        terminalreporter.write_sep("=", "no browser", yellow=True)
        terminalreporter.write_line(browsing.MISSING)


@pytest.fixture
def store(tmp_path):
    """An empty store in a fresh file."""
    with dp.open(tmp_path / "study.duckdb") as opened:
        yield opened


@pytest.fixture(scope="session")
def study():
    """The small study of `study.random_study`; don't change it."""
    return studies.random_study()


@pytest.fixture(scope="session")
def recorded(study, tmp_path_factory):
    """A store that holds `study` as model `net`, with runs and annotations; only read from it."""
    folder = tmp_path_factory.mktemp("recorded")
    with dp.open(folder / "study.duckdb") as opened:
        study.record(opened)
        studies.add_runs(opened, folder)
        studies.add_annotations(opened)
        yield opened


@pytest.fixture(scope="module")
def record_new(tmp_path_factory):
    """`record_new(study)` records it under new names into one store a file; returns store, model, study as named there."""
    numbers = itertools.count()
    with dp.open(tmp_path_factory.mktemp("many") / "study.duckdb", in_place=True) as opened:  # no copies of what many tests share

        def record(new, **options):
            number = next(numbers)
            named = studies.renamed(new, number)
            named.record(opened, f"net {number}", **options)
            return opened, f"net {number}", named

        yield record
