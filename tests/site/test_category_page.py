"""The page of a category shows the numbers that SQL gives, and every mistake."""

import html
import re
import urllib.parse

import pytest
from reading import BASE, NIGHT, Tables, images_in, mean_responses, said, texts

from deephys_sql.site.pages import html as pieces


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


def test_neurons_of_mistakes(web, truth):
    """The top neurons beside false negatives and positives have the largest mean response over exactly those images."""
    page = Tables(web.get(f"{BASE}/category/1", layer="fc", dataset=NIGHT, neurons=1).text)
    tables = page.of("by-neuron")[1:]
    alone = web.get(f"{BASE}/category/1", layer="fc", dataset=NIGHT)
    parts = [html.unescape(address) for address in re.findall(r'data-src="([^"]*)"', alone.text)]
    assert [Tables(web.get(part).text).of("by-neuron")[0] for part in parts] == tables
    assert len(Tables(alone.text).of("by-neuron")) == 1
    conditions = ("p.label = 1 and p.predicted != 1", "p.label != 1 and p.predicted = 1")
    for rows, condition in zip(tables, conditions, strict=True):
        means = {neuron: mean for neuron, mean in mean_responses(truth, NIGHT, condition).items() if mean}
        best = sorted(means, key=lambda neuron: (-means[neuron], neuron))[:5]
        assert [texts(row)[0] for row in rows[1:]] == list(map(str, best))
        assert [texts(row)[2] for row in rows[1:]] == [said(means[neuron]) for neuron in best]


def test_activations_in_place_of_responses(web, truth):
    """With `normalise=none` the table of neurons shows means of max(activation, 0), in the order of responses."""
    largest = dict(truth.execute("select neuron, max from neuron_summary where layer = 'fc' and dataset = 'clean'").fetchall())
    responses = mean_responses(truth, NIGHT, "p.label = 2")
    rows, plain = (
        Tables(web.get(f"{BASE}/category/2", layer="fc", lead=NIGHT, **more).text).of("by-neuron")[0]
        for more in ({"normalise": "none"}, {})
    )
    assert [texts(row)[0] for row in rows[1:]] == [texts(row)[0] for row in plain[1:]] != []
    for row in rows[1:]:
        neuron = int(texts(row)[0])
        assert texts(row)[2] == pieces.number(responses[neuron] * largest[neuron])


SHOWN = ["category/2", "confusion/0/2", "dataset/clean/image/3", "layer/fc/neuron/0"]


@pytest.mark.parametrize("address", SHOWN)
def test_how_pages_show(web, address):
    """The size of pictures and the number of digits are in the address: the page obeys, its form shows them, its links carry them on."""
    chosen = {"size": "large", "digits": "5", "normalise": "none", "layer": "fc"}
    answer = web.get(f"{BASE}/{address}", **chosen)
    page = Tables(answer.text)
    (body,) = [given for tag, given in page.tags if tag == "body"]
    assert "size-large" in body["class"].split()
    assert 'style="' not in answer.text and "<style" not in answer.text
    for one in ("large", "5"):
        assert f"<option selected>{one}</option>" in answer.text
    assert '<option value="none" selected>' in answer.text
    own = [href for href in page.hrefs if "/model/net/dataset/" in href and "/image/" in href]
    for href in own:
        carried = dict(urllib.parse.parse_qsl(href.partition("?")[2]))
        assert {name: carried.get(name) for name in ("size", "digits", "normalise")} == {
            "size": "large",
            "digits": "5",
            "normalise": "none",
        }
    plain = Tables(web.get(f"{BASE}/{address}", layer="fc").text)
    assert not any(given.get("class", "").startswith("deephys size-") for tag, given in plain.tags if tag == "body")
    assert not any("digits" in href for href in plain.hrefs)
    for name, wrong in (("size", "huge"), ("digits", "0"), ("digits", "8"), ("normalise", "maximum")):
        web.get(f"{BASE}/{address}", status=400, **{name: wrong})


def test_digits(web, truth):
    """Activations, shares and scores have as many significant digits, or decimal places, as the address says."""
    (value,) = truth.execute("select max from neuron_summary where layer = 'conv/1' and neuron = 0 and dataset = 'clean'").fetchone()
    for digits in (2, 6):
        text = web.get(f"{BASE}/layer/conv~2F1/neuron/0", digits=digits).text
        assert f"<dd>{value:#.{digits}g}</dd>" in text
    for share, digits, wanted in (
        (0.8786432, 4, "87.86 %"),
        (0.8786432, 1, "88 %"),
        (1.0, 3, "100 %"),
        (0.0001234, 2, "0.012 %"),
        (0, 5, "0 %"),
    ):
        token = pieces.chosen_digits.set(digits)
        try:
            shown = " ".join(pieces.percent(share).split())
        finally:
            pieces.chosen_digits.reset(token)
        assert shown == wanted
