"""The plan of the demo dialogues: who says what, when, and with what emotion.

Owns the plan. Words come from sentences.py; annotations.py, film.py and voice.py make text files,
pictures and sound from the plan.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fv2es_prep.demo.sentences import EMOTIONS, make_sentence, with_colon

_WRONG_CUE_SHARE = 0.06
_OTHER_LABELS = ("xxx", "oth")


@dataclass(frozen=True)
class Turn:
    """One speaker's time span in a dialogue; an utterance if it has a label.

    Attributes:
        turn_id: IEMOCAP's id, such as `Ses01F_impro01_F000`.
        speaker: "F" or "M".
        start_s: first instant, seconds from the start of the recording.
        end_s: last instant, seconds.
        label: the EmoEvaluation label; None for a turn that nobody labelled.
        text: what is said.
        face: the emotion that the face shows.
        voice: the emotion that the voice carries.
        hidden: whether a card hides the face.
    """

    turn_id: str
    speaker: str
    start_s: float
    end_s: float
    label: str | None
    text: str
    face: str
    voice: str
    hidden: bool


@dataclass(frozen=True)
class Dialogue:
    """The plan of one recording.

    Attributes:
        name: IEMOCAP's name, such as `Ses01F_impro01`.
        session: session number from 1.
        turns: the turns in order of start.
        duration_s: length of the recording, seconds.
    """

    name: str
    session: int
    turns: tuple[Turn, ...]
    duration_s: float

    @property
    def left(self) -> str:
        """The speaker on the left half and in channel 0: the one who wears the markers."""
        return self.name[5]

    def chance(self, seed: int, stream: int) -> np.random.Generator:
        """Random numbers of this dialogue alone, so that it is the same whoever makes it."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), stream])


@dataclass(frozen=True)
class _Slot:
    """A turn before its times are known: its label, its speaker and whether the face is hidden."""

    label: str | None
    speaker: str
    hidden: bool


def dialogue_name(session: int, number: int) -> str:
    """Names the dialogue of that number (from 0): improvised and scripted ones alternate."""
    if number % 2:
        return f"Ses{session:02d}M_script{number // 2 + 1:02d}_1"
    return f"Ses{session:02d}F_impro{number // 2 + 1:02d}"


def plan_corpus(sessions: int, dialogues: int, turns: int, seed: int) -> tuple[Dialogue, ...]:
    """Plans every dialogue of the corpus.

    Args:
        sessions: number of sessions.
        dialogues: dialogues per session.
        turns: turns of the six emotions per dialogue; xxx, oth and an unlabelled turn come on top.
        seed: random seed; equal arguments give equal plans.

    Returns:
        The dialogues, session by session.
    """
    per_session = dialogues * turns
    plans = []
    for session in range(1, sessions + 1):
        rng = np.random.default_rng([seed, session])
        first = (session - 1) * per_session
        labels = [EMOTIONS[i % len(EMOTIONS)] for i in range(first, first + per_session)]
        rng.shuffle(labels)
        for number in range(dialogues):
            part = labels[number * turns : (number + 1) * turns]
            plans.append(_plan_dialogue(session, number, part, rng))
    return tuple(plans)


def plan_talk(session: int, number: int, turns: int, seed: int) -> Dialogue:
    """Plans one more dialogue of a session's two speakers, which is in no corpus.

    Args:
        session: the session whose speakers talk.
        number: of the dialogue, from 0; one that the corpus does not have.
        turns: turns of the six emotions.
        seed: random seed.
    """
    rng = np.random.default_rng([seed, session, number, 29])
    labels = [EMOTIONS[i % len(EMOTIONS)] for i in range(turns)]
    rng.shuffle(labels)
    return _plan_dialogue(session, number, labels, rng)


def _plan_dialogue(
    session: int, number: int, emotions: Sequence[str], rng: np.random.Generator
) -> Dialogue:
    """Plans one dialogue: slots first, then times, ids, words and cues."""
    # One turn in the whole corpus has no face to find, so that the fallback has something to do.
    hidden_turn = len(emotions) // 2 if (session, number) == (1, 0) else -1
    slots = _cast(emotions, hidden_turn, rng)
    name = dialogue_name(session, number)
    counts = {"F": 0, "M": 0}
    turns: list[Turn] = []
    for slot in slots:
        suffix = "XX0" if slot.label is None else f"{counts[slot.speaker]:03d}"
        counts[slot.speaker] += slot.label is not None
        turn_id = f"{name}_{slot.speaker}{suffix}"
        turns.append(_make_turn(turn_id, slot, turns[-1] if turns else None, rng))
    turns[1] = replace(turns[1], text=with_colon(turns[1].text))
    return Dialogue(name, session, tuple(turns), turns[-1].end_s + 1.5)


def _cast(emotions: Sequence[str], hidden_turn: int, rng: np.random.Generator) -> list[_Slot]:
    """Adds the turns outside the six emotions and deals all turns to the two speakers."""
    labels: list[tuple[str | None, bool]] = [
        (emotion, position == hidden_turn) for position, emotion in enumerate(emotions)
    ]
    for extra in (*_OTHER_LABELS, None):
        labels.insert(int(rng.integers(1, len(labels) + 1)), (extra, False))
    slots = []
    speaker = "FM"[int(rng.integers(2))]
    for label, hidden in labels:
        slots.append(_Slot(label, speaker, hidden))
        # Mostly they take turns; now and then one of them goes on.
        speaker = speaker if rng.random() < 0.2 else "FM".replace(speaker, "")
    return slots


def _make_turn(turn_id: str, slot: _Slot, before: Turn | None, rng: np.random.Generator) -> Turn:
    """Gives a slot its words, its times and its cues."""
    face, voice, words = (_cue(slot.label, rng) for _ in range(3))
    text = make_sentence(rng, words)
    start = round(_start(slot.speaker, before, rng), 4)
    # About 1.4 to 2.4 s, longer with more words.
    length = float(np.clip(0.95 + 0.1 * len(text.split()) + rng.uniform(-0.15, 0.25), 1.4, 2.4))
    end = round(start + length, 4)
    return Turn(turn_id, slot.speaker, start, end, slot.label, text, face, voice, slot.hidden)


def _start(speaker: str, before: Turn | None, rng: np.random.Generator) -> float:
    """Seconds at which a turn starts; a change of speaker often overlaps, as in IEMOCAP."""
    if before is None:
        return float(rng.uniform(0.6, 1.4))
    if speaker != before.speaker and rng.random() < 0.6:
        return before.end_s - float(rng.uniform(0.2, 0.6))
    return before.end_s + float(rng.uniform(0.1, 0.5))


def _cue(label: str | None, rng: np.random.Generator) -> str:
    """The emotion that one modality shows: mostly the label's, now and then another.

    The exceptions fall on each modality alone, so that two of them can outvote the third.
    """
    others = [emotion for emotion in EMOTIONS if emotion != label]
    other = others[int(rng.integers(len(others)))]
    wrong = rng.random() < _WRONG_CUE_SHARE
    return label if label in EMOTIONS and not wrong else other
