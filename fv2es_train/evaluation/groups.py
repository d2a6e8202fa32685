"""Results of a part of the utterances, or of a part of the model: what `fv2es eval --by` shows.

Owns the ways to divide and the numbers of each group. Leaves the metrics to `weighted` and running
the model to `evaluate`.

``speaker``, ``session`` and ``recording`` divide the utterances; so does ``modality-missing``, by
what their data lack (no face found in any frame, an empty transcript). ``modality`` leaves out a
part of the model instead. The late fusion is a weighted sum of the logits of the modalities, so
leaving one out leaves out its term, as if that modality said 0, "no evidence"; the other terms
keep their weights. Thresholds were fitted with all modalities and are kept: auc, which needs none,
is the fair number of such a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_train.evaluation.vectorized_metrics import Weighted, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.evaluation.metadata import Facts
    from fv2es_train.evaluation.predictions import Predictions

BY = ("speaker", "session", "recording", "modality-missing", "modality")
WORDS = {"t": "text", "a": "audio", "v": "video"}
UNNAMED = "(not named)"
# Groups measured at a time.
_ROWS = 256


def check_by(by: str | None) -> None:
    """Make sure that results can be divided so.

    Raises:
        UsageError: there is no such way.
    """
    if by is not None and by not in BY:
        raise UsageError(f"results cannot be shown by {by!r}", f"name one of {', '.join(BY)}")


def group_names(by: str, facts: Facts) -> list[str]:
    """The group of each utterance.

    Args:
        by: one of `BY`, but ``modality``.
        facts: of the utterances.
    """
    if by == "modality-missing":
        pairs = zip(facts.faceless, facts.wordless, strict=True)
        return [_lacking(faceless, wordless) for faceless, wordless in pairs]
    return [name or UNNAMED for name in getattr(facts, f"{by}s")]


def by_group(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """The numbers of each group of utterances, in the order of their names.

    Args:
        predictions: of N utterances.
        names: (N,), the group of each.

    Returns:
        JSON-ready, for each group ``group``, ``n``, ``average`` and ``single_label`` (None where
        an utterance of the subset has not exactly one class).
    """
    groups, codes = np.unique(np.array(names, dtype=object), return_inverse=True)
    weighted, rows = Weighted(predictions), []
    for begin in range(0, len(groups), _ROWS):
        chosen = np.arange(begin, min(begin + _ROWS, len(groups)))
        members = (codes == chosen[:, None]).astype(np.float64)
        counts = members.sum(axis=1).astype(int).tolist()
        rows += _rows(weighted, members, [str(groups[g]) for g in chosen], counts)
    return rows


def by_modality(
    predictions: Predictions,
    terms: Mapping[str, NDArray[np.float32]],
    thresholds: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """The numbers with all modalities, without each, and with each alone.

    Args:
        predictions: with all modalities.
        terms: modality -> float32 (N, C), what it adds to the logits.
        thresholds: (C,), those of the run.

    Returns:
        As `by_group`; the groups are named after what is left.
    """
    rows = _all_rows(predictions, "all modalities")
    chosen: list[tuple[str, list[str]]] = []
    if len(terms) > 2:
        chosen += [(f"without {WORDS[m]}", [x for x in terms if x != m]) for m in terms]
    if len(terms) > 1:
        chosen += [(f"{WORDS[m]} alone", [m]) for m in terms]
    for name, left in chosen:
        logits = np.stack([terms[m] for m in left]).sum(axis=0, dtype=np.float32)
        rows += _all_rows(decided(predictions, logits, thresholds), name)
    return rows


def decided(
    predictions: Predictions, logits: NDArray[np.float32], thresholds: NDArray[np.float64]
) -> Predictions:
    """The same utterances with other logits."""
    # Half the tanh is the sigmoid, and never overflows.
    probability = (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
    predicted = (probability > thresholds).astype(np.uint8)
    return replace(predictions, logits=logits, probability=probability, predicted=predicted)


def _all_rows(predictions: Predictions, name: str) -> list[dict[str, Any]]:
    every = np.ones((1, len(predictions)))
    return _rows(Weighted(predictions), every, [name], [len(predictions)])


def _rows(
    weighted: Weighted, weights: NDArray[np.float64], names: list[str], counts: list[int]
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


def _lacking(faceless: bool, wordless: bool) -> str:
    lacks = [w for w, so in (("no face found", faceless), ("no transcript", wordless)) if so]
    return ", ".join(lacks) or "nothing missing"
