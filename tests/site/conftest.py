"""Fixtures for the tests of the site: a small store with awkward names, ties and NULLs, and Datasette on it."""

import asyncio
import json
import urllib.parse

import duckdb
import numpy as np
import pytest

pytest.importorskip("datasette")

from datasette.app import Datasette
from datasette.plugins import pm

import deephys_sql as dp
from deephys_sql.site import pages, plugin
from deephys_sql.site.serve import SETTINGS

DATASETS = {"clean": 60, "Night & Fog/ö, 100%": 45}
CATEGORIES = ["cat", "dog's", '<b>"owl"</b>', "x,y"]
MARKUP = "<script>alert(1)</script>"


def make_store(path, seed=0):
    """Two datasets with pictures, two layers with tied, silent and negative neurons, and unknown labels."""
    rng = np.random.default_rng(seed)
    with dp.open(path) as store:
        for dataset, count in DATASETS.items():
            fc = np.round(rng.normal(size=(count, 6)) * 2) / 2
            fc[:, 1] = -1 if dataset == "clean" else 1  # silent in the reference: its scores are NULL
            labels = rng.integers(-1, len(CATEGORIES), count)
            store.add_recording(
                model="net",
                dataset=dataset,
                activations={"fc": fc.astype(np.float32), "conv/1": rng.normal(size=(count, 3)).astype(np.float32)},
                logits=np.round(rng.normal(size=(count, len(CATEGORIES))) * 2).astype(np.float32),
                labels=labels,
                categories=CATEGORIES,
                images=rng.integers(0, 255, (count, 8, 8, 3)).astype(np.uint8),
                image_metadata=[{"note": MARKUP, "day": f"2025-01-{i % 9 + 1:02}"} for i in range(count)],
                keep_originals=True,
                progress=False,
            )
    return path


class Site:
    """Datasette on stores, asked over HTTP."""

    def __init__(self, *stores, metadata=None, **settings):
        for module in (plugin, pages):  # an installation older than their entry points
            if not pm.is_registered(module):
                pm.register(module)
        configured = {"plugins": {"deephys-sql": {"stores": [str(store) for store in stores], **settings.pop("plugin", {})}}}
        where = "metadata" if hasattr(Datasette, "permission_allowed") else "config"
        self.loop = asyncio.new_event_loop()
        self.datasette = Datasette([], settings=SETTINGS | settings, **{where: configured | (metadata or {})})
        self.run(self.datasette.invoke_startup())
        self.is_1 = not hasattr(Datasette, "permission_allowed")

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def get(self, path, status=200, **query):
        """Return the response; `query` is added to the address."""
        if query:
            path += ("&" if "?" in path else "?") + urllib.parse.urlencode(query, doseq=True)
        response = self.run(self.datasette.client.get(path, follow_redirects=True))
        assert response.status_code == status, f"{path}: {response.status_code} {response.text[:1500]}"
        return response

    def rows(self, path, **query):
        """Return the rows of a page as a list of dictionaries."""
        return json.loads(self.get(path, _shape="array", **query).text)

    def sql(self, statement, database="store", status=200, **query):
        """Ask on the SQL page."""
        address = f"/{database}/-/query.json" if self.is_1 else f"/{database}.json"
        return json.loads(self.get(address, status=status, sql=statement, _shape="objects", **query).text)

    def all_pages(self, path, *, key="rows", **query):
        """Follow the pages to the end; return all rows."""
        rows, following = [], {}
        while True:
            page = json.loads(self.get(path, _shape="objects", **query, **following).text)
            rows += page[key]
            if not page["next"]:
                return rows
            following = {"_next": page["next"]}

    def close(self):
        for database in plugin.stores(self.datasette):
            database.close()
        self.loop.close()


@pytest.fixture(scope="session")
def store_path(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("site") / "store.duckdb")


@pytest.fixture(scope="session")
def truth(store_path):
    """A plain DuckDB connection to a copy of the store, to compare with."""
    copy = store_path.with_name("truth.duckdb")
    copy.write_bytes(store_path.read_bytes())
    with duckdb.connect(str(copy), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def site(store_path):
    opened = Site(store_path, max_returned_rows=2000, default_page_size=30, facet_time_limit_ms=900, facet_suggest_time_limit_ms=900)
    yield opened
    opened.close()


@pytest.fixture
def new_site():
    """Make a site of one's own."""
    made = []

    def make(*stores, **options):
        made.append(Site(*stores, **options))
        return made[-1]

    yield make
    for opened in made:
        opened.close()


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
