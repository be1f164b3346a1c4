"""Encodes what users hand over as images (arrays, PIL, encoded bytes, paths) into thumbnails and originals."""

import hashlib
import io
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from deephys_sql.errors import InvalidInputError
from deephys_sql.recording.arrays import as_array, is_whole

PICTURE_ENDINGS = frozenset(("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"))
THUMBNAIL_FORMATS = {"webp": "image/webp", "png": "image/png"}
AT_ONCE = 16  # pictures that a thread encodes before it takes others: small ones take less time than taking them


@dataclass(frozen=True)
class Picture:
    """One encoded image, as a row of `stored_image`. Width and height in pixels are the original's."""

    width: int
    height: int
    thumbnail: bytes
    thumbnail_type: str
    original: bytes | None
    original_type: str | None
    uri: str | None
    pixels_checksum: bytes


@dataclass(frozen=True)
class Encoder:
    """Makes pictures: thumbnails of at most `size` pixels a side in `format` (webp or png).

    >>> Encoder(size=4).encode_all(np.zeros((1, 8, 16), np.uint8), first_image=0)[0].width
    16

    With `keep_originals` the original's bytes are kept too: as they came, or as PNG when pixels came.
    """

    size: int = 64
    format: str = "webp"
    keep_originals: bool = False

    def __post_init__(self):
        if not isinstance(self.format, str) or self.format not in THUMBNAIL_FORMATS:
            raise InvalidInputError(f"thumbnail_format must be one of {list(THUMBNAIL_FORMATS)}; got {self.format!r}.")
        if not isinstance(self.size, int) or not 1 <= self.size <= 4096:
            raise InvalidInputError(f"thumbnail_size must be a number of pixels, 1 to 4096; got {self.size!r}.")

    def encode_all(self, images: Any, first_image: int) -> list[Picture]:
        """Encode a batch: an array (images x height x width [x 1, 3 or 4], uint8 or floats in 0..1) or a sequence.

        Raises `InvalidInputError` naming the first image that can't be read.
        """
        require_pictures(images)
        numbered = enumerate(images, first_image)  # what gives pictures is asked here, by one thread
        groups = iter(lambda: list(itertools.islice(numbered, AT_ONCE)), [])
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return [picture for group in pool.map(self._encode_group, groups) for picture in group]

    def _encode_group(self, numbered: list[tuple[int, Any]]) -> list[Picture]:
        return [self._encode(number, item) for number, item in numbered]

    def _encode(self, number: int, item: Any) -> Picture:
        title = f"image {number} ({item})" if isinstance(item, str | Path) else f"image {number}"
        try:
            opened, encoded, uri = _open(item)
            opened.load()
            picture = as_plain(opened)
        except InvalidInputError as error:
            raise InvalidInputError(f"{title}: {error}") from error
        except UnidentifiedImageError as error:
            raise InvalidInputError(f"{title} is in no picture format that Pillow knows. Give PNG, JPEG or WebP.") from error
        except Exception as error:  # a damaged picture makes Pillow raise almost anything
            raise InvalidInputError(f"{title} can't be read as a picture: {error}") from error
        original_type = Image.MIME.get(opened.format or "", "image/png")
        if self.keep_originals and encoded is None:
            encoded, original_type = _bytes(picture, "PNG"), "image/png"
        checksum = hashlib.blake2b(f"{picture.mode} {picture.size}".encode(), digest_size=16)
        checksum.update(picture.tobytes())
        small = picture.copy()
        small.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        options: dict[str, Any] = {"quality": 85, "method": 2}
        if small.size == picture.size:  # nothing was lost by scaling, so nothing is lost by encoding
            options = {"quality": 0, "method": 0, "lossless": True, "exact": True}
        return Picture(
            width=picture.width,
            height=picture.height,
            thumbnail=_bytes(small, self.format, **(options if self.format == "webp" else {})),
            thumbnail_type=THUMBNAIL_FORMATS[self.format],
            original=encoded if self.keep_originals else None,
            original_type=original_type if self.keep_originals else None,
            uri=uri,
            pixels_checksum=checksum.digest(),
        )


def require_pictures(images: Any) -> None:
    """Raise `InvalidInputError` for an array whose shape, type or range is not that of pictures."""
    if not is_whole(images):
        if not isinstance(images, Sequence) or isinstance(images, str | bytes):
            raise InvalidInputError(
                f"images must be an array (images x height x width [x 3]) or a list of PIL images, encoded bytes or paths; "
                f"got {type(images).__name__}."
            )
        return
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        hint = ""
        if len(shape) == 4 and shape[1] in (1, 3, 4):
            hint = " These look like channels first: give images.permute(0, 2, 3, 1), or numpy.moveaxis(images, 1, 3)."
        raise InvalidInputError(f"images must be images x height x width [x 3]; got shape {shape}.{hint}")
    if 0 in shape[1:3]:
        raise InvalidInputError(f"images must have at least one pixel; got shape {shape}.")


def _open(item: Any) -> tuple[Image.Image, bytes | None, str | None]:
    """Return a picture with its encoded bytes and its URI, where there are any."""
    if isinstance(item, Image.Image):
        return item, None, None
    if isinstance(item, bytes | bytearray | memoryview):
        return Image.open(io.BytesIO(item)), bytes(item), None
    if isinstance(item, str | Path):
        encoded = Path(item).read_bytes()
        return Image.open(io.BytesIO(encoded)), encoded, str(item)
    if is_whole(item):
        return Image.fromarray(_pixels(as_array(item))), None, None
    raise InvalidInputError(f"a picture must be a PIL image, encoded bytes, a path or an array; got {type(item).__name__}.")


def _pixels(array: np.ndarray) -> np.ndarray:
    """Return height x width [x 3 or 4] as uint8."""
    if array.ndim not in (2, 3):
        raise InvalidInputError(f"a picture must be height x width [x 3]; got shape {array.shape}.")
    require_pictures(array[None])
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise InvalidInputError("pixels must be numbers; some are nan.")
        if not (array.min() >= 0 and array.max() <= 1):
            raise InvalidInputError(
                f"floats must lie in 0..1; these reach from {array.min():.4g} to {array.max():.4g}. Give the pictures before "
                f"normalisation, or uint8 in 0..255; with dp.record, images= takes a function that undoes the normalisation."
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InvalidInputError(f"images must be uint8 in 0..255 or floats in 0..1; got {array.dtype}.")
    return np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def as_plain(picture: Image.Image) -> Image.Image:
    """Return the picture upright, as grayscale, RGB or RGBA."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("L", "RGB", "RGBA"):
        return picture
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "F":
        return Image.fromarray(_pixels(np.asarray(picture)))
    if picture.mode == "I":
        raise InvalidInputError("the picture has 32-bit whole numbers as pixels; give uint8 in 0..255 or floats in 0..1.")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _bytes(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()
