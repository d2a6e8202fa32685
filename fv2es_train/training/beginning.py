"""The model of a run before its first step: build it, fit its statistics, load initial weights.

Leaves the weights of a run or a file to `models.initial_weights`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_train.models.families import build
from fv2es_train.models.initial_weights import fitted_config, read_weights, start_from
from fv2es_train.training import run_dir
from fv2es_train.training.state import State, shards_digest

if TYPE_CHECKING:
    import torch

    from fv2es_prep.splits import Split
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.training.progress import Progress


@dataclass(frozen=True)
class Begun:
    """A model with its initial weights, and the state of its run.

    Attributes:
        model: the model.
        state: the state before the first step.
        init: origin of the weights: ``from`` (name of the file or run), ``taken`` and ``new``
            (names of parts); empty without ``TrainConfig.init``.
        rest: weights of a published file for which the model has no place.
    """

    model: EmotionModel
    state: State
    init: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, torch.Tensor] | None = None

    def record(self, run: Path, progress: Progress) -> None:
        """Show and write what the run started from; OutputError if it cannot be written."""
        if self.init:
            run_dir.write_init(run, self.init, self.rest)
            lists = {name: ", ".join(self.init[name]) or "none" for name in ("taken", "new")}
            progress.note(
                f"started from {self.init['from']}: {lists['taken']}; new: {lists['new']}"
            )


def begin(config: TrainConfig, dataset: ShardDataset, split: Split, device: torch.device) -> Begun:
    """Build the model for the train subset ``dataset``; set the random seed first.

    Raises what `families.build`, `read_weights` and `start_from` raise.
    """
    settings, weights, model_config = dataset.index.settings, None, config.model
    if config.init is not None:
        heads = getattr(model_config, "trans_heads", 4)
        weights = read_weights(config.init, model_config.modalities, heads)
        model_config = fitted_config(model_config, weights, config.init_modalities)
    model = build(model_config, settings).to(device)
    started = time.perf_counter()
    fit_loss = model.fit(dataset)
    state = State(model.config.to_json(), split.digest(), shards_digest(dataset.index))
    if model.closed_form:
        state.total, state.seen = fit_loss * len(dataset), len(dataset)
        state.seconds = time.perf_counter() - started
    if config.init is None or weights is None:
        return Begun(model, state)
    parts = start_from(model, weights, config.init_modalities, config.init_head)
    if "text" in parts["taken"]:
        weights.check_tokens(settings)
    same = set(model.modalities) == set(weights.config.modalities)
    rest = weights.rest if same and not parts["new"] else None
    return Begun(model, state, {"from": config.init.name, **parts}, rest)
