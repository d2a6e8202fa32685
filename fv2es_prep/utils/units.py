"""Durations and sizes as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A duration in the unit that suits it, e.g. ``45 s``, ``12 min``, ``1.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def size(count: float) -> str:
    """A number of bytes in decimal units, e.g. ``16.6 MB``."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
