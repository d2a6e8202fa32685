"""An utterance that looks wrong: what is suspected, how strongly, and a sentence."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS: dict[str, str] = {
    "duplicate": "sound, pictures or words nearly equal to those of another utterance",
    "outlier-sound": "a spectrum far from all others",
    "outlier-faces": "faces far from all others",
    "outlier-words": "far more or far fewer words per second than others",
    "clipped": "sound that exceeds full scale",
    "silent": "sound that is nearly silent",
    "rate": "missing high frequencies, or sound shorter than the span",
    "pictures": "pictures of one colour, or all the same",
    "label": "a label that does not fit the sound, the words and the faces",
    "face": "faces of another person than in the other utterances of the speaker",
    "cut": "a span that starts or ends within speech",
    "words": "spoken words that differ from the transcript; only with `--words`",
}
"""Kind -> what is suspected; also the text of the documentation."""


@dataclass(frozen=True)
class Suspect:
    """One suspicion.

    Attributes:
        kind: one of `KINDS`.
        utterance: its id.
        score: larger is worse; comparable within a kind only.
        sentence: the finding.
    """

    kind: str
    utterance: str
    score: float
    sentence: str

    def to_json(self, directory: Path) -> dict[str, Any]:
        """Return plain JSON values; ``show`` is the command that shows the utterance."""
        show = f"fv2es shards show {shlex.quote(str(directory))} {shlex.quote(self.utterance)}"
        return {**vars(self), "score": round(self.score, 4), "show": f"{show} --image look.png"}
