"""What a user may have meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a word, case aside; None if none is like it."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, 1)
    return names[found[0]] if found else None


def meant(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint of an error about an unknown name.

    Args:
        word: the unknown name.
        known: the known names.
        otherwise: the hint if no known name is like it; empty: the list of all.
    """
    names = list(known)
    if found := near(word, names):
        return f"did you mean {found}?"
    return otherwise or f"choose from {', '.join(names)}"
