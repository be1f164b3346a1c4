"""SEMANTICS.md, Order and Rankings."""

import json
from fractions import Fraction
from itertools import pairwise

import numpy as np
import oracle
import pytest
import study as make
from hypothesis import given
from hypothesis import strategies as st


def rows_of(store, text, **parameters):
    return store.sql(text, **parameters).fetchall()


def one_layer(values, labels=None):
    """A dataset of one layer `fc`, with every label 0."""
    values = np.asarray(values, np.float32)
    labels = np.zeros(len(values), int) if labels is None else np.asarray(labels)
    return make.Part(labels, np.zeros((len(values), 2), np.float32), {"fc": values})


def top_images(store, model, layer, neuron, dataset, k):
    text = "select rank, image, value, response from top_images($model, $layer, $neuron, $dataset, $k)"
    return rows_of(store, text, model=model, layer=layer, neuron=neuron, dataset=dataset, k=k)


def check_top_images(store, model, layer, dataset, values, reference, neuron, k):
    expected = oracle.top_images(values, neuron, k)
    responses = oracle.normalised(values, reference)[:, neuron]
    rows = [
        (rank, image, float(values[image, neuron]), None if np.isnan(responses[image]) else responses[image])
        for rank, image in enumerate(expected, start=1)
    ]
    assert top_images(store, model, layer, neuron, dataset, k) == rows
    names = {"model": model, "layer": layer, "neuron": neuron, "dataset": dataset}
    assert [row[:4] for row in store.query("top_images", **names, k=k).fetchall()] == rows
    kept = "select rank, image, value, response from top_image where model = $model and layer = $layer"
    kept += " and neuron = $neuron and dataset = $dataset order by rank"
    if k >= len(values):
        assert rows_of(store, kept, **names) == rows[:100]


def test_top_images(recorded, study):
    """Activation descending, then image ascending, positive only; macro, query and the kept first 100 agree.

    130 images and k of 5, 100 and more than there are: the macro goes past the 100 that are kept.
    """
    for layer, dataset, values, reference in study.cells():
        for neuron in range(0, values.shape[1], 3):
            for k in (5, 100, 1000):
                check_top_images(recorded, "net", layer, dataset, values, reference, neuron, k)


def test_top_images_beyond_the_hundred_kept(store):
    """With 2,500 tied images the kept 100 are the first, and the macro gives any k in the order of images."""
    values = np.tile(np.float32([[1, 0], [0, 3], [1, 1], [2, -1], [0.5, 0]]), (500, 1))
    make.Study({"clean": one_layer(values)}, ["a", "b"]).record(store)
    for k in (100, 101, 1500, 5000):
        check_top_images(store, "net", "fc", "clean", values, values, 0, k)
    kept = rows_of(store, "select image from top_image where layer = 'fc' and neuron = 0 order by rank")
    assert [row[0] for row in kept] == oracle.top_images(values, 0, 100)


@given(study=make.studies(), k=st.integers(1, 20))
def test_top_images_of_any_study(record_new, study, k):
    """The same for zeros, negative, constant and silent neurons, one image, and many ties."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        for neuron in range(values.shape[1]):
            check_top_images(store, model, layer, dataset, values, reference, neuron, k)


def test_top_images_with_negative_and_zero_activations_only(store):
    """Nothing is listed where no activation is positive; negative zero is not positive."""
    values = np.float32([[-1, 0, -0.0], [-2, 0, -0.0]])
    make.Study({"clean": one_layer(values)}, ["a", "b"]).record(store)
    for neuron in range(3):
        assert top_images(store, "net", "fc", neuron, "clean", 5) == []
    assert rows_of(store, "select * from top_image where layer = 'fc'") == []


def check_top_neurons(store, model, layer, dataset, values, reference, image, k):
    text = "select rank, neuron, response, value from top_neurons($model, $layer, $dataset, $image, $k)"
    names = {"model": model, "layer": layer, "dataset": dataset, "image": image, "k": k}
    expected = [
        (rank, neuron, response, float(values[image, neuron]))
        for rank, (neuron, response) in enumerate(oracle.top_neurons(values, reference, image, k), start=1)
    ]
    assert rows_of(store, text, **names) == expected
    assert [row[:4] for row in store.query("top_neurons_of_image", **names).fetchall()] == expected


def test_top_neurons_of_an_image(recorded, study):
    """Normalised response descending, then neuron ascending, positive only, also past the first 64 neurons."""
    for layer, dataset, values, reference in study.cells():
        for image in range(0, len(values), 19):
            for k in (7, 100):
                check_top_neurons(recorded, "net", layer, dataset, values, reference, image, k)


@given(study=make.studies(most_images=5, most_neurons=18))
def test_top_neurons_of_any_image(record_new, study):
    """The same with tied neurons, silent neurons and one neuron."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        check_top_neurons(store, model, layer, dataset, values, reference, 0, 10)


def top_neurons_of(store, model, layer, dataset, images, k):
    text = "select rank, neuron, response, images from top_neurons_of($model, $layer, $dataset, $images, $k)"
    return rows_of(store, text, model=model, layer=layer, dataset=dataset, images=list(images), k=k)


def check_top_neurons_of(store, model, layer, dataset, values, reference, images):
    found = top_neurons_of(store, model, layer, dataset, images, 1000)
    expected = dict(oracle.top_neurons_of(values, reference, images, 1000))
    assert set(expected) >= {row[1] for row in found} >= {neuron for neuron in expected if expected[neuron] > 1e-9}
    assert [row[0] for row in found] == list(range(1, len(found) + 1))
    for _, neuron, response, count in found:
        assert response == pytest.approx(expected[neuron], abs=1e-9, rel=1e-9)
        assert count == len(images)
    for above, below in pairwise(found):
        assert (-above[2], above[1]) < (-below[2], below[1])
    assert top_neurons_of(store, model, layer, dataset, images, 2) == found[:2]


def test_top_neurons_of_a_set(recorded, study):
    """Mean normalised response over the set, descending, then neuron ascending; the count of images beside."""
    for layer, dataset, values, reference in study.cells():
        for images in ([0], [3, 1, 2], list(range(len(values)))):
            check_top_neurons_of(recorded, "net", layer, dataset, values, reference, images)


@given(study=make.studies(most_neurons=6), data=st.data())
def test_top_neurons_of_any_set(record_new, study, data):
    """The same for any set of images and any ties."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        images = data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))
        check_top_neurons_of(store, model, layer, dataset, values, reference, sorted(images))


def test_top_neurons_of_the_empty_set(recorded):
    """No image, no neurons; so is an image that does not exist."""
    assert top_neurons_of(recorded, "net", "fc", "clean", [], 5) == []
    assert top_neurons_of(recorded, "net", "fc", "clean", [100_000], 5) == []


def test_a_set_has_each_image_once(recorded):
    """A list that names an image twice is the same set."""
    once = top_neurons_of(recorded, "net", "fc", "clean", [4, 9], 50)
    assert top_neurons_of(recorded, "net", "fc", "clean", [9, 4, 9, 4], 50) == once


@pytest.mark.parametrize("images", [3, 5, 7])
def test_equal_means_tie_to_the_lower_neuron(store, images):
    """Neuron 0 responds 1/3 to three images, neuron 1 wholly to one of them: the means are equal, so 0 comes first."""
    values = np.zeros((images + 1, 2), np.float32)
    values[:3, 0] = 1
    values[0, 1] = 1
    values[-1, 0] = 3
    exact = [sum(Fraction(int(v), int(top)) for v in values[:-1, n]) / images for n, top in enumerate(values.max(axis=0))]
    assert exact[0] == exact[1]
    make.Study({"clean": one_layer(values)}, ["a", "b"]).record(store)
    assert [row[1] for row in top_neurons_of(store, "net", "fc", "clean", range(images), 2)] == [0, 1]


def test_a_small_positive_mean_is_positive(store):
    """A neuron whose mean response over the set is 1e-10 of its maximum is still listed."""
    values = np.float32([[1e-10, 1], [1, 1]])
    make.Study({"clean": one_layer(values)}, ["a", "b"]).record(store)
    assert [row[1] for row in top_neurons_of(store, "net", "fc", "clean", [0], 5)] == [1, 0]


def test_top_neurons_of_a_category(recorded, study):
    """The category's images as the set: the same neurons, means and counts."""
    for layer, dataset, values, reference in study.cells():
        labels = study.parts[dataset].labels
        for category, name in enumerate(study.categories):
            images = np.flatnonzero(labels == category).tolist()
            names = {"model": "net", "layer": layer, "datasets": json.dumps([dataset]), "category": name, "k": 1000}
            found = [row[1:] for row in recorded.query("top_neurons_of_category", **names).fetchall()]
            expected = dict(oracle.top_neurons_of(values, reference, images, 1000))
            assert {row[1] for row in found} == set(expected)
            for above, below in pairwise(found):
                assert (-above[2], above[1]) < (-below[2], below[1])
            for _, neuron, response, count in found:
                assert response == pytest.approx(expected[neuron], abs=1e-9)
                assert count == len(images)


@pytest.mark.parametrize("direction", ["both", "a_as_b", "b_as_a"])
def test_top_neurons_of_a_confusion(recorded, study, direction):
    """The images of each direction asked for as the set."""
    part, seen = study.parts["shifted"], 0
    predicted = oracle.predictions(part.logits)
    for a in range(3):
        for b in range(a + 1, 6):
            sets = {"a_as_b": oracle.mistakes(part.labels, predicted, a, b), "b_as_a": oracle.mistakes(part.labels, predicted, b, a)}
            found = recorded.query(
                "top_neurons_of_confusion",
                model="net",
                layer="fc",
                datasets='["shifted"]',
                a=study.categories[a],
                b=study.categories[b],
                direction=direction,
                k=1000,
            ).fetchall()
            values, reference = part.activations["fc"], study.parts["clean"].activations["fc"]
            assert {row[0] for row in found} <= ({direction} if direction != "both" else set(sets))
            for way in sets if direction == "both" else [direction]:
                mine = [row for row in found if row[0] == way]
                expected = dict(oracle.top_neurons_of(values, reference, sets[way], 1000))
                assert {row[3]: pytest.approx(row[4], abs=1e-9) for row in mine} == expected
                assert {row[5] for row in mine} <= {len(sets[way])}
                assert [row[2] for row in mine] == list(range(1, len(mine) + 1))
                seen += len(sets[way])
    assert seen


def test_top_neurons_of_a_confusion_beside_a_dataset_of_other_magnitude(store):
    """Activations of 1e30 in one dataset leave the means of another as they are."""
    values = np.float32([[1, 3], [2, 1], [4, 4]])
    parts = {"clean": one_layer(values, [0, 0, 1]), "huge": one_layer(values * np.float32(1e30), [0, 0, 1])}
    for part in parts.values():
        part.logits[:, 1] = 1
    make.Study(parts, ["a", "b"]).record(store)
    names = {"model": "net", "layer": "fc", "datasets": '["clean"]', "a": "a", "b": "b", "direction": "a_as_b"}
    found = [row[3:5] for row in store.query("top_neurons_of_confusion", **names).fetchall()]
    assert found == [(1, 0.5), (0, 0.375)]


def test_examples_across_the_range(recorded, study):
    """Lowest, near zero, quantiles and highest: the nearest k images, ties to the lower; negative values count."""
    for layer, dataset, values, _ in study.cells():
        for neuron in (0, 3, 5):
            column = values[:, neuron].astype(np.float64)
            targets = {"lowest": column.min(), "near_zero": 0.0}
            targets |= {f"q{round(q * 100):02d}": np.quantile(column, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
            targets["highest"] = column.max()
            names = {"model": "net", "layer": layer, "neuron": neuron, "datasets": json.dumps([dataset]), "k": 4}
            relation = recorded.query("examples_across_range", **names)
            assert relation.columns[1:6] == ["place", "position", "rank", "image", "value"]
            rows = [(row[1], *row[3:6]) for row in relation.fetchall()]
            assert list(dict.fromkeys(row[0] for row in rows)) == list(targets)
            for place, target in targets.items():
                mine = [row for row in rows if row[0] == place]
                assert [row[1] for row in mine] == [1, 2, 3, 4]
                assert [row[2] for row in mine] == oracle.nearest(values, neuron, target, 4)
                assert [row[3] for row in mine] == [column[row[2]] for row in mine]


@pytest.mark.parametrize("score", ["spurious", "novelty", "response_loss", "activation_ratio"])
@pytest.mark.parametrize("order", ["descending", "ascending"])
def test_neurons_ranked_by_a_score(recorded, score, order):
    """Score in the order asked for, then neuron ascending; NULL scores left out."""
    scored = rows_of(
        recorded, f"select neuron, {score} from neuron_score where layer = 'fc' and dataset = 'shifted' and {score} is not null"
    )
    sign = 1 if order == "ascending" else -1
    expected = sorted(scored, key=lambda row: (sign * row[1], row[0]))
    found = recorded.query("ranked_neurons", model="net", layer="fc", dataset="shifted", score=score, order=order, k=1000).fetchall()
    assert [row[:3] for row in found] == [(rank, *row) for rank, row in enumerate(expected, start=1)]


def test_strongest_categories_of_ranked_neurons(recorded, study):
    """The category with the largest mean response in the reference and in the dataset, ties to the lower id."""
    found = recorded.query("ranked_neurons", model="net", layer="fc", dataset="shifted", k=1000).fetchall()
    parts = study.parts
    reference = parts["clean"].activations["fc"]
    for row in found:
        for name, category, response in (("clean", row[3], row[4]), ("shifted", row[5], row[6])):
            means = oracle.category_responses(parts[name].activations["fc"], parts[name].labels, reference)
            best = min(means, key=lambda c: (-round(means[c][0][row[1]], 12), c))
            assert category == study.categories[best]
            assert response == pytest.approx(means[best][0][row[1]], abs=1e-9)
