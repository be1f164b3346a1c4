"""Datasette's permissions hold on our pages as on its own: instance, database, table, query and SQL."""

import pytest
from datasette.app import Datasette

from deephys_sql.site.permissions import tables_of

NIGHT = "Night~20~26~20Fog~2F~C3~B6~2C~20100~25"
BASE = "/store/-"
MODEL = f"{BASE}/model/net"
ROOT = {"allow": {"id": "root"}}

# Each page and what it shows rows of, besides the names that all show.
SCORED = {"neuron_score", "category_response", "neuron_summary", "top_image", "prediction", "image"}
PAGES = {
    f"{BASE}/home": SCORED | {"confusion"},
    MODEL: SCORED | {"confusion"},
    f"{MODEL}/layer/fc": SCORED,
    f"{MODEL}/layer/fc/neuron/0": SCORED | {"confusion"},
    f"{MODEL}/layer/fc/neuron/0/examples": {"activation", "response", "neuron_summary", "prediction", "image"},
    f"{MODEL}/layer/fc/neuron/0/histogram": {"activation"},
    f"{MODEL}/dataset/{NIGHT}/image/3": {"image", "prediction", "activation", "response", "neuron_summary", "top_image"},
    f"{MODEL}/dataset/{NIGHT}/confusion": {"confusion", "prediction", "image"},
    f"{MODEL}/category/1": (SCORED - {"neuron_score"}) | {"confusion"},
    f"{MODEL}/category/1/false_negatives": (SCORED - {"neuron_score", "category_response"}) | {"confusion", "activation", "response"},
    f"{MODEL}/confusion/0/2": (SCORED - {"neuron_score", "category_response"}) | {"confusion", "activation", "response"},
    f"{MODEL}/confusion/0/2?at=clean": {"confusion", "prediction", "image"},
    f"{MODEL}/compare": SCORED | {"confusion"},
    f"{BASE}/search?q=1&stay=1": {"image"},
    f"{BASE}/random/neuron": set(),
    f"{BASE}/random/mistake": {"confusion", "prediction"},
    f"{BASE}/picture/clean/0": {"image"},
    f"{BASE}/original/clean/0": {"image"},
    f"{BASE}/export.csv?table=prediction": {"prediction"},
}
NAMES = {"model", "layer", "dataset", "category", "recording", "dataset_accuracy"}
VIEWS = sorted(set().union(NAMES, *PAGES.values()))


def answer(site, address, actor=None):
    cookies = {"ds_actor": site.datasette.sign({"a": actor}, "actor")} if actor else {}
    return site.run(site.datasette.client.get(address, cookies=cookies))


def tables(*names):
    return {"databases": {"store": {"tables": dict.fromkeys(names, ROOT)}}}


@pytest.mark.parametrize("block", [ROOT, {"databases": {"store": ROOT}}], ids=["instance", "database"])
def test_private_sites_and_databases(new_site, store_path, block):
    """Nobody but those allowed sees any page, picture, chart, export or redirect, and none is kept by a cache that others read."""
    site = new_site(store_path, metadata=block)
    for address in PAGES:
        assert answer(site, address).status_code == 403, address
        found = answer(site, address, {"id": "root"})
        assert found.status_code in (200, 302), address
        assert found.headers["cache-control"] == "private, no-store", address
    assert "right on" not in answer(site, "/").text


@pytest.mark.parametrize("view", VIEWS)
def test_a_private_view_makes_its_pages_private(new_site, store_path, view):
    """Where a view's rows are shown the page is private too; every other page stays open."""
    site = new_site(store_path, metadata=tables(view))
    assert answer(site, f"/store/{view}").status_code == 403
    wrong = []
    for address, shown in PAGES.items():
        closed = view in shown or (view in NAMES and "export" not in address)
        wrong += [address] * ((answer(site, address).status_code == 403) != closed)
    assert wrong == []
    if view in NAMES:
        assert "right on" not in answer(site, "/").text
        page = answer(site, "/store/top_images")
        assert 'value="net"' not in page.text, "a form tells no names"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("top_images_of_neurons", f"{MODEL}/layer/fc/neuron/0"),
        ("layer_neurons", f"{MODEL}/layer/fc"),
        ("confusion_matrix", f"{MODEL}/dataset/clean/confusion"),
        ("mistaken_images", f"{BASE}/random/mistake"),
    ],
)
def test_private_queries(new_site, store_path, name, address):
    """A query that some may not see runs for them neither on its own page nor for one of ours, nor as an export."""
    line_1 = not hasattr(Datasette, "permission_allowed")  # it has no block for one query that a plugin gave
    block = {"permissions": {"view-query": {"id": "root"}}} if line_1 else {"queries": {name: ROOT}}
    site = new_site(store_path, metadata={"databases": {"store": block}})
    for one in (f"/store/{name}", address, f"{BASE}/export.csv?query={name}"):
        assert answer(site, one).status_code == 403, one
    assert answer(site, address, {"id": "root"}).status_code in (200, 302)
    assert line_1 or answer(site, f"{MODEL}/layer/fc/neuron/0/histogram").status_code == 200


@pytest.mark.parametrize("macro", ["similar_images", "similar_images_on"])
def test_similar_images_show_predictions(macro):
    """SQL of ours that reads these macros shows labels and predictions beside activations."""
    assert tables_of(f"select * from {macro}('net', 'fc')") >= {"response", "prediction"}


def test_no_sql_of_visitors(new_site, store_path):
    """With `execute-sql` refused visitors type no SQL anywhere; our pages and the named queries go on."""
    site = new_site(store_path, metadata={"databases": {"store": {"allow_sql": {"id": "root"}}}})
    for address in (f"{BASE}/export.csv?sql=select+1", "/store/-/query.json?sql=select+1" if site.is_1 else "/store.json?sql=select+1"):
        assert answer(site, address).status_code == 403, address
        assert answer(site, address, {"id": "root"}).status_code == 200, address
    for address in (f"{MODEL}/layer/fc", "/store/top_images", f"{BASE}/export.csv?table=model"):
        assert answer(site, address).status_code == 200, address
