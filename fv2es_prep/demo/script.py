"""The plan of the demo dialogues: who says what, when, and with what emotion.

`corpus`, `film` and `voice` turn the plan into text files, pictures and sound.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

EMOTIONS = ("ang", "exc", "fru", "hap", "neu", "sad")

_OPENERS = ("", "", "Well,", "Look,", "You know,", "I mean,", "Okay,", "Oh,", "So,", "Listen,")
_SLOTS = {
    "person": ("my brother", "your sister", "the manager", "my neighbor", "the doctor", "Anna"),
    "thing": ("the ticket", "the letter", "the car", "this form", "the house", "the phone"),
    "time": ("today", "this morning", "last night", "again", "this week", "on Sunday"),
}
_TEMPLATES = {
    "ang": (
        "how dare you touch {thing} {time}",
        "get out of here and shut up",
        "I hate the way {person} lies to me",
        "don't you ever yell at me {time}",
        "you stupid liar, give me {thing}",
        "I am furious with {person} {time}",
        "shut up about {thing}, you idiot",
        "{person} is a damn liar, get out",
    ),
    "exc": (
        "oh my god, we won {thing} {time}",
        "I can't believe it, {person} said yes",
        "this is amazing, we are going {time}",
        "guess what, I got the part {time}",
        "wow, I got accepted, I got in",
        "we are getting married, tell {person}",
        "wow, {person} really won {thing}",
        "this is incredible, guess who called {time}",
    ),
    "fru": (
        "I already gave you {thing} three times",
        "this line is not moving, it never does",
        "why does nobody ever fix {thing}",
        "I keep asking and {person} keeps stalling",
        "there must be somebody else to ask {time}",
        "that makes no sense, I tried {thing} {time}",
        "it is always the same problem with {thing}",
        "nobody ever explains why I keep waiting",
    ),
    "hap": (
        "I had such a lovely time {time}",
        "that is so sweet of {person}",
        "I'm really glad {person} came {time}",
        "it makes me smile to see {thing}",
        "we laughed so much with {person} {time}",
        "thank you, that was wonderful {time}",
        "I love {thing}, it is so nice",
        "what a lovely smile {person} has",
    ),
    "neu": (
        "please put {thing} on the table",
        "{person} will be at the office {time}",
        "do you have an address and a number",
        "I think {thing} is in the other room",
        "the meeting starts at nine {time}",
        "you can fill in the second page",
        "where did {person} put {thing}",
        "the number is on the second page",
    ),
    "sad": (
        "I miss {person} so much {time}",
        "I cried after {person} died",
        "it hurts, I feel so alone {time}",
        "I'm sorry, {person} is gone forever",
        "I lost {thing} and I lost everything",
        "I can't stop crying about {person}",
        "everything feels so empty without {person}",
        "I feel lonely and lost {time}",
    ),
}
_DIRECTIONS = {
    "ang": "[GARBAGE]",
    "exc": "[LAUGHTER]",
    "fru": "[BREATHING]",
    "hap": "[LAUGHTER]",
    "neu": "[LIPSMACK]",
    "sad": "[BREATHING]",
}
_DIRECTION_SHARE = 0.08
_MIN_WORDS, _MAX_WORDS = 4, 12
_WRONG_CUE_SHARE = 0.06
_OTHER_LABELS = ("xxx", "oth")


@dataclass(frozen=True)
class Turn:
    """One speaker's time span in a dialogue; an utterance if it has a label."""

    turn_id: str  # IEMOCAP's id, e.g. `Ses01F_impro01_F000`
    speaker: str  # "F" or "M"
    start_s: float  # start in the recording, seconds
    end_s: float  # end, seconds
    label: str | None  # the EmoEvaluation label; None for an unlabelled turn
    text: str  # the words
    face: str  # the emotion of the face
    voice: str  # the emotion of the voice
    hidden: bool = False  # whether a card hides the face


@dataclass(frozen=True)
class Dialogue:
    """The plan of one recording."""

    name: str  # IEMOCAP's name, e.g. `Ses01F_impro01`
    session: int  # session number, from 1
    turns: tuple[Turn, ...]  # in order of start
    duration_s: float  # duration in seconds

    @property
    def left(self) -> str:
        """The speaker on the left half and in channel 0."""
        return self.name[5]

    def chance(self, seed: int, stream: int) -> np.random.Generator:
        """A random generator that depends on this dialogue alone."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), stream])


def plan_corpus(sessions: int, dialogues: int, turns: int, seed: int) -> tuple[Dialogue, ...]:
    """Plan every dialogue of the corpus, session by session; see `corpus.make_corpus`."""
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
    """Plan dialogue ``number`` (from 0) of a session's speakers, beyond those of the corpus."""
    rng = np.random.default_rng([seed, session, number, 29])
    labels = [EMOTIONS[i % len(EMOTIONS)] for i in range(turns)]
    rng.shuffle(labels)
    return _plan_dialogue(session, number, labels, rng)


def _plan_dialogue(
    session: int, number: int, emotions: Sequence[str], rng: np.random.Generator
) -> Dialogue:
    # One turn of the corpus hides its face, so that the fallback is exercised.
    hidden_turn = len(emotions) // 2 if (session, number) == (1, 0) else -1
    kind = "M_script{:02d}_1" if number % 2 else "F_impro{:02d}"
    name = f"Ses{session:02d}" + kind.format(number // 2 + 1)
    counts = {"F": 0, "M": 0}
    turns: list[Turn] = []
    # A list: all turns are dealt before their words are drawn.
    for label, speaker, hidden in list(_cast(emotions, hidden_turn, rng)):
        suffix = "XX0" if label is None else f"{counts[speaker]:03d}"
        counts[speaker] += label is not None
        before = turns[-1] if turns else None
        turn = _make_turn(f"{name}_{speaker}{suffix}", label, speaker, before, rng)
        turns.append(replace(turn, hidden=hidden))
    turns[1] = replace(turns[1], text=_with_colon(turns[1].text))
    return Dialogue(name, session, tuple(turns), turns[-1].end_s + 1.5)


def _cast(
    emotions: Sequence[str], hidden_turn: int, rng: np.random.Generator
) -> Iterator[tuple[str | None, str, bool]]:
    """Label, speaker and hidden of each turn, those outside the six emotions included."""
    labels: list[tuple[str | None, bool]] = [
        (emotion, position == hidden_turn) for position, emotion in enumerate(emotions)
    ]
    for extra in (*_OTHER_LABELS, None):
        labels.insert(int(rng.integers(1, len(labels) + 1)), (extra, False))
    speaker = "FM"[int(rng.integers(2))]
    for label, hidden in labels:
        yield label, speaker, hidden
        # Mostly they take turns; sometimes one continues.
        speaker = speaker if rng.random() < 0.2 else "FM".replace(speaker, "")


def _make_turn(
    turn_id: str, label: str | None, speaker: str, before: Turn | None, rng: np.random.Generator
) -> Turn:
    face, voice, words = (_cue(label, rng) for _ in range(3))
    text = make_sentence(rng, words)
    start = round(_start(speaker, before, rng), 4)
    # About 1.4 to 2.4 s, longer with more words.
    length = float(np.clip(0.95 + 0.1 * len(text.split()) + rng.uniform(-0.15, 0.25), 1.4, 2.4))
    end = round(start + length, 4)
    return Turn(turn_id, speaker, start, end, label, text, face, voice)


def _start(speaker: str, before: Turn | None, rng: np.random.Generator) -> float:
    """Start in seconds; a change of speaker often overlaps, as in IEMOCAP."""
    if before is None:
        return float(rng.uniform(0.6, 1.4))
    if speaker != before.speaker and rng.random() < 0.6:
        return before.end_s - float(rng.uniform(0.2, 0.6))
    return before.end_s + float(rng.uniform(0.1, 0.5))


def _cue(label: str | None, rng: np.random.Generator) -> str:
    """The emotion that one modality shows: usually the label's, independently another."""
    others = [emotion for emotion in EMOTIONS if emotion != label]
    other = others[int(rng.integers(len(others)))]
    wrong = rng.random() < _WRONG_CUE_SHARE
    return label if label in EMOTIONS and not wrong else other


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _fill(rng: np.random.Generator, emotion: str) -> str:
    slots = {name: _pick(rng, options) for name, options in _SLOTS.items()}
    body = _pick(rng, _TEMPLATES[emotion]).format(**slots)
    opener = _pick(rng, _OPENERS)
    return f"{opener} {body}" if opener else body[0].upper() + body[1:]


def make_sentence(rng: np.random.Generator, emotion: str) -> str:
    """An ASCII sentence of 4 to 12 words for one of EMOTIONS, some with a stage direction."""
    sentence = _fill(rng, emotion)
    while not _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS:
        sentence = _fill(rng, emotion)
    mark = "!" if emotion in ("ang", "exc") else "."
    direction = f"{_DIRECTIONS[emotion]} " if rng.random() < _DIRECTION_SHARE else ""
    return f"{direction}{sentence}{mark}"


def _with_colon(sentence: str) -> str:
    """The sentence with a colon after its first word, which a reader must not cut at."""
    direction, bracket, words = sentence.rpartition("] ")
    first, rest = words.split(" ", 1)
    return f"{direction}{bracket}{first.rstrip(',')}: {rest}"
