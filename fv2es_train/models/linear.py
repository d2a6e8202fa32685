"""Logistic regression on the mean and deviation of feature columns: the baseline of every table.

Tokens become a bag of words: the share of each id in the utterance.

Each modality has a separate classifier, fitted in one step from the memory-mapped columns. Their
logits are averaged, so any subset of modalities can be scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fv2es_train.data.batches import rows_of
from fv2es_train.models.emotion_model import MeanFusion
from fv2es_train.models.feature_config import TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.feature_config import LinearConfig

_STEPS = 500
# Smallest divisor of an input, so that a constant input stays at 0.
_FLOOR = 1e-6
# Maximum number of columns of a bag of tokens; larger ids wrap around.
_BAG = 2048
# Total variance of a bag. Scaling each column alone would give rare words the largest weight.
_BAG_VARIANCE = 256


class Linear(MeanFusion):
    """Logistic regression, see the module.

    Args:
        config: the configuration.
        widths: see `FeatureConfig.widths`.
    """

    closed_form = True

    def __init__(self, config: LinearConfig, widths: Mapping[str, int]) -> None:
        super().__init__(config)
        self.l2, self.reads, self.widths = config.l2, config.reads, dict(widths)
        self._sizes = {m: sum(map(self._size, self.reads[m])) for m in self.modalities}
        self.classifiers = nn.ModuleDict(
            {m: nn.Linear(n, config.outputs) for m, n in self._sizes.items()}
        )
        for m, size in self._sizes.items():
            self.register_buffer(f"mean_{m}", torch.zeros(size))
            self.register_buffer(f"deviation_{m}", torch.ones(size))

    def logits_of(self, letter: str, batch: Batch) -> Tensor:
        """See `MeanFusion`."""
        logits: Tensor = self.classifiers[letter](self._scaled(letter, self._inputs(letter, batch)))
        return logits

    def fit(self, dataset: ShardDataset) -> float:
        """Fit each classifier to the utterances that have its modality."""
        label = torch.from_numpy(np.hstack([dataset.target, self._ratings(dataset)]).astype(float))
        classes = dataset.label.shape[1]
        # Decide by the labels, because rater shares may sum to 1 by chance.
        softmax = classes > 1 and bool((dataset.label.sum(axis=1) == 1).all())
        inputs = {m: self._pooled(m, dataset) for m in self.modalities}
        for m, (rows, values) in inputs.items():
            if len(rows):
                self.get_buffer(f"mean_{m}").copy_(values.mean(0))
                deviation = self._deviations(m, values)
                # An input that is constant in train has no information.
                deviation[deviation < _FLOOR] = torch.inf
                self.get_buffer(f"deviation_{m}").copy_(deviation)
                self._solve(m, values, label[rows], classes, softmax)
        logits, weights = torch.zeros_like(label), torch.zeros(len(label), 1, dtype=torch.float64)
        with torch.no_grad():
            for m, (rows, values) in inputs.items():
                classifier = self.classifiers[m].double()
                logits[rows] += classifier(self._scaled(m, values))
                weights[rows] += 1
                classifier.float()
        return _loss(logits / weights.clamp_min(1), label, classes, softmax).item()

    def _ratings(self, dataset: ShardDataset) -> NDArray[np.float64]:
        """The ratings (N, R) in standard deviations; NaN where unknown."""
        pairs = zip(self.config.ratings, self.config.rating_scale, strict=True)
        known = dataset.ratings
        columns = [(known[name] - mean) / deviation for name, (mean, deviation) in pairs]
        return np.array(columns, np.float64).reshape(-1, len(dataset)).T

    def _solve(
        self, letter: str, values: Tensor, label: Tensor, classes: int, softmax: bool
    ) -> None:
        """Minimize mean loss + l2 / 2 * squared norm of the weights; convex, so exact."""
        classifier = self.classifiers[letter].double()
        for parameter in classifier.parameters():
            nn.init.zeros_(parameter)
        weight = classifier.get_parameter("weight")
        solver = torch.optim.LBFGS(
            classifier.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe"
        )
        scaled = self._scaled(letter, values)

        def closure() -> float:
            solver.zero_grad()
            loss = _loss(classifier(scaled), label, classes, softmax)
            loss = loss + self.l2 / 2 * weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            return loss.item()

        solver.step(closure)  # type: ignore[no-untyped-call]  # torch
        classifier.float()

    def _scaled(self, letter: str, values: Tensor) -> Tensor:
        mean, deviation = (self.get_buffer(f"{n}_{letter}") for n in ("mean", "deviation"))
        return (values - mean.to(values)) / deviation.to(values)

    def _deviations(self, letter: str, values: Tensor) -> Tensor:
        found, begin = values.std(0, correction=0), 0
        for stage in self.reads[letter]:
            end = begin + self._size(stage)
            if stage == TOKENS:
                total = found[begin:end].square().sum()
                found[begin:end] = (total / _BAG_VARIANCE).sqrt()
            begin = end
        return found

    def _inputs(self, letter: str, batch: Batch) -> Tensor:
        """Summaries of a batch, float32 (B, D); the mean of train for an utterance without rows."""
        parts, begin = [], 0
        for stage in self.reads[letter]:
            counts = batch.extras[f"{stage}/rows"].tolist()
            rows = torch.split(batch.extras[stage], counts)
            end = begin + self._size(stage)
            none = self.get_buffer(f"mean_{letter}")[begin:end]
            parts.append(torch.stack([self._summary(stage, r) if len(r) else none for r in rows]))
            begin = end
        return torch.cat(parts, dim=1)

    def _size(self, stage: str) -> int:
        width = self.widths[stage]
        return min(width, _BAG) if stage == TOKENS else 2 * width

    def _summary(self, stage: str, rows: Tensor) -> Tensor:
        """Summarize the rows (R, D) of one utterance as inputs of the classifier, float32."""
        if stage != TOKENS:
            return _moments(rows)
        size = self._size(stage)
        return torch.bincount(rows[:, 0].long() % size, minlength=size) / len(rows)

    def _pooled(self, letter: str, dataset: ShardDataset) -> tuple[NDArray[np.int64], Tensor]:
        """The utterances that have a modality, with their inputs, float64 (n, D)."""
        stages, found, values = self.reads[letter], [], []
        for number, example in enumerate(dataset[item] for item in range(len(dataset))):
            if not all(stage in example for stage in stages):
                continue
            rows = {stage: _tensor(rows_of(example, stage)) for stage in stages}
            if all(map(len, rows.values())):
                found.append(number)
                values.append(torch.cat([self._summary(s, r) for s, r in rows.items()]))
        inputs = torch.stack(values) if values else torch.zeros(0, self._sizes[letter])
        return np.array(found, np.int64), inputs.double()


def _tensor(rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(rows.astype(np.float32))


def _moments(rows: Tensor) -> Tensor:
    """Mean and deviation of each column, float32 (2 D,); computed in double precision."""
    wide = rows.double()
    return torch.cat([wide.mean(0), wide.std(0, correction=0)]).float()


def _loss(outputs: Tensor, wanted: Tensor, classes: int, softmax: bool) -> Tensor:
    """Mean cross-entropy: of a softmax if each utterance has one class, else of each class.

    Adds half the mean squared error of the known ratings.
    """
    logits, label = outputs[:, :classes], wanted[:, :classes]
    if softmax:
        loss = cross_entropy(logits, label)
    else:
        loss = binary_cross_entropy_with_logits(logits, label)
    ratings = wanted[:, classes:]
    known = torch.isfinite(ratings)
    error = torch.where(known, outputs[:, classes:] - ratings.nan_to_num(), 0).square()
    return loss + error.sum() / (2 * max(len(outputs), 1))
