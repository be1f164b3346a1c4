"""Pages of images, categories, confusions, comparison and search: links answer, names are text, bad addresses and empty stores are told."""

import random
import re
import sqlite3
import urllib.parse

import duckdb
import numpy as np
import pytest
from datasette.database import QueryInterrupted
from reading import BASE, ENCODED, NIGHT, OWL, Tables

import deephys_sql as dp
from deephys_sql.site import plugin

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
        ("/store/-/nowhere", 404),
        ("/store/-/model/net/nowhere/0", 404),
    ],
)
def test_bad_addresses(web, address, status):
    """An address that can't be answered is a page that says why, with a link to go on; nothing of Python is in it."""
    answer = web.get(address, status=status)
    assert answer.headers["content-type"].startswith("text/html")
    assert "Traceback" not in answer.text
    assert Tables(answer.text).hrefs


def test_failures_are_pages(make_site, store_path, monkeypatch, capfd):
    """A failure of DuckDB, and a query past the time limit, are pages that say what to do, without what DuckDB said."""
    web = make_site(store_path)
    told = "IO Error: Could not read from file /srv/ada/store.duckdb"

    def failing(error):
        async def query(*_, **__):
            raise error

        return query

    (database,) = plugin.stores(web.datasette)
    web.get("/store/-/home")
    for error in (sqlite3.OperationalError(told), duckdb.IOException(told)):
        monkeypatch.setattr(database, "query", failing(error))
        page = web.get(f"{BASE}/dataset/clean/image/1", status=500).text
        assert "The store could not answer." in page and "deephys-sql check" in page and 'class="error"' in page
        assert "ada" not in page and "Traceback" not in page and told in capfd.readouterr().err
    monkeypatch.setattr(database, "query", failing(QueryInterrupted(TimeoutError(), "select 1", {})))
    page = web.get(f"{BASE}/dataset/clean/image/2", status=503).text
    assert "took too long" in page and "5 seconds" in page and "sql_time_limit_ms" in page


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
