"""Histograms and examples across the range, which are kept with a recording."""

import json

import numpy as np
import oracle
import pytest
import study as make
from hypothesis import given

LARGEST, SMALLEST = np.finfo(np.float32).max, np.float32(2.0**-149)
PLACES = ("lowest", "near_zero", "q05", "q25", "q50", "q75", "q95", "highest")
RNG = np.random.default_rng(3)
IMAGES = 5000  # over several blocks
# What a neuron does on two datasets; columns are repeated until there is a value for every image.
NEURONS = {
    "zeros": ([0], [0]),
    "zeros of both signs": ([0.0, -0.0], [-0.0]),
    "a constant": ([0.3], [0.3]),
    "a negative constant": ([-7], [-7]),
    "two constants": ([0], [1e-10]),
    "far constants": ([-1e30], [1e-30]),
    "one is constant": ([5], np.arange(100) / 8),
    "silent in one": ([0], np.maximum(RNG.normal(size=900), 0)),
    "rectified": (np.maximum(RNG.normal(size=IMAGES), 0), np.maximum(RNG.normal(size=77) - 1, 0)),
    "of many equal values": (np.round(RNG.normal(size=IMAGES) * 8) / 8, np.round(RNG.normal(size=300) * 2) / 2),
    "of any": (RNG.normal(size=IMAGES), RNG.normal(size=IMAGES) * 100 + 30),
    "of few late zeros": (np.where(np.arange(IMAGES) % 1100 == 1090, 0, RNG.normal(size=IMAGES) ** 2 + 0.1), [1, 2]),
    "negative": (-np.exp(RNG.normal(size=IMAGES)), -np.exp(RNG.normal(size=IMAGES))),
    "the extremes of float32": ([LARGEST, -LARGEST, 0, 1], [LARGEST, SMALLEST]),
    "the largest alone": ([LARGEST], [-LARGEST]),
    "the smallest steps": ([SMALLEST, 0, -SMALLEST, 3 * SMALLEST], [-SMALLEST]),
    "neighbours": ([1, np.nextafter(np.float32(1), np.float32(0))], [-1, np.nextafter(np.float32(-1), np.float32(0))]),
    "neighbours in one interval": ([-1, np.nextafter(np.float32(-1), np.float32(0))], [-1]),
    "far from zero": (1e8 + np.arange(300) * 8, [1e8]),
    "powers of two": (2.0 ** np.arange(-126, 127), -(2.0 ** np.arange(-126, 127))),
    "256 intervals": (np.arange(256) / 4, [0]),
    "256 below a power of two": ([-1, -(2.0**-100)], [-1, -0.5]),
    "257 intervals": (np.arange(257) / 4, [0]),
    "an outlier": ([*np.linspace(-1, 1, 19) * 1e-3, 1e30], [*np.linspace(-1, 1, 99), 3e38]),
    "an outlier below": ([*np.linspace(-1, 1, 19) * 1e-3, -1e30], [1e-20, 1]),
}


def matrix(dataset, images):
    """float32, images x neurons."""
    return np.stack([np.resize(np.float32(columns[dataset]), images) for columns in NEURONS.values()], axis=1)


VALUES = {"one": matrix(0, IMAGES), "other": matrix(1, 900), "small": matrix(0, 20), "few": matrix(1, 3), "single": matrix(1, 1)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store of these neurons; names of columns are numbers."""
    import deephys_sql as dp

    with dp.open(tmp_path_factory.mktemp("kept") / "study.duckdb") as store, store.transaction():
        for dataset, values in VALUES.items():
            # In another model, so that a histogram is of one or two datasets.
            model = "net" if dataset in ("one", "other") else dataset
            store.add_recording(
                model=model, dataset=dataset, activations={"fc": values}, predictions=[0] * len(values), categories=["a"], progress=False
            )
    with dp.open(store.path, read_only=True) as store:
        yield store


@pytest.mark.parametrize("bins", [2, 3, 30, 256, 1000])
def test_histograms_of_two_datasets(kept, bins):
    """Widths are the smallest powers of two that do, the same for both; edges and counts are exact."""
    for neuron, name in enumerate(NEURONS):
        columns = {dataset: VALUES[dataset][:, neuron] for dataset in ("one", "other")}
        rows = kept.query("activation_histogram", model="net", layer="fc", neuron=neuron, bins=bins).fetchall()
        assert rows == oracle.histogram(columns, bins), name
        assert max(row[1] for row in rows) < bins, name


@pytest.mark.parametrize("dataset", ["small", "few", "single"])
def test_histograms_of_few_images(kept, dataset):
    """The same of 20, 3 and 1 images."""
    for neuron, name in enumerate(NEURONS):
        rows = kept.query("activation_histogram", model=dataset, layer="fc", neuron=neuron).fetchall()
        assert rows == oracle.histogram({dataset: VALUES[dataset][:, neuron]}, 30), name


def test_histogram_of_one_value(kept):
    """A neuron that does the same everywhere has one interval, which begins at the value and ends at float32's next."""
    for name, value in {"zeros": 0, "zeros of both signs": 0, "a constant": np.float32(0.3), "a negative constant": -7}.items():
        (one, other) = kept.query("activation_histogram", model="net", layer="fc", neuron=list(NEURONS).index(name)).fetchall()
        end = float(np.float32(value) + np.spacing(np.float32(abs(value))))
        assert (one, other) == (("one", 0, float(value), end, IMAGES), ("other", 0, float(value), end, 900))


def targets(column):
    """What the places of a neuron's range are, in their order."""
    column = column.astype(np.float64)
    return [column.min(), 0.0, *np.quantile(column, [0.05, 0.25, 0.5, 0.75, 0.95]), column.max()]


@pytest.mark.parametrize("k", [3, 5, 6, 40])
@pytest.mark.parametrize("dataset", VALUES)
def test_examples(kept, dataset, k):
    """The nearest k images in float64, ties to the lower image, whether they are kept or chosen from the activations."""
    values = VALUES[dataset]
    model = "net" if dataset in ("one", "other") else dataset
    few = NEURONS if k <= 5 or dataset != "one" else ["rectified", "of many equal values", "an outlier"]  # the others read all
    for neuron, name in enumerate(NEURONS):
        if name not in few:
            continue
        names = {"model": model, "layer": "fc", "neuron": neuron, "datasets": json.dumps([dataset]), "k": k}
        rows = kept.query("examples_across_range", **names).fetchall()
        expected = [
            (dataset, place, position, rank, image, float(values[image, neuron]), None, None, 0, "a")
            for position, (place, target) in enumerate(zip(PLACES, targets(values[:, neuron])), start=1)
            for rank, image in enumerate(oracle.nearest(values, neuron, target, k), start=1)
        ]
        assert rows == expected, name


@given(study=make.studies())
def test_any_study(record_new, study):
    """Histograms and examples of whatever was recorded."""
    store, model, study = record_new(study)
    for neuron in range(study.parts[study.reference].activations["fc"].shape[1]):
        columns = {name: part.activations["fc"][:, neuron] for name, part in study.parts.items()}
        rows = store.query("activation_histogram", model=model, layer="fc", neuron=neuron, bins=7).fetchall()
        assert rows == oracle.histogram(columns, 7)
        rows = store.query("examples_across_range", model=model, layer="fc", neuron=neuron).fetchall()
        for name, column in columns.items():
            found = [[row[4] for row in rows if row[:2] == (name, place)] for place in PLACES]
            assert found == [oracle.nearest(column[:, None], 0, target, 5) for target in targets(column)]


def test_quantiles(kept):
    """The seven quantiles are NumPy's, bit for bit."""
    fractions = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    for dataset, values in VALUES.items():
        select = "select q01, q05, q25, q50, q75, q95, q99 from neuron_summary where dataset = $d order by neuron"
        found = np.array(kept.sql(select, d=dataset).fetchall())
        assert np.array_equal(found, np.quantile(values.astype(np.float64), fractions, axis=0).T)


def test_check(kept):
    """What is kept is what check computes from the activations."""
    assert kept.check() == []
