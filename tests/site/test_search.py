"""Search by name or number, and chance."""

import re
import urllib.parse

import numpy as np
import pytest
from reading import BASE, ENCODED, NIGHT, Tables

import deephys_sql as dp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fc 3", ["layer/fc/neuron/3"]),
        ("neuron 4", ["layer/fc/neuron/4"]),
        ("conv/1 2", ["layer/conv~2F1/neuron/2"]),
        ("clean 12", ["dataset/clean/image/12"]),
        ("image 44", ["dataset/clean/image/44", f"dataset/{ENCODED}/image/44"]),
        ("Night", [f"dataset/{ENCODED}/confusion"]),
        ("CAT", ["category/0"]),
        ("owl", ["category/2"]),
        ("category 3", ["category/3"]),
        ("conv", ["layer/conv~2F1"]),
        ("1", ["layer/conv~2F1", "layer/fc/neuron/1", "layer/conv~2F1/neuron/1", "dataset/clean/image/1", "category/1"]),
        ("2025-01-07", ["dataset/clean/image/6", "dataset/clean/image/15"]),
    ],
)
def test_search_finds(web, text, expected):
    """Names, parts of names, numbers and metadata lead to their pages; a single result is opened at once."""
    page = Tables(web.get("/store/-/search", q=text, stay=1).text)
    found = {href.partition("?")[0] for href in page.hrefs}
    for one in expected:
        assert f"{BASE}/{one}" in found, found
    answer = web.run(web.datasette.client.get("/store/-/search?" + urllib.parse.urlencode({"q": text})))
    results = re.findall(r"(\d+) results?", web.get("/store/-/search", q=text, stay=1).text)
    assert (answer.status_code == 302) == (results == ["1"])


@pytest.mark.parametrize(
    "text",
    ["nothing like it", "99999999999999999999", "%", "'; drop table stored_model; --", "\x00", "(((", "neuron", "\u0663", "a" * 5000],
)
def test_search_that_finds_nothing(web, text):
    """An odd text is a page that says what can be looked for, never an error."""
    assert web.get("/store/-/search", q=text, stay=1).status_code == 200


@pytest.fixture(scope="module")
def of_models(make_site, tmp_path_factory):
    """A site with models `a` and `b-net`, of other layers, categories and datasets, and `c`, which is like `a`."""
    path = tmp_path_factory.mktemp("models") / "store.duckdb"
    models = {"a": ("fc", "day", ["cat", "dog"]), "b-net": ("head", "night", ["owl", "fox"]), "c": ("fc", "day", ["cat", "dog"])}
    with dp.open(path) as store:
        for model, (layer, dataset, categories) in models.items():
            given = {"activations": {layer: np.ones((4, 5))}, "predictions": [0] * 4, "categories": categories, "progress": False}
            fields = None if model == "c" else [{"camera": f"lens {dataset[0]}{number}"} for number in range(4)]
            store.add_recording(model=model, dataset=dataset, image_metadata=fields, **given)
    return make_site(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head 4", ["b-net/layer/head/neuron/4"]),
        ("night 3", ["b-net/dataset/night/image/3"]),
        ("owl", ["b-net/category/0"]),
        ("head", ["b-net/layer/head"]),
        ("nIGht", ["b-net/dataset/night/confusion"]),
        ("lens n2", ["b-net/dataset/night/image/2"]),
        ("b-net head 1", ["b-net/layer/head/neuron/1"]),
        ("day 2", ["a/dataset/day/image/2"]),  # of this model, so of no other
        ("fc 3", ["a/layer/fc/neuron/3"]),
        ("head 5", []),
    ],
)
def test_search_finds_what_other_models_have(of_models, text, expected):
    """What the present model has is found there alone; else all models are looked through, and the page says so."""
    text_of_page = of_models.get("/store/-/search", q=text, stay=1, model="a").text
    found = {address.partition("/-/model/")[2].partition("?")[0] for address in re.findall(r'<li><a href="([^"]+)"', text_of_page)}
    assert found == set(expected)
    assert ("other models; none in a" in text_of_page) == (bool(expected) and not expected[0].startswith("a/"))
    for address in re.findall(r'<li><a href="([^"]+)"', text_of_page):
        of_models.get(address)


def test_search_of_many_models_is_bounded(make_site, tmp_path):
    """Of hundreds of models with what is looked for, as many results are shown as of one model."""
    with dp.open(tmp_path / "store.duckdb") as store, store.transaction():
        for number in range(40):
            layer = "fc" if number == 0 else "head"
            given = {"activations": {layer: np.ones((2, 3))}, "predictions": [0, 0], "categories": ["x"], "progress": False}
            store.add_recording(model=f"m{number:02}", dataset="day", **given)
    page = make_site(tmp_path / "store.duckdb").get("/store/-/search", q="head 2", stay=1, model="m00").text
    assert len(re.findall(r'<li><a href="', page)) == 30 and "The first 30" in page


def test_chance(web, truth):
    """A random neuron is one of the layer; a random wrong image is predicted wrong; both are redirects that nobody keeps."""
    wrong = set(truth.execute("select dataset, image from prediction where not correct").fetchall())
    seen = set()
    for _ in range(12):
        answer = web.run(web.datasette.client.get("/store/-/random/mistake"))
        assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
        dataset, _, number = answer.headers["location"].partition("/dataset/")[2].partition("/image/")
        key = (NIGHT if dataset == ENCODED else dataset, int(number.partition("?")[0]))
        assert key in wrong
        seen.add(key)
        answer = web.run(web.datasette.client.get("/store/-/random/neuron?layer=fc"))
        assert int(answer.headers["location"].partition("/neuron/")[2].partition("?")[0]) in range(6)
        web.get(answer.headers["location"])
    assert len(seen) > 3
