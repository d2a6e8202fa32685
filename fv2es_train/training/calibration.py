"""The decision of a finished run: its rule, temperatures and thresholds, fitted on valid.

Temperature scaling (Guo et al. 2017, arXiv 1706.04599) divides all logits by one number, so it
changes no ranking. Each set of modalities has its own temperature: fewer modalities are less
certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fv2es_prep.config import ordered
from fv2es_train.evaluation.metrics import TIES, Ties, fit_thresholds
from fv2es_train.models.decision import Decision, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fv2es_train.config import TrainConfig
    from fv2es_train.evaluation.inference import Outputs
    from fv2es_train.models.emotion_model import EmotionModel

# Temperatures lie between 1/20 and 20; a wider range would only fit noise of a small valid subset.
_LIMIT, _HALVINGS = np.log(20.0), 30
# Standard deviation of the normal prior of log T: a few utterances hardly move T, hundreds do.
_PRIOR = 0.5
_FOLDS = 5


@dataclass(frozen=True)
class Terms:
    """Logits of N utterances before fusion.

    Attributes:
        of: modality letter -> float64 (N, C), its weighted term; a network that fuses earlier has
            a single key of several letters.
        missing: for each utterance the letters of the modalities that it lacks.
        label: float64 (N, C), 1 where the class holds.
    """

    of: dict[str, Tensor]
    missing: list[str]
    label: Tensor

    def logits(self, model: EmotionModel, letters: str, rows: NDArray[np.int64]) -> Tensor:
        """Fuse the terms of ``letters``; no utterance of ``rows`` may lack one of them."""
        parts = [term[rows] for key, term in self.of.items() if set(key) <= set(letters)]
        return torch.stack(parts).sum(0) * model.scale(letters)

    def rows_with(self, letters: str) -> NDArray[np.int64]:
        """The utterances that lack none of these modalities."""
        return np.flatnonzero([not set(lacks) & set(letters) for lacks in self.missing])


def rule_of(config: TrainConfig, label: NDArray[np.uint8]) -> tuple[Rule, bool]:
    """Choose the decision rule of a training, and whether its classes exclude each other.

    Args:
        config: its ``decision`` names the rule, or is auto.
        label: (N, C), labels of its train and valid subsets.
    """
    exclusive = bool((label.sum(axis=1) == 1).all()) and label.shape[1] > 1
    if config.decision == "auto":
        return ("largest" if exclusive else "thresholds"), exclusive
    return config.decision, exclusive


def terms_before_fusion(model: EmotionModel, outputs: Outputs) -> Terms:
    """Split the outputs of a model into terms by modality."""
    label, weights = outputs.label.double(), model.fusion_weights()
    if not weights:
        # A network that fuses earlier has one term, even if a modality is missing.
        return Terms({model.modalities: outputs.logits.double()}, [""] * len(label), label)
    terms = {m: logits.double() * weights[m] for m, logits in outputs.by_modality.items()}
    return Terms(terms, list(outputs.missing), label)


def fit_decision(
    model: EmotionModel,
    terms: Terms,
    rule: Rule,
    exclusive: bool,
    names: tuple[str, ...],
    ties: Ties = TIES,
) -> Decision:
    """Fit a temperature for each set of modalities, then thresholds on calibrated probabilities.

    The search for a smaller set starts at the temperature of all modalities. A set for which no
    utterance has all modalities keeps that temperature.

    Args:
        model: the network.
        terms: terms of the valid subset.
        rule: the decision rule.
        exclusive: whether each utterance has exactly one class.
        names: the classes.
        ties: see `fit_thresholds`.
    """
    keys = tuple(terms.of)
    chosen = ["".join(c) for n in range(len(keys), 0, -1) for c in combinations(keys, n)]
    temperature: dict[str, float] = {}
    for letters in map(ordered, chosen):
        rows = terms.rows_with(letters)
        # The first set holds all modalities.
        start = next(iter(temperature.values()), 1.0)
        logits = terms.logits(model, letters, rows)
        temperature[letters] = fit_temperature(logits, terms.label[rows], rule, start)
    decision = Decision(rule, exclusive, temperature)
    logits, left = torch.zeros_like(terms.label), []
    for row, lacks in enumerate(terms.missing):
        left.append(model.used(lacks))
        if left[row]:
            logits[row] = terms.logits(model, left[row], np.array([row]))[0]
    probability = decision.probability(logits.numpy(), left)
    said = [row for row, letters in enumerate(left) if letters]
    truth = terms.label.numpy().astype(np.uint8)
    thresholds = fit_thresholds(truth[said], probability[said], ties)
    return replace(decision, thresholds=dict(zip(names, thresholds.tolist(), strict=True)))


def fit_temperature(logits: Tensor, label: Tensor, rule: Rule, start: float = 1.0) -> float:
    """Return the most probable temperature, or ``start`` if the data do not clearly support it.

    The most probable temperature minimizes the negative log-likelihood, summed over utterances,
    plus ``(log(T / start) / s)^2 / 2``, a normal prior of log T with s = 0.5. Five-fold
    cross-validation then decides: the temperature is accepted if the log-likelihood of held-out
    utterances rises on average by more than its standard error.

    Args:
        logits: float64 (N, C).
        label: float64 (N, C), 1 where the class holds.
        rule: the decision rule; it selects softmax or sigmoid.
        start: temperature expected before any data: the mean of the prior.
    """
    folds = np.arange(len(logits)) % _FOLDS
    gains = np.zeros(len(logits))
    for fold in np.unique(folds):
        train, rest = folds != fold, folds == fold
        found = _most_probable(logits[train], label[train], rule, start)
        before, after = (_losses(logits[rest] / t, label[rest], rule) for t in (start, found))
        gains[rest] = (before - after).numpy()
    if len(gains) < 2 or gains.mean() <= gains.std(ddof=1) / len(gains) ** 0.5:
        return start
    return _most_probable(logits, label, rule, start)


def _most_probable(logits: Tensor, label: Tensor, rule: Rule, start: float) -> float:
    """Minimize by golden-section search, rounded to six places."""

    def loss(log_temperature: float) -> float:
        away = (log_temperature - np.log(start)) / _PRIOR
        losses = _losses(logits / np.exp(log_temperature), label, rule)
        return float(losses.sum().item() + away**2 / 2)

    low, high, golden = -_LIMIT, _LIMIT, (5**0.5 - 1) / 2
    for _ in range(_HALVINGS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return round(float(np.exp((low + high) / 2)), 6)


def _losses(scaled: Tensor, label: Tensor, rule: Rule) -> Tensor:
    """Negative log-likelihood of each utterance, (N,)."""
    if rule == "largest":
        target = label / label.sum(1, keepdim=True).clamp_min(1)
        return cross_entropy(scaled, target, reduction="none")
    return binary_cross_entropy_with_logits(scaled, label, reduction="none").sum(1)
