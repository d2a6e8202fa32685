"""Agreement of raters: between them, of one with the others, and of a model with their shares.

Reads the votes of a corpus, its ratings ``votes_CLASS``. docs/metrics.md has the formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.types import RATERS, VOTES
from fv2es_train.evaluation.measurement import Bootstrap, intervals, weights_of
from fv2es_train.evaluation.vectorized_metrics import of_confusion, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fv2es_prep.shards.catalogue import Catalogue

    Floats = NDArray[np.float64]


def agreement(
    ratings: Mapping[str, NDArray[np.float32]], classes: Sequence[str]
) -> dict[str, Any] | None:
    """Measure the agreement of the raters of N utterances, and one rater against the others.

    Args:
        ratings: name -> (N,), including the votes; NaN without votes.
        classes: the classes of the dataset.

    Returns:
        JSON-ready: ``utterances`` with at least two votes, ``alpha`` and ``kappa`` of whole votes
        (None where undefined), ``ceiling``: metric -> value of one rater against the others. None
        if no utterance has two votes.
    """
    names = [name.removeprefix(VOTES) for name in ratings if name.startswith(VOTES)]
    if not {*classes} <= {*names}:
        return None
    counts = np.stack([ratings[VOTES + name] for name in names], axis=1).astype(np.float64)
    if RATERS in ratings:
        raters = ratings[RATERS].astype(np.float64)
        return _of_several(counts[:, [names.index(name) for name in classes]], raters)
    counts = counts[np.nan_to_num(counts.sum(axis=1)) >= 2]
    if not len(counts):
        return None
    whole = counts[(counts == np.rint(counts)).all(axis=1)]
    confusion = _confusion(counts, [names.index(name) for name in classes])
    return {
        "utterances": len(counts),
        "alpha": alpha(whole),
        "kappa": kappa(whole),
        "ceiling": plain(of_confusion(confusion[None]), 0),
    }


SHARE_METRICS = ("cross_entropy", "kl", "jensen_shannon")
# Probabilities are clipped to this minimum, so that no distance is infinite.
_SMALLEST = 1e-12


def measure_shares(
    shares: Floats, probability: Floats, exclusive: bool, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Measure the distance between predicted probabilities and rater shares.

    Args:
        shares: (N, C), the share of the raters who chose each class; NaN without votes.
        probability: (N, C), probabilities of the model.
        exclusive: whether both sum to 1 over the classes; otherwise each class is binary.
        bootstrap: how to resample; its unit is ignored, utterances are drawn.

    Returns:
        JSON-ready: ``n``, the number of utterances with votes, the mean of each of `SHARE_METRICS`
        and their ``interval``; None without votes.
    """
    known = np.isfinite(shares).all(axis=1)
    if not known.any():
        return None
    # Each is (N, D, K): the probabilities of the K outcomes of D distributions.
    q, p = (
        each[known][:, None] if exclusive else np.stack([each[known], 1 - each[known]], axis=2)
        for each in (shares, probability)
    )
    entropy, middle = _information(q, q), (p + q) / 2
    crossed = -_information(q, p)
    apart = (entropy + _information(p, p)) / 2 - _information(middle, middle)
    distance = np.sqrt(np.maximum(apart, 0) / np.log(2))
    rows = np.stack([each.mean(axis=1) for each in (crossed, crossed + entropy, distance)])
    drawn = [w @ rows.T / w.sum(axis=1)[:, None] for w in weights_of(np.arange(len(q)), bootstrap)]
    edges = dict(zip(SHARE_METRICS, np.concatenate(drawn).T, strict=True)) if drawn else None
    return {
        "n": int(known.sum()),
        **dict(zip(SHARE_METRICS, rows.mean(axis=1).tolist(), strict=True)),
        "interval": edges and intervals(edges, bootstrap.level),
    }


def _information(weight: Floats, of: Floats) -> Floats:
    """The sum over the outcomes of weight * ln(of)."""
    found: Floats = (weight * np.log(np.maximum(of, _SMALLEST))).sum(axis=2)
    return found


def agreement_of(catalogue: Catalogue, ids: Sequence[str]) -> dict[str, Any] | None:
    """Measure the `agreement` of the raters of some utterances, e.g. of all test subsets."""
    rows = catalogue.rows_of(ids)
    ratings = {name: values[rows] for name, values in catalogue.ratings.items()}
    return agreement(ratings, catalogue.index.label_classes)


def alpha(counts: Floats) -> float | None:
    """Compute Krippendorff's alpha for nominal data from votes (N, K); None if undefined.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C.
    """
    counts = counts[counts.sum(axis=1) >= 2]
    each, every = counts.sum(axis=1), counts.sum(axis=0)
    total = each.sum()
    expected = (total**2 - (every**2).sum()) / max(total - 1, 1)
    if not expected:
        return None
    observed = ((each**2 - (counts**2).sum(axis=1)) / (each - 1)).sum()
    return float(1 - observed / expected)


def kappa(counts: Floats) -> float | None:
    """Compute Fleiss' kappa of votes (N, K); None unless all rows have equally many raters.

    Fleiss 1971, doi:10.1037/h0031619.
    """
    each = counts.sum(axis=1)
    if not len(counts) or each[0] < 2 or (each != each[0]).any():
        return None
    observed = ((counts * (counts - 1)).sum(axis=1) / (each * (each - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return float((observed - chance) / (1 - chance)) if chance < 1 else None


def _confusion(counts: Floats, places: list[int]) -> Floats:
    """Count the others' most frequent class by a rater's class, (C + 1, C + 1), from votes (N, K).

    Tied most frequent classes share the vote. The last column has the choices outside the classes;
    a vote is not counted if the class of the others is outside.
    """
    found = np.zeros((len(places) + 1, len(places) + 1))
    for chosen in range(counts.shape[1]):
        others = counts.copy()
        others[:, chosen] = np.maximum(others[:, chosen] - 1, 0)
        most = others == others.max(axis=1, keepdims=True)
        shares = counts[:, chosen] @ (most / most.sum(axis=1, keepdims=True))
        column = places.index(chosen) if chosen in places else len(places)
        found[:-1, column] += shares[places]
    return found


def _of_several(counts: Floats, raters: Floats) -> dict[str, Any] | None:
    """`agreement` if a rater may choose several classes: each class is binary."""
    rows = np.nan_to_num(raters) >= 2
    counts, raters = counts[rows], raters[rows]
    if not len(counts):
        return None
    alphas, kappas, found = [], [], []
    for yes in counts.T:
        pair = np.stack([yes, raters - yes], axis=1)
        alphas.append(alpha(pair))
        kappas.append(kappa(pair))
        # The class holds for the others if one of them chose it, as in the labels of the corpus.
        hits, alarms = yes[yes > 1].sum(), yes[yes == 1].sum()
        misses, rejected = pair[yes > 0, 1].sum(), pair[yes == 0, 1].sum()
        f1_of = 2 * hits / max(2 * hits + alarms + misses, 1)
        recalls = hits / max(hits + misses, 1), rejected / max(rejected + alarms, 1)
        found.append(((hits + rejected) / pair.sum(), np.mean(recalls), f1_of))
    accuracy, recall, f1 = np.mean(found, axis=0).tolist()
    return {
        "utterances": len(counts),
        "alpha": _mean(alphas),
        "kappa": _mean(kappas),
        "ceiling": {"accuracy": accuracy, "balanced_accuracy": recall, "f1_binary": f1},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
