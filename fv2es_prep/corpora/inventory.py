"""Makes an inventory from the result of a scan: chooses and merges labels, checks spans, sorts."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fv2es_prep.config import DEFAULT_SPANS, SpanSettings
from fv2es_prep.errors import CorpusError, DropReason, SettingsError
from fv2es_prep.types import RATERS, VOTES, Dropped, Inventory, Recording, Utterance, plain_text
from fv2es_prep.utils.files import read_regular, why_unreadable

NoneHolds = Literal["dropped", "unlabelled", "kept"]


@dataclass(frozen=True)
class LabelChoice:
    """Which emotion classes become label columns.

    Attributes:
        classes: the chosen classes, by their names in the corpus, in the order of the columns;
            empty: `make_inventory` takes all that occur, sorted.
        merge: class -> class that it counts as; applied before choosing.
        known: classes of the corpus, which may have no utterance. Every other name must occur;
            None: no name is checked.
    """

    classes: tuple[str, ...]
    merge: dict[str, str] = field(default_factory=dict)
    known: tuple[str, ...] | None = None

    def columns(self) -> tuple[str, ...]:
        """The label columns: the chosen classes without the merged ones.

        Raises:
            SettingsError: no class is left, one is named twice, or a merge has no chosen target.
        """
        kept = tuple(name for name in self.classes if name not in self.merge)
        for source, target in self.merge.items():
            if target not in kept:
                raise SettingsError(
                    f"--merge {source}={target}: {target!r} is not one of the chosen classes "
                    f"{', '.join(kept)}",
                    "choose it with --labels, or merge into one of these",
                )
        if not kept or len(set(kept)) < len(kept):
            raise SettingsError(
                f"the chosen classes are {', '.join(self.classes) or 'none'}",
                "name each class once, e.g. --labels ang,hap,neu,sad",
            )
        return kept

    def check(self, found: Iterable[str]) -> None:
        """Check that each class exists in the corpus, whose utterances have the labels ``found``.

        Raises:
            SettingsError: a class does not exist; the hint names the nearest one.
        """
        has = sorted({*found, *(self.known or ())})
        for name in (*self.classes, *self.merge):
            if self.known is not None and name not in has:
                near = difflib.get_close_matches(name, has, 1)
                hint = f"did you mean {near[0]}?" if near else "choose from these"
                classes = ", ".join(has)
                raise SettingsError(f"no class {name!r}: the classes are {classes}", hint)

    def of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The chosen classes of an utterance with these corpus labels, in column order."""
        renamed = {self.merge.get(name, name) for name in labels}
        return tuple(name for name in self.columns() if name in renamed)


@dataclass(frozen=True)
class EveryLabel(LabelChoice):
    """Keeps every label in corpus words, since a shard does not store which were merged."""

    def of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """All of these labels, sorted."""
        return tuple(sorted(labels))


@dataclass
class Found:
    """Intermediate results of a scan; recordings by id."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def make_inventory(
    corpus: str,
    recordings: Iterable[Recording],
    utterances: Iterable[Utterance],
    dropped: Iterable[Dropped],
    choice: LabelChoice,
    rating_names: tuple[str, ...] = (),
    spans: SpanSettings = DEFAULT_SPANS,
    none_holds: NoneHolds = "dropped",
    files_required: bool = True,
) -> Inventory:
    """Make an inventory from the result of a scan.

    A span that starts before 0 is clamped or dropped here, see `SpanSettings`; one that ends after
    the media is handled when they are read. NUL and bytes that are not UTF-8 are replaced.

    Args:
        corpus: name of the dataset: `Corpus.name`, or ``VARIANT-name``.
        recordings: every recording whose media exist.
        utterances: every labelled utterance, with the labels of the corpus.
        dropped: what the scan dropped.
        choice: the classes that become label columns.
        rating_names: names of the utterances' ratings.
        spans: how a span that starts too early is handled.
        none_holds: what to do with an utterance without any of the chosen classes: ``dropped``;
            ``kept`` with a label row of zeros, for independent classes; or ``unlabelled``: kept
            if it has no label at all, else dropped.
        files_required: whether a file that cannot be opened drops the utterances of its recording.
            Otherwise preparation marks its modality as missing, and only an utterance with neither
            another file nor words is dropped here.

    Returns:
        An inventory in which every utterance is either kept or dropped with its reason.

    Raises:
        SettingsError: the choice of labels is invalid, or the corpus has no such class.
        CorpusError: no utterance is left.
    """
    utterances, left_out = list(utterances), list(dropped)
    found = {plain_text(name) for utterance in utterances for name in utterance.labels}
    if utterances:
        choice.check(found)
    if not choice.classes:
        choice = replace(choice, classes=tuple(sorted(found)))
    # If nothing was found, no class can be checked; the drops give the reasons.
    columns = choice.columns() if choice.classes or utterances else ()
    by_id = {plain_text(r.id): replace(r, id=plain_text(r.id)) for r in recordings}
    unreadable = _unreadable(by_id.values(), files_required)
    kept: dict[str, Utterance] = {}
    for utterance in sorted(map(_plain, utterances), key=_order):
        problem = _problem(utterance, kept, choice, none_holds)
        if problem is None and (files_required or not utterance.transcript):
            problem = unreadable.get(utterance.recording_id)
        inside = None if problem else utterance.within(0, math.inf, spans.min_left)
        if inside is None:
            left_out.append(Dropped.of(utterance, *(problem or _too_early(utterance))))
        else:
            ratings = merged_votes(inside.ratings, rating_names, choice.merge)
            kept[utterance.id] = replace(
                inside, labels=choice.of(utterance.labels), ratings=ratings
            )
    if not kept:
        raise _nothing_left(corpus, columns, left_out)
    used = {utterance.recording_id for utterance in kept.values()}
    return Inventory(
        corpus=corpus,
        label_classes=columns,
        recordings=tuple(by_id[name] for name in sorted(used)),
        utterances=tuple(sorted(kept.values(), key=_order)),
        dropped=tuple(left_out),
        rating_names=rating_names,
    )


def merged_votes(
    ratings: tuple[float, ...], names: tuple[str, ...], merge: Mapping[str, str]
) -> tuple[float, ...]:
    """The ratings with the votes of a merged class added to those of its target.

    NaN if raters may choose several classes, since the number who chose either is unknown.
    """
    values = dict(zip(names, ratings, strict=True))
    for source, target in merge.items():
        if {VOTES + source, VOTES + target} <= values.keys():
            added = math.nan if RATERS in values else values[VOTES + source]
            values[VOTES + target] += added
            values[VOTES + source] = 0.0
    return tuple(values.values())


def first_utterances(inventory: Inventory, limit: int) -> Inventory:
    """The first ``limit`` utterances, for a trial run.

    Raises:
        SettingsError: the limit is below 1.
    """
    if limit < 1:
        raise SettingsError(f"the limit is {limit}, expected at least 1")
    return _only(inventory, inventory.utterances[:limit])


def spread_utterances(inventory: Inventory, count: int) -> Inventory:
    """``count`` utterances, evenly spread over the inventory, for a trial run.

    Raises:
        SettingsError: the count is below 1.
    """
    if count < 1:
        raise SettingsError(f"the sample has {count} utterances, expected at least 1")
    total = len(inventory.utterances)
    count = min(count, total)
    places = ((2 * i + 1) * total // (2 * count) for i in range(count))
    return _only(inventory, [inventory.utterances[place] for place in places])


def without_utterances(inventory: Inventory, left_out: Mapping[str, str]) -> Inventory:
    """Drop the utterances that a person excludes: utterance id -> the person's note.

    Raises:
        SettingsError: no utterance is left.
    """
    gone = [utterance for utterance in inventory.utterances if utterance.id in left_out]
    if not gone:
        return inventory
    kept = [utterance for utterance in inventory.utterances if utterance.id not in left_out]
    if not kept:
        raise SettingsError(
            f"all {len(gone)} utterances are excluded, expected at least one to remain"
        )
    sentences = (": ".join(filter(None, ("marked as exclude", left_out[u.id]))) for u in gone)
    dropped = (Dropped.of(u, DropReason.EXCLUDED, s) for u, s in zip(gone, sentences, strict=True))
    return replace(_only(inventory, kept), dropped=(*inventory.dropped, *dropped))


def _only(inventory: Inventory, utterances: Sequence[Utterance]) -> Inventory:
    used = {utterance.recording_id for utterance in utterances}
    recordings = tuple(r for r in inventory.recordings if r.id in used)
    return replace(inventory, utterances=tuple(utterances), recordings=recordings)


def read_text(path: Path) -> str:
    """The text of an annotation file; bytes that are not UTF-8 are replaced.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return read_regular(path).decode("utf-8-sig", "replace")
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read: {error.strerror}", "copy the file again, or remove it"
        ) from error


def apple_double(path: Path, file: str) -> Dropped:
    """The drop of a file ``._NAME``, which macOS writes to disks of other systems."""
    return Dropped(path.name, DropReason.NOT_A_RECORDING, "an AppleDouble file", file)


def _order(utterance: Utterance) -> tuple[str, float, str]:
    start = utterance.start_s if math.isfinite(utterance.start_s) else math.inf
    return (utterance.recording_id, start, utterance.id)


def _plain(utterance: Utterance) -> Utterance:
    names = ("id", "recording_id", "transcript", "speaker", "session")
    texts: dict[str, Any] = {name: plain_text(getattr(utterance, name)) for name in names}
    return replace(utterance, **texts)


def _unreadable(
    recordings: Iterable[Recording], any_one: bool
) -> dict[str, tuple[DropReason, str]]:
    """Recording id -> the reason why one of its files, or all of them, cannot be opened."""
    found = {}
    for recording in recordings:
        # A folder of pictures is checked when its pictures are read.
        video = recording.video if recording.pictures is None else None
        paths = [path for path in (video, recording.audio) if path]
        problems = [why for path in paths if (why := why_unreadable(path))]
        left = recording.pictures is not None or len(problems) < len(paths)
        if problems and (any_one or not left):
            found[recording.id] = problems[0]
    return found


def _too_early(utterance: Utterance) -> tuple[DropReason, str]:
    span = f"its span is {utterance.start_s} s to {utterance.end_s} s"
    return DropReason.SPAN_OUTSIDE_MEDIA, f"{span}, and too little of it lies after 0 s"


def _problem(
    utterance: Utterance, kept: dict[str, Utterance], choice: LabelChoice, none_holds: NoneHolds
) -> tuple[DropReason, str] | None:
    unlabelled = none_holds == "unlabelled" and not utterance.labels
    if not (none_holds == "kept" or unlabelled or choice.of(utterance.labels)):
        labels = ", ".join(utterance.labels)
        return DropReason.LABEL_NOT_CHOSEN, f"its label is {labels!r}, which is not chosen"
    finite = math.isfinite(utterance.start_s) and math.isfinite(utterance.end_s)
    if not finite or utterance.end_s <= utterance.start_s:
        return DropReason.BAD_SPAN, f"its span is {utterance.start_s} s to {utterance.end_s} s"
    if utterance.id in kept:
        return DropReason.DUPLICATE_ID, "an earlier utterance has the same id"
    return None


def _nothing_left(corpus: str, columns: Sequence[str], dropped: Sequence[Dropped]) -> CorpusError:
    reasons = Counter(entry.reason.value for entry in dropped).most_common()
    found = ", ".join(f"{count} {reason}" for reason, count in reasons) or "no utterance found"
    chosen = f"the classes {', '.join(columns)}" if columns else "any class"
    return CorpusError(
        f"no utterance of {corpus} is left for {chosen}: {found}",
        "check --labels, and check that the directory holds the whole corpus",
    )
