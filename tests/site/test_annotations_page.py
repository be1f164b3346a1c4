"""Annotations on the site: everybody who may see the store reads them; only those whom Datasette allows write them."""

import csv
import html
import io
import re
import shutil
import urllib.parse
from pathlib import Path

import pytest

import deephys_sql as dp
from deephys_sql.annotations import Log

NEURON = {"subject": "neuron", "model": "net", "layer": "fc", "neuron": "2"}
MARKUP = "<script>alert(1)</script>"
ADDRESS = "/store/-/model/net/layer/fc/neuron/2"


@pytest.fixture
def path(store_path, tmp_path):
    """A store of one's own to write beside."""
    return Path(shutil.copy(store_path, tmp_path / "store.duckdb"))


@pytest.fixture
def open_site(path, new_site):
    """A site on it, where ada may annotate."""
    site = new_site(path, plugin={"annotate": {"id": ["ada"]}})
    site.datasette.root_enabled = True
    return site


def cookies(site, actor):
    return {} if actor is None else {"ds_actor": site.datasette.sign({"a": {"id": actor}}, "actor")}


def page(site, address, actor=None):
    """The text of a page, and the cookies that it sets."""
    response = site.run(site.datasette.client.get(address, cookies=cookies(site, actor)))
    assert response.status_code == 200, response.text[:1000]
    return response.text, dict(response.cookies)


def hidden(text):
    """The hidden fields of the form on a page, but for the token."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text.partition('class="annotate"')[2])
    return {name: html.unescape(value) for name, value in found if name != "csrftoken"}


def send(site, fields, actor="ada", *, address=ADDRESS, token=True, headers=None):
    """Post a form as a browser would that opened the page before."""
    given = cookies(site, actor)
    if token and not site.is_1:
        text, set_cookies = page(site, address, "ada")
        found = re.search(r'name="csrftoken" value="([^"]+)"', text)
        fields = {"csrftoken": found[1], **fields}
        given |= set_cookies
    return site.run(
        site.datasette.client.post("/store/-/annotate", data=fields, cookies=given, headers=headers or {}, follow_redirects=False)
    )


def test_what_is_written_on_a_page_is_shown_and_joined(open_site, path):
    """A neuron's form: judgement, tags and note; the page, tables, SQL page, CSV and library show them at once."""
    site = open_site
    assert "What people say" not in page(site, ADDRESS)[0]
    here = f"{ADDRESS}?k=50"
    said = {"judgement": "spurious", "tags": "grass , sky,", "note": f"fires for {MARKUP}\r\nand grass"}
    answer = send(site, NEURON | said | {"next": here})
    assert (answer.status_code, answer.headers["location"]) == (302, here + "#annotations")
    text, _ = page(site, ADDRESS)
    assert "What people say of this neuron" in text and '<b class="judgement">spurious</b>' in text and "<form method" not in text
    assert MARKUP not in text and "fires for &lt;script&gt;" in text
    with dp.open(path, read_only=True) as store:
        found = store.sql("select judgement, note, tags, author from annotation").fetchall()
    assert found == [("spurious", f"fires for {MARKUP}\nand grass", ["grass", "sky"], "ada")]
    (row,) = site.rows("/store/annotation.json")
    assert (row["model"], row["neuron"], row["judgement"], row["tags"]) == ("net", 2, "spurious", '["grass", "sky"]')
    assert site.sql("select count(*) as n from annotation where judgement = 'spurious'")["rows"] == [{"n": 1}]
    export = site.get("/store/-/export.csv", sql="select neuron, judgement from annotation").text
    assert list(csv.reader(io.StringIO(export))) == [["neuron", "judgement"], ["2", "spurious"]]
    assert site.rows("/store/accuracy_by_judgement.json", model="net", layer="fc")


def test_the_newest_is_shown_to_everybody(open_site, path):
    """Entries that come later, from the page or another process, are in pages, counts and visitors' SQL from then on."""
    site = open_site
    count = "select count(*) as n, max(note) as note from annotation"
    with dp.open(path, read_only=True) as store:
        for number in range(3):
            store.annotate(model="net", layer="fc", neuron=number, note=f"note {number}", author="eve")
            assert site.sql(count)["rows"] == [{"n": number + 1, "note": f"note {number}"}]
            assert len(site.rows("/store/annotation.json")) == number + 1
            assert f"note {number}" in page(site, f"/store/-/model/net/layer/fc/neuron/{number}")[0]
        store.annotate(model="net", layer="fc", neuron=0, withdraw=True, author="eve")
    assert site.sql(count)["rows"] == [{"n": 2, "note": "note 2"}]
    assert "What people say" not in page(site, "/store/-/model/net/layer/fc/neuron/0")[0]
    assert len(site.rows("/store/annotation_history.json")) == len(site.rows("/store/stored_annotation.json", _sort="author")) == 4


@pytest.mark.parametrize("in_process", [False, True])
def test_visitors_sql_reads_them_and_writes_nothing(path, new_site, in_process):
    """In the child process as in the server's: what is written beside the store is joined; the file and its memory can't be changed."""
    site = new_site(path, plugin={"sandbox": not in_process})
    with dp.open(path, read_only=True) as store:
        store.annotate(model="net", layer="fc", neuron=2, judgement="core", author="eve")
    joined = "select s.neuron, a.judgement from neuron_score as s join annotation as a using (model, layer, neuron)"
    assert site.sql(joined)["rows"] == [{"neuron": 2, "judgement": "core"}]
    for statement in (
        "delete from annotation",
        "drop view stored_annotation",
        "insert into annotations_beside.main.entry select * from stored_annotation",
        "select * from sqlite_scan('store.duckdb.annotations.sqlite', 'entry')",
        "attach 'store.duckdb.annotations.sqlite'",
    ):
        site.sql(statement, status=400)
    assert site.sql("select count(*) as n from annotation_history")["rows"] == [{"n": 1}]


def test_who_may_write(open_site, path):
    """Nobody but those who are allowed, and root: others see no form, and what they send is refused."""
    site = open_site
    for actor, may in ((None, False), ("eve", False), ("ada", True), ("root", True)):
        assert ('<form method="post"' in page(site, ADDRESS, actor)[0]) == may
        answer = send(site, NEURON | {"note": f"by {actor}"}, actor)
        assert answer.status_code == (302 if may else 403), (actor, answer.text[:500])
    with dp.open(path, read_only=True) as store:
        assert store.sql("select author from annotation order by 1").fetchall() == [("ada",), ("root",)]


def test_nobody_may_write_unless_it_is_said(path, new_site):
    """Without configuration only root may."""
    site = new_site(path)
    assert "<form method" not in page(site, ADDRESS, "ada")[0] and "<form method" not in page(site, ADDRESS)[0]
    assert not Log(path).path.exists()


def test_forged_forms(open_site, path):
    """A form without the token (0.65), or from another site (1.0), is refused, though the browser sends the cookie."""
    site = open_site
    headers = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    given = cookies(site, "ada") | ({} if site.is_1 else {"ds_csrftoken": "made up"})
    answer = site.run(site.datasette.client.post("/store/-/annotate", data=NEURON | {"note": "x"}, cookies=given, headers=headers))
    assert answer.status_code == 403
    assert site.run(site.datasette.client.get("/store/-/annotate", cookies=cookies(site, "ada"))).status_code == 405
    with dp.open(path, read_only=True) as store:
        assert store.annotations(history=True).fetchall() == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (NEURON | {"judgement": ""}, "nothing is said"),
        (NEURON | {"neuron": "6", "note": "x"}, "no such neuron"),
        (NEURON | {"neuron": "-1", "note": "x"}, "no such neuron"),
        (NEURON | {"neuron": "2; drop table entry", "note": "x"}, "no such neuron"),
        (NEURON | {"model": "' or 1=1 --", "note": "x"}, "no such neuron"),
        ({"subject": "neuron", "note": "x"}, "no such neuron"),
        ({"subject": "planet", "note": "x"}, "no such neuron"),
        ({"note": "x"}, "no such neuron"),
        ({"subject": "image", "model": "net", "dataset": "clean", "image": "60", "note": "x"}, "no such neuron"),
        ({"subject": "image", "model": "net", "dataset": "nowhere", "image": "6", "note": "x"}, "no such neuron"),
        ({"subject": "images", "model": "net", "dataset": "clean", "label": "0", "predicted": "9", "note": "x"}, "no such neuron"),
        (NEURON | {"note": "x" * 10_001}, "at most 10,000"),
        (NEURON | {"judgement": "a\nb"}, "can&#39;t be printed"),
        (NEURON | {"tags": ",".join(f"t{i}" for i in range(60))}, "at most 50 tags"),
        (NEURON | {"withdraw": "1"}, "could be withdrawn"),
    ],
)
def test_what_cannot_be_kept(open_site, path, fields, says):
    """Is told on a page with a way back, and nothing is written."""
    answer = send(open_site, fields)
    assert answer.status_code == 400 and says in answer.text, answer.text[:3000]
    with dp.open(path, read_only=True) as store:
        assert store.annotations(history=True).fetchall() == []


def test_a_form_that_is_too_long(open_site):
    """More than a form can hold is refused before it is read."""
    assert send(open_site, NEURON | {"note": "x" * 300_000}).status_code == 413


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/other", "/store/-//evil", "/store/-/x\r\nset-cookie: a=b", ""]
)
def test_nobody_is_led_elsewhere(open_site, elsewhere):
    """The address to go back to is a page of this store."""
    answer = send(open_site, NEURON | {"note": "x", "next": elsewhere})
    assert answer.status_code == 302 and answer.headers["location"].startswith("/store/-/home")


def test_own_words_are_filled_in_and_can_be_taken_back(open_site):
    """The form holds what this visitor says; saving an empty field takes it back; the button takes all back; history stays."""
    site = open_site
    send(site, NEURON | {"judgement": "core", "note": "a first word", "tags": "a,b"})
    send(site, NEURON | {"note": "of root"}, "root")
    text, _ = page(site, ADDRESS, "ada")
    assert 'value="core"' in text and 'value="a, b"' in text and ">\na first word</textarea>" in text and "of root" in text
    send(site, NEURON | {"judgement": "core", "note": "", "tags": ""})
    text, _ = page(site, ADDRESS, "ada")
    assert "a first word" not in text and "2 entries" in text
    send(site, NEURON | {"withdraw": "1", "note": "ignored"})
    text, _ = page(site, ADDRESS, "ada")
    assert "of root" in text and '<b class="judgement">' not in text
    history = site.rows("/store/annotation_history.json", author="ada", _sort="written_at")
    assert [(row["judgement"], row["note"], row["withdrawn"]) for row in history] == [
        ("core", "a first word", 0),
        ("core", None, 0),
        ("core", None, 1),
    ]


def test_images_and_sets_have_forms_too(open_site, path):
    """On the page of an image, and on that of all images with a label and a prediction, whose set is named so; it shows on its images."""
    site = open_site
    dataset = "Night & Fog/ö, 100%"
    with dp.open(path, read_only=True) as store:
        query = "select label, predicted, list(image order by image) from prediction where dataset = $d and label != predicted group by all order by len(list(image)) desc, 1, 2 limit 1"  # noqa: E501
        label, predicted, images = store.sql(query, d=dataset).fetchall()[0]
    quoted = re.sub(r"%", "~", urllib.parse.quote(dataset, safe=""))
    image = f"/store/-/model/net/dataset/{quoted}/image/{images[0]}"
    form = hidden(page(site, image, "ada")[0])
    assert (form["subject"], form["image"]) == ("image", str(images[0]))
    answer = send(site, form | {"note": "an image"}, address=ADDRESS)
    assert answer.status_code == 302 and answer.headers["location"].startswith(image)
    several = f"/store/-/model/net/confusion/{label}/{predicted}?" + urllib.parse.urlencode({"at": dataset, "direction": "a_as_b"})
    form = hidden(page(site, several, "ada")[0])
    assert send(site, form | {"judgement": "unclear"}).status_code == 302
    with dp.open(path, read_only=True) as store:
        found = store.sql("select subject, dataset, image, images, judgement, note from annotation order by written_at").fetchall()
    assert found == [("image", dataset, images[0], [images[0]], None, "an image"), ("images", dataset, None, images, "unclear", None)]
    assert "unclear" in page(site, several)[0]
    text, _ = page(site, image)
    assert "an image" in text and "unclear" in text and "taken for" in text


def test_a_damaged_file_does_not_end_the_site(open_site, path, capsys):
    """Pages go on without annotations, standard error says why, and writing is answered with what is wrong."""
    Log(path).path.write_bytes(b"no database, but long enough to be looked at " * 50)
    assert "What people say of this neuron" in page(open_site, ADDRESS, "ada")[0]
    assert open_site.sql("select 1 as x")["rows"] == [{"x": 1}]
    assert "can't be read or written" in capsys.readouterr().err
    answer = send(open_site, NEURON | {"note": "x"})
    assert answer.status_code == 503 and "could not be kept" in answer.text


def test_the_page_of_a_model_shows_its_runs(path, new_site, tmp_path):
    """Names, parameters and last metrics, escaped; a model without runs has no such block."""
    (tmp_path / "other").mkdir()
    other = shutil.copy(path, tmp_path / "other" / "store.duckdb")
    assert "Runs of this model" not in new_site(other).get("/store/-/model/net").text
    rows = [f'a,"{MARKUP}",net,{step},0.1,{loss},x' for step, loss in ((1, 0.5), (2, 0.25))]
    (tmp_path / "runs.csv").write_text("\n".join(["run,name,model,step,lr,loss,tags.note", *rows]))
    with dp.open(path) as store:
        store.add_experiments(tmp_path / "runs.csv", progress=False)
    site = new_site(path)
    text = site.get("/store/-/model/net").text
    assert "Runs of this model" in text and "loss = 0.25" in text and "note = x" in text and "&lt;script&gt;" in text and MARKUP not in text
    assert site.rows("/store/experiment_wide.json")[0]["metric_loss"] == 0.25
    assert site.rows("/store/experiment_param.json", run="a")[0]["model"] == "net"
