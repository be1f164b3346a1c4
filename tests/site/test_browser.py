"""The site in a real browser: headless Chromium, driven by Playwright."""

import re
import urllib.parse
from pathlib import Path

import duckdb
import numpy as np
import pytest
from browsing import CHROMIUM, MISSING, chromium, served

import deephys_sql as dp

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

AUDIT = (Path(__file__).parent / "audit.js").read_text().partition("\n")[2]
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

REFERENCE = "day"
OTHER = "<img src=x onerror=alert(1)>"  # a dataset's name
LAYER = "\"><script>fetch('/stolen')</script>"
CATEGORIES = ["zero", "<script>alert(2)</script>", "' onmouseover='alert(3)", "three", "four"]
METADATA = {"note": "<script>fetch('/stolen')</script>", "link": "javascript:alert(4)", '"><svg onload=alert(5)>': "</td></script>"}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(6)'><script>fetch('/stolen')</script></svg>"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store whose every name and value tries to run a script, and whose image 3 of `day` has an SVG as its thumbnail."""
    path = tmp_path_factory.mktemp("browser") / "hostile.duckdb"
    rng = np.random.default_rng(5)
    count = 90
    colors = rng.integers(60, 255, (len(CATEGORIES), 3))
    labels = rng.integers(0, len(CATEGORIES), count)
    with dp.open(path) as opened:
        for dataset, worn in ((REFERENCE, labels), (OTHER, (labels + 1) % len(CATEGORIES))):
            firing = np.eye(len(CATEGORIES))[worn] * 3 + rng.normal(size=(count, len(CATEGORIES)))
            silent = np.full((count, 1), -1.0)
            opened.add_recording(
                model="net <i>1</i>",
                dataset=dataset,
                activations={LAYER: np.hstack([firing, rng.normal(size=(count, 24)), silent]).astype(np.float32), "last": firing},
                logits=firing.astype(np.float32),
                labels=labels,
                categories=CATEGORIES,
                images=np.repeat(colors[worn][:, None, None, :], 12, 1).repeat(12, 2).astype(np.uint8),
                image_metadata=[METADATA] * count,
                keep_originals=True,
                progress=False,
            )
    with duckdb.connect(str(path)) as connection:
        changed = "update stored_image set thumbnail = ?, thumbnail_type = 'image/svg+xml', original = ?, original_type = 'image/svg+xml'"
        connection.execute(changed + " where image = 3", [SVG, SVG])
    return path


@pytest.fixture(scope="module")
def site(store):
    with served(store) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


class Visitor:
    """A page of the browser that notes what should not happen on any page."""

    def __init__(self, browser, site, **options):
        self.site = site
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.page = self.context.new_page()
        self.problems = []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self._note(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        self.page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("requestfailed", lambda request: self._note(f"failed: {request.url} {request.failure}"))
        self.page.on("response", lambda response: response.status >= 400 and self._note(f"{response.status}: {response.url}"))
        self.page.on("request", self._requested)

    def _note(self, problem):
        self.problems.append(f"{self.page.url}: {problem}")

    def _requested(self, request):
        if not request.url.startswith((self.site + "/", "data:")) or request.url.endswith("/stolen"):
            self._note(f"a request: {request.url}")

    def open(self, address):
        """Open a page, wait until it is quiet, and scroll through it, so that what comes late comes."""
        self.page.goto(self.site + address, wait_until="networkidle")
        self.page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_function("() => !document.querySelector('[aria-busy]')", timeout=5000)
        return self.page

    def keep(self, name):
        """Write a picture of the whole page into build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def visit(browser, site):
    """`visit(**options)` gives a Visitor; at the end none of them may have met a problem."""
    made = []

    def start(**options):
        made.append(Visitor(browser, site, **options))
        return made[-1]

    yield start
    problems = [problem for visitor in made for problem in visitor.problems]
    for visitor in made:
        visitor.context.close()
    assert not problems, "\n".join(problems)


def tilde(text):
    from datasette.utils import tilde_encode

    return tilde_encode(text)


BASE = "/hostile/-"
MODEL = f"{BASE}/model/{tilde('net <i>1</i>')}"
NEURONS = f"{MODEL}/layer/{tilde(LAYER)}"
IMAGES = f"{MODEL}/dataset/{tilde(OTHER)}"
OURS = {
    "home": f"{BASE}/home",
    "model": MODEL,
    "layer": f"{NEURONS}?sort=spurious",
    "neuron": f"{NEURONS}/neuron/2",
    "silent-neuron": f"{NEURONS}/neuron/29",
    "image": f"{IMAGES}/image/0",
    "image-without-picture": f"{MODEL}/dataset/{REFERENCE}/image/3",
    "category": f"{MODEL}/category/1",
    "matrix": f"{IMAGES}/confusion",
    "confusion": f"{MODEL}/confusion/0/1",
    "confusion-images": f"{MODEL}/confusion/0/1?at={urllib.parse.quote(OTHER)}&direction=a_as_b",
    "compare": f"{MODEL}/compare",
    "search": f"{BASE}/search?q=2",
    "search-empty": f"{BASE}/search?q=%3Cscript%3Ealert(7)%3C%2Fscript%3E",
}
DATASETTES = {
    "datasette": "/",
    "database": "/hostile",
    "table": "/hostile/image?_facet=label_name",
    "view": "/hostile/neuron_score?_sort_desc=spurious",
    "row": f"/hostile/image/{REFERENCE},3",
    "sql": "/hostile?sql=select+*+from+image+limit+5",
    "query": f"/hostile/top_images?model={tilde('net')}&layer=last&neuron=1&dataset={REFERENCE}&k=3",
}


def test_every_page_is_quiet(visit):
    """No error or warning in the console, failed request, dialog, or request to another host, on any page, Datasette's own too."""
    visitor = visit()
    for name, address in (OURS | DATASETTES).items():
        visitor.open(address)
        visitor.keep(name)


def test_pages_at_phone_width(visit):
    """At 390 pixels nothing of our pages lies beside the window; pages are quiet there too."""
    visitor = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for name, address in OURS.items():
        page = visitor.open(address)
        visitor.keep(f"{name}-phone")
        wide = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide == [390, 390], f"{name}: {wide}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_everything_has_a_name(visit, scheme):
    """WCAG AA contrast of every text node in both colour schemes; alt texts, labels, one heading, ids that are unique."""
    visitor = visit(color_scheme=scheme)
    found = {}
    for name, address in OURS.items():
        page = visitor.open(address)
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        if scheme == "dark":
            visitor.keep(f"{name}-dark")
        if problems := page.evaluate(AUDIT):
            found[name] = problems
    assert not found, "\n".join(f"{name}: {problem}" for name, problems in found.items() for problem in problems)
