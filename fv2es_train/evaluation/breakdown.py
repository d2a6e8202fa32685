"""Results by group (`fv2es eval --by`), and the metadata that defines the groups.

``speaker``, ``session``, ``recording`` and ``modality-missing`` (with the reason, including no face
in any frame and an empty transcript) group the utterances. ``modality`` ablates the model instead:
late fusion is a weighted sum of the logits of the modalities, so removing a modality removes its
term, as if its logits were 0; the other terms keep their weights. The decision was fitted with all
modalities, so auc, which needs no threshold, is the fair metric of such a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.errors import UsageError
from fv2es_prep.utils.near import meant
from fv2es_train.evaluation.vectorized_metrics import VectorizedMetrics, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.shards.catalogue import Catalogue
    from fv2es_train.evaluation.predictions import Predictions
    from fv2es_train.models.decision import Decision

BY = ("speaker", "session", "recording", "modality-missing", "modality")
UNNAMED = "(not named)"
# Groups measured at a time.
_ROWS = 256


def check_by(by: str | None) -> None:
    """Raise `UsageError` if the grouping is unknown."""
    if by is not None and by not in BY:
        raise UsageError(f"unknown grouping {by!r}", meant(by, BY))


def group_names(by: str, metadata: Metadata) -> list[str]:
    """Name the group of each utterance; ``by`` is one of `BY` except ``modality``."""
    if by == "modality-missing":
        rows = zip(metadata.missing, metadata.faceless, metadata.wordless, strict=True)
        return [_lacking(*row) for row in rows]
    return [name or UNNAMED for name in getattr(metadata, f"{by}s")]


def by_group(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """Measure each group of utterances, ordered by name.

    Returns:
        JSON-ready, for each group: ``group``, ``n``, ``average`` and ``single_label`` (None unless
        every utterance of the subset has exactly one class).
    """
    groups, codes = np.unique(np.array(names, dtype=object), return_inverse=True)
    weighted, rows = VectorizedMetrics(predictions), []
    for begin in range(0, len(groups), _ROWS):
        chosen = np.arange(begin, min(begin + _ROWS, len(groups)))
        members = (codes == chosen[:, None]).astype(np.float64)
        counts = members.sum(axis=1).astype(int).tolist()
        rows += _rows(weighted, members, [str(groups[g]) for g in chosen], counts)
    return rows


def by_modality(
    predictions: Predictions,
    terms: Mapping[str, NDArray[np.float32]],
    decision: Decision,
    used: Sequence[str],
) -> list[dict[str, Any]]:
    """Measure with all modalities, without each one, and with each one alone.

    Args:
        predictions: predictions with all modalities.
        terms: term of each modality in the fused logits, float32 (N, C).
        decision: the decision of the run.
        used: for each utterance the letters of the modalities that it has.

    Returns:
        As `by_group`; a group is named after the modalities that remain.
    """
    rows = _all_rows(predictions, "all modalities")
    chosen: list[tuple[str, list[str]]] = []
    if len(terms) > 2:
        chosen += [(f"without {MODALITY_NAMES[m]}", [x for x in terms if x != m]) for m in terms]
    if len(terms) > 1:
        chosen += [(f"{MODALITY_NAMES[m]} alone", [m]) for m in terms]
    for name, left in chosen:
        logits = np.stack([terms[m] for m in left]).sum(axis=0, dtype=np.float32)
        kept = ["".join(m for m in left if m in letters) for letters in used]
        rows += _all_rows(decided(predictions, logits, decision, kept), name)
    return rows


def decided(
    predictions: Predictions,
    logits: NDArray[np.float32],
    decision: Decision,
    letters: str | Sequence[str],
) -> Predictions:
    """Replace the logits of predictions, and the probabilities and decisions that follow.

    ``letters``: the modalities in the logits, for all utterances or for each. An utterance without
    any gets no decision.
    """
    probability = decision.probability(logits, letters)
    each = [letters] * len(logits) if isinstance(letters, str) else letters
    some = np.array([[bool(one)] for one in each])
    predicted = decision.decided(probability) * some
    return replace(predictions, logits=logits, probability=probability, predicted=predicted)


def _all_rows(predictions: Predictions, name: str) -> list[dict[str, Any]]:
    every = np.ones((1, len(predictions)))
    return _rows(VectorizedMetrics(predictions), every, [name], [len(predictions)])


def _rows(
    weighted: VectorizedMetrics, weights: NDArray[np.float64], names: list[str], counts: list[int]
) -> list[dict[str, Any]]:
    average, single = weighted.averages(weights), weighted.single_label(weights)
    return [
        {
            "group": name,
            "n": count,
            "average": plain(average, row),
            "single_label": plain(single, row) or None,
        }
        for row, (name, count) in enumerate(zip(names, counts, strict=True))
    ]


def _lacking(missing: Mapping[str, str], faceless: bool, wordless: bool) -> str:
    lacks = [f"{MODALITY_NAMES[m]}: {code}" for m, code in missing.items()]
    if faceless and "v" not in missing:
        lacks.append("no face found")
    if wordless and "t" not in missing:
        lacks.append("no transcript")
    return ", ".join(lacks) or "nothing missing"


@dataclass(frozen=True)
class Metadata:
    """Metadata of N utterances, in the order of ``ids``.

    ``speakers`` and ``sessions`` are empty where unknown; ``seconds`` are lengths; ``missing``:
    letter of each missing modality -> code; ``faceless``: no face was found in any frame;
    ``wordless``: the transcript is empty.
    """

    ids: tuple[str, ...]
    recordings: tuple[str, ...]
    speakers: tuple[str, ...]
    sessions: tuple[str, ...]
    seconds: tuple[float, ...]
    missing: tuple[dict[str, str], ...]
    faceless: tuple[bool, ...]
    wordless: tuple[bool, ...]

    @property
    def hours(self) -> float:
        """Total length of all utterances, in hours."""
        return sum(self.seconds) / 3600


def metadata_of(catalogue: Catalogue, ids: Sequence[str]) -> Metadata:
    """The metadata of some utterances of a dataset."""
    rows = catalogue.rows_of(ids)
    texts = catalogue.texts.take(rows).to_pylist()
    codes = {letter: names.at(rows) for letter, names in catalogue.missing.items()}
    return Metadata(
        ids=tuple(ids),
        recordings=tuple(catalogue.recordings.at(rows)),
        speakers=tuple(catalogue.speakers.at(rows)),
        sessions=tuple(catalogue.sessions.at(rows)),
        seconds=tuple(catalogue.seconds[rows].tolist()),
        missing=tuple(
            {letter: found[row] for letter, found in codes.items() if found[row]}
            for row in range(len(ids))
        ),
        faceless=tuple((catalogue.count("faces/found") == 0)[rows].tolist()),
        wordless=tuple(not text.strip() for text in texts),
    )
