"""What the tests of recorded networks share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import deephys_sql as dp


@pytest.fixture
def seed() -> Iterator[None]:
    """The same weights and images each time; one thread, which small networks are fastest with."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "study.duckdb"
    dp.open(path).close()
    return path


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Iterator[dp.Store]:
    """An empty store, found whole at the end of the test; a copy, since that is faster than making one."""
    with dp.open(shutil.copy(empty, tmp_path)) as opened:
        yield opened
        assert opened.check() == []
