"""Published processed trees: a folder of pictures and sound for each utterance, and meta.pkl.

The preprocessing of MME2E (Dai et al. 2021) writes them; docs/processed.md describes the layout.
Each utterance is a recording of its own, which starts at 0 s.
"""

from __future__ import annotations

import math
import wave
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.base import Corpus
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.corpora.mosei_labels import EMOTIONS
from fv2es_prep.errors import CorpusError, DropReason, SettingsError, UtteranceError
from fv2es_prep.types import Dropped, Inventory, PictureFiles, Recording, Utterance
from fv2es_prep.utils.files import why_unreadable

CLASSES = {"iemocap": iemocap.LABELS, "mosei": EMOTIONS}

_META = "meta.pkl"
_IEMOCAP_HZ, _MOSEI_HZ = 29.97, 2.0
# A frame rate outside this range is invalid.
_LOWEST_HZ, _HIGHEST_HZ = 1.0, 1000.0
_THREADS = 8


@dataclass(frozen=True)
class ProcessedOptions:
    """Options of a processed tree.

    Attributes:
        layout: Corpus that the tree was made from.
    """

    layout: Literal["iemocap", "mosei"] = field(metadata={"flags": ("--corpus", "--layout")})


@dataclass(frozen=True)
class _Entry:
    """One utterance of meta.pkl: its id, values such as ``text`` and ``label``, and folder."""

    id: str
    values: Mapping[str, Any]
    folder: Path


def scan(root: Path, choice: LabelChoice, options: ProcessedOptions) -> Inventory:
    """Read the tree with meta.pkl in ``root`` or just below it; no classes: those of the corpus.

    Raises:
        SettingsError: the layout is unknown.
        CorpusError: meta.pkl is missing or holds more than plain data, or no utterance is left.
    """
    layout = options.layout
    if layout not in CLASSES:
        raise SettingsError(
            f"unknown layout {layout!r} of a processed tree", f"--corpus {' or '.join(CLASSES)}"
        )
    root = _tree(root, layout)
    meta = _read_meta(root)
    folders = dict(_folders(root, meta, layout))
    stray = f"{_META} has no entry for its folder"
    strays = sorted(folders.keys() - meta.keys())
    dropped = [Dropped(name, DropReason.NO_LABEL, stray, _META) for name in strays]
    entries = [_Entry(name, meta[name], folders.get(name, root / name)) for name in sorted(meta)]
    read = _iemocap if layout == "iemocap" else _mosei
    # Threads, since every sound file is opened, possibly on a slow network disk.
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda entry: _read_entry(entry, read), entries))
    kept = [pair for pair in found if not isinstance(pair, Dropped)]
    dropped += [entry for entry in found if isinstance(entry, Dropped)]
    known = None if choice.known is None else (*choice.known, *CLASSES[layout])
    choice = LabelChoice(choice.classes or CLASSES[layout], choice.merge, known)
    return make_inventory(
        f"{layout}-processed",
        [recording for recording, _ in kept],
        [utterance for _, utterance in kept],
        dropped,
        choice,
        none_holds="kept" if layout == "mosei" else "dropped",
    )


def _tree(root: Path, layout: str) -> Path:
    inside = root / f"{layout.upper()}_RAW_PROCESSED"
    for folder in (root, inside):
        if (folder / _META).exists():
            return folder
    raise CorpusError(
        f"neither {root} nor {inside} holds {_META}",
        f"pass the directory that holds {_META} and a folder for each utterance",
    )


def _read_meta(root: Path) -> dict[str, Mapping[str, Any]]:
    path = root / _META
    from fv2es_prep.corpora.plain_pickle import read_plain_pickle

    if problem := why_unreadable(path):
        raise CorpusError(f"{_META} cannot be read: {problem[1]}", "check its permissions")
    meta = read_plain_pickle(path)
    if not isinstance(meta, dict):
        raise CorpusError(
            f"{_META} holds a {type(meta).__name__}, expected a dict: utterance id -> text, label",
            "copy the published meta.pkl again",
        )
    for name, values in meta.items():
        # An id with path separators could lead out of the tree.
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise CorpusError(f"{_META} has the id {name!r}, expected the name of a folder")
        if not isinstance(values, dict):
            raise CorpusError(
                f"{_META}, {name}: found a {type(values).__name__}, expected a dict with text and "
                "label"
            )
    return meta


def _folders(root: Path, meta: Mapping[str, Any], layout: str) -> Iterator[tuple[str, Path]]:
    """Name and path of each utterance's folder; IEMOCAP has a folder per dialogue above them."""
    for path in sorted(root.iterdir()):
        if not path.is_dir():
            continue
        if path.name in meta or layout != "iemocap":
            yield path.name, path
        else:
            yield from ((inner.name, inner) for inner in sorted(path.iterdir()) if inner.is_dir())


def _read_entry(
    entry: _Entry, read: Callable[[_Entry], tuple[Recording, Utterance]]
) -> tuple[Recording, Utterance] | Dropped:
    try:
        if not entry.folder.is_dir():
            raise UtteranceError("it has no folder", DropReason.VIDEO_MISSING)
        return read(entry)
    except UtteranceError as error:
        return Dropped(entry.id, error.reason, error.sentence, _META, entry.id)


def _iemocap(entry: _Entry) -> tuple[Recording, Utterance]:
    label = entry.values.get("label")
    if not isinstance(label, str):
        raise UtteranceError(f"its label is {label!r}, expected a name", DropReason.NO_LABEL)
    parts = entry.id.split("_")
    if len(parts) < 2 or not all(parts):
        raise UtteranceError("its id is not an IEMOCAP id", DropReason.NO_ID)
    side = "L" if iemocap.view_of(entry.id).half == "left" else "R"
    audio = entry.folder / f"audio_{side}.wav"
    start_s, end_s = _number(entry, "start_time"), _number(entry, "end_time")
    fps, first_s, spoken_s = _number(entry, "fps"), None, 0.0
    if fps is None or not _LOWEST_HZ <= fps <= _HIGHEST_HZ:
        fps = _IEMOCAP_HZ
    if start_s is not None and end_s is not None and start_s >= 0:
        # The first picture is number int(fps * start), shown a little before the start.
        first_s, spoken_s = math.floor(fps * start_s) / fps - start_s, end_s - start_s
    recording = Recording(
        entry.id, entry.folder, audio, PictureFiles(f"image_{side}_", fps, first_s)
    )
    return recording, Utterance(
        id=entry.id,
        recording_id=entry.id,
        start_s=0.0,
        end_s=max(_sound_s(audio), spoken_s),
        transcript=_text(entry),
        labels=(str(label),),
        speaker=iemocap.speaker_of(entry.id),
        session=f"Session{int(parts[0][3:-1])}" if parts[0][3:-1].isdecimal() else "",
    )


def _mosei(entry: _Entry) -> tuple[Recording, Utterance]:
    classes = CLASSES["mosei"]
    label = entry.values.get("label")
    # Any of list, tuple and array.
    values: Any = getattr(label, "tolist", lambda: label)()
    try:
        holding = [float(value) > 0 for value in values] if isinstance(values, list | tuple) else []
    except (TypeError, ValueError):
        holding = []
    if len(holding) != len(classes):
        sentence = f"its label is {str(label)[:60]!r}, expected {len(classes)} numbers"
        raise UtteranceError(sentence, DropReason.NO_LABEL)
    audio = entry.folder / "audio.wav"
    return Recording(entry.id, entry.folder, audio, PictureFiles("image_", _MOSEI_HZ)), Utterance(
        id=entry.id,
        recording_id=entry.id,
        start_s=0.0,
        end_s=_sound_s(audio),
        transcript=_text(entry),
        labels=tuple(name for name, holds in zip(classes, holding, strict=True) if holds),
        # The video id: each video has one speaker.
        session=entry.id.rpartition("_")[0],
    )


def _text(entry: _Entry) -> str:
    text = entry.values.get("text")
    if not isinstance(text, str):
        raise UtteranceError("its entry has no text", DropReason.NO_TRANSCRIPT)
    return str(text).strip()


def _number(entry: _Entry, name: str) -> float | None:
    try:
        value = float(entry.values[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _sound_s(path: Path) -> float:
    """Duration of a WAV file in seconds; every audio sample lies before it."""
    if problem := why_unreadable(path):
        missing = problem[0] == DropReason.NOT_A_FILE and not path.exists()
        raise UtteranceError(problem[1], DropReason.AUDIO_MISSING if missing else problem[0])
    try:
        with wave.open(str(path), "rb") as sound:
            count, rate = sound.getnframes(), sound.getframerate()
        seconds = count / rate
    except (wave.Error, EOFError, ZeroDivisionError, OSError) as error:
        sentence = f"{path.name} is not a PCM WAV file: {error}"
        raise UtteranceError(sentence, DropReason.UNDECODABLE_AUDIO) from error
    if not count:
        raise UtteranceError(f"{path.name} holds no sound", DropReason.NO_AUDIO_IN_SPAN)
    # `sample_index` rounds down, and count / rate * rate may be slightly below count.
    return seconds if math.floor(seconds * rate) >= count else math.nextafter(seconds, math.inf)


PROCESSED = Corpus(
    name="processed",
    title="Prepare a published processed tree: a folder of JPEGs and sound per utterance.",
    raw="Directory that holds meta.pkl.",
    example="IEMOCAP_RAW_PROCESSED --corpus iemocap",
    opens_media=True,
    scan=scan,
    options=ProcessedOptions,
)
