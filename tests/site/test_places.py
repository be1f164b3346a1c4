"""Pages of layers that are maxima over places: the place is marked, and what it sees is shown beside the picture."""

import io
import re

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import deephys_sql as dp  # noqa: E402

WIDE = np.random.default_rng(0).integers(0, 256, (12, 24, 48, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("places") / "store.duckdb"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 12, 3))
    images = torch.tensor(WIDE).permute(0, 3, 1, 2) / 255
    with dp.open(path) as store:
        for dataset in ("day", "night"):
            dp.record(
                model, [(images, torch.arange(12) % 3)], store=store, name="net", dataset=dataset, layers=["0", "1"], output="3",
                images=WIDE, keep_originals=True, progress=False,
            )  # fmt: skip
        store.add_directions("0", "turned", -np.eye(4), progress=False)
        rows = store.sql("select * from top_image where layer = '0' and dataset = 'day' order by neuron, rank").to_arrow_table().to_pylist()
    return path, rows


@pytest.fixture
def places(stored, new_site):
    return new_site(stored[0]), stored[1]


def neuron_with_pictures(rows):
    return next(row["neuron"] for row in rows)


def test_neuron_page_shows_what_the_place_sees(places):
    """Each card marks the seen box on the whole picture, and its part is an address that gives those pixels."""
    site, rows = places
    neuron = neuron_with_pictures(rows)
    page = site.get(f"/store/-/model/net/layer/0/neuron/{neuron}?dataset=night").text
    top = [row for row in rows if row["neuron"] == neuron]
    assert page.count('class="framed"') == 2 * len(top)
    assert "receptive field" in page and "maximum over places" in page
    assert '<svg class="framed" viewBox="0 0 48 24"' in page
    first = top[0]
    rect = re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/></svg>', page)
    left, upper, width, height = map(float, rect.groups())
    box = [first["seen_left"] * 48, first["seen_top"] * 24, first["seen_right"] * 48, first["seen_bottom"] * 24]
    assert [left, upper, left + width, upper + height] == pytest.approx(box, abs=0.02)
    address = re.search(r'src="([^"]+crop=[^"]+)"', page)[1].replace("&amp;", "&")
    answer = site.get(address)
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    part = np.asarray(Image.open(io.BytesIO(answer.content)))
    x0, y0, x1, y1 = (round(edge) for edge in box)
    assert (part == WIDE[first["image"], y0:y1, x0:x1]).all()
    assert "style=" not in page


def test_layer_without_places(places):
    """Directions of it have no place: no mark, and the page says what they were made of."""
    site, _ = places
    page = site.get("/store/-/model/net/layer/turned/neuron/0?dataset=night").text
    assert 'class="framed"' not in page and "directions of 0" in page
    assert "directions of 0" in site.get("/store/-/model/net/layer/turned?dataset=night").text


def test_part_that_is_none(places):
    """Anything but four shares in order is refused."""
    site, _ = places
    wrong = ["0,0,1", "0,0,0,1", "0.5,0,0.2,1", "0,0,2,1", "nan,0,1,1", "0,0,1,1,1", "-1,0,1,1", "0,0,1e0,1", "x" * 999]
    for crop in wrong:
        site.get("/store/-/picture/day/0", status=400, crop=crop)


def test_part_of_no_picture(places):
    """An image or a dataset that isn't there has no parts."""
    site, _ = places
    site.get("/store/-/picture/day/99", status=404, crop="0,0,1,1")
    site.get("/store/-/picture/dusk/0", status=404, crop="0,0,1,1")
