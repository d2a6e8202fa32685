"""Every parameter of every branch learns, in every epoch.

The published trainer fused its face blocks at the first validation, which froze them, and left the
vision head out of its optimizer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fv2es_prep.errors import UsageError
from fv2es_train.config import TrainConfig
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES, build_model
from fv2es_train.models.text_encoder import from_config
from fv2es_train.training import loop as trainer
from fv2es_train.training import optimization
from fv2es_train.training.optimization import freeze_text, make_optimizer, set_training
from fv2es_train.training.progress import Progress
from tests.train.conftest import CLASSES, SETTINGS, Corpus, options_of


class Watch(Progress):
    """Counts which parameters have had a gradient other than zero, epoch by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: dict[str, int] = defaultdict(int)
        self.epochs: list[dict[str, int]] = []
        self.start: dict[str, Tensor] = {}
        make = optimization.make_optimizer

        def watched(model: FV2ES, config: TrainConfig) -> Any:
            self.model = model
            for name, parameter in model.named_parameters():
                self.start[name] = parameter.detach().clone()
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(self.note(name))
            return make(model, config)

        monkeypatch.setattr(optimization, "make_optimizer", watched)

    def note(self, name: str) -> Any:
        def hook(parameter: Tensor) -> None:
            assert parameter.grad is not None
            self.now[name] += bool(parameter.grad.abs().sum() > 0)

        return hook

    def epoch(self, record: dict[str, Any], left_s: float) -> None:
        self.epochs.append(dict(self.now))
        self.now.clear()

    @property
    def unchanged(self) -> set[str]:
        after = self.model.named_parameters()
        return {name for name, value in after if value.equal(self.start[name])}


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("fv2es", "fv2es-lite")]


@pytest.mark.parametrize("name", ["fv2es-tiny", *LARGE])
def test_two_epochs_change_every_parameter_of_every_branch(
    name: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fv2es_train.models import text_encoder as text

    text.small(40, 0).albert.save_pretrained(tmp_path / "albert")  # type: ignore[operator]
    watch = Watch(monkeypatch)
    encoder = str(tmp_path / "albert")
    options = options_of(
        corpus, tmp_path / "run", model=name, text_encoder=encoder, lr=1e-3, threads=1
    )
    if name != "fv2es-tiny":
        few = {f"utt{number:03d}" for number in (*range(6), 18, 19)}

        def some(ids: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(sorted(few & set(ids)))

        made = json.loads(corpus.split.read_text())
        split = corpus.resplit(
            lambda s: replace(
                s, train=some(tuple(made["train"])), valid=some(tuple(made["valid"])), test=()
            ),
            tmp_path / "split.json",
        )
        options = replace(options, split=split, batch_size=3)
    trainer.train(options, watch)
    names = set(watch.start)
    branches = {child for child, _ in watch.model.named_children()}
    assert {name.split(".")[0] for name in names} == branches
    assert len(branches) == (9 if name == "fv2es" else 8)
    assert any("pointwise" in name for name in names) and "v_out.weight" in names
    assert len(watch.epochs) == 2
    for had in watch.epochs:
        assert names - {name for name, count in had.items() if count} == set()
    assert watch.unchanged == set()


@pytest.mark.parametrize("what", ["embeddings", "all"])
def test_what_is_frozen_stays_and_all_else_learns(
    what: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    summary = trainer.train(
        options_of(corpus, tmp_path / "run", modalities="t", freeze_text=what), watch
    )
    frozen = {
        name
        for name in watch.start
        if name.startswith("text.") and (what == "all" or "embedding" in name)
    }
    assert frozen and watch.unchanged == frozen
    assert all(set(had) == set(watch.start) - frozen for had in watch.epochs)
    assert summary is not None


def bert(layers: int) -> FV2ES:
    config = replace(preset("fv2es-tiny").model, label_classes=CLASSES, modalities="t")
    values = {
        "model_type": "bert",
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": layers,
    }
    shape = {"num_attention_heads": 2, "intermediate_size": 32}
    return FV2ES(config, from_config({**values, **shape}))


def test_the_first_layers_of_an_encoder_with_several_can_be_frozen() -> None:
    model = bert(4)
    freeze_text(model, "2")
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any("embeddings" in name or ".layer.1." in name for name in learns)
    assert any(".layer.2." in name for name in learns)
    group = make_optimizer(model, TrainConfig()).param_groups[1]
    assert (group["name"], len(group["params"])) == (
        "text",
        len([name for name in learns if name.startswith("text.")]),
    )


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="is 5 layers, but the text encoder has 4"):
        freeze_text(bert(4), "5")
    config = replace(preset("fv2es-tiny").model, label_classes=CLASSES, modalities="t")
    with pytest.raises(UsageError, match="layers of ALBERT share theirs"):
        freeze_text(build_model(config, SETTINGS), "1")


def test_a_text_encoder_that_learns_nothing_drops_nothing() -> None:
    model = bert(2)
    freeze_text(model, "all")
    set_training(model)
    assert model.training and not model.text.training
    tokens = torch.arange(6)[None]
    first, second = (model.text(tokens, torch.ones_like(tokens)) for _ in range(2))
    assert first.equal(second)
