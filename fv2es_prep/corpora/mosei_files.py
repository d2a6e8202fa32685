"""Where CMU-MOSEI keeps its files, as distributed and as people rearrange it.

Owns directory names, their case, and which of several files is used. Leaves the files' content to
`mosei_transcripts` and `mosei_labels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fv2es_prep.errors import CorpusError

_HINT = "pass the directory that holds Videos, Transcript and Labels, e.g. CMU_MOSEI/Raw"
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
    """The files of the corpus, by file name without suffix.

    Attributes:
        root: the directory that the user named.
        videos: video id -> the whole video.
        parts: utterance id -> a video of this utterance alone.
        transcripts: video id -> the transcript of its utterances.
        sounds: video id -> the sound of the whole video.
        part_sounds: utterance id -> the sound of this utterance alone.
        raters: the raters' tables.
        csd: the SDK's table of labels, if it exists.
        leftovers: AppleDouble files.
    """

    root: Path
    videos: dict[str, Path] = field(default_factory=dict)
    parts: dict[str, Path] = field(default_factory=dict)
    transcripts: dict[str, Path] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)
    part_sounds: dict[str, Path] = field(default_factory=dict)
    raters: tuple[Path, ...] = ()
    csd: Path | None = None
    leftovers: tuple[Path, ...] = ()

    def name_of(self, path: Path) -> str:
        """A file's name relative to the corpus."""
        return str(path.relative_to(self.root))


def find_files(root: Path) -> MoseiFiles:
    """Find the files of the corpus.

    Args:
        root: the directory that holds ``Videos``, or ``Raw`` with ``Videos`` in it.

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
