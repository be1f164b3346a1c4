"""Errors for names that aren't there, with the nearest that are."""

import difflib
from collections.abc import Iterable

from deephys_sql.errors import UnknownNameError


def require_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise `UnknownNameError` unless `name` is one of `known`, naming the nearest.

    >>> require_name("layer", "conv1", ["conv1", "conv2"])
    """
    known = list(known)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5) or known[:8]
    hint = f"did you mean {', '.join(map(repr, near))}?" if near else "there is none."
    raise UnknownNameError(f"there is no {what} {name!r}: {hint}")
