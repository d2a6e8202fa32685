"""Start from weights: whole or by modality, with a new head, with frozen parts, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.errors import Fv2esError, SettingsError, UsageError
from fv2es_train.data.batches import collate
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build
from fv2es_train.models.initial_weights import read_weights, start_from
from fv2es_train.models.published.convert import convert_file, export_run, read_state
from fv2es_train.training.loop import train
from fv2es_train.training.loss import make_loss
from fv2es_train.training.run_config import preset_of, resumed, train_config
from tests.train.conftest import CLASSES, SETTINGS, Corpus, options_of
from tests.train.test_published import published, save

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 6, "lr": 3e-4, "text_lr_divisor": 1}


def last(run: Path) -> dict[str, Tensor]:
    return load_file(run / "last/model.safetensors")


def equal(left: dict[str, Tensor], right: dict[str, Tensor], part: str) -> bool:
    names = [name for name in left if name.startswith(f"{part}.")]
    assert names
    return all(torch.equal(left[name], right[name]) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("modalities", ["v", "tav"])
def test_published_weights_learn_from_the_command_line_and_go_back(
    corpus: Corpus, tmp_path: Path, modalities: str
) -> None:
    net = published(modalities)
    file, run = save(net, tmp_path / "net.pt"), tmp_path / "run"
    sets = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    words = ["--init", file, "--shards", corpus.shards, "--split", corpus.split, "--out", run]
    words += ["--modalities", modalities]
    made = CliRunner().invoke(app, ["train", *map(str, words), *sets])
    assert made.exit_code == 0, made.output
    assert "started from net.pt: " in made.stderr and "; new: none" in made.stderr
    stored = json.loads((run / "init.json").read_text())
    assert stored["from"] == "net.pt" and stored["new"] == []

    batch = collate(corpus.examples[:18], pad_id=0)
    criterion = make_loss(batch.label.numpy().astype("uint8"), CLASSES)
    before = convert_file(file, tmp_path / "before", modalities)
    models = [load_checkpoint(place).model for place in (before["run"], run)]
    with torch.no_grad():
        losses = [criterion.of_each(model(batch), batch.label).mean() for model in models]
    assert losses[1] < losses[0]

    export_run(run, tmp_path / "back.pt")
    back, state = read_state(tmp_path / "back.pt"), net.state_dict()
    published(modalities).load_state_dict(back)
    assert not torch.equal(back["v_out.weight"], state["v_out.weight"])
    # What no network of ours has goes through a training unchanged.
    assert torch.equal(back["A.0.head.weight"], state["A.0.head.weight"])


def test_a_converted_run_says_how_to_train_it_further(tmp_path: Path) -> None:
    convert_file(save(published("v"), tmp_path / "net.pt"), tmp_path / "run", modalities="v")
    with pytest.raises(UsageError) as caught:
        resumed(tmp_path / "run")
    assert f"fv2es train --init {tmp_path / 'run'}" in str(caught.value.hint)


@pytest.mark.slow
def test_frozen_parts_keep_every_bit_and_the_others_learn(
    run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    train(options_of(corpus, tmp_path / "run", init=run, epochs=1, freeze=("face", "t_out")))
    start = load_file(run / "best/model.safetensors")
    found = last(tmp_path / "run")
    assert equal(start, found, "face") and equal(start, found, "t_out")
    for part in ("text", "v_transformer", "mel", "weighted_fusion"):
        assert not equal(start, found, part)


def test_chosen_branches_start_bit_equal_and_the_others_do_not(run: Path) -> None:
    weights = read_weights(run)
    model = build(weights.config, SETTINGS)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    parts = start_from(model, weights, "ta")
    assert parts["new"] == ["face", "v_transformer", "v_out", "weighted_fusion"]
    for name, value in model.state_dict().items():
        taken = name.partition(".")[0] in parts["taken"]
        assert torch.equal(value, (weights.state if taken else own)[name]), name
    whole = start_from(model, weights)
    assert whole["new"] == []


def test_a_model_of_fewer_modalities_takes_its_branches(
    run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    train(options_of(corpus, tmp_path / "run", init=run, epochs=1, modalities="t", freeze=["text"]))
    assert equal(last(tmp_path / "run"), load_file(run / "best/model.safetensors"), "text")
    stored = json.loads((tmp_path / "run/init.json").read_text())
    assert stored["taken"] == ["text", "t_out"]


def test_other_classes_get_a_new_head(run: Path) -> None:
    weights = read_weights(run)
    model = build(replace(weights.config, label_classes=("a", "b")), SETTINGS)
    parts = start_from(model, weights)
    assert parts["new"] == ["t_out", "v_out", "a_out"]
    with pytest.raises(
        UsageError, match="are for ang, exc, fru, hap, neu, sad, but this training learns a, b"
    ):
        start_from(model, weights, head="keep")
    same = build(weights.config, SETTINGS)
    assert start_from(same, weights, head="new")["new"] == parts["new"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"init_modalities": "x"}, "no weights of the modality x to take"),
        ({"modalities": "a", "init_modalities": "ta"}, "no weights of the modality t to take"),
        ({"freeze": ("ear",)}, "fv2es-tiny has no part 'ear' to freeze"),
        ({"freeze": ("text", "t_out"), "modalities": "t"}, "all parts of fv2es-tiny are frozen"),
        ({"init": "nowhere"}, "nowhere contains no weights to start from"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    run: Path, corpus: Corpus, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Fv2esError, match=said):
        train(options_of(corpus, tmp_path / "run", **{"init": run, **changes}))
    assert not (tmp_path / "run").exists()


def test_a_part_of_another_size_is_refused_by_name(run: Path) -> None:
    weights = read_weights(run)
    with pytest.raises(
        UsageError, match=r"the part face of .* has the shape \(64, 128\) of face\."
    ):
        start_from(build(replace(weights.config, trans_dim=32), SETTINGS), weights)


def test_a_text_encoder_of_another_tokenizer_is_refused(run: Path) -> None:
    other = replace(SETTINGS, text=replace(SETTINGS.text, vocabulary_sha256="0" * 64))
    with pytest.raises(SettingsError, match="is not that of the text encoder in"):
        read_weights(run).check_tokens(other)


def test_a_run_gives_the_sizes_unless_a_model_is_named(run: Path) -> None:
    given: dict[str, Any] = {"shards": "s", "split": "s.json", "out": "o", "init": run}
    model = preset_of({"init": str(run)})["model"]
    assert (model.name, model.trans_ffn, model.label_classes) == ("fv2es-tiny", 128, ())
    assert train_config("fv2es-lite", **given).model.name == "fv2es-lite"
