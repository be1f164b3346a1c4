"""Search by name or number, and chance."""

import re
import urllib.parse

import pytest
from reading import BASE, ENCODED, NIGHT, Tables


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
