"""SEMANTICS.md, Predictions and Sets of images."""

import json

import numpy as np
import oracle
import pytest
import study as make
from hypothesis import given


def predictions(store, columns, model, dataset):
    return store.sql(f"select {columns} from prediction where model = $m and dataset = $d order by image", m=model, d=dataset).fetchall()


def record_outputs(store, outputs, kind="logits", labels=None, dataset="clean", **options):
    """Record outputs of one dataset and no other layer."""
    outputs = np.asarray(outputs)
    store.add_recording(
        model="net",
        dataset=dataset,
        activations={},
        logits=outputs,
        output_kind=kind,
        labels=np.zeros(len(outputs), int) if labels is None else labels,
        progress=False,
        **options,
    )


def null(label):
    return None if label == oracle.UNKNOWN else int(label)


def check_predictions(store, model, dataset, part, categories):
    predicted = oracle.predictions(part.logits)
    rows = predictions(
        store, "label, label_name, predicted, predicted_name, correct, confidence, top_categories, top_probabilities", model, dataset
    )
    confidence = oracle.confidence(part.logits, "logits", predicted)
    probabilities = oracle.probabilities(part.logits, "logits")
    for image, row in enumerate(rows):
        label = null(part.labels[image])
        assert row[:2] == (label, None if label is None else categories[label])
        assert row[2:4] == (predicted[image], categories[predicted[image]])
        assert row[4] == (None if label is None else bool(predicted[image] == label))
        assert row[5] == pytest.approx(confidence[image], abs=1e-12)
        assert row[6] == oracle.top_categories(part.logits)[image]
        assert row[7] == pytest.approx(probabilities[image, row[6]], abs=1e-12)
    assert len(rows) == part.images


def test_predictions(recorded, study):
    """Highest logit, ties to the lower id; its probability; the five most probable; right or wrong, NULL without a label."""
    for dataset, part in study.parts.items():
        check_predictions(recorded, "net", dataset, part, study.categories)
    best = np.sort(study.parts["clean"].logits, axis=1)
    assert (best[:, -1] == best[:, -2]).any()


@given(study=make.studies(most_neurons=1))
def test_predictions_of_any_study(record_new, study):
    """The same with one category, many ties, and outputs far apart; accuracy and confusion too."""
    store, model, study = record_new(study)
    for dataset, part in study.parts.items():
        check_predictions(store, model, dataset, part, study.categories)
        check_accuracy(store, model, dataset, part, oracle.predictions(part.logits), len(study.categories))


def test_ties_go_to_the_lower_category(store):
    """Equal logits predict the lower id and list the top-5 by id."""
    record_outputs(store, np.zeros((1, 7), np.float32))
    assert predictions(store, "predicted, top_categories", "net", "clean") == [(0, [0, 1, 2, 3, 4])]


def test_probabilities_are_computed_stably(store):
    """Logits of +-1e30 and of 1,000 overflow nothing: probabilities are 0, 1 or exactly shared."""
    record_outputs(store, np.float32([[1e30, -1e30, 0], [1000, 1000, -1000], [-1000, -999, -1e30]]))
    rows = [row[0] for row in predictions(store, "top_probabilities", "net", "clean")]
    assert rows[:2] == [[1, 0, 0], [0.5, 0.5, 0]]
    assert rows[2] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0], abs=1e-12)


@pytest.mark.parametrize("kind", ["logits", "log_softmax", "probabilities"])
def test_kinds_of_output_give_the_same_probabilities(store, kind):
    """Recorded as logits, as log-softmax or as probabilities: the same predictions, confidences and top-5."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(50, 8)) * 3
    shares = oracle.probabilities(logits, "logits")
    outputs = {"logits": logits, "log_softmax": np.log(shares), "probabilities": shares}[kind].astype(np.float32)
    record_outputs(store, outputs, kind)
    rows = predictions(store, "predicted, confidence, top_categories, top_probabilities", "net", "clean")
    assert [row[0] for row in rows] == oracle.predictions(logits).tolist()
    assert [row[2] for row in rows] == oracle.top_categories(logits)
    assert [row[1] for row in rows] == pytest.approx(shares.max(axis=1), abs=1e-6)
    exact = oracle.probabilities(outputs, kind)
    for image, row in enumerate(rows):
        assert row[3] == pytest.approx(exact[image, row[2]], abs=1e-12)
    assert store.sql("select output_kind from recording").fetchall() == [(kind,)]


def test_given_predictions_overrule_the_logits(store):
    """The prediction is the one given; confidence is its probability; the top-5 is still by probability."""
    logits = np.float32([[2, 1, 0], [0, 3, 0]])
    record_outputs(store, logits, predictions=[2, 1], labels=[2, 0])
    shares = oracle.probabilities(logits, "logits")
    rows = predictions(store, "predicted, confidence, correct, top_categories", "net", "clean")
    assert [row[0] for row in rows] == [2, 1]
    assert [row[1] for row in rows] == pytest.approx([shares[0, 2], shares[1, 1]], abs=1e-12)
    assert [row[2:] for row in rows] == [(True, [0, 1, 2]), (False, [1, 0, 2])]
    assert store.sql("select accuracy from dataset_accuracy").fetchall() == [(0.5,)]


def test_predictions_without_outputs_have_no_confidence(store):
    """Without an output, confidence and top-5 are NULL, and accuracy is there."""
    store.add_recording(
        model="net",
        dataset="clean",
        activations={"fc": np.ones((2, 1))},
        predictions=[0, 1],
        labels=[0, 0],
        categories=["a", "b"],
        progress=False,
    )
    rows = predictions(store, "predicted, confidence, top_categories, top_probabilities", "net", "clean")
    assert rows == [(0, None, None, None), (1, None, None, None)]
    assert store.sql("select accuracy from dataset_accuracy").fetchall() == [(0.5,)]


def check_accuracy(store, model, dataset, part, predicted, categories):
    names = {"m": model, "d": dataset}
    found = store.sql("select images, accuracy from dataset_accuracy where model = $m and dataset = $d", **names).fetchall()
    known = int((part.labels != oracle.UNKNOWN).sum())
    assert found == [(known, oracle.accuracy(part.labels, predicted))]
    text = "select category, images, recall, precision from accuracy where model = $m and dataset = $d order by category"
    assert store.sql(text, **names).fetchall() == [
        (
            category,
            int((part.labels == category).sum()),
            oracle.recall(part.labels, predicted, category),
            oracle.precision(part.labels, predicted, category),
        )
        for category in range(categories)
    ]
    cells = store.sql("select label, predicted, images from confusion where model = $m and dataset = $d", **names).fetchall()
    assert {row[:2]: row[2] for row in cells} == oracle.confusion(part.labels, predicted)
    assert len(set(cells)) == len(cells)


def test_accuracy_recall_precision_and_confusion(recorded, study):
    """Shares of labelled images, exact; NULL, never 0, for a category or dataset without images."""
    for dataset, part in study.parts.items():
        check_accuracy(recorded, "net", dataset, part, oracle.predictions(part.logits), 6)
    text = "select recall from accuracy where dataset = $d and category = $c"
    assert recorded.sql(text, d="clean", c=5).fetchall() == [(None,)]
    assert recorded.sql("select accuracy from dataset_accuracy where dataset = 'unlabelled'").fetchall() == [(None,)]
    assert set(recorded.sql("select recall, precision from accuracy where dataset = 'unlabelled'").fetchall()) == {(None, None)}


def test_recall_and_precision_of_zero_are_zero(store):
    """A category with images that are all predicted otherwise has recall 0; never predicted, its precision is NULL."""
    record_outputs(store, np.float32([[0, 1], [0, 1]]), labels=[0, 0])
    found = store.sql("select category, recall, precision from accuracy order by category").fetchall()
    assert found == [(0, 0.0, None), (1, None, 0.0)]


def test_confusion_matrix_shares(recorded, study):
    """Counts of every pair, as shares of the label's images that add up to 1; mistakes only leaves out the rest."""
    part = study.parts["shifted"]
    cells = oracle.confusion(part.labels, oracle.predictions(part.logits))
    rows = recorded.query("confusion_matrix", model="net", dataset="shifted").fetchall()
    assert {(row[0], row[2]): row[4] for row in rows} == cells
    for row in rows:
        assert row[5] == pytest.approx(row[4] / (part.labels == row[0]).sum(), abs=1e-12)
    mistakes = recorded.query("confusion_matrix", model="net", dataset="shifted", mistakes_only=1).fetchall()
    assert mistakes == [row for row in rows if row[0] != row[2]]
    assert recorded.query("confusion_matrix", model="net", dataset="unlabelled").fetchall() == []


def test_confusion_sets(recorded, study):
    """Label b predicted c, or label c predicted b, the same whichever is named first; each by the query."""
    part, seen = study.parts["shifted"], 0
    predicted = oracle.predictions(part.logits)
    for b in range(6):
        for c in range(6):
            text = "select image from confusion_set('net', 'shifted', $b, $c) order by image"
            found = [row[0] for row in recorded.sql(text, b=b, c=c).fetchall()]
            if b == c:
                continue
            assert found == oracle.confusion_set(part.labels, predicted, b, c)
            names = {"model": "net", "dataset": "shifted", "label": study.categories[b], "predicted": study.categories[c]}
            rows = recorded.query("mistaken_images", **names, k=1000).fetchall()
            assert sorted(row[0] for row in rows) == oracle.mistakes(part.labels, predicted, b, c)
            assert rows == sorted(rows, key=lambda row: (-row[5], row[0]))
            seen += len(found)
    assert seen


def test_a_category_is_not_confused_with_itself(recorded):
    """The confusion set of a category with itself holds no right predictions."""
    assert recorded.sql("select * from confusion_set('net', 'shifted', 1, 1)").fetchall() == []


def test_false_negatives_and_false_positives_partition_the_mistakes(recorded, study):
    """Label c predicted otherwise, and predicted c with another label: counted from the view confusion."""
    part = study.parts["shifted"]
    predicted = oracle.predictions(part.logits)
    for c in range(6):
        text = "select coalesce(sum(images), 0) from confusion where dataset = 'shifted' and "
        [(negatives,)] = recorded.sql(text + "label = $c and predicted != $c", c=c).fetchall()
        [(positives,)] = recorded.sql(text + "label != $c and predicted = $c", c=c).fetchall()
        assert negatives == ((part.labels == c) & (predicted != c)).sum()
        assert positives == ((part.labels != c) & (part.labels != oracle.UNKNOWN) & (predicted == c)).sum()


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_first_images_of_confusions(recorded, study, k):
    """Of each confusion asked for and each dataset the first k of its mistaken images, and how many there are in all."""
    confusions = [(a, b) for a in range(6) for b in range(6)]
    rows = recorded.query("images_of_confusions", model="net", confusions=json.dumps(confusions), k=k).fetchall()
    expected = []
    for dataset in sorted(study.parts):
        for a, b in confusions:
            names = {"model": "net", "dataset": dataset, "label": study.categories[a], "predicted": study.categories[b]}
            every = recorded.query("mistaken_images", **names, k=1000).fetchall()
            expected += [
                (dataset, *row[1:5], rank, row[0], row[5], len(every)) for rank, row in enumerate(every[:k], start=1) if row[1] != row[3]
            ]
    assert rows == expected
    assert rows


def test_mistaken_images(recorded, study):
    """Wrong predictions, the most confident first, then image ascending; never one without a label."""
    part = study.parts["shifted"]
    predicted = oracle.predictions(part.logits)
    confidence = oracle.confidence(part.logits, "logits", predicted)
    wrong = np.flatnonzero((part.labels != oracle.UNKNOWN) & (part.labels != predicted))
    rows = recorded.query("mistaken_images", model="net", dataset="shifted", k=1000).fetchall()
    assert {row[0] for row in rows} == set(wrong)
    assert [row[5] for row in rows] == pytest.approx(sorted(confidence[wrong], reverse=True), abs=1e-12)
    assert rows == sorted(rows, key=lambda row: (-row[5], row[0]))


def test_accuracy_drop(recorded, study):
    """Recall in the reference less recall here, the largest drop first, NULL last where a side has no images."""
    rows = recorded.query("accuracy_drop", model="net").fetchall()
    clean = study.parts["clean"]
    for dataset in ("shifted", "unlabelled"):
        part = study.parts[dataset]
        drops = oracle.accuracy_drop(part.labels, oracle.predictions(part.logits), clean.labels, oracle.predictions(clean.logits))
        found = {row[1]: row for row in rows if row[0] == dataset}
        assert sorted(found) == list(range(6))
        for category, row in found.items():
            assert row[2] == study.categories[category]
            assert row[6] == (part.labels == category).sum()
            assert row[5] == (None if drops.get(category) is None else pytest.approx(drops[category], abs=1e-12))
    key = [(row[5] is None, -(row[5] or 0), row[0], row[1]) for row in rows]
    assert key == sorted(key)
    assert "clean" not in {row[0] for row in rows}
