"""Pictures in cells, and what only pretends to be one."""

import base64
import io

import pytest
from PIL import Image

from deephys_sql.site.plugin import picture


def encoded(form):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "media_type"), [("PNG", "image/png"), ("WEBP", "image/webp"), ("JPEG", "image/jpeg"), ("GIF", "image/gif")]
)
def test_pictures_are_shown_with_their_type(form, media_type):
    """Each of the four kinds becomes an <img> that holds the same bytes."""
    data = encoded(form)
    shown = picture(data, "thumbnail", {"thumbnail_type": media_type, "image": 3, "dataset": '"><b>'})
    assert f'src="data:{media_type};base64,{base64.b64encode(data).decode()}"' in shown
    assert 'alt="thumbnail of image 3 of &#34;&gt;&lt;b&gt;"' in shown


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"<html>",
        b"",
        b"GIF8",
        b"RIFF1234WAVE",
        b"%PDF-1.4",
    ],
)
@pytest.mark.parametrize("stated", [None, "image/png", "image/svg+xml", '"><script>'])
def test_other_bytes_are_not_shown(data, stated):
    """What isn't one of the four kinds is never rendered, whatever type is stated."""
    assert picture(data, "thumbnail", {"thumbnail_type": stated}) is None


def test_a_stated_type_that_disagrees_is_not_shown():
    """A PNG that the store calls an SVG stays a download."""
    assert picture(encoded("PNG"), "original", {"original_type": "image/svg+xml"}) is None


def test_thumbnails_appear_in_cells(site):
    """On table, row and SQL pages a thumbnail is an <img>; the markup in the metadata beside it is text."""
    for address in ("/store/image", "/store/image/clean,3", "/store/stored_image"):
        page = site.get(address).text
        assert 'src="data:image/webp;base64,' in page and "<script>alert(1)" not in page
    page = site.get("/store/-/query" if site.is_1 else "/store", sql="select * from image limit 2").text
    assert page.count('src="data:image/') == 4 and "<script>alert(1)" not in page


def test_hostile_blobs_stay_downloads(site):
    """A visitor's query can't make the page show a blob that isn't a picture."""
    statement = "select '<svg onload=alert(1)>'::blob as thumbnail, 'image/svg+xml' as thumbnail_type"
    page = site.get("/store/-/query" if site.is_1 else "/store", sql=statement).text
    assert "<svg onload" not in page and 'src="data:' not in page
