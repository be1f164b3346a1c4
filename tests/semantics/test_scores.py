"""SEMANTICS.md, Scores."""

from fractions import Fraction

import numpy as np
import oracle
import pytest
import study as make
from hypothesis import given
from scipy import stats

import deephys_sql as dp
from deephys_sql import scores
from deephys_sql.errors import StoreDamagedError, UnknownNameError

SCORES = "activation_ratio, response_loss, novelty, spurious, reason, fewest_images"


def part_of(values, labels, categories=6):
    """A dataset of one layer `fc`."""
    values = np.asarray(values, np.float32)
    return make.Part(np.asarray(labels), np.zeros((len(values), categories), np.float32), {"fc": values})


def record_pair(store, clean, shifted, categories=6):
    """Record a reference and a dataset, each (values, labels), as model `net` with layer `fc`."""
    parts = {"clean": part_of(*clean, categories), "shifted": part_of(*shifted, categories)}
    make.Study(parts, [f"category {i}" for i in range(categories)]).record(store)


def kept_scores(store, model="net", layer="fc", dataset="shifted"):
    text = f"select {SCORES} from neuron_score where model = $m and layer = $l and dataset = $d order by neuron"
    return store.sql(text, m=model, l=layer, d=dataset).fetchall()


def macro_scores(store, model="net", layer="fc", dataset="shifted", reference="clean"):
    text = f"select {SCORES} from scores($m, $l, $d, $r) order by neuron"
    return store.sql(text, m=model, l=layer, d=dataset, r=reference).fetchall()


def close(found, expected):
    """Whether a number or NULL agrees with the oracle's number or NaN."""
    if found is None or np.isnan(expected):
        return found is None and bool(np.isnan(expected))
    return abs(found - expected) <= 1e-9 * max(1, abs(expected))


def check_scores(rows, values, labels, reference, reference_labels):
    expected = oracle.scores(values, labels, reference, reference_labels)
    ratios = oracle.activation_ratio(values, reference)
    assert len(rows) == len(expected)
    for neuron, (row, want) in enumerate(zip(rows, expected, strict=True)):
        ratio, loss, novelty, spurious, reason, fewest = row
        assert close(ratio, ratios[neuron])
        assert close(loss, want["loss"])
        if abs(want["loss"]) > 1e-9 or loss is None:
            assert close(novelty, want["novelty"])
        assert novelty is None or novelty == loss > 0
        assert close(spurious, want["spurious"])
        assert reason == want["reason"]
        assert (spurious is None) == (reason is not None)
        if spurious is not None:
            assert 0 <= spurious <= 1
            assert fewest == oracle.fewest_images(labels, reference_labels)


def test_category_responses(recorded, study):
    """m_D(n, c) with its count, for every category with images and no other; NULL for silent neurons."""
    for layer, dataset, values, reference in study.cells():
        labels = study.parts[dataset].labels
        expected = oracle.category_responses(values, labels, reference)
        rows = recorded.sql(
            "select neuron, category, category_name, images, response from category_response where layer = $l and dataset = $d",
            l=layer,
            d=dataset,
        ).fetchall()
        assert {row[:2] for row in rows} == {(n, c) for n in range(values.shape[1]) for c in expected}
        assert len(rows) == len(expected) * values.shape[1]
        for neuron, category, name, images, response in rows:
            assert (name, images) == (study.categories[category], expected[category][1])
            assert close(response, expected[category][0][neuron])


def test_strongest_category(recorded, study):
    """The category with the largest mean, ties to the lower id, with its count and response; no row without labels."""
    for layer, dataset, values, reference in study.cells():
        labels = study.parts[dataset].labels
        expected = oracle.category_responses(values, labels, reference)
        rows = recorded.sql(
            "select neuron, category, category_name, images, response from strongest_category where layer = $l and dataset = $d",
            l=layer,
            d=dataset,
        ).fetchall()
        assert sorted(row[0] for row in rows) == (list(range(values.shape[1])) if expected else [])
        for neuron, category, name, images, response in rows:
            sums = {c: Fraction(float(oracle.response(values[labels == c, neuron]).sum())) / expected[c][1] for c in expected}
            assert category == max(sums, key=lambda c: (sums[c], -c))
            assert (name, images) == (study.categories[category], expected[category][1])
            assert close(response, expected[category][0][neuron])


@given(study=make.studies())
def test_category_responses_of_any_study(record_new, study):
    """The same for missing categories, unknown labels, one image and silent neurons."""
    store, model, study = record_new(study)
    for layer, dataset, values, reference in study.cells():
        expected = oracle.category_responses(values, study.parts[dataset].labels, reference)
        rows = store.sql(
            "select neuron, category, images, response from category_response where model = $m and layer = $l and dataset = $d",
            m=model,
            l=layer,
            d=dataset,
        ).fetchall()
        assert {row[:2] for row in rows} == {(n, c) for n in range(values.shape[1]) for c in expected}
        for neuron, category, images, response in rows:
            assert images == expected[category][1]
            assert close(response, expected[category][0][neuron])


@pytest.mark.parametrize("against", ["clean", "shifted"])
def test_category_responses_of_a_neuron(recorded, study, against):
    """Mean and count of each category that has images, in every dataset asked for, measured against any reference."""
    sides = {name: study.parts[name] for name in ("clean", "shifted")}
    reference = sides[against].activations["fc"]
    means = {n: oracle.category_responses(p.activations["fc"], p.labels, reference) for n, p in sides.items()}
    for neuron in range(20):
        names = {"model": "net", "layer": "fc", "neuron": neuron, "datasets": '["clean", "shifted"]', "reference": against}
        rows = recorded.query("category_responses", **names).fetchall()
        assert [row[:2] for row in rows] == [(name, category) for name in ("clean", "shifted") for category in sorted(means[name])]
        for dataset, category, name, images, mean in rows:
            assert name == study.categories[category]
            assert images == means[dataset][category][1]
            assert close(mean, means[dataset][category][0][neuron])


def test_strongest_category_responses_of_a_neuron(recorded):
    """With `most`, the rows in all datasets of the categories that lead in one of them, ties to the lower id."""
    for neuron in range(20):
        names = {"model": "net", "layer": "fc", "neuron": neuron, "datasets": '["clean", "shifted"]'}
        rows = recorded.query("category_responses", **names).fetchall()
        if any(row[4] is None for row in rows):  # silent in the reference
            continue
        leading = set()
        for dataset in ("clean", "shifted"):
            leading |= {row[1] for row in sorted((row for row in rows if row[0] == dataset), key=lambda row: (-row[4], row[1]))[:2]}
        assert recorded.query("category_responses", **names, most=2).fetchall() == [row for row in rows if row[1] in leading]
        assert len(leading) < len({row[1] for row in rows})


def test_scores(recorded, study):
    """Ratio, loss, novelty and spurious of every neuron against the default reference, kept and by macro."""
    clean = study.parts["clean"]
    for layer in ("conv", "fc"):
        for dataset in ("shifted", "unlabelled"):
            part = study.parts[dataset]
            rows = kept_scores(recorded, layer=layer, dataset=dataset)
            check_scores(rows, part.activations[layer], part.labels, clean.activations[layer], clean.labels)
            assert macro_scores(recorded, layer=layer, dataset=dataset) == rows
    assert {row[4] for row in kept_scores(recorded, layer="conv")} >= {None, "constant", "silent_in_reference"}
    assert {row[4] for row in kept_scores(recorded, dataset="unlabelled")} == {"few_categories"}


@given(study=make.studies(most_images=30))
def test_scores_of_any_study(record_new, study):
    """The same for ties, zeros, silent neurons, constant categories, categories missing on a side, one image."""
    store, model, study = record_new(study)
    clean, shifted = study.parts.values()
    clean_name, shifted_name = study.parts
    rows = kept_scores(store, model, dataset=shifted_name)
    check_scores(rows, shifted.activations["fc"], shifted.labels, clean.activations["fc"], clean.labels)
    rows = macro_scores(store, model, dataset=clean_name, reference=shifted_name)
    check_scores(rows, clean.activations["fc"], clean.labels, shifted.activations["fc"], shifted.labels)


def test_response_loss_is_signed_and_novelty_is_its_positive_part(store):
    """A neuron that loses 0.75 of its response has novelty 0.75; one that gains, and one that keeps it, has none."""
    labels = [0, 1, 2]
    record_pair(store, ([[4, 1, 2], [0, 1, 0], [1, 0, 0]], labels), ([[1, 3, 0], [0, 0, 2], [0, 0, 0]], labels))
    assert [row[1:3] for row in kept_scores(store)] == [(0.75, 0.75), (-2.0, None), (0.0, None)]


def test_loss_takes_the_largest_of_each_side(store):
    """The best category of one side need not be that of the other, nor exist there."""
    record_pair(store, ([[4], [2], [0]], [0, 1, 2]), ([[1], [3], [0]], [1, 3, 2]))
    assert kept_scores(store)[0][1:3] == (0.25, 0.25)


def test_unknown_labels_count_in_the_maximum_and_in_no_category(store):
    """An image without a label may hold M_R(n), and is behind no category's mean."""
    record_pair(store, ([[8], [4]], [-1, 0]), ([[2], [8]], [0, -1]))
    assert kept_scores(store)[0] == (1.0, 0.25, 0.25, None, "few_categories", 1)


def test_average_ranks_for_ties(store):
    """Spurious equals SciPy's spearmanr where categories tie on either side."""
    left, right = [4, 4, 2, 1, 0, 0], [1, 3, 3, 3, 0, 2]
    record_pair(store, (np.array(left)[:, None], range(6)), (np.array(right)[:, None], range(6)))
    expected = 1 - abs(stats.spearmanr(left, right).statistic)
    assert 0.1 < expected < 0.9
    assert kept_scores(store)[0][3] == pytest.approx(expected, abs=1e-12)


def test_means_that_agree_to_nine_decimals_are_ties(store):
    """Means of two images that differ by 7e-12 rank alike; means that differ by 1e-7 do not."""
    labels = np.repeat([0, 1, 2, 3], 2)
    clean = np.repeat([1, 0.5, 0.5, 0.25], 2)
    near, far = clean.copy(), clean.copy()
    near[2:4] = [1, 2**-36]
    far[2:4] = [1, 2**-22]
    record_pair(store, (np.stack([clean, clean], axis=1), labels), (np.stack([near, far], axis=1), labels), 4)
    expected = 1 - stats.spearmanr([1, 0.5, 0.5, 0.25], [1, 0.5 + 2**-23, 0.5, 0.25]).statistic
    assert expected > 0.01
    assert [row[3] for row in kept_scores(store)] == [0, pytest.approx(expected, abs=1e-12)]


@pytest.mark.parametrize("seed", range(5))
def test_spurious_is_exactly_zero_against_itself_and_monotone_transforms(store, seed):
    """Nothing is spurious against itself, a copy, an increasing function, or a decreasing one (the sign is dropped)."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 9, (40, 12)).astype(np.float32)
    values[0] = 16
    labels = np.arange(40)
    parts = {name: part_of(v, labels, 40) for name, v in {"clean": values, "squared": values**2, "falling": 20 - values}.items()}
    make.Study(parts, [str(i) for i in range(40)]).record(store)
    for dataset in parts:
        assert [row[3] for row in macro_scores(store, dataset=dataset)] == [0.0] * 12
    assert [row[1] for row in macro_scores(store, dataset="clean")] == [0.0] * 12


@pytest.mark.parametrize(
    ("clean", "shifted", "reason"),
    [
        (([[1], [2], [3]], [0, 1, 2]), ([[1], [2], [3]], [0, 1, 3]), "few_categories"),
        (([[1], [2], [3]], [0, 1, 2]), ([[1], [2], [3]], [-1, -1, -1]), "few_categories"),
        (([[1]], [0]), ([[1]], [0]), "few_categories"),
        (([[1], [2], [3]], [0, 1, 2]), ([[2], [2], [2]], [0, 1, 2]), "constant"),
        (([[1], [1], [1]], [0, 1, 2]), ([[1], [2], [3]], [0, 1, 2]), "constant"),
        (([[1], [2], [3]], [0, 1, 2]), ([[-1], [0], [-3]], [0, 1, 2]), "constant"),
        (([[-1], [0], [-3]], [0, 1, 2]), ([[1], [2], [3]], [0, 1, 2]), "silent_in_reference"),
        (([[-1]], [0]), ([[1]], [0]), "silent_in_reference"),
    ],
)
def test_spurious_is_null_with_a_reason(store, clean, shifted, reason):
    """Fewer than 3 shared categories, a constant side, or a neuron silent in the reference: NULL and why."""
    record_pair(store, clean, shifted)
    assert kept_scores(store)[0][3:5] == (None, reason)


def test_a_layer_that_the_reference_lacks(store):
    """Its neurons have no ratio, loss, novelty or spurious score, for the reason not_in_reference."""
    labels = [0, 1, 2]
    store.add_recording(
        model="net",
        dataset="clean",
        activations={"other": np.eye(3)},
        labels=labels,
        predictions=labels,
        categories=list("abc"),
        progress=False,
    )
    store.add_recording(model="net", dataset="shifted", activations={"fc": np.eye(3)}, labels=labels, predictions=labels, progress=False)
    assert {row[:5] for row in kept_scores(store)} == {(None, None, None, None, "not_in_reference")}
    assert store.sql("select distinct response from response where layer = 'fc'").fetchall() == [(None,)]
    assert store.sql("select distinct silent_in_reference from neuron_summary where layer = 'fc'").fetchall() == [(None,)]


def test_fewest_images_counts_both_sides(store):
    """The smallest count behind any shared category, wherever it is; a category of one side alone does not count."""
    clean = [0] * 5 + [1] * 4 + [2] * 3 + [3]
    shifted = [0] * 5 + [1] * 2 + [2] * 6
    values = np.arange(13, dtype=np.float32)[:, None]
    record_pair(store, (values, clean), (values, shifted))
    assert kept_scores(store)[0][5] == 2
    assert macro_scores(store, dataset="clean", reference="shifted")[0][5] == 2


def test_scores_against_another_reference(store, study):
    """The macro takes any reference; after set_reference the views use it, and setting it back restores the first."""
    study.record(store)
    before = {layer: kept_scores(store, layer=layer) for layer in ("conv", "fc")}
    by_macro = {layer: macro_scores(store, layer=layer, dataset="clean", reference="shifted") for layer in before}
    clean, shifted = study.parts["clean"], study.parts["shifted"]
    for layer, rows in by_macro.items():
        check_scores(rows, clean.activations[layer], clean.labels, shifted.activations[layer], shifted.labels)
    store.set_reference("net", "shifted")
    for layer in before:
        assert kept_scores(store, layer=layer, dataset="clean") == by_macro[layer]
        assert kept_scores(store, layer=layer, dataset="shifted") == []
        found = store.sql("select response from response where layer = $l and dataset = 'clean' order by image, neuron", l=layer).fetchall()
        expected = oracle.normalised(clean.activations[layer], shifted.activations[layer]).ravel()
        assert np.array_equal([np.nan if r is None else r for (r,) in found], expected, equal_nan=True)
        silent = store.sql(
            "select silent_in_reference from neuron_summary where layer = $l and dataset = 'clean' order by neuron", l=layer
        ).fetchall()
        assert [row[0] for row in silent] == (oracle.maximum(shifted.activations[layer]) == 0).tolist()
    store.set_reference("net", "clean")
    assert {layer: kept_scores(store, layer=layer) for layer in before} == before


def scores_of(study, dataset, layer, reference="clean"):
    """The oracle's scores of a layer by name, NaN for NULL."""
    part, clean = study.parts[dataset], study.parts[reference]
    rows = oracle.scores(part.activations[layer], part.labels, clean.activations[layer], clean.labels)
    return {
        "spurious": [row["spurious"] for row in rows],
        "novelty": [row["novelty"] for row in rows],
        "response_loss": [row["loss"] for row in rows],
        "activation_ratio": oracle.activation_ratio(part.activations[layer], clean.activations[layer]),
    }, [row["reason"] for row in rows]


@pytest.mark.parametrize("variant", ["paper", "notebook"])
@pytest.mark.parametrize("layer", ["conv", "fc"])
def test_score_summary(recorded, study, variant, layer):
    """Count, NULLs by reason, mean, deviation, quartiles, share above 0; the notebook keeps negative novelty."""
    relation = recorded.query("score_summary", model="net", layer=layer, variant=variant)
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert [(row["dataset"], row["score"]) for row in rows] == [
        (d, s) for d in ("shifted", "unlabelled") for s in ("spurious", "novelty", "response_loss", "activation_ratio")
    ]
    for row in rows:
        scores, reasons = scores_of(study, row["dataset"], layer)
        signed = variant == "notebook" and row["score"] == "novelty"
        values = scores["response_loss" if signed else row["score"]]
        assert row["neurons"] == len(values)
        assert row["silent_in_reference"] == reasons.count("silent_in_reference")
        if row["score"] == "spurious":
            assert row["constant"] == reasons.count("constant")
            assert row["few_categories"] == reasons.count("few_categories")
        found = [row[name] for name in ("scored", "mean", "std", "q25", "median", "q75", "share_positive")]
        for value, want in zip(found, oracle.summary(values), strict=True):
            assert value == (None if want is None else pytest.approx(want, abs=1e-9))


def test_score_summary_names_every_null(store):
    """The scored and the NULLs by reason add up to the neurons, also in a layer that the reference lacks."""
    labels = [0, 1, 2]
    store.add_recording(
        model="net",
        dataset="clean",
        activations={"other": np.eye(3)},
        labels=labels,
        predictions=labels,
        categories=list("abc"),
        progress=False,
    )
    store.add_recording(model="net", dataset="shifted", activations={"fc": np.eye(3)}, labels=labels, predictions=labels, progress=False)
    relation = store.query("score_summary", model="net", layer="fc")
    row = dict(zip(relation.columns, relation.fetchall()[0], strict=True))
    reasons = ("not_in_reference", "silent_in_reference", "constant", "few_categories")
    assert row["scored"] + sum(row.get(reason, 0) for reason in reasons) == row["neurons"] == 3


@pytest.mark.parametrize(("dataset", "reference"), [("shifted", None), ("shifted", "clean"), ("clean", "shifted")])
@pytest.mark.parametrize("layer", ["conv", "fc"])
def test_all_neurons_of_a_layer(recorded, study, layer, dataset, reference):
    """Every neuron with its scores against any reference, and the category of its largest positive response on both sides."""
    relation = recorded.query("layer_neurons", model="net", layer=layer, dataset=dataset, reference=reference)
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    scores, reasons = scores_of(study, dataset, layer, reference or "clean")
    base = study.parts[reference or "clean"].activations[layer]
    means = {name: oracle.category_responses(study.parts[name].activations[layer], study.parts[name].labels, base) for name in study.parts}
    assert [row["neuron"] for row in rows] == list(range(len(reasons)))
    for row, reason in zip(rows, reasons, strict=True):
        neuron = row["neuron"]
        assert all(close(row[name], scores[name][neuron]) for name in scores)
        assert row["reason"] == reason
        assert row["max"] == study.parts[dataset].activations[layer][:, neuron].max()
        for side, prefix in ((reference or "clean", "reference_"), (dataset, "")):
            some = {category: mean[0][neuron] for category, mean in means[side].items() if mean[0][neuron] > 0}
            best = min(some, key=lambda category: (-round(some[category], 12), category), default=None)
            assert row[prefix + "category"] == best
            assert row[prefix + "category_name"] == (None if best is None else study.categories[best])
            assert row[prefix + "response"] == (None if best is None else pytest.approx(some[best], abs=1e-9))


def density(store, layer, score, points=201, dataset="shifted", reference=None):
    rows = store.query("score_density", model="net", layer=layer, score=score, points=points, reference=reference).fetchall()
    assert reference not in {row[0] for row in rows}
    return [row[1:] for row in rows if row[0] == dataset]


@pytest.mark.parametrize("score", ["spurious", "novelty"])
@pytest.mark.parametrize(("dataset", "reference"), [("shifted", None), ("shifted", "clean"), ("clean", "shifted")])
def test_density(recorded, study, score, dataset, reference):
    """Gaussian kernels of Scott's width, reflected at 0 and 1, of scores against any reference; the mode is the highest point."""
    values = np.array(scores_of(study, dataset, "fc", reference or "clean")[0][score], dtype=float)
    rows = density(recorded, "fc", score, dataset=dataset, reference=reference)
    positions, found = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assert np.allclose(positions, np.linspace(0, 1, 201), rtol=0, atol=1e-12)
    assert np.allclose(found, oracle.density(values[~np.isnan(values)], positions), rtol=0, atol=1e-8)
    assert np.trapezoid(found, positions) == pytest.approx(1, abs=1e-3)
    assert [row[2] for row in rows].index(True) == np.argmax(found)
    assert sum(row[2] for row in rows) == 1


@pytest.mark.parametrize("values", [[0.0625, 1.0], [0.0625, 0.0625, 1.0], [0.5, 0.875]])
def test_density_of_few_neurons_integrates_to_one(store, values):
    """However wide the kernels, no mass falls outside 0..1: the integral is 1."""
    labels = [0, 1]
    clean = np.full((2, len(values)), 16.0)
    shifted = np.array([[16 * (1 - v) for v in values]] * 2)
    record_pair(store, (clean, labels), (shifted, labels))
    assert [row[2] for row in kept_scores(store)] == values
    rows = density(store, "fc", "novelty", 2001)
    assert np.trapezoid([row[1] for row in rows], [row[0] for row in rows]) == pytest.approx(1, abs=1e-3)


def test_density_needs_scores(recorded):
    """A dataset whose scores are all NULL, such as one without labels, has no density."""
    for score in ("spurious", "novelty"):
        rows = recorded.query("score_density", model="net", layer="fc", score=score).fetchall()
        assert {row[0] for row in rows} == {"shifted"}


# The call, and what is kept: computed in array code, where the macro is SQL.


def called_scores(store, model="net", layer="fc", dataset="shifted", reference="clean"):
    relation = store.scores(model, layer, dataset=dataset, reference=reference, progress=False)
    assert relation.columns == ["layer", "neuron", *SCORES.split(", ")]
    rows = relation.fetchall()
    assert [row[:2] for row in rows] == [(layer, neuron) for neuron in range(len(rows))]
    return [row[2:] for row in rows]


def bits(rows):
    """Rows as texts that tell every two numbers apart, 0.0 and -0.0 too."""
    return [repr(row) for row in rows]


@given(study=make.studies(most_images=30))
def test_the_call_gives_what_the_macro_gives(record_new, study):
    """To the last bit, against any reference, the default one and the dataset itself included."""
    store, model, study = record_new(study)
    clean, shifted = study.parts
    for dataset, reference in ((clean, shifted), (clean, clean), (shifted, clean)):
        names = {"model": model, "dataset": dataset, "reference": reference}
        assert bits(called_scores(store, **names)) == bits(macro_scores(store, **names))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """40 categories, of which each dataset lacks some; neurons with ties, silent ones, constant ones; and its activations."""
    rng = np.random.default_rng(5)
    parts = {}
    for name, missing in (("clean", [0, 17]), ("shifted", [17, 39]), ("night", [])):
        values = np.maximum(rng.normal(size=(300, 50)).round(rng.integers(0, 3)), 0)
        values[:, 10:20] = rng.integers(0, 3, (300, 10))
        values[:, 20:30] = rng.random((300, 10)) ** 6
        values[:, rng.integers(30, 34)] = 0
        values[:, rng.integers(34, 38)] = 2
        labels = rng.integers(-1, 40, 300)
        parts[name] = part_of(values, np.where(np.isin(labels, missing), -1, labels), 40)
    with dp.open(tmp_path_factory.mktemp("wide") / "study.duckdb") as store:
        study = make.Study(parts, [str(i) for i in range(40)])
        study.record(store)
        yield store, study


@pytest.mark.parametrize("values_at_once", [1, 40 * 7, 2**20])
def test_some_neurons_at_a_time(wide, monkeypatch, values_at_once):
    """The scores are SciPy's, and the macro's to the last bit, however many neurons are scored together."""
    store, study = wide
    monkeypatch.setattr(scores, "VALUES_AT_ONCE", values_at_once)
    for dataset, reference in (("clean", "night"), ("shifted", "night"), ("night", "shifted")):
        found = called_scores(store, dataset=dataset, reference=reference)
        here, there = study.parts[dataset], study.parts[reference]
        check_scores(found, here.activations["fc"], here.labels, there.activations["fc"], there.labels)
        assert bits(found) == bits(macro_scores(store, dataset=dataset, reference=reference))
    with store.snapshot() as connection:
        tables = list(scores.compute(connection, scores.find(connection, "net", "fc", "clean", "night")))
    together = max(1, values_at_once // 40)
    assert [len(table) for table in tables] == [min(together, 50 - first) for first in range(0, 50, together)]


def test_halves_of_the_ninth_decimal_go_up(store):
    """1/1024 rounds to 0.000976563, as in SQL, and does not tie with 0.000976562."""
    labels = [0, 1, 2, 3]
    record_pair(store, ([[1], [0.5], [0.25], [0]], labels), ([[1], [2**-10], [0.000976562], [0]], labels), 4)
    assert called_scores(store) == macro_scores(store)
    assert called_scores(store, reference=None)[0][3] == 0


def test_as_many_categories_as_imagenet_has(store):
    """Sums of products of 21,841 ranks are exact, whatever their sign; SciPy agrees."""
    count = 21_841
    labels, rng = np.arange(count), np.random.default_rng(0)
    clean = rng.random((count, 4)).astype(np.float32)
    shifted = np.stack([-clean[:, 0], clean[:, 1].round(2), rng.random(count), clean[:, 3]], axis=1).astype(np.float32) + 1
    shifted[count // 2 :, 3] += 1
    for name, values in (("clean", clean), ("shifted", shifted)):
        store.add_recording(
            model="net",
            dataset=name,
            activations={"fc": values},
            labels=labels,
            predictions=labels,
            categories=[str(c) for c in labels],
            progress=False,
        )
    found = called_scores(store)
    assert bits(found) == bits(macro_scores(store))
    expected = [1 - abs(stats.spearmanr(a, b).statistic) for a, b in zip(clean.T, shifted.T)]
    assert [row[3] for row in found] == pytest.approx(expected, abs=1e-6)
    assert found[0][3] < 1e-6 < found[1][3] < 0.01 < found[3][3] < 0.9 < found[2][3]


def test_a_call_for_a_layer_that_one_side_lacks(store):
    """A reference without the layer is a reason, as in the macro; a dataset without it is refused, as are names that aren't there."""
    labels = [0, 1, 2]
    for name, layers in (("clean", ["other"]), ("shifted", ["fc", "other"])):
        store.add_recording(
            model="net",
            dataset=name,
            activations={layer: np.eye(3) for layer in layers},
            labels=labels,
            predictions=labels,
            categories=list("abc"),
            progress=False,
        )
    assert {row[4] for row in called_scores(store)} == {"not_in_reference"}
    assert called_scores(store) == macro_scores(store)
    assert called_scores(store, dataset="shifted", reference="shifted")[0][3] == 0
    with pytest.raises(UnknownNameError, match="'net' was recorded on dataset 'clean' without layer 'fc'"):
        store.scores("net", "fc", dataset="clean")
    for names in ({"dataset": "noon"}, {"dataset": "clean", "reference": "noon"}):
        with pytest.raises(UnknownNameError, match="noon"):
            store.scores("net", "fc", **names)


def test_damaged_category_responses_are_refused(store, study):
    """Where a neuron lacks a category that others have, the file was changed: nothing is computed from it."""
    study.record(store)
    with store.transaction() as connection:
        connection.execute("delete from stored_category_response where neuron = 3 and category = 1")
    with pytest.raises(StoreDamagedError, match="net on (clean|shifted), layer fc: .*deephys-sql check"):
        store.scores("net", "fc", dataset="clean", reference="shifted")


def test_only_what_is_missing_is_scored(store, study, monkeypatch):
    """A commit scores the layers that it adds, and all of them when the reference is another one, or is recorded again."""
    asked, compute = [], scores.compute
    monkeypatch.setattr(scores, "compute", lambda connection, one: asked.append(one) or compute(connection, one))

    def scored():
        """Which layer was scored on which dataset since this was asked last."""
        found = []
        for one in asked:
            ids = {"r": one.recording_id, "l": one.layer_id}
            text = "select layer_name, dataset_name from stored_named_layer where recording_id = $r and layer_id = $l"
            found += store.sql(text, **ids).fetchall()
        asked.clear()
        return sorted(found)

    def all_of(*datasets):
        return sorted((layer, dataset) for layer in ("conv", "fc", "output") for dataset in datasets)

    with store.transaction():
        study.record(store)
    assert scored() == all_of("shifted", "unlabelled")
    before = kept_scores(store)
    make.record(store, "net", "again", study.parts["shifted"], study.categories)
    assert scored() == all_of("again")
    make.record(store, "net", "unlabelled", study.parts["unlabelled"], study.categories, replace=True)
    assert scored() == all_of("unlabelled")
    make.record(store, "another", "shifted", study.parts["shifted"], study.categories)
    make.record(store, "another", "clean", study.parts["clean"], study.categories)
    assert scored() == all_of("clean")
    store.add_directions("fc", "sum", np.ones((1, 70)), model="net", progress=False)
    assert scored() == [("sum", "again"), ("sum", "shifted"), ("sum", "unlabelled")]
    assert kept_scores(store) == kept_scores(store, dataset="again") == before
    store.set_reference("net", "shifted")
    assert scored() == sorted([*all_of("again", "clean", "unlabelled"), ("sum", "again"), ("sum", "clean"), ("sum", "unlabelled")])
    store.set_reference("net", "shifted")
    assert scored() == []
    make.record(store, "net", "shifted", study.parts["shifted"], study.categories, replace=True)
    assert scored() == sorted([*all_of("again", "clean", "unlabelled"), ("sum", "again"), ("sum", "clean"), ("sum", "unlabelled")])
    store.set_reference("net", "clean")
    assert kept_scores(store) == kept_scores(store, dataset="again") == before
    kept = "select count(*), count(distinct (recording_id, layer_id, neuron)) from stored_neuron_score"
    assert len(set(store.sql(kept).fetchall()[0])) == 1
