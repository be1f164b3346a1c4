"""SEMANTICS.md, Responses, and the summary of a neuron's activations."""

import numpy as np
import oracle
import study as make
from hypothesis import given


def matrix(store, column, view, model, layer, dataset, shape):
    """Read a view of one row a neuron and image as images x neurons, NULL as NaN."""
    rows = store.sql(
        f"select image, neuron, {column} from {view} where model = $m and layer = $l and dataset = $d order by image, neuron",
        m=model,
        l=layer,
        d=dataset,
    ).fetchall()
    values = np.array([np.nan if value is None else value for *_, value in rows])
    assert [row[:2] for row in rows] == [(i, n) for i in range(shape[0]) for n in range(shape[1])]
    return values.reshape(shape)


def per_neuron(store, columns, view, model, layer, dataset):
    """Read a view of one row a neuron, in the order of neurons."""
    return store.sql(
        f"select {columns} from {view} where model = $m and layer = $l and dataset = $d order by neuron",
        m=model,
        l=layer,
        d=dataset,
    ).fetchall()


def as_floats(values):
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def test_activation_keeps_the_recorded_float32_and_its_sign(recorded, study):
    """The view activation holds a(n, i) exactly, one row a neuron and image."""
    for layer, dataset, values, _ in study.cells():
        found = matrix(recorded, "value", "activation", "net", layer, dataset, values.shape)
        assert np.array_equal(found.astype(np.float32), values)


def test_response_is_normalised_by_the_reference(recorded, study):
    """r(n, i) / M_R(n) exactly, NULL where M_R(n) = 0, beside the activation that it was made from."""
    for layer, dataset, values, reference in study.cells():
        found = matrix(recorded, "response", "response", "net", layer, dataset, values.shape)
        assert np.array_equal(found, oracle.normalised(values, reference), equal_nan=True)
        assert np.array_equal(matrix(recorded, "value", "response", "net", layer, dataset, values.shape), values)


@given(study=make.studies())
def test_responses_of_any_study(record_new, study):
    """Normalised responses equal the oracle's; within the reference they lie in 0..1."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        found = matrix(store, "response", "response", model, layer, dataset, values.shape)
        assert np.array_equal(found, oracle.normalised(values, reference), equal_nan=True)
        if dataset == study.reference:
            assert np.nanmin(np.append(found, 0)) >= 0
            assert np.nanmax(np.append(found, 0)) <= 1


def test_response_may_exceed_one_outside_the_reference(store):
    """An activation of 6 where the reference reaches 2 is a response of 3, and a ratio of 3."""
    part = make.Part(np.array([0]), np.zeros((1, 1), np.float32), {"fc": np.float32([[2]])})
    other = make.Part(np.array([0]), np.zeros((1, 1), np.float32), {"fc": np.float32([[6]])})
    make.Study({"clean": part, "shifted": other}, ["a"]).record(store)
    assert store.sql("select response from response where dataset = 'shifted' and layer = 'fc'").fetchall() == [(3.0,)]
    assert store.sql("select activation_ratio from neuron_score where layer = 'fc'").fetchall() == [(3.0,)]


def test_silent_neurons_are_flagged_and_have_no_response(recorded, study):
    """silent_in_reference is M_R(n) = 0, on every dataset; such a neuron's responses, ratio and scores are NULL."""
    for layer, dataset, _, reference in study.cells():
        silent = oracle.maximum(reference) == 0
        assert not silent.all()
        rows = per_neuron(recorded, "silent_in_reference", "neuron_summary", "net", layer, dataset)
        assert [row[0] for row in rows] == silent.tolist()
        if dataset == study.reference:
            continue
        columns = "activation_ratio, response_loss, novelty, spurious, reason"
        scores = per_neuron(recorded, columns, "neuron_score", "net", layer, dataset)
        for neuron in np.flatnonzero(silent):
            assert scores[neuron] == (None, None, None, None, "silent_in_reference")
    conv = oracle.maximum(study.parts["clean"].activations["conv"])
    assert conv[0] == conv[1] == 0


@given(study=make.studies())
def test_activation_ratio(record_new, study):
    """M_D(n) / M_R(n) exactly, NULL when silent in the reference, 0 when silent in D alone."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        if dataset == study.reference:
            continue
        rows = per_neuron(store, "activation_ratio", "neuron_score", model, layer, dataset)
        assert np.array_equal(as_floats(row[0] for row in rows), oracle.activation_ratio(values, reference), equal_nan=True)


def check_summary(store, model, layer, dataset, values):
    columns = "images, min, max, share_positive, mean, std, q01, q05, q25, q50, q75, q95, q99"
    rows = np.array(per_neuron(store, columns, "neuron_summary", model, layer, dataset), dtype=np.float64)
    expected = oracle.neuron_summary(values)
    for position, name in enumerate(("count", "min", "max", "share_positive")):
        assert np.array_equal(rows[:, position], np.broadcast_to(expected[name], len(rows))), name
    scale = np.maximum(abs(values).max(axis=0), 1)
    assert np.all(abs(rows[:, 4] - expected["mean"]) <= 1e-9 * scale)
    assert np.all(abs(rows[:, 5] - expected["std"]) <= 1e-9 * scale)
    quantiles = oracle.quantiles(values, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    assert np.all(abs(rows[:, 6:].T - quantiles) <= 1e-9 * scale)


def test_summary_of_a_neuron(recorded, study):
    """Count, extremes and share positive are exact; mean, population deviation and quantiles agree to 1e-9."""
    for layer, dataset, values, _ in study.cells():
        check_summary(recorded, "net", layer, dataset, values)


@given(study=make.studies())
def test_summary_of_any_neuron(record_new, study):
    """The same for columns of one image, zeros, constants and negative values."""
    store, model, study = record_new(study)
    for layer, dataset, values, _ in study.cells():
        check_summary(store, model, layer, dataset, values)


def test_summary_over_several_blocks(store):
    """Moments joined over blocks of 2,048 images equal those of all images, also far from 0."""
    values = np.random.default_rng(1).normal(size=(4500, 3)).astype(np.float32) + np.float32([0, 1000, -5])
    store.add_recording(model="net", dataset="clean", activations={"fc": values}, predictions=[0] * 4500, categories=["a"], progress=False)
    check_summary(store, "net", "fc", "clean", values)
