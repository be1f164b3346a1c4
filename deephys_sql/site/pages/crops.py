"""Pictures made on request: as PNG, and parts of them, what a place of a feature map sees."""

import io
import math
import re
from collections.abc import Iterator

from PIL import Image, ImageOps

from deephys_sql.site.pages import html

SHARE = r"(0(\.[0-9]{1,6})?|1(\.0{1,6})?)"
BOX = re.compile(rf"{SHARE},{SHARE},{SHARE},{SHARE}")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
PIXELS = 50_000_000  # of a picture that is opened
SIDE = 256  # pixels of what is sent, at most


def box_of(text: str) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom as shares of a picture; None unless the text is four of them in order.

    >>> box_of("0.25,0,0.75,1"), box_of("0.5,0,0.5,1"), box_of("nan,0,1,1")
    ((0.25, 0.0, 0.75, 1.0), None, None)
    """
    if not BOX.fullmatch(text):
        return None
    left, top, right, bottom = (float(share) for share in text.split(","))
    return (left, top, right, bottom) if left < right and top < bottom else None


def crop(original: bytes | None, thumbnail: bytes | None, box: tuple[float, float, float, float]) -> bytes | None:
    """Return a part of the first picture of the two that can be opened, as PNG; None when neither can.

    Pixels of which a part lies in the box are in it.
    """
    for picture in _opened(original, thumbnail):
        width, height = picture.size
        corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        first = [math.floor(corner + 1e-4) for corner in corners[:2]]  # shares have six decimal places
        end = [math.ceil(corner - 1e-4) for corner in corners[2:]]
        part = _plain(picture.crop((*first, max(end[0], first[0] + 1), max(end[1], first[1] + 1))))
        part.thumbnail((SIDE, SIDE))
        return _png(part)
    return None


def as_png(original: bytes | None, thumbnail: bytes | None) -> bytes | None:
    """Return the first picture of the two that can be opened as PNG, upright; None when neither can."""
    return next((_png(_plain(picture)) for picture in _opened(original, thumbnail)), None)


def _opened(*encoded: bytes | None) -> Iterator[Image.Image]:
    """Give those pictures that are of our formats, whole, and not too large."""
    for data in encoded:
        if html.media_type(data) is None:
            continue
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.width * picture.height > PIXELS:
                    continue
                ImageOps.exif_transpose(picture, in_place=True)
                picture.load()
                yield picture
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue


def _plain(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
