"""CMU-MOSEI (Zadeh et al. 2018): one speaker to a video, many videos, emotions that overlap.

Owns what becomes an utterance, which picture and sound are its, and the reconciliation of
transcripts, labels and media. Leaves finding and reading the files to `mosei_files`,
`mosei_transcripts` and `mosei_labels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fv2es_prep.config import DEFAULT_CORPUS, CorpusSettings
from fv2es_prep.corpora import Published
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.corpora.mosei_files import MoseiFiles, find_files
from fv2es_prep.corpora.mosei_labels import EMOTIONS, Rated, read_csd, read_raters
from fv2es_prep.corpora.mosei_transcripts import Spoken, parse_transcript
from fv2es_prep.errors import CorpusError, DropReason, SettingsError
from fv2es_prep.types import Dropped, Inventory, Recording, Utterance, View
from fv2es_prep.utils.files import why_unreadable

LABELS = EMOTIONS
RATINGS = ("sentiment",)
SOURCES = ("raters", "csd")
VIEW_PX = 360
PUBLISHED = Published("thinned", "published")

_PLACES = ("transcripts", "labels", "media")


@dataclass(frozen=True)
class _Corpus:
    """All that was read.

    Attributes:
        files: the files.
        spoken: utterance id -> its line in a transcript.
        spanless: utterance id -> its video, where its line gives no span; it is dropped already.
        rated: utterance id -> what its raters said.
    """

    files: MoseiFiles
    spoken: dict[str, Spoken]
    spanless: dict[str, str]
    rated: dict[str, Rated]

    @cached_property
    def videos(self) -> dict[str, str]:
        """Utterance id -> its video, for every id that occurs anywhere; in order."""
        found = {name: name.rpartition("_")[0] or name for name in self.files.parts}
        for entries in (self.rated, self.spoken):
            found |= {name: entry.video for name, entry in entries.items()}
        return dict(sorted((found | self.spanless).items()))

    @cached_property
    def places(self) -> dict[str, frozenset[str]]:
        """Utterance id -> which of transcripts, labels and media have it."""
        have = {
            "transcripts": self.spoken.keys() | self.spanless.keys(),
            "labels": self.rated.keys(),
            "media": self.files.parts.keys()
            | {name for name, video in self.videos.items() if video in self.files.videos},
        }
        return {
            name: frozenset(place for place in _PLACES if name in have[place])
            for name in self.videos
        }


def scan(root: Path, choice: LabelChoice, settings: CorpusSettings = DEFAULT_CORPUS) -> Inventory:
    """Read transcripts and labels, and see which of their utterances there are videos for.

    The emotions are independent of each other: an utterance that none of the chosen ones holds
    for is kept, with a label row of zeros.

    Args:
        root: the directory that holds ``Videos``, ``Transcript`` and ``Labels``, or ``Raw``.
        choice: which emotions become label columns.
        settings: source of the labels (empty: the raters' tables where there are any, else the
            csd), the mean rating above which an emotion holds, and the picture rule.

    Returns:
        The inventory, with its source of labels and its reconciliation.

    Raises:
        CorpusError: videos, transcripts or labels are not where they should be.
        SettingsError: there is no such source of labels.
    """
    files = find_files(root)
    source = _source(files, settings.label_source)
    dropped = [_leftover(files, path) for path in files.leftovers]
    corpus = _read(files, source, dropped)
    recordings, utterances = _join(corpus, settings)
    dropped += [*_lost(corpus), *_unused(corpus)]
    inventory = make_inventory(
        "mosei", recordings, utterances, dropped, choice, RATINGS, none_holds="kept"
    )
    counts = {**_reconciled(corpus), **_kept(inventory)}
    return replace(inventory, label_source=source, reconciliation=counts)


def view_of(picture: str) -> View:
    """What is looked at of a picture.

    ``whole`` halves a picture of more than 360 lines until it fits, and keeps all of it.
    ``published`` halves it once, and takes the square of 360 pixels in the middle, padded with
    black, as published work did.
    """
    if picture == "published":
        return View(max_lines=VIEW_PX, crop_px=VIEW_PX, halve_once=True)
    return View(max_lines=VIEW_PX)


def _source(files: MoseiFiles, wanted: str) -> str:
    there = {"raters": bool(files.raters), "csd": files.csd is not None}
    if wanted and wanted not in there:
        raise SettingsError(
            f"there is no source of labels {wanted!r}", f"name one of {', '.join(SOURCES)}"
        )
    found = wanted or next((name for name in SOURCES if there[name]), "")
    if not there.get(found):
        needed = {"raters": "Labels/*.csv", "csd": "CMU_MOSEI_Labels.csd"}
        names = needed.get(found) or " and no ".join(needed.values())
        raise CorpusError(
            f"{files.root} holds no {names}",
            "put the raters' tables into Labels/, or the SDK's CMU_MOSEI_Labels.csd beside Videos/",
        )
    return found


def _leftover(files: MoseiFiles, path: Path) -> Dropped:
    reason = DropReason.NOT_A_RECORDING
    return Dropped(path.name, reason, "an AppleDouble leftover", files.name_of(path))


def _read(files: MoseiFiles, source: str, dropped: list[Dropped]) -> _Corpus:
    spoken: dict[str, Spoken] = {}
    spanless: dict[str, str] = {}
    for entry in _lines(files, dropped):
        if isinstance(entry, Spoken):
            spoken[entry.id] = entry
        else:
            dropped.append(entry)
            if entry.reason is DropReason.BAD_SPAN:
                spanless[entry.id] = entry.recording_id
    return _Corpus(files, spoken, spanless, _rated(files, source, spoken, dropped))


def _lines(files: MoseiFiles, dropped: list[Dropped]) -> Iterator[Spoken | Dropped]:
    """Every line of every transcript; of those that have the same id the first."""
    seen: set[str] = set()
    for video, path in files.transcripts.items():
        file = files.name_of(path)
        if problem := why_unreadable(path):
            dropped.append(Dropped(video, *problem, file, video))
            continue
        text = path.read_bytes().decode("utf-8-sig", "replace")
        for entry in parse_transcript(video, text, file):
            named = isinstance(entry, Spoken) or entry.reason is DropReason.BAD_SPAN
            if named and entry.id in seen:
                sentence = "another line of the transcript has its number"
                dropped.append(Dropped(entry.id, DropReason.DUPLICATE_ID, sentence, file, video))
            else:
                seen.update([entry.id] if named else [])
                yield entry


def _rated(
    files: MoseiFiles, source: str, spoken: dict[str, Spoken], dropped: list[Dropped]
) -> dict[str, Rated]:
    if source == "csd":
        assert files.csd is not None
        return read_csd(files.csd, files.name_of(files.csd), spoken.values(), dropped)
    tables = []
    for path in files.raters:
        if problem := why_unreadable(path):
            dropped.append(Dropped(path.name, *problem, files.name_of(path)))
        else:
            tables.append((path, files.name_of(path)))
    return read_raters(tables, dropped)


def _join(corpus: _Corpus, settings: CorpusSettings) -> tuple[list[Recording], list[Utterance]]:
    """The recordings and utterances of which nothing is missing."""
    recordings: dict[str, Recording] = {}
    utterances = []
    for name, places in corpus.places.items():
        if len(places) == len(_PLACES) and name in corpus.spoken:
            line = corpus.spoken[name]
            recording, start_s, end_s = _recording(corpus.files, line)
            recordings[recording.id] = recording
            utterance = _utterance(line, corpus.rated[name], settings)
            utterances.append(
                replace(utterance, recording_id=recording.id, start_s=start_s, end_s=end_s)
            )
    return list(recordings.values()), utterances


def _utterance(line: Spoken, rated: Rated, settings: CorpusSettings) -> Utterance:
    """The utterance as it lies in the whole video."""
    pairs = zip(EMOTIONS, rated.emotions, strict=True)
    return Utterance(
        id=line.id,
        recording_id=line.video,
        start_s=line.start_s,
        end_s=line.end_s,
        transcript=line.text,
        labels=tuple(name for name, value in pairs if value > settings.label_threshold),
        session=line.video,
        view=view_of(settings.picture),
        ratings=(rated.sentiment,),
    )


def _recording(files: MoseiFiles, line: Spoken) -> tuple[Recording, float, float]:
    """The recording of an utterance, and where it begins and ends in it, in seconds.

    A whole video is preferred. A video of the utterance alone is a recording of its own; no
    other video has its name, since ids of videos hold no brackets.
    """
    if (video := files.videos.get(line.video)) is not None:
        sound = files.sounds.get(line.video, video)
        return Recording(line.video, video, sound), line.start_s, line.end_s
    part = files.parts[line.id]
    name = f"{line.video}[{line.id.rpartition('_')[2]}]"
    sound = files.part_sounds.get(line.id, part)
    return Recording(name, part, sound), 0.0, round(line.end_s - max(line.start_s, 0), 6)


def _lost(corpus: _Corpus) -> Iterator[Dropped]:
    """Each utterance that transcripts, labels and media do not all have."""
    for name, places in corpus.places.items():
        if len(places) == len(_PLACES) or name in corpus.spanless:
            continue
        video = corpus.videos[name]
        line, rated = corpus.spoken.get(name), corpus.rated.get(name)
        said = line or rated
        start_s, end_s = (said.start_s, said.end_s) if said else (None, None)
        sentence = f"it is in {' and '.join(p for p in _PLACES if p in places)} only"
        file = rated.file if rated else ""
        if line is not None:
            file = corpus.files.name_of(corpus.files.transcripts[video])
        reason = _reason(corpus, video, places)
        yield Dropped(name, reason, sentence, file, video, start_s, end_s)


def _reason(corpus: _Corpus, video: str, places: frozenset[str]) -> DropReason:
    if "transcripts" not in places:
        there = video in corpus.files.transcripts
        return DropReason.NO_TRANSCRIPT if there else DropReason.TRANSCRIPT_MISSING
    return DropReason.VIDEO_MISSING if "labels" in places else DropReason.NO_LABEL


def _unused(corpus: _Corpus) -> Iterator[Dropped]:
    """Each video and sound of which there is no utterance."""
    files, used = corpus.files, set(corpus.videos.values())
    for video, path in sorted((files.sounds | files.videos).items()):
        if video not in used:
            there = video in files.transcripts
            reason = DropReason.NO_TRANSCRIPT if there else DropReason.TRANSCRIPT_MISSING
            sentence = "no transcript and no label is of it"
            yield Dropped(video, reason, sentence, files.name_of(path), video)


def _reconciled(corpus: _Corpus) -> dict[str, int]:
    """How many utterances are where, and where each lost one is."""
    kinds = Counter(corpus.places.values())
    every, (transcripts, labels, media) = frozenset(_PLACES), (frozenset([p]) for p in _PLACES)
    return {
        "utterances": len(corpus.places),
        **{f"in_{p}": sum(n for kind, n in kinds.items() if p in kind) for p in _PLACES},
        "in_all_three": kinds[every],
        **{f"lacking_in_{p}": kinds[every - {p}] for p in _PLACES},
        "only_in_transcripts": kinds[transcripts],
        "only_in_labels": kinds[labels],
        "only_in_media": kinds[media],
    }


def _kept(inventory: Inventory) -> dict[str, int]:
    """What the kept utterances and their recordings are like."""
    return {
        "kept": len(inventory.utterances),
        "kept_without_emotion": sum(not u.labels for u in inventory.utterances),
        "clamped_at_start": sum(u.clamped for u in inventory.utterances),
        "recordings": len(inventory.recordings),
        "recordings_of_one_utterance": sum(r.id.endswith("]") for r in inventory.recordings),
        "sound_from_video": sum(r.audio == r.video for r in inventory.recordings),
    }
