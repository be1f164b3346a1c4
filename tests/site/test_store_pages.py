"""Home, layer and neuron page: the numbers are those of SQL, links lead somewhere, and nothing that a store holds does harm."""

import asyncio
import html.parser
import re
import time
import urllib.parse

import numpy as np
import pyarrow as pa
import pytest
from datasette.database import QueryInterrupted
from datasette.utils import tilde_encode

import deephys_sql as dp
from deephys_sql import scores
from deephys_sql.site import charts
from deephys_sql.site.database import StoreDatabase
from deephys_sql.site.pages.html import fixed, media_type, percent

NIGHT = "Night & Fog/ö, 100%"
BASE = "/store/-"
MODEL = f"{BASE}/model/net"
HOSTILE = 'a/b "c\'d" <script>alert(1)</script> ö ~2F %2F ?x=1#y ../.. & {{7*7}}'


class Document(html.parser.HTMLParser):
    """What a page holds: elements with their attributes, the text, and the cells of tables."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self._in_cell = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data

    def addresses(self):
        return [attributes[name] for _, attributes in self.elements for name in ("href", "src", "action") if attributes.get(name)]

    def said(self):
        return " ".join(" ".join(self.text).split())


def rows_of(document):
    """The cells of a table's body, their spaces joined."""
    return [[re.sub(r"[ \n]+", " ", cell).strip(" \n") for cell in row] for row in document.rows[1:]]


def all_rows(truth, sql, *values):
    return truth.cursor().execute(sql, values).fetchall()


def open_page(site, address, status=200, **query):
    return Document(site.get(address, status=status, **query).text)


def check_harmless(document):
    """No script, style, handler or address but those of this site; pictures are pictures."""
    for tag, attributes in document.elements:
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        if tag == "script":
            assert attributes["src"].startswith("/-/deephys-sql/")
        if tag == "img":
            assert re.match(r"data:image/(png|jpeg|gif|webp);base64,|/", attributes["src"])
            assert attributes["alt"]
        for name in ("href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#")), attributes
    assert "alert(1)" not in [text.strip() for text in document.text if text.strip() == "alert(1)"]


# Numbers.


@pytest.mark.parametrize("layer", ["fc", "conv/1"])
@pytest.mark.parametrize("k", [10, 30])
def test_neuron_page_shows_the_top_images_of_sql(site, truth, layer, k):
    """In every dataset the same images in the same order as top_image, each with its label, and wrong predictions marked."""
    for neuron in range(3):
        text = site.get(f"{MODEL}/layer/{tilde_encode(layer)}/neuron/{neuron}", k=k).text
        sets = text.split('<section class="panel set')[1:]
        assert len(sets) == 2
        for part, dataset in zip(sets, ("clean", NIGHT)):
            part = part.partition("</section>")[0]
            cards = re.findall(r'<a class="card \w+( wrong)?" href="[^"]*/image/(\d+)[^"]*"', part)
            expected = all_rows(
                truth,
                "select label is not null and label != predicted, image from top_image "
                "where model = 'net' and layer = ? and neuron = ? and dataset = ? and rank <= ? order by rank",
                layer, neuron, dataset, k,
            )  # fmt: skip
            assert [(bool(wrong), int(image)) for wrong, image in cards] == expected


def test_neuron_page_shows_the_scores_of_sql(site, truth):
    """Activation ratio, spurious and novelty are those of neuron_score; without a score the reason is said."""
    for neuron in range(6):
        ratio, spurious, novelty, reason = all_rows(
            truth,
            "select activation_ratio, spurious, novelty, reason from neuron_score where layer = 'fc' and neuron = ? and dataset = ?",
            neuron, NIGHT,
        )[0]  # fmt: skip
        text = site.get(f"{MODEL}/layer/fc/neuron/{neuron}").text
        other = text.split('<section class="panel set')[2]
        shown = dict(re.findall(r"<dt[^>]*>([^<]*)</dt><dd>([^<]*)", other))
        assert shown["activation ratio"] == percent(ratio).replace("<", "&lt;")
        assert shown["spurious"] == fixed(spurious)
        assert shown["novelty"] == fixed(novelty)
        assert (reason is not None) == ("<small>silent" in other or "<small>constant" in other or "<small>fewer" in other)


def test_neuron_page_shows_the_category_responses_of_sql(site, truth):
    """Each category with the mean response of both datasets, the largest first."""
    document = open_page(site, f"{MODEL}/layer/conv~2F1/neuron/1")
    expected = {}
    for name, dataset, response in all_rows(
        truth, "select category_name, dataset, response from category_response where layer = 'conv/1' and neuron = 1"
    ):
        expected.setdefault(name, {})[dataset] = percent(response)
    assert {row[0]: {"clean": row[1], NIGHT: row[2]} for row in rows_of(document)} == expected
    largest = [max(float(cell.rstrip("\N{NO-BREAK SPACE}%")) for cell in row[1:]) for row in rows_of(document)]
    assert largest == sorted(largest, reverse=True)


def test_another_reference_measures_anew(site, truth):
    """With ?reference= scores and responses are those of scores(..., reference), and links carry it on."""
    text = site.get(f"{MODEL}/layer/conv~2F1/neuron/2", reference=NIGHT).text
    sets = text.split('<section class="panel set')[1:]
    assert f">{NIGHT.replace('&', '&amp;')}</span>" in sets[0] and ">clean</span>" in sets[1]
    ratio, spurious, novelty = all_rows(
        truth, "select activation_ratio, spurious, novelty from scores('net', 'conv/1', 'clean', ?) where neuron = 2", NIGHT
    )[0]
    shown = dict(re.findall(r"<dt[^>]*>([^<]*)</dt><dd>([^<]*)", sets[1]))
    assert (shown["activation ratio"], shown["spurious"], shown["novelty"]) == (percent(ratio), fixed(spurious), fixed(novelty))
    following = [attributes["href"] for tag, attributes in Document(text).elements if attributes.get("id") == "previous"]
    assert following and "reference=Night+%26+Fog" in following[0]


def test_what_is_kept_is_computed_once_without_haste(new_site, store_path, monkeypatch):
    """Scores against another reference are computed once for all who ask at the same time, and longer than other queries may take."""
    limits = []
    run = StoreDatabase.query

    async def watched(self, sql, parameters=None, **options):
        if "title: All neurons of a layer" in sql:
            limits.append(options["time_limit_ms"])
        return await run(self, sql, parameters, **options)

    monkeypatch.setattr(StoreDatabase, "query", watched)
    opened = new_site(store_path)
    address = f"{MODEL}/layer/fc?reference={urllib.parse.quote_plus(NIGHT)}"

    async def ask():
        return await asyncio.gather(*(opened.datasette.client.get(address) for _ in range(3)))

    assert [answer.status_code for answer in opened.run(ask())] == [200, 200, 200]
    assert len(limits) == 1
    assert limits[0] > opened.datasette.sql_time_limit_ms


def test_the_sql_shown_gives_the_scores_that_were_computed(new_site, store_path, truth, monkeypatch):
    """Against another reference scores are computed once a dataset, beforehand, and any client gets the same rows from the page's SQL."""
    asked, computed = [], []
    run, compute = StoreDatabase.query, scores.compute

    async def watched(self, sql, parameters=None, **options):
        found = await run(self, sql, parameters, **options)
        if options.get("computed") is not None:
            asked.append((sql, parameters, [tuple(row) for row in found.rows]))
        return found

    monkeypatch.setattr(StoreDatabase, "query", watched)
    monkeypatch.setattr(scores, "compute", lambda connection, one: computed.append(one) or compute(connection, one))
    opened = new_site(store_path)
    for layer in ("fc", "conv~2F1"):
        for page in ("", "/neuron/1", "/neuron/2"):
            opened.get(f"{MODEL}/layer/{layer}{page}", reference=NIGHT)
        opened.get(f"{MODEL}/layer/{layer}")  # kept in the store
    assert len(computed) == len(set(computed)) == 2 * (len(all_rows(truth, "select * from recording where model = 'net'")) - 1)
    assert len(asked) >= 6
    for sql, parameters, rows in asked:
        assert [repr(row) for row in truth.execute(sql, parameters).fetchall()] == [repr(row) for row in rows]


def test_scores_end_at_the_time_limit(site, truth, monkeypatch):
    """What is computed outside of DuckDB is ended too when it takes too long."""
    ended = []

    def endless(connection, asked):
        try:
            while True:
                time.sleep(0.01)
                yield pa.table({})
        finally:
            ended.append(asked)

    database = site.datasette.databases["store"]
    monkeypatch.setattr(scores, "compute", endless)
    with pytest.raises(QueryInterrupted):
        site.run(database.scores("net", "fc", "clean", NIGHT, time_limit_ms=50))
    assert len(ended) == 1


def test_another_reference_of_a_layer_that_others_lack(new_site, tmp_path):
    """Pages of a layer that some datasets were recorded without, the reference or others, are there, and show what there is."""
    random = np.random.default_rng(0)
    with dp.open(tmp_path / "part.duckdb") as store:
        for name, layers in {"day": ["fc", "conv"], "night": ["fc", "conv"], "noon": ["fc"]}.items():
            store.add_recording(
                model="net",
                dataset=name,
                activations={layer: random.random((6, 8)) for layer in layers},
                labels=range(6),
                predictions=range(6),
                categories=list("abcdef"),
                progress=False,
            )
    site = new_site(tmp_path / "part.duckdb")
    for layer in ("fc", "conv"):
        for reference in ("day", "night", "noon"):
            assert layer in site.get(f"/part/-/model/net/layer/{layer}", reference=reference, dataset="noon").text
            site.get(f"/part/-/model/net/layer/{layer}/neuron/1", reference=reference)
    assert "Density of spurious over the neurons of fc, for day, noon" in site.get("/part/-/model/net/layer/fc", reference="night").text
    assert "Density of spurious over the neurons of conv, for day" in site.get("/part/-/model/net/layer/conv", reference="night").text


@pytest.mark.parametrize("sort", ["spurious", "novelty", "response_loss", "activation_ratio", "share_positive", "max", "neuron"])
@pytest.mark.parametrize("order", ["descending", "ascending"])
def test_layer_page_ranks_as_sql_does(site, truth, sort, order):
    """Neurons stand in the order of the score, NULLs last, ties to the lower neuron; each with its numbers."""
    document = open_page(site, f"{MODEL}/layer/fc", sort=sort, order=order)
    direction = "desc" if order == "descending" else "asc"
    table = "n" if sort in ("share_positive", "max") else "s"
    expected = all_rows(
        truth,
        "select s.neuron, s.spurious, s.novelty, s.response_loss, s.activation_ratio, n.share_positive from neuron_score as s "
        "join neuron_summary as n using (model, layer, neuron, dataset) "
        f"where s.layer = 'fc' and s.dataset = ? order by {table}.{sort} {direction} nulls last, neuron",
        NIGHT,
    )
    rows = rows_of(document)
    assert [int(row[0].split()[-1]) for row in rows] == [row[0] for row in expected]
    for row, (_, spurious, novelty, loss, ratio, share) in zip(rows, expected):
        assert row[3] == fixed(spurious) or spurious is None
        assert row[4:] == [fixed(novelty), fixed(loss), percent(ratio), percent(share)]


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ({"sort": "spurious", "min": "0.3", "max": "0.8"}, "spurious between 0.3 and 0.8"),
        ({"sort": "response_loss", "max": "0"}, "response_loss <= 0"),
        ({"state": "silent"}, "reason = 'silent_in_reference'"),
        ({"state": "scored"}, "spurious is not null"),
        ({"state": "constant"}, "reason = 'constant'"),
    ],
)
def test_layer_page_filters(site, truth, query, condition):
    """Filters on a score and on the state leave the neurons that SQL leaves; none is said with the way back."""
    document = open_page(site, f"{MODEL}/layer/fc", **query)
    expected = all_rows(truth, f"select neuron from neuron_score where layer = 'fc' and dataset = ? and {condition}", NIGHT)
    assert {int(row[0].split()[-1]) for row in rows_of(document)} == {neuron for (neuron,) in expected}
    assert bool(expected) != ("No neuron is like that." in document.said())


def test_layer_page_shows_a_part_of_the_scatter(site, truth):
    """`within` leaves the neurons whose spurious and response loss lie in it, in the table and in the chart."""
    everything = all_rows(
        truth,
        "select neuron, spurious, response_loss from neuron_score where layer = 'conv/1' and dataset = ? and spurious is not null",
        NIGHT,
    )

    def shown(*within):
        document = open_page(site, f"{MODEL}/layer/conv~2F1", within=",".join(f"{one:.6f}" for one in within))
        neurons = {int(row[0].split()[-1]) for row in rows_of(document)}
        return neurons, sum(tag == "circle" for tag, _ in document.elements)

    assert shown(-9, 9, -9, 9) == ({row[0] for row in everything}, len(everything))
    for neuron, spurious, loss in everything:
        assert shown(spurious - 1e-5, spurious + 1e-5, loss - 1e-5, loss + 1e-5) == ({neuron}, 1)
    assert shown(5, 6, 5, 6) == (set(), 0)


def test_layer_page_filters_by_category(site, truth):
    """A category leaves the neurons that fire for it most in one of the two datasets."""
    strongest = (
        "select neuron from category_response where layer = 'conv/1' and response > 0 "
        "qualify row_number() over (partition by neuron, dataset order by response desc, category) = 1 and category = 2"
    )
    document = open_page(site, f"{MODEL}/layer/conv~2F1", category=2)
    assert {int(row[0].split()[-1]) for row in rows_of(document)} == {neuron for (neuron,) in all_rows(truth, strongest)}


def test_layer_page_is_paged(new_site, tmp_path):
    """50 neurons a page, every neuron on one page only; a page too far says so."""
    rng = np.random.default_rng(1)
    with dp.open(tmp_path / "store.duckdb") as store:
        for dataset in ("a", "b"):
            store.add_recording(
                model="net", dataset=dataset, activations={"wide": rng.random((20, 120), np.float32)},
                logits=rng.random((20, 4), np.float32),
                labels=np.arange(20) % 4, categories=list("wxyz"), progress=False,
            )  # fmt: skip
    site = new_site(tmp_path / "store.duckdb")
    seen = [int(row[0].split()[-1]) for page in (1, 2, 3) for row in rows_of(open_page(site, f"{MODEL}/layer/wide", page=page))]
    assert sorted(seen) == list(range(120)) and len(set(seen)) == 120
    assert "only 3 pages" in open_page(site, f"{MODEL}/layer/wide", page=4).said()


def test_home_shows_accuracy_and_what_stands_out(site, truth):
    """The accuracy of every dataset, the most frequent mistakes, and the neurons with the highest scores, as SQL has them."""
    document = open_page(site, f"{BASE}/home")
    shown = {row[0].split(" reference")[0].split(" shown")[0]: row[1] for row in rows_of(document)}
    assert shown == {name: percent(accuracy, 2) for name, accuracy in all_rows(truth, "select dataset, accuracy from dataset_accuracy")}
    pairs = [
        re.search(r"/confusion/(\d+)/(\d+)", address).groups() for address in document.addresses() if re.search(r"/confusion/\d", address)
    ]
    expected = all_rows(
        truth,
        "select label, predicted from confusion where dataset = ? and label != predicted order by images desc, label, predicted limit 6",
        NIGHT,
    )
    assert [(int(a), int(b)) for a, b in pairs] == expected
    for score in ("spurious", "novelty"):
        found = [int(n) for n in re.findall(rf'class="who" href="[^"]*/neuron/(\d+)\?sort={score}"', site.get(f"{BASE}/home").text)]
        top = all_rows(  # of the last layer that isn't the output
            truth,
            f"select neuron from neuron_score where layer = 'conv/1' and dataset = ? and {score} is not null "
            f"order by {score} desc, neuron limit 4",
            NIGHT,
        )
        assert found == [neuron for (neuron,) in top]


def test_home_leads_to_every_layer(site, new_site, tmp_path):
    """What stands out is shown of any layer, and every layer is linked, also where there is one dataset only."""
    text = site.get(f"{BASE}/home").text
    assert 'aria-current="true">conv/1</a>' in text
    (address,) = (href for href, name in re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', text) if name == "fc")
    other = site.get(address.replace("&amp;", "&")).text
    assert 'aria-current="true">fc</a>' in other and "all 6 of fc" in other and "all 3 of conv/1" in text
    with dp.open(tmp_path / "store.duckdb") as store:
        given = {"activations": {"a": np.eye(3), "b": np.eye(3)}, "logits": np.eye(3), "progress": False}
        store.add_recording(model="net", dataset="only", **given)
    text = new_site(tmp_path / "store.duckdb").get(f"{BASE}/home").text
    assert all(f"/model/net/layer/{name}" in text for name in ("a", "b", "output"))


def test_examples_across_the_range_are_those_of_sql(site, truth):
    """Lowest and highest are the neuron's extremes, ties to the lower image; negative activations count."""
    text = site.get(f"{MODEL}/layer/fc/neuron/0/examples").text
    assert text == site.get(f"{MODEL}/layer/fc/neuron/0/examples").text
    for dataset, part in zip(("clean", NIGHT), text.split('<div class="range-row')[1:]):
        images = [int(image) for image in re.findall(r'<a class="card[^>]* href="[^"]*/image/(\d+)', part)]
        order = all_rows(
            truth, "select image from activation where layer = 'fc' and neuron = 0 and dataset = ? order by value, image", dataset
        )
        assert images[:3] == [image for (image,) in order[:3]]
        highest = all_rows(
            truth, "select image from activation where layer = 'fc' and neuron = 0 and dataset = ? order by value desc, image", dataset
        )
        assert images[-3:] == [image for (image,) in highest[:3]]


# Addresses.


def test_every_link_leads_somewhere(site):
    """From home, layer and neuron page every address of this site answers, pictures, styles, SQL pages and exports too."""
    todo = [
        f"{BASE}/home",
        f"{MODEL}",
        f"{MODEL}/layer/fc",
        f"{MODEL}/layer/conv~2F1/neuron/0?sort=novelty&k=10",
        f"{MODEL}/layer/fc/neuron/1",
    ]
    seen = {}
    for start in todo:
        document = open_page(site, start)
        check_harmless(document)
        for address in document.addresses():
            if address.startswith("data:") or address.startswith("#"):
                continue
            kind = re.sub(r"\d+", "0", address.partition("?")[0]), tuple(sorted(re.findall(r"[?&](\w+)=", address)))
            if kind not in seen:
                seen[kind] = site.get(address.partition("#")[0])
    assert len(seen) > 40


def test_points_of_the_scatter_are_links(site, truth):
    """Every neuron with both scores is a point that links to its page and says its numbers; no other is."""
    text = site.get(f"{MODEL}/layer/fc").text
    chart = text.split('<figure class="chart')[1].partition("</figure>")[0]
    points = {int(neuron): tip for neuron, tip in re.findall(r'<a href="[^"]*/neuron/(\d+)[^"]*"><circle[^>]*><title>([^<]*)<', chart)}
    expected = all_rows(
        truth,
        "select neuron, spurious, response_loss from neuron_score "
        "where layer = 'fc' and dataset = ? and spurious is not null and response_loss is not null",
        NIGHT,
    )
    assert set(points) == {row[0] for row in expected}
    for neuron, spurious, loss in expected:
        assert points[neuron].startswith(f"neuron {neuron}: spurious {fixed(spurious)}, response loss {fixed(loss)}")


def test_previous_and_next_follow_the_ranking(site, truth):
    """From a sorted layer page the next neuron is the next of that ranking; without a sort it is the next number."""
    order = [
        neuron
        for (neuron,) in all_rows(
            truth, "select neuron from neuron_score where layer = 'fc' and dataset = ? order by novelty desc nulls last, neuron", NIGHT
        )
    ]
    walked, address = [], f"{MODEL}/layer/fc/neuron/{order[0]}?sort=novelty"
    while address:
        walked.append(int(re.search(r"/neuron/(\d+)", address)[1]))
        address = next((a["href"] for _, a in open_page(site, address).elements if a.get("id") == "next"), None)
    assert walked == order
    document = open_page(site, f"{MODEL}/layer/fc/neuron/2")
    beside = {a["id"]: a["href"] for _, a in document.elements if a.get("id") in ("next", "previous")}
    assert beside == {"previous": f"{MODEL}/layer/fc/neuron/1", "next": f"{MODEL}/layer/fc/neuron/3"}


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/nowhere/-/home", 404),
        (f"{BASE}/model/nett", 404),
        (f"{MODEL}/layer/fcc", 404),
        (f"{MODEL}/layer/fc/neuron/6", 404),
        (f"{MODEL}/layer/fc/neuron/-1", 404),
        (f"{MODEL}/layer/fc/neuron/1e1", 404),
        (f"{MODEL}/layer/fc/neuron/99999999999999999999", 404),
        (f"{MODEL}/layer/fc/neuron/{tilde_encode('٣')}", 404),
        (f"{MODEL}/layer/fc?dataset=nowhere", 404),
        (f"{MODEL}/layer/fc?reference=nowhere", 404),
        (f"{MODEL}/layer/fc?sort=beauty", 400),
        (f"{MODEL}/layer/fc?order=sideways", 400),
        (f"{MODEL}/layer/fc?min=NaN", 400),
        (f"{MODEL}/layer/fc?max=1e999", 400),
        (f"{MODEL}/layer/fc?within=0,1", 400),
        (f"{MODEL}/layer/fc?within=1,0,0,1", 400),
        (f"{MODEL}/layer/fc?within=0,1,0,1e9", 400),
        (f"{MODEL}/layer/fc?page=0", 400),
        (f"{MODEL}/layer/fc?category=x", 400),
        (f"{MODEL}/layer/fc?state=' or 1=1 --", 400),
        (f"{MODEL}/layer/fc/neuron/1?k=0", 400),
        (f"{MODEL}/layer/fc/neuron/1?k=101", 400),
        (f"{MODEL}/layer/fc/neuron/1?k=; drop table x", 400),
        (f"{BASE}/picture/clean/1000", 404),
        (f"{BASE}/picture/nowhere/0", 404),
        (f"{BASE}/home?model={'<script>alert(1)</script>'}", 404),
    ],
)
def test_bad_addresses_are_pages_that_say_what_to_do(site, address, status):
    """What isn't there gives 404, what can't be 400: a page with a reason and a way on, never a trace."""
    document = open_page(site, address, status=status)
    check_harmless(document)
    assert str(status) in document.said() and "Traceback" not in document.said()
    assert [a for tag, a in document.elements if tag == "a" and a.get("href", "#").startswith("/")]


def test_near_names_are_offered(site):
    """An unknown layer names the nearest, as a link."""
    assert f"{MODEL}/layer/conv~2F1" in open_page(site, f"{MODEL}/layer/conv1", status=404).addresses()


def test_choices_are_in_the_address_and_carried(site):
    """k and dataset stand in every link to a neuron."""
    text = site.get(f"{MODEL}/layer/fc", k=50).text
    links = re.findall(r'class="neuron" href="([^"]*)"', text)
    assert links and all("k=50" in link for link in links)


# Harm.


def hostile_store(path):
    """A store whose every name is markup, quotes, slashes and more."""
    rng = np.random.default_rng(2)
    with dp.open(path) as store:
        for dataset in (HOSTILE, HOSTILE + "2"):
            store.add_recording(
                model=HOSTILE, dataset=dataset, activations={HOSTILE: rng.random((40, 5), np.float32)},
                logits=rng.random((40, 4), np.float32),
                labels=np.arange(40) % 4, categories=[HOSTILE + c for c in "wxyz"],
                images=rng.integers(0, 255, (40, 6, 6, 3)).astype(np.uint8),
                image_metadata=[{"note": HOSTILE}] * 40, progress=False,
            )  # fmt: skip
    return path


def test_names_with_markup_are_harmless(new_site, tmp_path):
    """Names with markup, quotes, slashes, unicode and templates are shown as they are, in pages whose links work."""
    site = new_site(hostile_store(tmp_path / "store.duckdb"))
    name = tilde_encode(HOSTILE)
    base = f"{BASE}/model/{name}"
    for address in (
        f"{BASE}/home",
        base,
        f"{base}/layer/{name}",
        f"{base}/layer/{name}/neuron/3",
        f"{base}/layer/{name}/neuron/3?examples=1",
    ):
        document = open_page(site, address)
        check_harmless(document)
        assert HOSTILE in "".join(document.text)
        assert not [1 for tag, attributes in document.elements if tag == "script" and not attributes.get("src")]
        for link in document.addresses():
            if re.search(r"/(neuron|layer)/[^/?]*(\?|$)", link):
                site.get(link.partition("#")[0])
    drawn = site.get(f"{base}/layer/{name}/neuron/3/histogram")
    assert drawn.headers["content-type"] == "image/svg+xml" and "<script>" not in drawn.text
    picture = site.get(f"{BASE}/picture/{tilde_encode(HOSTILE)}/0")
    assert picture.headers["content-type"] == "image/webp" and picture.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("value", "other", "tip"), [(0.0, 1000, "from 0 to 16"), (7.0, 7.0, "at 7"), (0.0, 0.0, "at 0")])
def test_histogram_of_one_interval(tmp_path, value, other, tip):
    """A neuron is drawn at a value only when it does that on every dataset, those that aren't shown too; else its interval is drawn."""
    with dp.open(tmp_path / "study.duckdb") as store:
        columns = {"day": np.full((300, 1), value), "night": np.full((300, 1), other)}
        columns["day"][0] += 0.01 if value != other else 0
        for dataset, values in columns.items():
            store.add_recording(
                model="net", dataset=dataset, activations={"fc": values}, predictions=[0] * 300, categories=["a"], progress=False
            )
        found = store.query("activation_histogram", model="net", layer="fc", neuron=0, bins=64).to_arrow_table().to_pylist()
    drawn = asyncio.run(charts.histograms(found, datasets=[("day", "reference", 300)], title="Histogram"))
    assert re.findall(r"300 images [^<\"]*", drawn)[:1] == [f"300 images {tip}"]


@pytest.mark.parametrize("data", [b"<svg onload=alert(1)>", b"<!DOCTYPE html>", b"\x89PN", b"", None, b"RIFF0000WAVE"])
def test_only_pictures_are_pictures(data):
    """Bytes that don't begin as PNG, JPEG, GIF or WebP have no media type."""
    assert media_type(data) is None


def test_private_stores_are_private_here_too(new_site, store_path):
    """Who may not see a database sees none of its pages, pictures and charts, nor its name on the first page."""
    private = {"databases": {"store": {"allow": {"id": "root"}}}}
    site = new_site(store_path, metadata=private)
    addresses = [f"{BASE}/home", MODEL, f"{MODEL}/layer/fc", f"{MODEL}/layer/fc/neuron/0", f"{MODEL}/layer/fc/neuron/0/examples"]
    for address in [*addresses, f"{MODEL}/layer/fc/neuron/0/histogram", f"{BASE}/picture/clean/0", f"{MODEL}/layer/nowhere"]:
        assert "conv/1" not in site.get(address, status=403).text
    assert "net" not in site.get("/").text
    cookies = {"ds_actor": site.datasette.sign({"a": {"id": "root"}}, "actor")}
    for address in addresses:
        assert site.run(site.datasette.client.get(address, cookies=cookies)).status_code == 200


# What isn't there yet.


def test_an_empty_store_says_how_to_record(new_site, tmp_path):
    """Without a recording home says what to do; a model's page is not found."""
    dp.open(tmp_path / "store.duckdb").close()
    site = new_site(tmp_path / "store.duckdb")
    assert "Record a model" in open_page(site, f"{BASE}/home").said()
    open_page(site, f"{BASE}/model/net", status=404)
    site.get("/")


def test_a_model_with_one_dataset_and_no_labels(new_site, tmp_path):
    """Without a second dataset, labels and pictures every page still answers and says what is missing."""
    with dp.open(tmp_path / "store.duckdb") as store:
        store.add_recording(
            model="net", dataset="only", activations={"fc": np.eye(5, dtype=np.float32)}, logits=np.eye(5, dtype=np.float32), progress=False
        )
    site = new_site(tmp_path / "store.duckdb")
    assert "Record the same model" in open_page(site, f"{BASE}/home").said()
    assert "Scores compare two datasets" in open_page(site, f"{MODEL}/layer/fc").said()
    document = open_page(site, f"{MODEL}/layer/fc/neuron/2")
    assert "no category responses" in document.said()
    assert [attributes for tag, attributes in document.elements if attributes.get("class") == "no-picture"]


def test_static_files_are_kept_by_browsers(site):
    """Styles and scripts have their type, an address that changes with them, and nosniff; others aren't served."""
    for address in open_page(site, f"{BASE}/home").addresses():
        if address.startswith("/-/deephys-sql/"):
            answer = site.get(address)
            assert "immutable" in answer.headers["cache-control"] and answer.headers["x-content-type-options"] == "nosniff"
    site.get("/-/deephys-sql/x/..~2F__init__.py", status=404)


def test_datasettes_pages_lead_back_to_ours(site):
    """The menu of each of Datasette's own pages has the home of the store."""
    for address in ("/", "/store", "/store/image", "/store/image/clean,3", "/store?sql=select+1"):
        text = site.get(address).text
        assert f'href="{BASE}/home">Neurons and images of store</a>' in text


def test_the_first_page_leads_to_the_stores(site):
    """Datasette's own first page links to the home of each store, with the accuracy of its models."""
    text = site.get("/").text
    assert f'href="{BASE}/home"' in text and "right on" in text


@pytest.mark.parametrize(
    ("address", "status"),
    [(f"{BASE}/home", 200), (f"{MODEL}/layer/fc", 200), (f"{MODEL}/layer/fc/neuron/0", 200), (f"{MODEL}/layer/nope", 404)],
)
def test_pages_carry_a_strict_policy(site, address, status):
    """No script or style but our own runs on our pages, error pages too, and their type isn't guessed."""
    headers = site.get(address, status=status).headers
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
