"""The pages of images, categories, confusions, comparisons, and the search show the numbers that SQL gives, and survive odd input."""

import html.parser
import random
import re
import urllib.parse

import duckdb
import numpy as np
import pytest
from datasette.utils import tilde_encode

import deephys_sql as dp
from deephys_sql.site.pages import html as pieces

NIGHT = "Night & Fog/ö, 100%"
BASE = "/store/-/model/net"
ENCODED = tilde_encode(NIGHT)
OWL = '<b>"owl"</b>'


@pytest.fixture(scope="module")
def make_site(site):
    """Make a site with our pages on stores."""
    made = []

    def make(*stores, **options):
        made.append(type(site)(*stores, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def web(make_site, store_path):
    return make_site(store_path)


class Tables(html.parser.HTMLParser):
    """The tables of a page: rows of cells, each its text and links."""

    def __init__(self, text):
        super().__init__()
        self.tables, self._cell, self.hrefs, self.tags = [], None, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        if tag == "table":
            self.tables.append((given.get("class") or "", []))
        elif tag == "tr" and self.tables:
            self.tables[-1][1].append([])
        elif tag in ("td", "th") and self.tables:
            self._cell = {"text": "", "hrefs": [], "titles": []}
            self.tables[-1][1][-1].append(self._cell)
        if tag == "a":
            self.hrefs.append(given["href"])
            if self._cell is not None:
                self._cell["hrefs"].append(given["href"])
        if self._cell is not None and given.get("title"):
            self._cell["titles"].append(given["title"])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell["text"] += data

    def of(self, name):
        """The tables whose class holds the name."""
        return [rows for classes, rows in self.tables if name in classes.split()]


def texts(row):
    return [" ".join(cell["text"].split()) for cell in row]


def said(value):
    """A share as the pages write it."""
    return " ".join(pieces.percent(value).split())


def images_in(text, dataset, part="card"):
    """The images whose cards a page shows, in order."""
    found = re.findall(rf'<a class="{part}[^"]*" href="([^"]*)"', text)
    where = f"/dataset/{tilde_encode(dataset)}/image/"
    return [int(address.partition(where)[2].partition("?")[0]) for address in found if where in address]


# Images.


def test_image_page_shows_label_prediction_and_probabilities(web, truth):
    """Label, prediction, confidence and the five most probable categories are those of the view `prediction`."""
    for number in (0, 7, 44):
        page = Tables(web.get(f"{BASE}/dataset/{ENCODED}/image/{number}").text)
        label, predicted, top, chances = truth.execute(
            "select label_name, predicted_name, top_categories, top_probabilities from prediction where dataset = ? and image = ?",
            [NIGHT, number],
        ).fetchone()
        names = dict(truth.execute("select category, category_name from category").fetchall())
        (rows,) = page.of("probabilities")
        shown = [texts(row) for row in rows[1:]]
        assert [row[0].removesuffix(" label") for row in shown] == [names[one] for one in top]
        assert [row[1] for row in shown] == [" ".join(pieces.chance(one).split()) for one in chances]
        assert [row[0].endswith(" label") for row in shown] == [names[one] == label for one in top]
        verdict = re.search(r'<dl class="facts">(.*?)</dl>', web.get(f"{BASE}/dataset/{ENCODED}/image/{number}").text, re.S)[1]
        assert ('<span class="mark">wrong' in verdict) == (label is not None and label != predicted)
        assert ("unknown" in verdict) == (label is None)


@pytest.mark.parametrize("layer", ["fc", "conv/1"])
@pytest.mark.parametrize("lead", [None, "clean"])
def test_neurons_of_an_image(web, truth, layer, lead):
    """The top neurons come in the order of the macro top_neurons, of this image or of the lead's, with this image's responses."""
    query = {"layer": layer, "k": 50} | ({"lead": lead} if lead else {})
    page = Tables(web.get(f"{BASE}/dataset/{ENCODED}/image/9", **query).text)
    order = truth.execute("select neuron, response from top_neurons('net', ?, ?, 9, 50)", [layer, lead or NIGHT]).fetchall()
    own = dict(
        truth.execute("select neuron, response from response where layer = ? and dataset = ? and image = 9", [layer, NIGHT]).fetchall()
    )
    assert order
    (rows,) = page.of("by-neuron")
    assert [int(texts(row)[0]) for row in rows[1:]] == [neuron for neuron, _ in order]
    assert [texts(row)[1] for row in rows[1:]] == [said(own[neuron]) for neuron, _ in order]
    if lead:
        assert [texts(row)[2] for row in rows[1:]] == [said(response) for _, response in order]


def test_strips_hold_the_top_images_of_each_neuron(web, truth):
    """Beside each neuron stand its own top images in the reference and in every chosen dataset, in the same order of neurons."""
    page = Tables(web.get(f"{BASE}/dataset/clean/image/3", layer="fc").text)
    (rows,) = page.of("by-neuron")
    for row in rows[1:]:
        neuron = int(texts(row)[0])
        for cell, dataset in zip(row[2:], ("clean", NIGHT)):
            expected = truth.execute(
                "select image from top_image where layer = 'fc' and neuron = ? and dataset = ? order by rank limit 6", [neuron, dataset]
            ).fetchall()
            shown = [int(href.partition("/image/")[2].partition("?")[0]) for href in cell["hrefs"]]
            assert shown == [image for (image,) in expected]


def test_other_reference_changes_responses(web, truth):
    """`reference` in the address measures responses against that dataset: activation by its largest."""
    page = Tables(web.get(f"{BASE}/dataset/{ENCODED}/image/5", layer="fc", reference=NIGHT, k=50).text)
    expected = truth.execute(
        "select neuron, a.value / s.max as response from activation as a join neuron_summary as s using (model, layer, neuron, dataset)"
        " where layer = 'fc' and dataset = ? and image = 5 and a.value > 0 order by response desc, neuron",
        [NIGHT],
    ).fetchall()
    (rows,) = page.of("by-neuron")
    assert [(int(texts(row)[0]), texts(row)[1]) for row in rows[1:]] == [(neuron, said(response)) for neuron, response in expected]


def test_previous_and_next_image(web):
    """Previous and next lead to the images beside it; the first has no previous one and the last no next one."""
    for number, previous, following in ((0, None, 1), (30, 29, 31), (59, 58, None)):
        page = Tables(web.get(f"{BASE}/dataset/clean/image/{number}").text)
        links = {given["rel"]: given["href"] for tag, given in page.tags if tag == "a" and given.get("rel") in ("prev", "next")}
        assert links.get("prev") == (None if previous is None else f"{BASE}/dataset/clean/image/{previous}")
        assert links.get("next") == (None if following is None else f"{BASE}/dataset/clean/image/{following}")


def test_previous_and_next_wrong_image(web, truth):
    """Beside every image, right or wrong, stand the nearest wrong ones; beside a wrong one those with its label and prediction too."""
    rows = truth.execute("select image, label, predicted, correct from prediction where dataset = ? order by image", [NIGHT]).fetchall()
    wrong = {image: (label, predicted) for image, label, predicted, correct in rows if correct is False}
    kinds = set()
    for image, *_ in rows[::4] + rows[-1:]:
        page = Tables(web.get(f"{BASE}/dataset/{ENCODED}/image/{image}").text)
        links = {given["id"]: given["href"] for tag, given in page.tags if tag == "a" and "id" in given}
        alike = [one for one in wrong if wrong[one] == wrong.get(image)]
        expected = {}
        for kind, others in (("wrong", list(wrong)), ("alike", alike)):
            expected[f"previous-{kind}"] = max((one for one in others if one < image), default=None)
            expected[f"next-{kind}"] = min((one for one in others if one > image), default=None)
        assert {key: links[key].rpartition("/")[2] if key in links else "None" for key in expected} == {
            key: str(one) for key, one in expected.items()
        }
        kinds.add((image in wrong, len(alike) > 1))
    assert len(kinds) >= 2


def test_original_picture(web, truth):
    """The original comes as it was kept, with its type, nosniff, a policy and an ETag; its versioned address is immutable."""
    address = re.search(r'<img src="([^"]*/original/[^"]*)"', web.get(f"{BASE}/dataset/{ENCODED}/image/5").text)[1].replace("&amp;", "&")
    answer = web.get(address)
    (kept,) = truth.execute("select original from image where dataset = ? and image = 5", [NIGHT]).fetchone()
    assert answer.content == kept
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = web.run(web.datasette.client.get(address, headers={"if-none-match": answer.headers["etag"]}))
    assert (again.status_code, again.content) == (304, b"")
    assert "immutable" not in web.get(address.partition("?")[0]).headers["cache-control"]


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.mark.parametrize(
    ("content", "stated"), [(SVG, "image/svg+xml"), (SVG, "image/png"), (b"<html><script>1</script>", "text/html"), (b"", None)]
)
def test_what_is_no_picture_is_never_shown(make_site, store_path, tmp_path, content, stated):
    """SVG, HTML or anything unknown kept as an original is offered for download without its type, whatever type is stated."""
    changed = tmp_path / "store.duckdb"
    changed.write_bytes(store_path.read_bytes())
    with duckdb.connect(str(changed)) as connection:
        connection.execute(
            "update stored_image set original = ?, original_type = ?, thumbnail = ? where image = 5", [content, stated, content]
        )
    other = make_site(changed)
    answer = other.get("/store/-/original/clean/5")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = other.get(f"{BASE}/dataset/clean/image/5").text
    assert "<svg xmlns='http" not in page and "alert(1)</script></svg>" not in page


# Categories.


def test_category_page_shows_recall_and_precision(web, truth):
    """Recall, precision and counts of each dataset are those of the view `accuracy` and of the predictions."""
    for category in range(4):
        rows = Tables(web.get(f"{BASE}/category/{category}").text).of("numbers")[0][1:]
        for row, dataset in zip(rows, ("clean", NIGHT), strict=True):
            images, recall, precision = truth.execute(
                "select images, recall, precision from accuracy where dataset = ? and category = ?", [dataset, category]
            ).fetchone()
            missed, wrong = truth.execute(
                "select count(*) filter (where label = $c), count(*) filter (where predicted = $c) from prediction"
                " where dataset = $d and not correct",
                {"c": category, "d": dataset},
            ).fetchone()
            name, shown_images, shown_recall, _, shown_precision, _, negatives, positives = texts(row)
            assert (name, shown_images, shown_recall, shown_precision) == (dataset, str(images), said(recall), said(precision))
            assert (negatives, positives) == (str(missed), str(wrong))


@pytest.mark.parametrize("layer", ["fc", "conv/1"])
def test_neurons_of_a_category(web, truth, layer):
    """Each dataset shows its own top neurons, as category_response ranks them; with a lead all show the lead's, with own responses."""
    responses = {
        (dataset, neuron): response
        for dataset, neuron, response in truth.execute(
            "select dataset, neuron, response from category_response where layer = ? and category = 2 and response is not null", [layer]
        ).fetchall()
    }

    def best(dataset):
        some = [(-response, neuron) for (name, neuron), response in responses.items() if name == dataset and response > 0]
        return [neuron for _, neuron in sorted(some)][:6]

    rows = Tables(web.get(f"{BASE}/category/2", layer=layer).text).of("by-neuron")[0]
    for column, dataset in enumerate(("clean", NIGHT)):
        shown = [texts(row)[column] for row in rows[1:] if texts(row)[column] != pieces.percent(None)]
        assert shown == [f"neuron {neuron}{said(responses[dataset, neuron])}" for neuron in best(dataset)]
    rows = Tables(web.get(f"{BASE}/category/2", layer=layer, lead=NIGHT).text).of("by-neuron")[0]
    assert [texts(row) for row in rows[1:]] == [
        [str(neuron), said(responses["clean", neuron]), said(responses[NIGHT, neuron])] for neuron in best(NIGHT)
    ]


@pytest.mark.parametrize("kind", ["false_negatives", "false_positives"])
@pytest.mark.parametrize("by", [None, 0, 2])
def test_every_mistake_of_a_category_is_on_a_page(web, truth, kind, by):
    """Paging through the false negatives (positives), all or by one category, shows each exactly once, the most confident first."""
    own, other = ("label", "predicted") if kind == "false_negatives" else ("predicted", "label")
    expected = truth.execute(
        f"select image from prediction where dataset = ? and {own} = 1 and {other} != 1 and ({other} = ? or ?)"
        " order by confidence desc nulls last, image",
        [NIGHT, by or 0, by is None],
    ).fetchall()
    address = f"{BASE}/category/1?" + urllib.parse.urlencode({"dataset": NIGHT, "k": 3, **({} if by is None else {f"{kind}_by": by})})
    found = []
    for _ in range(50):
        text = web.get(address).text
        section = text.partition(f'id="{kind}"')[2].partition("</section>")[0]
        found += images_in(section, NIGHT)
        following = re.search(r'<a href="([^"]*)">more ', section)
        if not following:
            break
        address = following[1].replace("&amp;", "&")
    assert found == [image for (image,) in expected]
    assert len(found) > 3 or by is not None


def mean_responses(truth, dataset, condition, layer="fc"):
    """Mean response of each neuron over a set of images, computed from the long view."""
    return dict(
        truth.execute(
            f"select r.neuron, avg(r.response) from response as r join prediction as p using (model, dataset, image)"
            f" where r.layer = ? and r.dataset = ? and ({condition}) group by r.neuron",
            [layer, dataset],
        ).fetchall()
    )


def test_neurons_of_mistakes(web, truth):
    """The top neurons beside false negatives and positives have the largest mean response over exactly those images."""
    tables = Tables(web.get(f"{BASE}/category/1", layer="fc", dataset=NIGHT).text).of("by-neuron")[1:]
    conditions = ("p.label = 1 and p.predicted != 1", "p.label != 1 and p.predicted = 1")
    for rows, condition in zip(tables, conditions, strict=True):
        means = {neuron: mean for neuron, mean in mean_responses(truth, NIGHT, condition).items() if mean}
        best = sorted(means, key=lambda neuron: (-means[neuron], neuron))[:5]
        assert [texts(row)[0] for row in rows[1:]] == list(map(str, best))
        assert [texts(row)[2] for row in rows[1:]] == [said(means[neuron]) for neuron in best]


# Confusions.


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


# Comparison.


def test_compare_shows_accuracy_by_category_and_changes_of_response(web, truth):
    """Recall of both datasets and its drop by category; losses and gains are the response_loss of neuron_score, largest first."""
    page = Tables(web.get(f"{BASE}/compare", layer="fc").text)
    recalls = {(d, c): recall for d, c, recall in truth.execute("select dataset, category, recall from accuracy").fetchall()}
    names = dict(truth.execute("select category, category_name from category").fetchall())
    drops = {c: recalls["clean", c] - recalls[NIGHT, c] for c in names}
    ranked = sorted(names, key=lambda c: (-drops[c], c))
    rows = page.of("numbers")[0][1:]
    assert [texts(row)[0] for row in rows] == [names[c] for c in ranked]
    assert [(texts(row)[1], texts(row)[3], texts(row)[5]) for row in rows] == [
        (said(recalls["clean", c]), said(recalls[NIGHT, c]), pieces.fixed(drops[c] * 100, 1)) for c in ranked
    ]
    losses = dict(
        truth.execute("select neuron, response_loss from neuron_score where layer = 'fc' and response_loss is not null").fetchall()
    )
    for rows, sign in zip(page.of("by-neuron"), (1, -1)):
        some = sorted((-sign * loss, neuron) for neuron, loss in losses.items() if sign * loss > 0)
        assert [(int(texts(row)[0]), texts(row)[1]) for row in rows[1:]] == [(neuron, pieces.fixed(-size)) for size, neuron in some][:8]


def test_images_most_wrong(web, truth):
    """The comparison ends with the k most confident wrong predictions."""
    expected = truth.execute(
        "select image from prediction where dataset = ? and not correct order by confidence desc, image limit 10", [NIGHT]
    ).fetchall()
    assert images_in(web.get(f"{BASE}/compare", k=10).text, NIGHT) == [image for (image,) in expected]


# Search and chance.


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


# Every page.

PAGES = [
    f"{BASE}/dataset/{ENCODED}/image/7",
    f"{BASE}/dataset/clean/image/0?layer=conv~2F1&lead=own",
    f"{BASE}/category/2",
    f"{BASE}/category/1?lead=clean&false_negatives_by=2",
    f"{BASE}/dataset/{ENCODED}/confusion",
    f"{BASE}/confusion/0/2",
    f"{BASE}/confusion/0/2?lead=own",
    f"{BASE}/confusion/0/2?at=clean",
    f"{BASE}/compare",
    f"{BASE}/compare?reference={urllib.parse.quote(NIGHT)}",
    "/store/-/search",
    "/store/-/search?q=1",
]
PAGES = [one for one in PAGES if "lead=own" not in one or "/image/" not in one]


@pytest.mark.parametrize("address", PAGES)
def test_links_resolve(web, address):
    """Every link of a page that stays on this site answers."""
    page = Tables(web.get(address).text)
    links = sorted({urllib.parse.urljoin(address, href).partition("#")[0] for href in page.hrefs if not href.startswith("#")})
    assert links
    chosen = random.Random(1).sample(links, min(len(links), 25))
    for link in chosen:
        answer = web.run(web.datasette.client.get(link))
        assert answer.status_code in (200, 302), f"{link} on {address}: {answer.status_code} {answer.text[:500]}"


@pytest.mark.parametrize("address", PAGES)
def test_names_are_text(web, address):
    """Markup in names and metadata is shown as text; no inline script, style or handler is on a page; every picture has a text."""
    text = web.get(address).text
    assert "<script>alert" not in text and OWL not in text
    page = Tables(text)
    for tag, given in page.tags:
        assert "style" not in given and not any(name.startswith("on") for name in given), (tag, given)
        assert tag != "style" and (tag != "script" or given.get("src"))
        if tag == "img":
            assert "alt" in given
            assert given["src"].startswith(("data:image/", "/store/-/"))


@pytest.mark.parametrize("address", PAGES)
def test_every_number_links_to_its_sql(web, address):
    """Each page but the search shows the SQL of its blocks, with the address of the same query in Datasette."""
    if "/search" in address:
        return
    page = Tables(web.get(address).text)
    assert [href for href in page.hrefs if re.match(r"/store/[a-z_]+\?", href)]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{BASE}/dataset/clean/image/60", 404),
        (f"{BASE}/dataset/clean/image/-1", 404),
        (f"{BASE}/dataset/clean/image/x", 404),
        (f"{BASE}/dataset/clean/image/\u0663", 404),
        (f"{BASE}/dataset/clean/image/99999999999999999999", 404),
        (f"{BASE}/dataset/nowhere/image/0", 404),
        ("/store/-/model/nett/dataset/clean/image/0", 404),
        (f"{BASE}/dataset/clean/image/0?k=0", 400),
        (f"{BASE}/dataset/clean/image/0?k=101", 400),
        (f"{BASE}/dataset/clean/image/0?lead=nowhere", 400),
        (f"{BASE}/dataset/clean/image/0?layer=nowhere", 404),
        (f"{BASE}/dataset/clean/image/0?reference=nowhere", 404),
        (f"{BASE}/category/4", 404),
        (f"{BASE}/category/cat", 404),
        (f"{BASE}/category/0?at=nowhere", 404),
        (f"{BASE}/category/0?lead=nowhere", 400),
        (f"{BASE}/category/0?false_negatives_by=99", 404),
        (f"{BASE}/category/0?false_negatives_page=99", 400),
        (f"{BASE}/category/0?all_images=maybe", 400),
        (f"{BASE}/dataset/nowhere/confusion", 404),
        (f"{BASE}/dataset/clean/confusion?page=99", 400),
        (f"{BASE}/dataset/clean/confusion?labels=3", 400),
        (f"{BASE}/dataset/clean/confusion?labels=2-1", 400),
        (f"{BASE}/dataset/clean/confusion?labels=0-99", 400),
        (f"{BASE}/dataset/clean/confusion?labels=\u0660-\u0661", 400),
        (f"{BASE}/confusion/0/0", 404),
        (f"{BASE}/confusion/0/4", 404),
        (f"{BASE}/confusion/0/1?at=nowhere", 404),
        (f"{BASE}/confusion/0/1?at=clean&direction=up", 400),
        (f"{BASE}/compare?sort=up", 400),
        (f"{BASE}/compare?dataset=nowhere", 404),
        ("/store/-/search?model=nett&q=1", 404),
        ("/store/-/original/clean/60", 404),
        ("/store/-/original/nowhere/0", 404),
        ("/store/-/original/clean/x", 404),
        ("/nostore/-/search", 404),
    ],
)
def test_bad_addresses(web, address, status):
    """An address that can't be answered is a page that says why, with a link to go on; nothing of Python is in it."""
    answer = web.get(address, status=status)
    assert answer.headers["content-type"].startswith("text/html")
    assert "Traceback" not in answer.text
    assert Tables(answer.text).hrefs


def test_private_stores_are_private_here_too(make_site, store_path):
    """A database that a visitor may not view shows none of these pages, pictures or results."""
    closed = make_site(store_path, metadata={"databases": {"store": {"allow": {"id": "root"}}}})
    for address in [*PAGES, "/store/-/original/clean/0", "/store/-/random/mistake", "/store/-/random/neuron"]:
        answer = closed.run(closed.datasette.client.get(address))
        assert answer.status_code == 403, address


def test_empty_states(make_site, tmp_path):
    """A store without recordings, and one without labels, probabilities, pictures or a second dataset, say what is missing."""
    with dp.open(tmp_path / "empty.duckdb"):
        pass
    with dp.open(tmp_path / "bare.duckdb") as store:
        store.add_recording(
            model="net",
            dataset="only",
            activations={"fc": np.zeros((4, 2), np.float32)},
            predictions=[0, 1, 0, 1],
            categories=["a", "b"],
            progress=False,
        )
    web = make_site(tmp_path / "empty.duckdb", tmp_path / "bare.duckdb")
    assert "Nothing is recorded yet" in web.get("/empty/-/search").text
    web.get("/empty/-/random/neuron", status=404)
    base = "/bare/-/model/net"
    image = web.get(f"{base}/dataset/only/image/0").text
    assert "without probabilities" in image and "recorded without a picture" in image and "No neuron of fc responds" in image
    assert "None was recorded" in image and "unknown" in image
    assert "has a label" in web.get(f"{base}/dataset/only/confusion").text
    assert "There are none in only" in web.get(f"{base}/category/0").text
    assert "in any of these datasets" in web.get(f"{base}/confusion/0/1").text
    assert "nothing to compare" in web.get(f"{base}/compare", status=404).text
    web.get("/bare/-/random/mistake", status=404)
