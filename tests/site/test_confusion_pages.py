"""The confusion matrix and the confusion of two categories show the numbers that SQL gives."""

import urllib.parse

import duckdb
import numpy as np
import pytest
from datasette.utils import tilde_encode
from reading import BASE, NIGHT, Tables, images_in, mean_responses, said, texts

import deephys_sql as dp


def test_matrix_cells_are_the_counts(web, truth):
    """Each cell holds the count of the view `confusion`, links to the pair (the diagonal to the category); no other cell links."""
    for dataset in ("clean", NIGHT):
        page = Tables(web.get(f"{BASE}/dataset/{tilde_encode(dataset)}/confusion").text)
        counts = {
            (a, b): n for a, b, n in truth.execute("select label, predicted, images from confusion where dataset = ?", [dataset]).fetchall()
        }
        (rows,) = page.of("matrix")
        for label, row in enumerate(rows[1:]):
            for predicted, cell in enumerate(row[1:-1]):
                count = counts.get((label, predicted))
                assert cell["text"].strip() == ("" if count is None else str(count))
                wanted = f"{BASE}/category/{label}" if label == predicted else f"{BASE}/confusion/{label}/{predicted}"
                assert cell["hrefs"] == ([] if count is None else [wanted])
        (pairs,) = page.of("pairs")
        shown = [row[1]["hrefs"][0] for row in pairs[1:]]
        ranked = sorted((pair for pair in counts if pair[0] != pair[1]), key=lambda pair: (-counts[pair], pair))
        assert shown == [f"{BASE}/confusion/{a}/{b}" for a, b in ranked]
        assert [texts(row)[2] for row in pairs[1:]] == [str(counts[pair]) for pair in ranked]
        for row, (a, b) in zip(pairs[1:], ranked):  # the picture of each pair
            (first,) = truth.execute(
                "select image from prediction where dataset = ? and label = ? and predicted = ? order by confidence desc, image",
                [dataset, a, b],
            ).fetchone()
            assert row[0]["hrefs"] == [f"{BASE}/dataset/{tilde_encode(dataset)}/image/{first}"]


def test_confusion_of_two_categories(web, truth):
    """Both directions, in every dataset: counts, images (the most confident first) and the lead's top neurons with all responses."""
    text = web.get(f"{BASE}/confusion/0/2", layer="fc").text
    for direction, label, predicted in (("a_as_b", 0, 2), ("b_as_a", 2, 0)):
        section = text.partition(f'id="{direction}"')[2].partition("</section>")[0]
        page = Tables(section)
        for dataset in ("clean", NIGHT):
            expected = truth.execute(
                "select image from prediction where dataset = ? and label = ? and predicted = ? order by confidence desc, image",
                [dataset, label, predicted],
            ).fetchall()
            assert images_in(section, dataset) == [image for (image,) in expected][:12]
        condition = f"p.label = {label} and p.predicted = {predicted}"
        means = {dataset: mean_responses(truth, dataset, condition) for dataset in ("clean", NIGHT)}
        best = sorted((neuron for neuron, mean in means[NIGHT].items() if mean), key=lambda neuron: (-means[NIGHT][neuron], neuron))[:6]
        (rows,) = page.of("by-neuron")
        assert [texts(row) for row in rows[1:]] == [[str(n), *(said(means[dataset][n]) for dataset in ("clean", NIGHT))] for n in best]


def test_neurons_of_a_confusion_that_the_leading_dataset_lacks(make_site, tmp_path):
    """Where the leading dataset has no image of a direction, the neurons are those of the dataset with most, unless another was asked."""
    path = tmp_path / "store.duckdb"
    with dp.open(path) as store:
        for dataset, predicted in (("clean", [0, 1, 0]), ("night", [0, 1, 0]), ("fog", [1, 1, 0])):
            logits = np.eye(2)[predicted].astype(np.float32)
            store.add_recording(
                model="net", dataset=dataset, activations={"fc": logits + np.eye(2)[0]}, logits=logits, labels=[0, 1, 1],
                categories=["cat", "dog"], progress=False,
            )  # fmt: skip
    site = make_site(path)
    text = site.get("/store/-/model/net/confusion/0/1?dataset=night&dataset=fog").text
    (rows,) = Tables(text.partition('id="a_as_b"')[2].partition("</section>")[0]).of("by-neuron")
    assert [texts(row)[0] for row in rows[1:]] == ["1", "0"] and "by their response in fog" in text
    asked = site.get("/store/-/model/net/confusion/0/1?dataset=night&dataset=fog&lead=night").text
    assert not Tables(asked.partition('id="a_as_b"')[2].partition("</section>")[0]).of("by-neuron")


def test_all_images_of_a_confusion(web, truth):
    """With `at` and `direction` every image of the pair is shown, paged."""
    expected = truth.execute(
        "select image from prediction where dataset = ? and label = 2 and predicted = 0 order by confidence desc, image", [NIGHT]
    ).fetchall()
    found, number = [], 1
    while len(found) < len(expected):
        text = web.get(f"{BASE}/confusion/0/2", at=NIGHT, direction="b_as_a", k=2, page=number).text
        found += images_in(text, NIGHT)
        number += 1
    assert found == [image for (image,) in expected]
    assert "more " not in text


@pytest.fixture(scope="module")
def many_categories(tmp_path_factory):
    """A store of 90 categories."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("many") / "many.duckdb"
    with dp.open(path) as store:
        store.add_recording(
            model="net",
            dataset="clean",
            activations={"fc": rng.normal(size=(400, 3)).astype(np.float32)},
            logits=rng.normal(size=(400, 90)).astype(np.float32),
            labels=rng.integers(0, 90, 400),
            categories=[f"kind {i}" for i in range(90)],
            progress=False,
        )
    return path


def test_matrix_of_many_categories(make_site, many_categories):
    """Large matrices are drawn in blocks whose links open every part; the parts' cells add up to all mistakes; the largest come first."""
    web = make_site(many_categories)
    address = "/many/-/model/net/dataset/clean/confusion"
    page = Tables(web.get(address).text)
    blocks = [urllib.parse.urljoin(address, href) for href in page.hrefs if "labels=" in href and "predictions=" in href]
    with duckdb.connect(str(many_categories), read_only=True) as connection:
        counts = connection.execute("select label, predicted, images from confusion where label != predicted").fetchall()
    shown = {}
    for block in blocks:
        part = Tables(web.get(block).text)
        (rows,) = part.of("matrix")
        for row in rows[1:]:
            for cell in row[1:-1]:
                for href in cell["hrefs"]:
                    if "/confusion/" in href:
                        a, b = href.partition("/confusion/")[2].split("/")
                        shown[int(a), int(b)] = int(cell["text"])
    assert shown == {(a, b): n for a, b, n in counts}
    (pairs,) = page.of("pairs")
    assert len(pairs) == 26
    assert [int(texts(row)[2]) for row in pairs[1:]] == sorted((n for _, _, n in counts), reverse=True)[:25]
