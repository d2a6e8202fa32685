"""What a run's model card says of its data and of its limits, as plain sentences for the page."""

from __future__ import annotations

import re
from pathlib import Path

_UNKNOWN = "This run does not say what data it was trained on."
_NOT_FOR = (
    "It predicts how raters would label a clip, not what a person feels. Do not use it for "
    "decisions about people: hiring, teaching, policing, health or credit."
)
_MARKS = re.compile(r"[*`]{1,2}(\S.*?)[*`]{1,2}|\[([^\]]*)\]\([^)]*\)")


def read_card(run: Path) -> tuple[str, str]:
    """The opening of a run's card, and what the run is not for."""
    try:
        text = (run / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return _UNKNOWN, _NOT_FOR
    title, _, rest = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip().partition("\n")
    sections = re.split(r"^## ", rest, flags=re.MULTILINE)
    named = dict(section.partition("\n")[::2] for section in sections[1:])
    opening = f"{title.removeprefix('# ').rstrip('.')}. {_plain(sections[0])}"
    return opening, _plain(named.get("What it is not for", "")) or _NOT_FOR


def _plain(markdown: str) -> str:
    """Paragraphs and lists as one line of text."""
    lines = (line.strip().removeprefix("- ") for line in markdown.splitlines())
    text = " ".join(filter(None, lines))
    return _MARKS.sub(lambda found: found[1] or found[2] or "", text)
