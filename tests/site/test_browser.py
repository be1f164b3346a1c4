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
BESIDE = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > 391 && !one.closest(".scroll, .sql, .skip, .hidden"))
    .slice(0, 5).map((one) => `${one.localName} ${one.className}`)"""
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
        self.page.on("requestfailed", self._failed)
        self.page.on("response", lambda response: response.status >= 400 and self._note(f"{response.status}: {response.url}"))
        self.page.on("request", self._requested)

    def _note(self, problem):
        self.problems.append(f"{self.page.url}: {problem}")

    def _failed(self, request):
        if request.failure != "net::ERR_ABORTED":  # the visitor went on before it came
            self._note(f"failed: {request.url} {request.failure}")

    def _requested(self, request):
        if not request.url.startswith((self.site + "/", "data:")) or request.url.endswith("/stolen"):
            self._note(f"a request: {request.url}")

    def open(self, address):
        """Open a page and scroll to its end, so that what comes late comes."""
        self.page.goto(self.site + address)
        self.page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
        self.page.wait_for_function("() => !document.querySelector('[aria-busy]')")
        self.page.evaluate("() => window.scrollTo(0, 0)")
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


LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page(visit, look):
    """Every page of ours is quiet (see Visitor), can be read (WCAG AA contrast, names, alt texts) and isn't wider than the window."""
    visitor = visit(**LOOKS[look])
    found = []
    for name, address in OURS.items():
        page = visitor.open(address)
        visitor.keep(f"{name}-{look}")
        wide, window = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
        if wide > window or (look == "phone" and window != 390):
            found.append(f"{name} is {wide} pixels wide: {page.evaluate(BESIDE)}")
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found += [f"{name}: {problem}" for problem in page.evaluate(AUDIT)]
    assert not found, "\n".join(found)


def test_every_page_of_datasette_is_quiet(visit):
    """No error or warning in the console, failed request, dialog, or request to another host on Datasette's own pages either."""
    visitor = visit()
    for name, address in DATASETTES.items():
        visitor.open(address)
        visitor.keep(name)
    page = visitor.open(DATASETTES["table"])
    page.locator("th svg").first.click()
    assert page.locator(".dropdown-menu").first.is_visible(), "the scripts of its tables run"
    page = visitor.open(DATASETTES["sql"])
    assert page.locator(".CodeMirror, .cm-editor").count() == 1, "and that of its SQL editor"


def test_the_walk_of_a_newcomer(visit):
    """Home, a layer sorted by spurious, its first neuron, a wrong image, its confusion; and back the same way."""
    page = visit().open(OURS["home"])
    page.get_by_role("link", name=re.compile(r"^all \d+ of")).first.click()
    assert "sort=spurious" in page.url
    values = page.locator("td[data-name=spurious]").all_inner_texts()
    scores = [float(value) for value in values if re.fullmatch(r"\d\.\d\d", value)]
    assert scores == sorted(scores, reverse=True) and len(scores) >= 5
    page.locator("a.neuron").first.click()
    assert "/neuron/" in page.url and page.locator("h1").inner_text().startswith("Neuron")
    page.locator("a.card.wrong").first.click()
    assert "/image/" in page.url and page.locator(".mark").inner_text() == "wrong"
    page.get_by_role("link", name=re.compile("^All images of")).click()
    assert "/confusion/" in page.url and page.locator("h2").first.is_visible()
    for part in ("/image/", "/neuron/", "sort=spurious", "/-/home"):
        page.go_back()
        assert part in page.url


def test_keys(visit):
    """j, k and arrows go on and back, / searches, Escape leaves the field, typed letters are text, g h goes home, r and w are chance."""
    page = visit().open(f"{NEURONS}/neuron/2")

    def at(key, address):
        page.keyboard.press(key)
        page.wait_for_url(address)

    at("j", "**/neuron/3")
    at("ArrowRight", "**/neuron/4")
    at("k", "**/neuron/3")
    at("ArrowLeft", "**/neuron/2")
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.id") == "search"
    page.keyboard.type("jk/")
    assert page.locator("#search").input_value() == "jk/" and page.url.endswith("/neuron/2")
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement === document.body")
    at("j", "**/neuron/3")
    page.keyboard.press("/")
    page.keyboard.type("neuron 5")
    at("Enter", "**/neuron/5")
    page.keyboard.press("g")
    at("h", re.compile(r"/-/home"))
    at("r", re.compile(r"/neuron/\d+"))
    at("w", re.compile(r"/image/\d+"))
    assert page.locator(".mark").inner_text() == "wrong"


def test_keys_to_wrong_images(visit, store):
    """J and K go to the next and previous wrong image, n and p to those of the same confusion, in the order of their numbers."""
    with dp.open(store, read_only=True) as opened:
        rows = opened.sql(
            "select image, label, predicted from prediction where dataset = $d and not correct order by image", d=OTHER
        ).fetchall()
    kind = rows[0][1:]
    alike = [image for image, *found in rows if tuple(found) == kind]
    page = visit().open(f"{IMAGES}/image/{rows[0][0]}")
    assert page.locator("#previous-wrong").count() == 0
    for key, image in [("J", rows[1][0]), ("J", rows[2][0]), ("K", rows[1][0]), ("K", rows[0][0]), ("n", alike[1]), ("p", alike[0])]:
        page.keyboard.press(key)
        page.wait_for_url(f"**/image/{image}")
    assert f"1 of {len(rows)} wrong images" in page.locator(".mistakes").inner_text()
    assert f"1 of {len(alike)} taken for" in page.locator(".mistakes").inner_text()


def test_pages_work_without_javascript(visit):
    """Every page of ours shows its content, and the walk can be done by links and forms alone."""
    visitor = visit(java_script_enabled=False)
    page = visitor.page
    for name, address in OURS.items():
        assert page.goto(visitor.site + address).status == 200, name
        assert page.locator("main h1").inner_text().strip(), name
        assert page.locator("#random-neuron, #random-wrong").count() == 2, name
    page.goto(visitor.site + OURS["neuron"])
    assert page.locator(".chart img").evaluate("(image) => image.complete || image.loading") is not None
    page.get_by_role("link", name="Show examples").click()
    assert page.locator(".range .card").count() > 5
    page.goto(visitor.site + OURS["layer"])
    assert page.locator(".scatter a circle").count() > 5, "points are links"
    page.locator("select[name=state]").select_option("silent")
    page.get_by_role("button", name="Show").click()
    assert page.locator("a.neuron").count() == 1
    page.locator("#search").fill("neuron 5")
    page.locator("#search").press("Enter")
    assert "Neuron 5 of" in page.locator("main").inner_text()


def test_charts_tell_what_is_under_the_pointer(visit):
    """Points, densities and histograms say label and value beside the pointer; a point opens its neuron, Escape takes the label away."""
    page = visit().open(OURS["layer"])
    tip = page.locator(".tip")
    point = page.locator(".scatter a circle").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert re.match(r"neuron \d+: spurious 0\.\d\d, response loss", tip.inner_text())
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    density = page.locator(".density").first
    density.scroll_into_view_if_needed()
    box = density.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.9)
    assert re.fullmatch(re.escape(OTHER) + r": density \d+\.\d\d at spurious 0\.7[456]", tip.inner_text())
    number = re.search(r"neuron (\d+)", point.locator("..").get_attribute("aria-label"))[1]
    point.click()
    page.wait_for_url(f"**/neuron/{number}*")
    page.locator(".chart svg").scroll_into_view_if_needed()
    bar = page.locator(".chart svg path:has(> title)").first
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 0.5)
    assert re.fullmatch(r"[\d,]+ images? from .* to .*", tip.inner_text())


def test_a_rectangle_in_the_scatter_shows_its_neurons(visit):
    """What is drawn with the mouse becomes an address whose table has just the neurons whose scores lie in it; a link undoes it."""
    page = visit().open(OURS["layer"])
    plot = page.locator(".plot").bounding_box()
    left, top, width, height = plot["x"], plot["y"], plot["width"], plot["height"]
    total = page.locator("a.neuron").count()
    page.mouse.move(left + width * 0.5, top + 2)
    page.mouse.down()
    page.mouse.move(left + width * 0.8, top + height * 0.5)
    page.mouse.move(left + width, top + height - 2)
    page.mouse.up()
    page.wait_for_url("**within=*")
    within = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)["within"][0]
    assert [round(float(part), 1) for part in within.split(",")][:2] == [0.5, 1.0]
    scores = [float(value) for value in page.locator("td[data-name=spurious]").all_inner_texts()]
    assert 0 < len(scores) < total and min(scores) >= 0.5
    assert page.locator(".scatter a circle").count() == len(scores)
    page.get_by_role("link", name="All neurons again").click()
    assert page.locator("a.neuron").count() == total


INJECTED = "<script>fetch('/stolen')</script><img src='/-/stolen.png' onerror='fetch(\"/stolen\")'><script src='https://example.org/x.js'></script>"


@pytest.mark.parametrize("address", [OURS["neuron"], OURS["image"], *(DATASETTES[name] for name in ("datasette", "table", "sql"))])
def test_injected_scripts_do_nothing(browser, site, address):
    """Markup that a page would let through by mistake runs no script and asks nothing of another host: the policy refuses it."""
    page = browser.new_page()
    asked, refused = [], []
    page.on("response", lambda response: asked.append(response.url))
    page.on("requestfailed", lambda request: request.failure == "csp" or asked.append(request.url))
    page.on("console", lambda said: "Content Security Policy" in said.text and refused.append(said.text))

    def inject(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("</body>", INJECTED + "</body>"))

    page.route(site + address, inject)
    page.goto(site + address, wait_until="networkidle")
    page.close()
    assert not [one for one in asked if one.endswith("/stolen") or "example.org" in one]
    assert len(refused) >= 3


def test_error_pages_can_be_read(browser, site):
    """A page that isn't there says so as a page, in both colour schemes, with a way on."""
    for scheme in ("light", "dark"):
        visitor = Visitor(browser, site, color_scheme=scheme)
        page = visitor.open(f"{MODEL}/layer/nope")
        visitor.keep(f"error-{scheme}")
        assert page.evaluate(AUDIT) == [] and page.locator("main a").count() > 1
        visitor.context.close()
