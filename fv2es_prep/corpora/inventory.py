"""Making an inventory out of what an adapter found: labels chosen and merged, spans checked, order.

Owns the rules that hold for every corpus. Leaves to adapters where their facts come from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fv2es_prep.config import DEFAULT_SPANS, SpanSettings
from fv2es_prep.errors import CorpusError, DropReason, SettingsError
from fv2es_prep.types import Dropped, Inventory, Recording, Utterance, plain_text
from fv2es_prep.utils.files import why_unreadable

NoneHolds = Literal["dropped", "unlabelled", "kept"]


@dataclass(frozen=True)
class LabelChoice:
    """Which emotion classes become label columns.

    Attributes:
        classes: the chosen classes in the order of the columns, in corpus words; `make_inventory`
            puts in all that it finds, sorted, where there are none.
        merge: class that is renamed -> class that it joins, applied before choosing.
    """

    classes: tuple[str, ...]
    merge: dict[str, str] = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        """The label columns: the chosen classes without those that were merged away.

        Raises:
            SettingsError: no class is left, one is named twice, or a merge leads nowhere.
        """
        kept = tuple(name for name in self.classes if name not in self.merge)
        for source, target in self.merge.items():
            if target not in kept:
                raise SettingsError(
                    f"--merge {source}={target}: {target!r} is none of the chosen classes "
                    f"{', '.join(kept)}",
                    "choose it with --labels, or merge into one of those",
                )
        if not kept or len(set(kept)) < len(kept):
            raise SettingsError(
                f"the chosen classes are {', '.join(self.classes) or 'none'}",
                "name each class once, e.g. --labels ang,hap,neu,sad",
            )
        return kept

    def of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The chosen classes that hold for an utterance with these corpus labels, sorted."""
        renamed = {self.merge.get(name, name) for name in labels}
        return tuple(name for name in self.columns() if name in renamed)


def make_inventory(
    corpus: str,
    recordings: Iterable[Recording],
    utterances: Iterable[Utterance],
    dropped: Iterable[Dropped],
    choice: LabelChoice,
    rating_names: tuple[str, ...] = (),
    spans: SpanSettings = DEFAULT_SPANS,
    none_holds: NoneHolds = "dropped",
) -> Inventory:
    """Check, choose and order what an adapter found.

    A span that starts before 0 is clamped or dropped here, see `SpanSettings`; where it ends
    after the media is known only when they are read. Text that no file of ours can hold (NUL,
    bytes that are no UTF-8) is replaced.

    Args:
        corpus: name of the corpus.
        recordings: every recording that has its media.
        utterances: every labelled utterance, labels in corpus words.
        dropped: what the adapter had to leave out.
        choice: which classes become label columns.
        rating_names: names of the utterances' ratings.
        spans: what is done with a span that starts too early.
        none_holds: what becomes of an utterance that none of the chosen classes holds for:
            ``dropped``; ``kept`` with a label row of zeros, as fits classes that are independent
            of each other; or kept if it is ``unlabelled``, and dropped if other classes hold.

    Returns:
        An inventory in which each utterance given is either kept or dropped with its reason.

    Raises:
        SettingsError: the choice of labels makes no sense.
        CorpusError: no utterance is left.
    """
    utterances, left_out = list(utterances), list(dropped)
    if not choice.classes:
        found = {name for utterance in utterances for name in utterance.labels}
        choice = replace(choice, classes=tuple(sorted(map(plain_text, found))))
    # Where nothing was found there is no choice to judge, and what was left out says why.
    columns = choice.columns() if choice.classes or utterances else ()
    by_id = {plain_text(r.id): replace(r, id=plain_text(r.id)) for r in recordings}
    unreadable = _unreadable(by_id.values())
    kept: dict[str, Utterance] = {}
    for utterance in sorted(map(_plain, utterances), key=_order):
        wanted = _wanted(utterance, choice, none_holds)
        problem = _problem(utterance, kept, wanted) or unreadable.get(utterance.recording_id)
        inside = None if problem else utterance.within(0, math.inf, spans.min_left)
        if inside is None:
            left_out.append(Dropped.of(utterance, *(problem or _too_early(utterance))))
        else:
            kept[utterance.id] = replace(inside, labels=choice.of(utterance.labels))
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


def first_utterances(inventory: Inventory, limit: int) -> Inventory:
    """The same inventory with its first ``limit`` utterances only, for a trial run.

    Raises:
        SettingsError: the limit is below 1.
    """
    if limit < 1:
        raise SettingsError(f"the limit is {limit}, expected at least 1")
    return _only(inventory, inventory.utterances[:limit])


def _only(inventory: Inventory, utterances: Sequence[Utterance]) -> Inventory:
    used = {utterance.recording_id for utterance in utterances}
    recordings = tuple(r for r in inventory.recordings if r.id in used)
    return replace(inventory, utterances=tuple(utterances), recordings=recordings)


def spread_utterances(inventory: Inventory, count: int) -> Inventory:
    """The same inventory with ``count`` utterances, evenly spread over all, for a trial run.

    Raises:
        SettingsError: the count is below 1.
    """
    if count < 1:
        raise SettingsError(f"the sample is {count}, expected at least 1")
    there = len(inventory.utterances)
    places = {(2 * i + 1) * there // (2 * min(count, there)) for i in range(min(count, there))}
    return _only(inventory, [inventory.utterances[place] for place in sorted(places)])


def label_counts(utterances: Sequence[Utterance], classes: Sequence[str]) -> dict[str, int]:
    """How many utterances each class holds for."""
    counts = Counter(name for utterance in utterances for name in utterance.labels)
    return {name: counts[name] for name in classes}


def _order(utterance: Utterance) -> tuple[str, float, str]:
    start = utterance.start_s if math.isfinite(utterance.start_s) else math.inf
    return (utterance.recording_id, start, utterance.id)


def _plain(utterance: Utterance) -> Utterance:
    return replace(
        utterance,
        id=plain_text(utterance.id),
        recording_id=plain_text(utterance.recording_id),
        transcript=plain_text(utterance.transcript),
        speaker=plain_text(utterance.speaker),
        session=plain_text(utterance.session),
    )


def _unreadable(recordings: Iterable[Recording]) -> dict[str, tuple[DropReason, str]]:
    """Recording id -> why one of its files cannot be opened."""
    found = {
        # A folder of pictures is looked into when its pictures are read.
        r.id: (why_unreadable(r.video) if r.pictures is None else None) or why_unreadable(r.audio)
        for r in recordings
    }
    return {name: why for name, why in found.items() if why}


def _too_early(utterance: Utterance) -> tuple[DropReason, str]:
    span = f"its span is {utterance.start_s} s to {utterance.end_s} s"
    return DropReason.SPAN_OUTSIDE_MEDIA, f"{span}, and too little of it comes after 0 s"


def _wanted(utterance: Utterance, choice: LabelChoice, none_holds: NoneHolds) -> bool:
    unlabelled = none_holds == "unlabelled" and not utterance.labels
    return none_holds == "kept" or unlabelled or bool(choice.of(utterance.labels))


def _problem(
    utterance: Utterance, kept: dict[str, Utterance], wanted: bool
) -> tuple[DropReason, str] | None:
    if not wanted:
        labels = ", ".join(utterance.labels)
        return DropReason.LABEL_NOT_CHOSEN, f"its label is {labels!r}, which is not chosen"
    finite = math.isfinite(utterance.start_s) and math.isfinite(utterance.end_s)
    if not finite or utterance.end_s <= utterance.start_s:
        return DropReason.BAD_SPAN, f"its span is {utterance.start_s} s to {utterance.end_s} s"
    if utterance.id in kept:
        return DropReason.DUPLICATE_ID, "the id occurred before"
    return None


def _nothing_left(corpus: str, columns: Sequence[str], dropped: Sequence[Dropped]) -> CorpusError:
    reasons = Counter(entry.reason.value for entry in dropped).most_common()
    found = ", ".join(f"{count} {reason}" for reason, count in reasons) or "no utterance at all"
    chosen = f"the classes {', '.join(columns)}" if columns else "any class"
    return CorpusError(
        f"no utterance of {corpus} is left for {chosen}: {found}",
        "look at --labels, and whether the directory is the whole corpus",
    )
