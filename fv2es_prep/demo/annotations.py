"""The text files of a demo dialogue: EmoEvaluation and transcription, in IEMOCAP's form.

Owns the two formats and what the made-up raters say. The labels come from the plan in script.py.
"""

import numpy as np

from fv2es_prep.demo.script import Dialogue, Turn
from fv2es_prep.demo.sentences import EMOTIONS

_RATER_WORDS = {
    "ang": "Anger",
    "exc": "Excited",
    "fru": "Frustration",
    "hap": "Happiness",
    "neu": "Neutral",
    "sad": "Sadness",
    "oth": "Other",
}
# Valence, activation, dominance on the five-point scale.
_RATINGS = {
    "ang": (1.9, 3.9, 4.0),
    "exc": (4.1, 3.8, 3.4),
    "fru": (2.2, 3.1, 3.2),
    "hap": (4.0, 3.0, 3.0),
    "neu": (3.0, 2.3, 2.6),
    "sad": (2.2, 2.1, 2.3),
    "xxx": (2.8, 3.0, 3.0),
    "oth": (2.6, 2.8, 2.8),
}


def evaluation_text(dialogue: Dialogue, seed: int) -> str:
    """Writes the dialogue's EmoEvaluation file: labels, ratings and what each rater said.

    Args:
        dialogue: the plan.
        seed: random seed for the raters.

    Returns:
        The text with LF line ends.
    """
    rng = dialogue.chance(seed, 7)
    blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
    blocks += [
        _evaluation_block(turn, turn.label, dialogue.session, rng)
        for turn in dialogue.turns
        if turn.label is not None
    ]
    return "\n".join(blocks) + "\n"


def _evaluation_block(turn: Turn, label: str, session: int, rng: np.random.Generator) -> str:
    """One turn's line and its raters' lines."""
    scores = [_scores(label, rng) for _ in range(3)]
    mean = ", ".join(f"{value:.4f}" for value in np.mean(scores[:2], axis=0))
    lines = [f"[{turn.start_s:.4f} - {turn.end_s:.4f}]\t{turn.turn_id}\t{label}\t[{mean}]"]
    # The last rater of each kind is the actor, whose scores IEMOCAP leaves out of the mean.
    actor = f"{turn.speaker}{session}"
    for rater, word in zip(("E2", "E3", "E4", actor), _words(label, rng), strict=True):
        lines.append(f"C-{rater}:\t{word};\t()")
    for rater, (val, act, dom) in zip(("E3", "E4", actor), scores, strict=True):
        lines.append(f"A-{rater}:\tval {val}; act {act}; dom  {dom};\t()")
    return "\n".join(lines) + "\n"


def _scores(label: str, rng: np.random.Generator) -> list[int]:
    """One rater's valence, activation and dominance, 1 to 5."""
    return [int(np.clip(round(m + rng.normal(0, 0.5)), 1, 5)) for m in _RATINGS[label]]


def _words(label: str, rng: np.random.Generator) -> list[str]:
    """What four raters call the turn: they agree, save for xxx, where no three do."""
    if label == "xxx":
        return [_RATER_WORDS[EMOTIONS[i]] for i in rng.permutation(len(EMOTIONS))[:4]]
    return [_RATER_WORDS[label]] * 4


def transcription_text(dialogue: Dialogue) -> str:
    """Writes the dialogue's transcription, with one line that has neither id nor time.

    Returns:
        The text with CRLF line ends.
    """
    lines = [
        f"{turn.turn_id} [{turn.start_s:08.4f}-{turn.end_s:08.4f}]: {turn.text}"
        for turn in dialogue.turns
    ]
    lines.insert(len(lines) // 2, "M: Yeah." if dialogue.left == "F" else "F:Umm.")
    return "\r\n".join(lines) + "\r\n"
