"""IEMOCAP (Busso et al. 2008): dyadic dialogues, one actor in each half of the picture.

Its layout is ``Session{1..5}/dialog/{EmoEvaluation,transcriptions,wav,avi/DivX}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fv2es_prep.corpora.base import Corpus
from fv2es_prep.corpora.inventory import Found, LabelChoice, apple_double, make_inventory, read_text
from fv2es_prep.errors import CorpusError, DropReason
from fv2es_prep.types import VOTES, Dropped, Inventory, Recording, Utterance, View
from fv2es_prep.utils.files import why_unreadable

LABELS = ("ang", "exc", "fru", "hap", "neu", "sad")
# A rater's word -> the name of its class in the label files, of which it has the first letters.
_CLASSES = {
    "Neutral": "neu",
    "Happiness": "hap",
    "Sadness": "sad",
    "Anger": "ang",
    "Surprise": "sur",
    "Fear": "fea",
    "Disgust": "dis",
    "Frustration": "fru",
    "Excited": "exc",
    "Other": "oth",
}
_MEANS = ("valence", "activation", "dominance")
RATINGS = (*_MEANS, *(f"{VOTES}{name}" for name in _CLASSES.values()))
VIEW_PX = 224

_HINT = "pass the directory that holds Session1 to Session5, e.g. IEMOCAP_full_release"
_PARTS = {
    "labels": ("EmoEvaluation", ".txt"),
    "transcripts": ("transcriptions", ".txt"),
    "sound": ("wav", ".wav"),
    "video": ("avi/DivX", ".avi"),
}
_NUMBER = r"(-?\d+(?:\.\d+)?)"
# `view_of` needs both letters.
_ID = r"(\S*[FM]_(?:\S*_)?[FM][^\s_]*)"
_TURN = re.compile(rf"\[{_NUMBER} - {_NUMBER}\]\s+{_ID}\s+(\S+)\s+\[(.*)\]\s*")
_RATER = re.compile(r"[AC]-[A-Z]+\d*:")
# The words of one of the six evaluators; lines of the actors (C-F1, C-M1) do not count.
_CHOICE = re.compile(r"C-E\d+:\s*([^()]*)")
_SPOKEN = re.compile(rf"(\S+)\s+\[{_NUMBER}-{_NUMBER}\]:\s*(.*)")


@dataclass(frozen=True)
class LabelLine:
    """A turn of a label file; the ratings are those of `RATINGS`."""

    id: str
    start_s: float
    end_s: float
    label: str
    ratings: tuple[float, ...]


def scan(root: Path, choice: LabelChoice, _options: object = None) -> Inventory:
    """Read Session1 to Session5 below ``root``; utterance times are those of the label files.

    Raises:
        CorpusError: there are no sessions, or no session has labels, transcripts, sound or video.
    """
    found = Found()
    for dialog in _dialogs(root):
        _scan_session(root, dialog, found)
    return make_inventory(
        "iemocap", found.recordings.values(), found.utterances, found.dropped, choice, RATINGS
    )


def parse_labels(text: str) -> Iterator[LabelLine | str]:
    """Yield the turns of a label file, and unknown lines as ``line N: LINE``.

    An evaluator's vote counts for the turn above it.
    """
    turn: LabelLine | None = None
    votes: list[str] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if match := _TURN.fullmatch(line):
            yield from _rated(turn, votes)
            start_s, end_s, name, label, means = match.groups()
            turn = LabelLine(name, float(start_s), float(end_s), label, _ratings(means))
            votes = []
        elif match := _CHOICE.match(line):
            votes.append(match[1])
        elif line and not line.startswith("%") and not _RATER.match(line):
            yield f"line {number}: {line}"
    yield from _rated(turn, votes)


def parse_transcript(text: str) -> Iterator[tuple[str, str] | str]:
    """Yield (utterance id, words) of each timed line, and other lines as ``line N: LINE``."""
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if match := _SPOKEN.fullmatch(line):
            yield match[1], match[4].strip()
        elif line:
            yield f"line {number}: {line}"


def view_of(utterance_id: str) -> View:
    """The speaker's half of the picture and audio channel.

    The letter after the session number names the actor with the markers, on the left in picture
    and sound. The letter of the turn names the speaker: ``Ses01F_impro01_M003`` is on the right.
    """
    parts = utterance_id.split("_")
    left = parts[0][-1] == parts[-1][0]
    return View("left" if left else "right", VIEW_PX, 0 if left else 1)


def speaker_of(utterance_id: str) -> str:
    """``Ses01_M`` for ``Ses01F_impro01_M003``: the man of session 1."""
    parts = utterance_id.split("_")
    return f"{parts[0][:-1]}_{parts[-1][:1]}"


def _dialogs(root: Path) -> list[Path]:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a directory", _HINT)
    dialogs = sorted(path for path in root.glob("Session*/dialog") if path.is_dir())
    if not dialogs:
        held = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
        raise CorpusError(f"{root} holds no Session*/dialog; it holds {held}", _HINT)
    for folder, suffix in _PARTS.values():
        if not any(_files(dialog, folder, suffix) for dialog in dialogs):
            raise CorpusError(
                f"{root} holds no Session*/dialog/{folder}/*{suffix}",
                f"unpack the whole corpus: the {folder} directories are required",
            )
    return dialogs


def _files(dialog: Path, folder: str, suffix: str) -> dict[str, Path]:
    paths = sorted((dialog / folder).glob(f"*{suffix}"))
    return {path.stem: path for path in paths if not path.name.startswith(".")}


def _scan_session(root: Path, dialog: Path, found: Found) -> None:
    parts = {part: _files(dialog, *where) for part, where in _PARTS.items()}
    for part in ("labels", "transcripts"):
        for name, path in list(parts[part].items()):
            if problem := why_unreadable(path):
                file = str(path.relative_to(root))
                found.dropped.append(Dropped(name, *problem, file, name))
                del parts[part][name]
    for folder, _ in _PARTS.values():
        for path in sorted((dialog / folder).glob("._*")):
            found.dropped.append(apple_double(path, str(path.relative_to(root))))
    for name, path in sorted((parts["video"] | parts["sound"]).items()):
        if name not in parts["labels"]:
            file = str(path.relative_to(root))
            sentence = f"EmoEvaluation/{name}.txt does not exist"
            found.dropped.append(Dropped(name, DropReason.LABELS_MISSING, sentence, file, name))
    for name in sorted(parts["labels"]):
        _scan_dialogue(root, dialog.parent.name, name, parts, found)


def _scan_dialogue(
    root: Path, session: str, name: str, parts: dict[str, dict[str, Path]], found: Found
) -> None:
    words = _words(root, name, parts["transcripts"].get(name), found)
    labels = parts["labels"][name]
    file = str(labels.relative_to(root))
    turns = []
    for entry in parse_labels(read_text(labels)):
        if isinstance(entry, str):
            found.dropped.append(Dropped(entry[:60], DropReason.BAD_LINE, entry, file, name))
        else:
            turns.append(entry)
    missing = _missing_media(name, parts)
    labelled = set()
    for turn in turns:
        labelled.add(turn.id)
        utterance = _utterance(turn, name, session, words.get(turn.id, ""))
        if missing is not None:
            found.dropped.append(Dropped.of(utterance, *missing, file))
        elif turn.id not in words:
            sentence = "the transcription of its dialogue has no line for it"
            reason = DropReason.NO_TRANSCRIPT
            found.dropped.append(Dropped.of(utterance, reason, sentence, file))
        else:
            found.utterances.append(utterance)
    for unlabelled in sorted(words.keys() - labelled):
        sentence = "the label file has no line for it"
        found.dropped.append(Dropped(unlabelled, DropReason.NO_LABEL, sentence, file, name))
    if missing is None:
        found.recordings[name] = Recording(name, parts["video"][name], parts["sound"][name])


def _words(root: Path, name: str, path: Path | None, found: Found) -> dict[str, str]:
    words: dict[str, str] = {}
    if path is None:
        return words
    file = str(path.relative_to(root))
    for entry in parse_transcript(read_text(path)):
        if isinstance(entry, str):
            found.dropped.append(Dropped(entry[:60], DropReason.NO_ID, entry, file, name))
        else:
            words.setdefault(*entry)
    return words


def _utterance(turn: LabelLine, recording: str, session: str, words: str) -> Utterance:
    return Utterance(
        id=turn.id,
        recording_id=recording,
        start_s=turn.start_s,
        end_s=turn.end_s,
        transcript=words,
        labels=(turn.label,),
        speaker=speaker_of(turn.id),
        session=session,
        view=view_of(turn.id),
        ratings=turn.ratings,
    )


def _missing_media(name: str, parts: dict[str, dict[str, Path]]) -> tuple[DropReason, str] | None:
    if name not in parts["video"]:
        return DropReason.VIDEO_MISSING, f"avi/DivX/{name}.avi does not exist"
    if name not in parts["sound"]:
        return DropReason.AUDIO_MISSING, f"wav/{name}.wav does not exist"
    return None


def _rated(turn: LabelLine | None, votes: list[str]) -> Iterator[LabelLine]:
    """Add the evaluators' votes to a turn; a vote for n classes counts 1 / n for each."""
    if turn is not None:
        counts = dict.fromkeys(_CLASSES.values(), 0.0)
        for vote in votes:
            words = [word.strip() for word in vote.split(";")]
            chosen = {_CLASSES[name] for name in _CLASSES if any(w.startswith(name) for w in words)}
            for name in chosen:
                counts[name] += 1 / len(chosen)
        shares = counts.values() if votes else [float("nan")] * len(counts)
        yield replace(turn, ratings=(*turn.ratings, *shares))


def _ratings(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    return values if len(values) == len(_MEANS) else (float("nan"),) * len(_MEANS)


IEMOCAP = Corpus(
    name="iemocap",
    title="Prepare IEMOCAP: every labelled utterance of the five sessions.",
    raw="Directory that holds Session1 to Session5.",
    example="IEMOCAP_full_release",
    scan=scan,
    classes=LABELS,
    presets={
        "published": {
            "frames.rule": "numbered",
            "frames.jpeg": "cut",
            "faces.detector": "exact",
            "faces.fallback": "published",
        }
    },
    view_of=view_of,
    licence="IEMOCAP is given by the University of Southern California on request; neither it nor "
    "shards made from it may be passed on.",
    citation="C. Busso et al., IEMOCAP: interactive emotional dyadic motion capture database, "
    "Language Resources and Evaluation 42, 335-359, 2008.",
    split='# Leave each session, and so its two speakers, out once.\nfolds = "session"',
)
