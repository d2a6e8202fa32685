"""Names of emotions for people, beside the codes of a corpus."""

from __future__ import annotations

_NAMES = {
    "ang": "anger",
    "exc": "excitement",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "sad": "sadness",
    "sur": "surprise",
    "fea": "fear",
    "dis": "disgust",
    "oth": "other",
    "xxx": "no agreement",
}


def emotion_name(code: str) -> str:
    """Name of a class, e.g. ``anger`` for ``ang``; an unknown code is its own name."""
    return _NAMES.get(code, code)


def named(code: str) -> str:
    """Name and code, e.g. ``anger (ang)``; only the code if it has no other name."""
    name = emotion_name(code)
    return code if name == code else f"{name} ({code})"
