"""Compare our version of the published model with a reference, as a table.

    python -m benchmarks parity --reference MODULE:FACTORY --shards SHARDS [--video FILE]

FACTORY takes no arguments and returns a new `Reference`: a network with the published names and
initial weights, and the steps of the published trainer. With it you can check the claims of
docs/published-model.md against the published code, of which this repository contains nothing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from benchmarks.parity_inputs import FindsFaces, HearsSound, face_differences, mel_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.optim import Optimizer

    from fv2es_prep.types import Half
    from fv2es_train.data.batches import Batch
    from fv2es_train.models.fv2es import FV2ES

SETS, ROWS = 20, 60
# Parameters with fewer values show little about their distribution.
_LEAST = 64
_METRICS = ("accuracy", "precision", "recall", "f1_binary", "auc")


class Reference(Protocol):
    """The result of FACTORY; it may also have the methods of `HearsSound` and `FindsFaces`.

    Attributes:
        network: the network, whose state dict has the published names.
        modalities: letters of the modalities in its logits.
    """

    network: nn.Module
    modalities: str

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """The arguments of ``network`` for a batch: faces 0 to 255, linear mel power, tokens."""

    def optimizer(self, lr: float) -> Optimizer:
        """The optimizer of ``network``, with its parameter groups."""

    def metrics(
        self, label: NDArray[np.uint8], probability: NDArray[np.float64]
    ) -> dict[str, float]:
        """Averages over the classes, at thresholds fitted on the same utterances.

        Their names are accuracy, precision, recall, f1_binary and auc; others are ignored.
        """


@dataclass(frozen=True)
class Row:
    """One line of the table; ``limit`` is the largest accepted difference."""

    check: str
    found: float
    limit: float
    where: str = ""

    @property
    def holds(self) -> bool:
        """Whether the difference is within its limit; False for NaN."""
        return bool(self.found <= self.limit)


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a line exceeds its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--reference", required=True, metavar="MODULE:FACTORY")
    parser.add_argument("--shards", required=True, type=Path)
    parser.add_argument("--video", type=Path, help="in which faces are looked for (none)")
    parser.add_argument("--half", default="full", choices=("full", "left", "right"), help="of it")
    parser.add_argument("--utterances", type=int, default=5, help="in the batch (5)")
    parser.add_argument("--steps", type=int, default=20, help="of the optimizers (20)")
    parser.add_argument("--lr", type=float, default=4.5e-6)
    parser.add_argument("--heads", type=int, default=4, help="of the sequence encoders (4)")
    options = parser.parse_args(arguments)
    module, _, name = options.reference.partition(":")
    make = getattr(importlib.import_module(module), name)
    batch = read_batch(options.shards, options.utterances)
    rows = [*compare_inputs(make(), options.video, options.half)]
    rows += compare(make, batch, options.steps, options.lr, options.heads)
    print(table(rows))
    return int(not all(row.holds for row in rows))


def read_batch(shards: Path, count: int) -> Batch:
    """The first ``count`` utterances of a dataset as one batch."""
    from fv2es_train.data.batches import collate
    from fv2es_train.data.dataset import ShardDataset

    dataset = ShardDataset(shards)
    settings = dataset.index.settings
    return collate([dataset[row] for row in range(count)], pad_id=settings.text.pad_id)


def compare_inputs(reference: object, video: Path | None, half: Half = "full") -> Iterator[Row]:
    """Compare the inputs of the network, as far as the reference computes them."""
    if isinstance(reference, HearsSound):
        yield Row("mel power, relative", mel_difference(reference), 5e-3)
    if isinstance(reference, FindsFaces) and video is not None:
        apart = list(face_differences(reference, video, half))
        where = f"{len(apart)} faces, {sum(not one for one in apart)} equal"
        yield Row("faces, mean of grey levels", float(np.mean(apart)), 1.0, where)


def compare(
    make: Callable[[], Reference], batch: Batch, steps: int, lr: float, heads: int = 4
) -> Iterator[Row]:
    """Yield the lines of the table, see `Row`."""
    torch.manual_seed(0)
    reference = make()
    ours = _twin(reference, batch, heads)
    yield _initial(reference, ours)
    for network in (reference.network, ours):
        _still(network)
    reference.network.eval()
    ours.eval()
    with torch.no_grad():
        apart = reference.network(*reference.inputs(batch)) - ours(batch)
    yield Row("logits, eval mode", apart.abs().max().item(), 1e-4)
    yield from _training(reference, ours, batch, steps, lr)
    yield _measured(reference)


def table(rows: list[Row]) -> str:
    """Format the lines as text."""
    lines = [f"{'check':34} {'difference':>12} {'limit':>9}"]
    for row in rows:
        verdict = "holds" if row.holds else "FAILS"
        lines.append(f"{row.check:34} {row.found:12.3g} {row.limit:9.1g}  {verdict}  {row.where}")
    return "\n".join(line.rstrip() for line in lines)


def _twin(reference: Reference, batch: Batch, heads: int) -> FV2ES:
    """Build our network with the weights of the reference."""
    from fv2es_train.models.published.mapping import from_published
    from fv2es_train.models.published.sizes import config_of

    classes = tuple(f"class {n}" for n in range(batch.label.shape[1]))
    state = reference.network.state_dict()
    model, _ = from_published(state, config_of(state, reference.modalities, heads, classes))
    return model


def _initial(reference: Reference, ours: FV2ES) -> Row:
    """Compare means and deviations of initial weights, in standard errors of their difference."""
    from fv2es_train.models.fv2es import FV2ES
    from fv2es_train.models.published.mapping import published_name
    from fv2es_train.models.text_encoder import from_config

    text = from_config(ours.config.text) if "t" in ours.config.modalities else None
    fresh = FV2ES(ours.config, text)
    theirs = dict(reference.network.named_parameters())
    worst, where = 0.0, ""
    for name, own in fresh.named_parameters():
        # Skip the text encoder, which is pretrained in both.
        if name.startswith("text."):
            continue
        # `ours` has the weights of the reference; only a new network has our initial weights.
        found = _errors(own.detach(), theirs[published_name(name)].detach())
        if not found <= worst:
            worst, where = found, name
    return Row("first weights, standard errors", worst, 5.0, where)


def _errors(left: Tensor, right: Tensor) -> float:
    """Distance of means or deviations in standard errors; infinite for different constants."""
    count = left.numel()
    (m1, s1), (m2, s2) = (
        (v.mean(), v.std(correction=0)) for v in (_usual(left.double()), _usual(right.double()))
    )
    spread = (s1.square() + s2.square()).sqrt()
    if not spread:
        return 0.0 if m1 == m2 else float("inf")
    if count < _LEAST:
        # A constant and random numbers always differ, no matter how few there are.
        return float("inf") if count > 1 and not (s1 and s2) else 0.0
    means, deviations = (m1 - m2).abs() / spread, (s1 - s2).abs() / spread
    return float(max(means * count**0.5, deviations * (2 * count) ** 0.5))


def _usual(values: Tensor) -> Tensor:
    """Remove outliers, which show more about the generator than about the distribution.

    About one in ten million values of timm's truncated normal lies at the truncation, a hundred
    deviations away, because the underlying uniform number is exactly -1.
    """
    size = values.abs()
    return values[size <= 20 * size.median()] if size.median() else values


def _still(network: nn.Module) -> None:
    """Disable dropout and stochastic depth, whose random draws differ between the networks."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0


def _training(
    reference: Reference, ours: FV2ES, batch: Batch, steps: int, lr: float
) -> Iterator[Row]:
    from fv2es_prep.utils.configuration import read_toml
    from fv2es_train.models.published.mapping import published_name
    from fv2es_train.training.optimization import freeze, make_optimizer
    from fv2es_train.training.run_config import train_config

    given = read_toml(Path(__file__).parents[1] / "recipes/fv2es-published.toml")
    names = {name: Path(name) for name in ("shards", "split", "out")}
    recipe = train_config(given["model"].pop("name"), **{**given, **names, "lr": lr})
    freeze(ours, [part for part in recipe.freeze if hasattr(ours, part)])
    optimizers = (reference.optimizer(lr), make_optimizer(ours, recipe))
    network, parameters = reference.network, dict(reference.network.named_parameters())
    network.train()
    ours.train()
    worst = 0.0
    for step in range(steps):
        losses = [
            _published_loss(network(*reference.inputs(batch)), batch.label),
            _published_loss(ours(batch), batch.label),
        ]
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
        if not step:
            gaps = {
                name: _gap(parameters[published_name(name)].grad, own.grad)
                for name, own in ours.named_parameters()
                if own.grad is not None
            }
            where = max(gaps, key=lambda name: gaps[name])
            largest = max(
                p.grad.abs().max().item() for p in ours.parameters() if p.grad is not None
            )
            yield Row("gradients, of the largest", gaps[where] / largest, 1e-2, where)
        for optimizer in optimizers:
            optimizer.step()
        worst = max(worst, abs(losses[0].item() - losses[1].item()))
    yield Row(f"loss over {steps} optimizer steps", worst, 1e-4)


def _gap(theirs: Tensor | None, own: Tensor | None) -> float:
    """Largest difference of two gradients; infinite if only one has any."""
    if theirs is None or own is None:
        return float("inf")
    return (theirs - own).abs().max().item()


def _published_loss(logits: Tensor, label: Tensor) -> Tensor:
    positives = label.sum(0).clamp_min(1)
    weight = (len(label) - positives) / positives
    return nn.functional.binary_cross_entropy_with_logits(logits, label, pos_weight=weight)


def _measured(reference: Reference) -> Row:
    from fv2es_train.evaluation.metrics import fit_thresholds, measure

    rng, worst, where = np.random.default_rng(0), 0.0, ""
    names = tuple("abcdef")
    for _ in range(SETS):
        probability = rng.random((ROWS, len(names)))
        label = np.asarray(rng.random(probability.shape) < 0.2 + 0.4 * probability, np.uint8)
        thresholds = fit_thresholds(label, probability, "lowest")
        average = measure(label, probability, thresholds, names)["average"]
        theirs = reference.metrics(label, probability)
        for name in _METRICS:
            if name in theirs and not abs(average[name] - theirs[name]) <= worst:
                worst, where = abs(average[name] - theirs[name]), name
    return Row(f"metrics of {SETS} random sets", worst, 1e-5, where)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
