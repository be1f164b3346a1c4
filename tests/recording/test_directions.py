"""Layers that are directions of another: the numbers of a matrix product in NumPy, for every recording, old and new."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest

import deephys_sql as dp
from deephys_sql.errors import DeephysError, InvalidInputError, ModelDiffersError, NotFiniteError, ReadOnlyError, UnknownNameError

NEURONS, CATEGORIES = 20, 3
RANDOM = np.random.default_rng(0)
COUNTS = {"clean": 4200, "night": 37, "later": 2100}
FC = {name: np.round(RANDOM.normal(size=(count, NEURONS)), 1).astype(np.float32) for name, count in COUNTS.items()}
LABELS = {name: RANDOM.integers(-1, CATEGORIES, count) for name, count in COUNTS.items()}
MATRIX = RANDOM.normal(size=(33, NEURONS)).astype(np.float32)
BIAS, CENTER = RANDOM.normal(size=33), RANDOM.normal(size=NEURONS)


def record(store: dp.Store, dataset: str, model: str = "net", **changes: Any) -> None:
    arguments = dict(activations={"fc": FC[dataset]}, logits=FC[dataset][:, :CATEGORIES], labels=LABELS[dataset], progress=False)
    store.add_recording(model=model, dataset=dataset, **arguments | changes)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("directions") / "study.duckdb"
    with dp.open(path) as store:
        for dataset in ("clean", "night"):
            record(store, dataset)
    return path


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Iterator[dp.Store]:
    with dp.open(shutil.copy(recorded, tmp_path)) as opened:
        yield opened
        assert opened.check() == []


def stored(store: dp.Store, layer: str, dataset: str) -> np.ndarray:
    text = "select value from activation where layer = $layer and dataset = $dataset order by image, neuron"
    values = store.sql(text, layer=layer, dataset=dataset).fetchnumpy()["value"]
    return values.reshape(COUNTS[dataset], -1)


def product(dataset: str, relu: bool = False, matrix: np.ndarray = MATRIX, bias: Any = 0, center: Any = 0) -> np.ndarray:
    values = (FC[dataset].astype(np.float64) - center) @ matrix.astype(np.float64).T + bias
    return np.maximum(values, 0) if relu else values


OPTIONS = {
    "matrix alone": {},
    "bias": {"bias": BIAS},
    "center": {"center": CENTER},
    "autoencoder": {"bias": BIAS, "center": CENTER, "nonlinearity": "relu"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_values(store: dp.Store, options: str) -> None:
    """Every recording of the layer gets the product, bias, centre and ReLU as NumPy gives them, over block bounds too."""
    given = OPTIONS[options]
    store.add_directions("fc", "sparse", MATRIX, progress=False, **given)
    for dataset in ("clean", "night"):
        expected = product(dataset, given.get("nonlinearity") == "relu", bias=given.get("bias", 0), center=given.get("center", 0))
        np.testing.assert_allclose(stored(store, "sparse", dataset), expected, rtol=1e-6, atol=1e-6)
        responses = store.sql("select value from response where layer = 'sparse' and dataset = $d order by image, neuron", d=dataset)
        assert responses.fetchnumpy()["value"].tobytes() == stored(store, "sparse", dataset).tobytes()


def test_it_is_a_layer_as_any(store: dp.Store) -> None:
    """Summaries, rankings and scores of the new layer are those of its activations; the old ones stay what they were."""
    old = store.sql("select * from neuron_score where layer = 'fc' order by all").fetchall()
    store.add_directions("fc", "sparse", MATRIX, bias=BIAS, nonlinearity="relu", progress=False)
    values = {dataset: stored(store, "sparse", dataset) for dataset in ("clean", "night")}
    for neuron in (0, 7, 32):
        rows = store.sql("select image from top_images('net', 'sparse', $n, 'night', 10)", n=neuron).fetchall()
        assert [row[0] for row in rows] == oracle.top_images(values["night"], neuron, 10)
        (row,) = store.sql(
            "select max, mean from neuron_summary where layer = 'sparse' and dataset = 'clean' and neuron = $n", n=neuron
        ).fetchall()
        assert row == pytest.approx((values["clean"][:, neuron].max(), values["clean"][:, neuron].mean(dtype=np.float64)))
    ratio = store.sql("select activation_ratio from neuron_score where layer = 'sparse' order by neuron").fetchnumpy()["activation_ratio"]
    np.testing.assert_allclose(ratio.astype(float), oracle.activation_ratio(values["night"], values["clean"]), rtol=1e-9)
    assert store.sql("select * from neuron_score where layer = 'fc' order by all").fetchall() == old
    row = store.sql("select neurons, nonlinearity, made_from, position from layer where layer = 'sparse'").fetchall()
    assert row == [(33, "relu", "fc", 2)]


def test_later_recordings_have_it_too(store: dp.Store) -> None:
    """A later recording gets the layer by itself, with the very bits that making it afterwards would give, whatever the batches."""
    store.add_directions("fc", "sparse", MATRIX, bias=BIAS, nonlinearity="relu", progress=False)
    batches = (FC["later"][start : start + 300] for start in range(0, COUNTS["later"], 300))
    record(store, "later", activations={"fc": batches})
    made_at_once = stored(store, "sparse", "later")
    store.add_directions("fc", "again", MATRIX, bias=BIAS, nonlinearity="relu", progress=False)
    assert stored(store, "again", "later").tobytes() == made_at_once.tobytes()
    assert stored(store, "again", "clean").tobytes() == stored(store, "sparse", "clean").tobytes()
    checksums = (
        "select k.checksum from stored_recorded_layer as k join stored_layer as l using (layer_id) where l.name = $l order by recording_id"
    )
    assert store.sql(checksums, l="again").fetchall() == store.sql(checksums, l="sparse").fetchall()


def test_directions_of_directions(store: dp.Store) -> None:
    """A layer of directions can be the source of another, for later recordings too."""
    second = RANDOM.normal(size=(2, 33)).astype(np.float32)
    store.add_directions("fc", "one", MATRIX, nonlinearity="relu", progress=False)
    store.add_directions("one", "two", second, progress=False)
    record(store, "later")
    for dataset in COUNTS:
        expected = stored(store, "one", dataset).astype(np.float64) @ second.astype(np.float64).T
        np.testing.assert_allclose(stored(store, "two", dataset), expected, rtol=1e-6, atol=1e-6)
    assert dict(store.sql("select layer, made_from from layer").fetchall()) == {"fc": None, "output": None, "one": "fc", "two": "one"}


def test_what_it_was_made_with(store: dp.Store) -> None:
    """Weights and biases stand in the store, float32 and float64, one row a direction."""
    store.add_directions("fc", "sparse", MATRIX.astype(np.float64), bias=BIAS, center=CENTER, nonlinearity="relu", progress=False)
    rows = store.sql(
        "select neuron, weights, bias, made_from, nonlinearity from directions where layer = 'sparse' order by neuron"
    ).fetchall()
    assert [row[0] for row in rows] == list(range(33))
    assert (np.array([row[1] for row in rows], np.float32) == MATRIX).all()
    np.testing.assert_allclose([row[2] for row in rows], BIAS - MATRIX.astype(np.float64) @ CENTER, rtol=1e-12)
    assert {row[3:] for row in rows} == {("fc", "relu")}


def test_principal_components(store: dp.Store) -> None:
    """scikit-learn's components and mean go in as they are, and give its transform."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    pca = decomposition.PCA(5).fit(FC["clean"])
    store.add_directions("fc", "pca", pca.components_, center=pca.mean_, progress=False)
    np.testing.assert_allclose(stored(store, "pca", "night"), pca.transform(FC["night"]), atol=1e-5)


def test_same_bits_with_other_threads(recorded: Path, tmp_path: Path) -> None:
    """One thread or two of the linear algebra, and a second run, give the same bits."""
    import os
    import subprocess
    import sys

    program = (
        "import sys, numpy as np, deephys_sql as dp\n"
        "with dp.open(sys.argv[1]) as store:\n"
        "    store.add_directions('fc', 'x', np.random.default_rng(1).normal(size=(300, 20)), nonlinearity='relu', progress=False)\n"
        '    print(store.sql("select checksum from recording order by 1").fetchall())\n'
    )
    found = set()
    for threads in "12":
        path = shutil.copy(recorded, tmp_path / f"{threads}.duckdb")
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        found.add(subprocess.run([sys.executable, "-c", program, path], env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


REFUSED = {
    "turned": (dict(matrix=MATRIX.T), InvalidInputError, r"20 neurons; got shape \(20, 33\).*matrix\.T"),
    "of another layer": (dict(matrix=np.ones((2, 7))), InvalidInputError, r"got shape \(2, 7\)"),
    "one row": (dict(matrix=np.ones(20)), InvalidInputError, r"directions x neurons; got shape \(20,\)"),
    "text": (dict(matrix=[["a"] * 20]), InvalidInputError, "finite numbers"),
    "NaN": (dict(matrix=np.full((1, 20), np.nan)), InvalidInputError, "finite"),
    "too large for float32": (dict(matrix=np.full((1, 20), 1e300)), InvalidInputError, "finite float32"),
    "products too large": (dict(matrix=np.full((1, 20), 3e38)), NotFiniteError, "layer 'new', image 0, neuron 0"),
    "bias": (dict(bias=[1.0]), InvalidInputError, "bias must have 33 values"),
    "center": (dict(center=BIAS), InvalidInputError, "center must have 20 values"),
    "nonlinearity": (dict(nonlinearity="tanh"), InvalidInputError, "'relu'.*'tanh'"),
    "a name that is taken": (dict(name="output"), InvalidInputError, "'output' already"),
    "no name": (dict(name=" "), InvalidInputError, "isn't empty"),
    "no such layer": (dict(layer="fx"), UnknownNameError, "'fx'.*'fc'"),
    "no such model": (dict(model="nat"), UnknownNameError, "'nat'.*'net'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(store: dp.Store, case: str) -> None:
    """What can't be right is refused by name, and leaves the store as it was."""
    changes, error, words = REFUSED[case]
    before = [store.sql(f"select * from {name} order by all").fetchall() for name in ("layer", "recording", "neuron_summary", "directions")]
    with pytest.raises(error, match=words):
        store.add_directions(**dict(layer="fc", name="new", matrix=MATRIX, progress=False) | changes)
    after = [store.sql(f"select * from {name} order by all").fetchall() for name in ("layer", "recording", "neuron_summary", "directions")]
    assert after == before


def test_stopped_midway(store: dp.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two recordings leaves neither with the layer, and the store ready."""
    from deephys_sql.recording import directions_adding

    calls = []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(directions_adding, "renew_checksum", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.add_directions("fc", "new", MATRIX, progress=False)
    monkeypatch.undo()
    assert store.sql("select count(*) from layer where layer = 'new'").fetchall() == [(0,)]
    assert store.check() == []
    store.add_directions("fc", "new", MATRIX, progress=False)


def test_several_models(store: dp.Store) -> None:
    """A layer that two models have needs the model's name; the other stays without."""
    record(store, "clean", model="other")
    with pytest.raises(UnknownNameError, match="2 models have a layer 'fc'.*model="):
        store.add_directions("fc", "new", MATRIX, progress=False)
    store.add_directions("fc", "new", MATRIX, model="other", progress=False)
    assert store.sql("select model from layer where layer = 'new'").fetchall() == [("other",)]


def test_name_that_is_recorded_later(store: dp.Store) -> None:
    """A layer cannot be directions in one recording and the model's own in the next."""
    store.add_directions("fc", "new", MATRIX, progress=False)
    with pytest.raises(ModelDiffersError, match="'new'.*directions of layer 'fc'"):
        record(store, "later", activations={"fc": FC["later"], "new": np.ones((COUNTS["later"], 33))})


def test_replaced_without_its_source(store: dp.Store) -> None:
    """When no recording holds the source any more, layer and directions are gone."""
    store.add_directions("fc", "new", MATRIX, progress=False)
    for dataset in ("clean", "night"):
        record(store, dataset, activations={"other": FC[dataset]}, replace=True)
    assert [row[0] for row in store.sql("select layer from layer order by position").fetchall()] == ["output", "other"]
    assert store.sql("select (select count(*) from stored_direction), (select count(*) from stored_directions)").fetchall() == [(0, 0)]


def test_read_only(recorded: Path) -> None:
    """A store that was opened read-only takes no directions, and says so by an error of ours."""
    with dp.open(recorded, read_only=True) as opened, pytest.raises(ReadOnlyError):
        opened.add_directions("fc", "new", MATRIX)
    assert issubclass(ReadOnlyError, DeephysError)
