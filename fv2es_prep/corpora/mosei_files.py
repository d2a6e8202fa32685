"""Files of CMU-MOSEI, in the distributed and in rearranged layouts, and transcript lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fv2es_prep.errors import CorpusError, DropReason
from fv2es_prep.types import Dropped

_HINT = "pass the directory that holds Videos, Transcript and Labels, e.g. CMU_MOSEI/Raw"
_SEPARATOR = "___"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_EDGES = re.compile(r"^(?:\s*___)+|(?:___\s*)+$")
_VIDEOS = (("Videos", "Full", "Combined"), ("Videos", "Full"))
_PARTS = (("Videos", "Segmented", "Combined"), ("Videos", "Segmented"))
_TRANSCRIPTS = (
    ("Transcript", "Segmented", "Combined"),
    ("Transcript", "Segmented"),
    ("Transcript", "Combined"),
)
# 16 kHz first: it needs no resampling.
_SOUNDS = (
    ("Audio", "Full", "WAV_16000"),
    ("Audio", "WAV_16000"),
    ("Audio", "Full", "Combined"),
    ("Audio", "Full"),
    ("Audio",),
)
_PART_SOUNDS = (("Audio", "Segmented", "Combined"), ("Audio", "Segmented"))


@dataclass(frozen=True)
class MoseiFiles:
    """The files of the corpus, by file name without suffix."""

    root: Path  # the directory that the user passed
    videos: dict[str, Path]  # video id -> the whole video
    parts: dict[str, Path]  # utterance id -> a video of this utterance alone
    transcripts: dict[str, Path]  # video id -> the transcript of its utterances
    sounds: dict[str, Path]  # video id -> the sound of the whole video
    part_sounds: dict[str, Path]  # utterance id -> the sound of this utterance alone
    raters: tuple[Path, ...]  # the raters' tables
    csd: Path | None  # the SDK's table of labels, if it exists
    leftovers: tuple[Path, ...]  # AppleDouble files

    def name_of(self, path: Path) -> str:
        """A file's name relative to the corpus."""
        return str(path.relative_to(self.root))


def find_files(root: Path) -> MoseiFiles:
    """Find the files below ``root``, which holds ``Videos`` or ``Raw/Videos``.

    Raises:
        CorpusError: the directory does not exist, or has no videos or no transcripts.
    """
    base = _base(root)
    leftovers: list[Path] = []
    found = MoseiFiles(
        root,
        _files(base, _VIDEOS, ".mp4", leftovers),
        _files(base, _PARTS, ".mp4", leftovers),
        _files(base, _TRANSCRIPTS, ".txt", leftovers),
        _files(base, _SOUNDS, ".wav", leftovers),
        _files(base, _PART_SOUNDS, ".wav", leftovers),
        tuple(_files(base, (("Labels",),), ".csv", leftovers).values()),
        _csd(root, base),
        tuple(leftovers),
    )
    if not found.videos and not found.parts:
        raise CorpusError(f"{base} holds no Videos/Full/Combined/*.mp4", _HINT)
    if not found.transcripts:
        raise CorpusError(f"{base} holds no Transcript/Segmented/Combined/*.txt", _HINT)
    return found


def _base(root: Path) -> Path:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a directory", _HINT)
    for base in (root, *_folders(root, ("Raw",))):
        if any(_folders(base, ("Videos",))):
            return base
    held = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    raise CorpusError(f"{root} holds no Videos; it holds {held}", _HINT)


def _folders(base: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """The directories with these nested names, in any case."""
    if not names:
        yield base
        return
    for path in _listed(base):
        if path.name.lower() == names[0].lower() and path.is_dir():
            yield from _folders(path, names[1:])


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"{folder} cannot be listed: {error.strerror}", _HINT) from error


def _files(
    base: Path, places: tuple[tuple[str, ...], ...], suffix: str, leftovers: list[Path]
) -> dict[str, Path]:
    """File name without suffix -> the file in the first place that has it."""
    found: dict[str, Path] = {}
    for place in places:
        for path in (path for folder in _folders(base, place) for path in _listed(folder)):
            if path.suffix.lower() != suffix:
                continue
            if path.name.startswith("._"):
                leftovers.append(path)
            elif not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return found


def _csd(root: Path, base: Path) -> Path | None:
    """The SDK's file of labels; its files of features have the same suffix."""
    places = [base, root, *_folders(base, ("Labels",)), *_folders(root, ("Labels",))]
    for path in (path for place in places for path in _listed(place)):
        hidden = path.name.startswith(".")
        if path.suffix.lower() == ".csd" and "label" in path.name.lower() and not hidden:
            return path
    return None


@dataclass(frozen=True)
class Spoken:
    """One line of a transcript: utterance id, video id, span in seconds (may be < 0), words."""

    id: str
    video: str
    start_s: float
    end_s: float
    text: str


def utterance_id(video: str, number: str) -> str | None:
    """``VIDEO_NUMBER`` as in the published lists; None if the number is invalid."""
    number = number.strip()
    whole = number.removesuffix(".0")
    return f"{video}_{int(whole)}" if whole.isascii() and whole.isdigit() else None


def parse_transcript(video: str, text: str, file: str = "") -> Iterator[Spoken | Dropped]:
    """The lines ``VIDEO___CLIP___START___END___TEXT`` of a transcript, or why one is invalid.

    Fields are positional: an empty field shifts no other. The id of the video is passed, since it
    may begin and end with underscores. Separators at the ends of the text are removed.
    """
    # Not splitlines: it also splits inside a text.
    for number, line in enumerate((line.rstrip("\r") for line in text.split("\n")), 1):
        if line.strip():
            entry = _parse_line(video, line, file)
            if isinstance(entry, Dropped):
                entry = replace(entry, sentence=f"line {number}: {entry.sentence}")
            yield entry


def _parse_line(video: str, line: str, file: str) -> Spoken | Dropped:
    begin = video + _SEPARATOR
    fields = line.removeprefix(begin).split(_SEPARATOR, 3)
    if not line.startswith(begin) or len(fields) < 4:
        sentence = f"the line is {line[:200]!r}, expected {begin}CLIP___START___END___TEXT"
        return Dropped(line[:60], DropReason.BAD_LINE, sentence, file, video)
    name = utterance_id(video, fields[0])
    if name is None:
        sentence = f"the number of the line is {fields[0]!r}"
        return Dropped(line[:60], DropReason.NO_ID, sentence, file, video)
    # float() alone also accepts 1_0, inf and nan.
    if not all(_NUMBER.fullmatch(field.strip()) for field in fields[1:3]):
        sentence = f"its start is {fields[1]!r} and its end is {fields[2]!r}"
        return Dropped(name, DropReason.BAD_SPAN, sentence, file, video)
    words = _EDGES.sub("", fields[3]).strip()
    return Spoken(name, video, float(fields[1]), float(fields[2]), words)
