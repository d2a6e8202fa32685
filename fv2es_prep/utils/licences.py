"""Licences by SPDX identifier, and which of them allow passing on derived works."""

from __future__ import annotations

OPEN = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-NC-3.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-3.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "MIT",
        "ODbL-1.0",
        "PDDL-1.0",
    }
)
"""Licences under which adapted material may be passed on, on their conditions."""
_CLOSED = frozenset({"CC-BY-ND-3.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0"})
_KNOWN = {name.casefold(): name for name in OPEN | _CLOSED}


def spdx_of(licence: str) -> str:
    """Return the SPDX identifier that a text is, ignoring case; empty for any other text."""
    return _KNOWN.get(licence.strip().casefold(), "")


def licence_url(spdx: str) -> str:
    """The page of an SPDX identifier."""
    return f"https://spdx.org/licenses/{spdx}.html"
