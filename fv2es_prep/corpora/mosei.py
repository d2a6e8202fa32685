"""CMU-MOSEI (Zadeh et al. 2018): one speaker to a video, many videos, emotions that overlap.

Owns what becomes an utterance, and the reconciliation of transcripts, labels and media.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from fv2es_prep.corpora.base import Corpus
from fv2es_prep.corpora.inventory import LabelChoice, apple_double, make_inventory, read_text
from fv2es_prep.corpora.mosei_files import MoseiFiles, Spoken, find_files, parse_transcript
from fv2es_prep.corpora.mosei_labels import EMOTIONS, Rated, read_csd, read_raters
from fv2es_prep.errors import CorpusError, DropReason, SettingsError
from fv2es_prep.types import RATERS, VOTES, Dropped, Inventory, Recording, Utterance, View
from fv2es_prep.utils.files import why_unreadable

RATINGS = ("sentiment", RATERS, *(f"{VOTES}{name}" for name in EMOTIONS))
VIEW_PX = 360

_PLACES = ("transcripts", "labels", "media")


@dataclass(frozen=True)
class MoseiOptions:
    """Options of CMU-MOSEI.

    Attributes:
        label_source: Labels from ``raters`` (Labels/*.csv) or ``csd`` (CMU_MOSEI_Labels.csd);
            ``auto`` takes the first that exists.
        label_threshold: An emotion holds if its mean rating, 0 to 3, is above this.
        picture: ``whole`` picture, or ``published``: only the square in its middle.
    """

    label_source: Literal["auto", "raters", "csd"] = "auto"
    label_threshold: float = 0.0
    picture: Literal["whole", "published"] = "whole"


@dataclass(frozen=True)
class _Annotation:
    """Everything read, by utterance id."""

    files: MoseiFiles  # the files
    spoken: dict[str, Spoken]  # transcript lines
    spanless: dict[str, str]  # the videos of lines without a valid span, which are already dropped
    rated: dict[str, Rated]  # ratings

    @cached_property
    def videos(self) -> dict[str, str]:
        """Utterance id -> its video, for every id that occurs anywhere, sorted."""
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


def scan(root: Path, choice: LabelChoice, options: MoseiOptions = MoseiOptions()) -> Inventory:
    """Read transcripts and labels below ``root``, and match them to the videos.

    Emotions are independent: an utterance without any of the chosen ones is kept, with a label
    row of zeros. The inventory stores the source of labels and the reconciliation.

    Raises:
        CorpusError: videos, transcripts or labels are missing.
        SettingsError: the source of labels is unknown.
    """
    files = find_files(root)
    source = _source(files, options.label_source)
    dropped = [apple_double(path, files.name_of(path)) for path in files.leftovers]
    annotation = _read(files, source, dropped)
    recordings, utterances = _join(annotation, options)
    dropped += [*_incomplete(annotation), *_unused(annotation)]
    inventory = make_inventory(
        "mosei", recordings, utterances, dropped, choice, RATINGS, none_holds="kept"
    )
    counts = {**_reconciled(annotation), **_kept(inventory)}
    return replace(inventory, options={"label_source": source}, reconciliation=counts)


def view_of(picture: str) -> View:
    """The view of a picture rule.

    ``whole`` halves a picture until it has at most 360 lines. ``published`` halves it once and cuts
    the middle square of 360 pixels, padded with black, as published code does.
    """
    published = picture == "published"
    return View(max_lines=VIEW_PX, crop_px=VIEW_PX if published else None, halve_once=published)


def _source(files: MoseiFiles, wanted: str) -> str:
    exists = {"raters": bool(files.raters), "csd": files.csd is not None}
    if wanted not in ("auto", *exists):
        raise SettingsError(f"unknown label source {wanted!r}", f"choose auto, {', '.join(exists)}")
    if wanted == "auto":
        wanted = next((name for name in exists if exists[name]), "")
    if not exists.get(wanted):
        needed = {"raters": "Labels/*.csv", "csd": "CMU_MOSEI_Labels.csd"}
        names = needed.get(wanted) or " and no ".join(needed.values())
        raise CorpusError(
            f"{files.root} holds no {names}",
            "put the raters' tables into Labels/, or the SDK's CMU_MOSEI_Labels.csd beside Videos/",
        )
    return wanted


def _read(files: MoseiFiles, source: str, dropped: list[Dropped]) -> _Annotation:
    """Read everything; keep the first of transcript lines with the same id."""
    spoken: dict[str, Spoken] = {}
    spanless: dict[str, str] = {}
    for video, path in files.transcripts.items():
        file = files.name_of(path)
        if problem := why_unreadable(path):
            dropped.append(Dropped(video, *problem, file, video))
            continue
        for entry in parse_transcript(video, read_text(path), file):
            if isinstance(entry, Dropped) and entry.reason is not DropReason.BAD_SPAN:
                dropped.append(entry)
            elif entry.id in spoken or entry.id in spanless:
                sentence = "an earlier line of the transcript has the same number"
                dropped.append(Dropped(entry.id, DropReason.DUPLICATE_ID, sentence, file, video))
            elif isinstance(entry, Spoken):
                spoken[entry.id] = entry
            else:
                dropped.append(entry)
                spanless[entry.id] = video
    return _Annotation(files, spoken, spanless, _rated(files, source, spoken, dropped))


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


def _join(
    annotation: _Annotation, options: MoseiOptions
) -> tuple[list[Recording], list[Utterance]]:
    """Make the recordings and utterances that have transcript, labels and media."""
    recordings: dict[str, Recording] = {}
    utterances = []
    for name, places in annotation.places.items():
        if len(places) == len(_PLACES) and name in annotation.spoken:
            line = annotation.spoken[name]
            recording, start_s, end_s = _recording(annotation.files, line)
            recordings[recording.id] = recording
            rated = annotation.rated[name]
            pairs = zip(EMOTIONS, rated.emotions, strict=True)
            utterance = Utterance(
                name,
                recording.id,
                start_s,
                end_s,
                transcript=line.text,
                labels=tuple(name for name, value in pairs if value > options.label_threshold),
                session=line.video,
                view=view_of(options.picture),
                ratings=(rated.sentiment, *rated.votes),
            )
            utterances.append(utterance)
    return list(recordings.values()), utterances


def _recording(files: MoseiFiles, line: Spoken) -> tuple[Recording, float, float]:
    """The recording of an utterance, and the utterance's start and end in it, in seconds.

    A whole video is preferred. A video of one utterance is a recording ``VIDEO[NUMBER]``.
    """
    if (video := files.videos.get(line.video)) is not None:
        sound = files.sounds.get(line.video, video)
        return Recording(line.video, video, sound), line.start_s, line.end_s
    part = files.parts[line.id]
    name = f"{line.video}[{line.id.rpartition('_')[2]}]"
    sound = files.part_sounds.get(line.id, part)
    return Recording(name, part, sound), 0.0, round(line.end_s - max(line.start_s, 0), 6)


def _incomplete(annotation: _Annotation) -> Iterator[Dropped]:
    """Each utterance that lacks transcript, labels or media."""
    for name, places in annotation.places.items():
        if len(places) == len(_PLACES) or name in annotation.spanless:
            continue
        video = annotation.videos[name]
        line, rated = annotation.spoken.get(name), annotation.rated.get(name)
        source = line or rated
        start_s, end_s = (source.start_s, source.end_s) if source else (None, None)
        sentence = f"found in {' and '.join(p for p in _PLACES if p in places)} only"
        file = rated.file if rated else ""
        if line is not None:
            file = annotation.files.name_of(annotation.files.transcripts[video])
        reason = _reason(annotation, video, places)
        yield Dropped(name, reason, sentence, file, video, start_s, end_s)


def _reason(annotation: _Annotation, video: str, places: frozenset[str]) -> DropReason:
    if "transcripts" in places:
        return DropReason.VIDEO_MISSING if "labels" in places else DropReason.NO_LABEL
    exists = video in annotation.files.transcripts
    return DropReason.NO_TRANSCRIPT if exists else DropReason.TRANSCRIPT_MISSING


def _unused(annotation: _Annotation) -> Iterator[Dropped]:
    """Each video and sound file without an utterance."""
    files, used = annotation.files, set(annotation.videos.values())
    for video, path in sorted((files.sounds | files.videos).items()):
        if video not in used:
            reason = _reason(annotation, video, frozenset())
            sentence = "no transcript line and no label names it"
            yield Dropped(video, reason, sentence, files.name_of(path), video)


def _reconciled(annotation: _Annotation) -> dict[str, int]:
    """Number of utterances that each place has or lacks."""
    kinds = Counter(annotation.places.values())
    every = frozenset(_PLACES)
    return {
        "utterances": len(annotation.places),
        **{f"in_{p}": sum(n for kind, n in kinds.items() if p in kind) for p in _PLACES},
        "in_all_three": kinds[every],
        **{f"lacking_in_{p}": kinds[every - {p}] for p in _PLACES},
        **{f"only_in_{p}": kinds[frozenset([p])] for p in _PLACES},
    }


def _kept(inventory: Inventory) -> dict[str, int]:
    return {
        "kept": len(inventory.utterances),
        "kept_without_emotion": sum(not u.labels for u in inventory.utterances),
        "clamped_at_start": sum(u.clamped for u in inventory.utterances),
        "recordings": len(inventory.recordings),
        "recordings_of_one_utterance": sum(r.id.endswith("]") for r in inventory.recordings),
        "sound_from_video": sum(r.audio == r.video for r in inventory.recordings),
    }


MOSEI = Corpus(
    name="mosei",
    title="Prepare CMU-MOSEI: every utterance that has video, transcript and labels.",
    raw="Directory that holds Videos, Transcript and Labels.",
    example="CMU_MOSEI/Raw",
    scan=scan,
    classes=EMOTIONS,
    options=MoseiOptions,
    presets={
        "published": {
            "frames.rule": "thinned",
            "frames.jpeg": "whole",
            "faces.detector": "exact",
            "faces.fallback": "published",
            "corpus.picture": "published",
        }
    },
    licence="CMU-MOSEI is given by Carnegie Mellon University; its videos belong to those who "
    "uploaded them, and shards made from them may not be passed on.",
    citation="A. Bagher Zadeh et al., Multimodal language analysis in the wild: CMU-MOSEI dataset "
    "and interpretable dynamic fusion graph, ACL 2018.",
)
