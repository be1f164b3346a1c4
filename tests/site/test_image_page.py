"""The page of an image shows the numbers that SQL gives; originals are served as what they are."""

import io
import re

import duckdb
import numpy as np
import pytest
from PIL import Image
from reading import BASE, ENCODED, NIGHT, Tables, said, texts

import deephys_sql as dp
from deephys_sql.site.pages import html as pieces


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


def test_save_as_png(web, make_site, truth, tmp_path):
    """The page offers every picture as PNG: the pixels of the original where it was kept, else of the thumbnail; else there is none."""
    page = Tables(web.get(f"{BASE}/dataset/clean/image/3").text)
    (link,) = [given for tag, given in page.tags if tag == "a" and "download" in given]
    assert link["download"] == "clean-3.png"
    answer = web.get(link["href"])
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'attachment; filename="image-3.png"'
    (kept,) = truth.execute("select original from image where dataset = 'clean' and image = 3").fetchone()
    with Image.open(io.BytesIO(answer.content)) as saved, Image.open(io.BytesIO(kept)) as wanted:
        assert saved.format == "PNG" and saved.size == wanted.size
        assert saved.convert("RGB").tobytes() == wanted.convert("RGB").tobytes()
    web.get("/store/-/original/clean/3?format=bmp", status=400)
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    with dp.open(tmp_path / "odd.duckdb") as store:
        for dataset, images in (("none", None), ("small", np.zeros((1, 8, 8, 3), np.uint8))):
            store.add_recording(
                model="net",
                dataset=dataset,
                activations={"fc": np.ones((1, 2))},
                predictions=[0],
                categories=["a"],
                images=images,
                progress=False,
            )
    with duckdb.connect(str(tmp_path / "odd.duckdb")) as connection:
        thumbnails = dict(connection.execute("select dataset, thumbnail from image").fetchall())
        connection.execute("update stored_image set original = ? where thumbnail is not null", [bomb.getvalue()])
    odd = make_site(tmp_path / "odd.duckdb")
    with (
        Image.open(io.BytesIO(odd.get("/odd/-/original/small/0?format=png").content)) as saved,
        Image.open(io.BytesIO(thumbnails["small"])) as wanted,
    ):
        assert saved.size == wanted.size == (8, 8), "what would take too much memory is not opened"
    odd.get("/odd/-/original/none/0?format=png", status=404)
    assert "save as PNG" not in odd.get("/odd/-/model/net/dataset/none/image/0").text


def test_images_a_neuron(web, truth):
    """`pictures` chooses how many top images stand beside each neuron; links and the form carry it on."""
    address = f"{BASE}/dataset/clean/image/3?layer=fc"
    for count in (4, 18):
        page = Tables(web.get(address, pictures=count).text)
        (rows,) = page.of("by-neuron")
        for row in rows[1:]:
            wanted = truth.execute(
                "select count(*) from top_image where layer = 'fc' and dataset = 'clean' and neuron = ? and rank <= ?",
                [int(texts(row)[0]), count],
            ).fetchone()[0]
            assert len(row[2]["hrefs"]) == wanted and all(f"pictures={count}" in href for href in row[2]["hrefs"])
        assert f"<option selected>{count}</option>" in web.get(address, pictures=count).text
    web.get(address, status=400, pictures=19)


def test_activations_in_place_of_responses(web, truth):
    """With `normalise=none` an image's neurons are shown with its activations, in the same order."""
    rows, plain = (
        Tables(web.get(f"{BASE}/dataset/clean/image/3", layer="fc", **more).text).of("by-neuron")[0] for more in ({"normalise": "none"}, {})
    )
    values = dict(truth.execute("select neuron, value from activation where layer = 'fc' and dataset = 'clean' and image = 3").fetchall())
    assert [texts(row)[0] for row in rows[1:]] == [texts(row)[0] for row in plain[1:]]
    assert [texts(row)[1] for row in rows[1:]] == [pieces.number(values[int(texts(row)[0])]) for row in rows[1:]]
    assert all("normalise=none" in row[0]["hrefs"][0] for row in rows[1:])
