"""Images that are most like an image: by the cosine of all activations of a layer, by distance on some neurons."""

import numpy as np
import pytest
import study as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deephys_sql as dp

PLACE = {"model": "net", "layer": "fc"}


def record(store, **datasets):
    """One layer `fc` on each dataset, every label 0."""
    parts = {
        name: make.Part(np.zeros(len(values), int), np.zeros((len(values), 2), np.float32), {"fc": np.asarray(values, np.float32)})
        for name, values in datasets.items()
    }
    make.Study(parts, ["a", "b"]).record(store)


def most_similar(values, vector, but, k):
    """(image, cosine) by NumPy in double precision, without images whose activations are all 0."""
    values, vector = np.asarray(values, np.float64), np.asarray(vector, np.float64)
    lengths = np.linalg.norm(values, axis=1) * np.linalg.norm(vector)
    found = [(i, float(values[i] @ vector / lengths[i])) for i in range(len(values)) if lengths[i] and i != but]
    return sorted(found, key=lambda row: (-round(row[1], 9), row[0]))[:k]


def nearest(values, vector, neurons, but, k):
    """(image, distance) by NumPy in double precision."""
    away = np.asarray(values, np.float64)[:, neurons] - np.asarray(vector, np.float64)[neurons]
    found = [(i, float(np.sqrt((row * row).sum()))) for i, row in enumerate(away) if i != but]
    return sorted(found, key=lambda row: (round(row[1], 9), row[0]))[:k]


def check(rows, expected):
    assert [row[0] for row in rows] == [image for image, _ in expected]
    assert [row[1] for row in rows] == pytest.approx([number for _, number in expected], abs=1e-8)


@pytest.mark.parametrize("width", [1, 63, 64, 65, 130])
def test_by_cosine(store, width):
    """Within a dataset and across, for layers that fill their rows of 64 neurons and that don't."""
    random = np.random.default_rng(width)
    clean, night = random.normal(size=(40, width)), random.normal(size=(25, width))
    clean[7] = clean[3]  # equal images tie to the lower number
    clean[9] = 0
    record(store, clean=clean, night=night)
    clean, night = np.float32(clean), np.float32(night)
    text = "select image, similarity from similar_images('net', 'fc', $dataset, $image, $among, $k)"
    for dataset, among, image, k in [
        ("clean", "clean", 3, 10),
        ("clean", "clean", 0, 1000),
        ("night", "clean", 7, 12),
        ("clean", "night", 24, 5),
    ]:
        rows = store.sql(text, dataset=dataset, image=image, among=among, k=k).fetchall()
        vector = {"clean": clean, "night": night}[dataset][image]
        check(rows, most_similar({"clean": clean, "night": night}[among], vector, image if dataset == among else None, k))
        named = store.query("similar_images", **PLACE, dataset=dataset, image=image, among=among, k=k)
        assert [(row[1], row[2]) for row in named.fetchall()] == rows


def test_an_image_that_activates_nothing(store):
    """It is like no image, and no image is like it."""
    record(store, clean=[[0, 0], [1, 0], [2, 0]])
    assert store.query("similar_images", **PLACE, dataset="clean", image=0).fetchall() == []
    assert [row[1:3] for row in store.query("similar_images", **PLACE, dataset="clean", image=1).fetchall()] == [(2, 1.0)]


def test_a_single_image(store):
    """There is no image but itself."""
    record(store, clean=[[1, 2]])
    assert store.query("similar_images", **PLACE, dataset="clean", image=0).fetchall() == []
    assert store.query("similar_images_on", **PLACE, dataset="clean", image=0, neurons="[0]").fetchall() == []


def test_on_some_neurons(store):
    """One neuron, several, one named twice, all; ties go to the lower image; no neuron gives no image."""
    random = np.random.default_rng(5)
    clean, night = random.integers(-3, 4, size=(60, 20)), random.normal(size=(25, 20))
    record(store, clean=clean, night=night)
    values = {"clean": np.float32(clean), "night": np.float32(night)}
    for neurons in ([4], [4, 0, 19], [4, 4], list(range(20))):
        for dataset, among in (("clean", "clean"), ("night", "clean"), ("clean", "night")):
            rows = store.query("similar_images_on", **PLACE, dataset=dataset, image=7, among=among, neurons=str(neurons), k=15).fetchall()
            but = 7 if dataset == among else None
            check([row[1:3] for row in rows], nearest(values[among], values[dataset][7], sorted(set(neurons)), but, 15))
    assert store.query("similar_images_on", **PLACE, dataset="clean", image=7, neurons="[]").fetchall() == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3e30]), min_size=2, max_size=2), min_size=1, max_size=8))
def test_any_values(tmp_path_factory, values):
    """Ties, zeros and large values are ranked as NumPy ranks them."""
    with dp.open(tmp_path_factory.mktemp("any") / "study.duckdb") as store:
        record(store, clean=values)
        rows = store.query("similar_images", **PLACE, dataset="clean", image=0, k=100).fetchall()
    values = np.float32(values)
    check([row[1:3] for row in rows], most_similar(values, values[0], 0, 100))
