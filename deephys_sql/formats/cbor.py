"""The part of CBOR (RFC 8949) that the Deephys files use, read and written piece by piece.

Python's CBOR libraries decode an item as a whole: what a file declares then decides how much memory it takes, and an error
tells no place. A data file is one item of a gigabyte, so here the caller says which item must come next and reads the long
ones in pieces. Tags, floats, indefinite lengths and everything else that these files don't hold are refused by that.
"""

import os
from pathlib import Path
from typing import NoReturn

from deephys_sql.errors import FileFormatError

UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
NAMES = ("an unsigned integer", "a negative integer", "a byte string", "a text", "an array", "a map", "a tag", "a simple value or float")
NULL = 0xF6
CHUNK = 2**20  # bytes read at once


def head(major: int, argument: int) -> bytes:
    """Return the bytes that begin an item: its major type with a value, or a length.

    >>> head(TEXT, 3) + b"owl"
    b'cowl'
    """
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + argument.to_bytes(size)


def text(value: str) -> bytes:
    """Return a text as an item."""
    encoded = value.encode()
    return head(TEXT, len(encoded)) + encoded


class Reader:
    """Reads a file of one CBOR item from its beginning to its end, of which it never holds much more than `take` was asked for.

    Every method says what must come next, as `expected`, and raises `FileFormatError` with the place when it doesn't.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.item = ""  # what is being read, for errors: ", image 7"
        self._buffer = b""
        self._at = 0  # in the buffer
        self._buffer_start = 0  # in the file
        if not self.path.is_file():
            raise FileFormatError(f"there is no file {self.path}." if not self.path.exists() else f"{self.path} is not a file.")
        self._file = self.path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """The place in the file, in bytes."""
        return self._buffer_start + self._at

    def fail(self, expected: str, found: str, position: int | None = None) -> NoReturn:
        """Raise the error that tells where the file is not what it should be."""
        place = self.position if position is None else position
        raise FileFormatError(f"{self.path}, byte {place}{self.item}: expected {expected}, found {found}.")

    def head(self, major: int, expected: str) -> int:
        """Read the beginning of an item of the major type; return its value or length."""
        at = self._at
        if at + 9 > len(self._buffer):
            self._fill(9)
            at = self._at
        buffer = self._buffer
        if at == len(buffer):
            self.fail(expected, "the end of the file")
        info = buffer[at] & 31
        if buffer[at] >> 5 != major:
            self.fail(expected, "null" if buffer[at] == NULL else NAMES[buffer[at] >> 5])
        if info < 24:
            self._at = at + 1
            return info
        end = at + 1 + (1 << info - 24)
        if info > 27:
            self.fail(expected, f"{NAMES[major]} of indefinite or reserved length")
        if end > len(buffer):
            self.fail(expected, "the end of the file")
        self._at = end
        return int.from_bytes(buffer[at + 1 : end])

    def length(self, major: int, expected: str, limit: int = 2**64) -> int:
        """Read the beginning of a string, array or map that must fit in the rest of the file; return its length."""
        start = self.position
        length = self.head(major, expected)
        left = self.size - self.position
        if length > left:
            self.fail(expected, f"{NAMES[major]} of length {length}, with {left} bytes left in the file", start)
        if length > limit:
            self.fail(f"{expected} of at most {limit}", f"{NAMES[major]} of length {length}", start)
        return length

    def text(self, expected: str, limit: int = 2**16) -> str:
        """Read a text."""
        start = self.position
        encoded = self.take(self.length(TEXT, expected, limit))
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            self.fail(expected, f"bytes that are not UTF-8 ({error.reason})", start)

    def null(self) -> bool:
        """Read a null if one comes next; tell if it did."""
        if self.peek(1) != bytes([NULL]):
            return False
        self._at += 1
        return True

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end of the file, and stay before them."""
        if self._at + count > len(self._buffer):
            self._fill(count)
        return self._buffer[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """Read so many bytes, which must be there."""
        taken = self.peek(count)
        if len(taken) < count:
            self.fail(f"{count} bytes", f"the end of the file after {len(taken)}")
        self._at += count
        return taken

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.position < self.size:
            self.fail("the end of the file", f"{self.size - self.position} bytes more")

    def _fill(self, count: int) -> None:
        """Read until so many bytes lie in the buffer, or the file ends."""
        rest = self._buffer[self._at :]
        pieces, have = [rest], len(rest)
        while have < count and (piece := self._file.read(max(CHUNK, count - have))):
            pieces.append(piece)
            have += len(piece)
        self._buffer_start += self._at
        self._at = 0
        self._buffer = b"".join(pieces)
