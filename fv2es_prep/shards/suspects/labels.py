"""Finds labels that the rest of a dataset contradicts, by cleanlab.

For each modality, a logistic regression that has not seen the utterance's speaker predicts the
classes. If the joint prediction is confident of another class, the label is doubtful.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.suspects.suspect import Suspect
from fv2es_prep.shards.suspects.traits import Traits
from fv2es_prep.utils.console import say
from fv2es_prep.utils.emotions import named

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FOLDS, _ENOUGH, _WORDS = 5, 40, 2000
# Strong regularization: hundreds of features, possibly few utterances of a class.
_STRENGTH = 0.1
# Least probability, so that no single modality decides alone.
_LEAST = 1e-6
# Mean recall below which labels are not checked.
_TOLD_APART = 0.5
# Least ratio of the probability of another class to that of the label.
_SURE = 3


def doubtful_labels(
    traits: Traits, predicted: NDArray[np.float64] | None = None
) -> Iterator[Suspect]:
    """Find doubtful labels; if several classes may hold, each is judged by itself.

    Args:
        traits: traits of the dataset.
        predicted: (N, C), probabilities of models that have not seen the utterance, NaN where there
            are none; by default, regressions over the traits.

    Raises:
        UsageError: the extra ``check`` is not installed.
    """
    rank = _cleanlab()
    classes, label = traits.catalogue.label_classes, traits.catalogue.label
    if len(label) < _ENOUGH or len(classes) < 2:
        return
    if (label.sum(1) == 1).all():
        given = label.argmax(1).astype(np.int64)
        if predicted is None:
            likely = _out_of_fold(traits, given)
        else:
            likely = predicted / np.maximum(predicted.sum(1, keepdims=True), _LEAST)
        if (told_apart := _recall(given, likely)) < _TOLD_APART:
            say(
                f"labels are not checked: the mean recall of their classes is {told_apart:.0%}, "
                "too low to judge a label; pass the runs of a cross-validation with --run"
            )
            return
        for row, quality in rank(given, likely):
            other = named(classes[int(np.argmax(likely[row]))])
            sentence = (
                f"labelled {named(classes[given[row]])}, but similar to utterances of {other}"
            )
            yield Suspect("label", traits.ids[row], 1 - quality, sentence)
        return
    for place, name in enumerate(classes):
        given = label[:, place].astype(np.int64)
        if predicted is None:
            likely = _out_of_fold(traits, given)
        else:
            likely = np.stack([1 - predicted[:, place], predicted[:, place]], 1)
        if _recall(given, likely) < _TOLD_APART + 0.1:
            continue
        for row, quality in rank(given, likely):
            sentence = (
                f"{'' if given[row] else 'not '}labelled {named(name)}, unlike similar utterances"
            )
            yield Suspect("label", traits.ids[row], 1 - quality, sentence)


def _cleanlab() -> Any:
    """A function that yields the rows of doubtful labels, worst first, and their probability."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise UsageError(
            "finding doubtful labels needs cleanlab, which is not installed",
            'run pip install "fv2es[check]", or choose other kinds with --only',
        ) from error

    def rank(given: NDArray[np.int64], likely: NDArray[np.float64]) -> Iterator[tuple[int, float]]:
        known = np.flatnonzero(np.isfinite(likely).all(1))
        # cleanlab requires each class at least once.
        if len(np.unique(given[known])) < likely.shape[1]:
            return
        found = find_label_issues(
            given[known],
            likely[known],
            filter_by="predicted_neq_given",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
        for row in known[found].tolist():
            if likely[row, given[row]] * _SURE < likely[row].max():
                yield row, float(likely[row, given[row]])

    return rank


def _out_of_fold(traits: Traits, given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Out-of-fold probabilities (N, C) of the classes that occur, from all modalities together."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import StandardScaler

    catalogue = traits.catalogue
    parts: list[tuple[Any, Any]] = []
    for name in ("tone", "face"):
        known = np.isfinite(traits.vectors[name]).all(1)
        if known.any():
            parts.append((known, StandardScaler().fit_transform(traits.vectors[name][known])))
    texts = np.array(catalogue.texts.to_pylist(), dtype=object)
    spoken: NDArray[np.bool_] = np.array([bool(text.split()) for text in texts], np.bool_)
    if len(set(texts[spoken])) > 1:
        words = TfidfVectorizer(
            min_df=2,
            ngram_range=(1, 2),
            max_features=_WORDS,
            sublinear_tf=True,
            token_pattern=r"\S+",  # noqa: S106  # of words
        )
        try:
            # Scaled to the size of the other parts, whose columns have a deviation of 1.
            vectors = words.fit_transform(texts[spoken])
            parts.append((spoken, vectors * np.sqrt(vectors.shape[1])))
        except ValueError:
            # No word occurs twice.
            pass
    logs = np.zeros((len(given), given.max() + 1))
    heard = np.zeros(len(given))
    for known, values in parts:
        probabilities = _predict(values, given[known], _groups(catalogue)[known])
        if probabilities is None:
            continue
        # Weight of a modality: its recall above chance.
        weight = max(_recall(given[known], probabilities) - 1 / logs.shape[1], 0)
        logs[known] += weight * np.log(probabilities + _LEAST)
        heard[known] += weight
    heard[heard == 0] = np.nan
    mean = np.exp(logs / heard[:, None])
    likely: NDArray[np.float64] = mean / mean.sum(1, keepdims=True)
    return likely


def _recall(given: NDArray[np.int64], likely: NDArray[np.float64]) -> float:
    """Mean recall of the classes that occur, over the rows with a prediction."""
    known = np.isfinite(likely).all(1)
    hit = likely[known].argmax(1) == given[known]
    recalls = [hit[given[known] == name].mean() for name in np.unique(given[known])]
    return float(np.mean(recalls)) if recalls else 0.0


def _groups(catalogue: Catalogue) -> NDArray[np.int32]:
    """Speakers; recordings instead if few speakers are known, or one has more than half."""
    names = catalogue.speakers
    if len(names.values) <= 2 or 2 * np.bincount(names.codes).max() > len(catalogue):
        names = catalogue.recordings
    return names.codes if len(names.values) > 2 else np.arange(len(catalogue), dtype=np.int32)


def _predict(
    values: Any, given: NDArray[np.int64], groups: NDArray[np.int32]
) -> NDArray[np.float64] | None:
    """Out-of-fold probabilities, (N, C); None if groups or utterances are too few."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    counts = np.bincount(given)
    folds = min(_FOLDS, len(np.unique(groups)), int(counts.min()))
    if folds < 2:
        return None
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=300)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # Ignore warnings: folds of few groups are uneven, and the regression need not converge.
        warnings.simplefilter("ignore")
        found: NDArray[np.float64] = cross_val_predict(
            model, values, given, groups=groups, cv=split, method="predict_proba"
        )
    return found
