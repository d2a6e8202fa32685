"""Utterances without faces, sound or words train and are scored by what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fv2es_prep.types import Example, Faces
from fv2es_train.data.batches import collate, missing_letters
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build, preset
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.training.loop import train
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, options_of, write_shards

STAGES = {"t": "tokens", "a": "mel", "v": "faces"}
EXAMPLES = make_examples(6)

V = {"v": ("faces",)}


def without(example: Example, letters: str) -> Example:
    left = {name: value for name, value in example.items() if name not in map(STAGES.get, letters)}
    return Example(example.utterance, example.label, **left)


def tiny(modalities: str = "tav") -> FV2ES:
    torch.manual_seed(0)
    config = replace(preset("fv2es-tiny").model, label_classes=CLASSES, modalities=modalities)
    model = build(config, SETTINGS)
    assert isinstance(model, FV2ES)
    return model.eval()


def unseen(example: Example) -> Example:
    faces = vars(example.faces) | {"found": np.zeros_like(example.faces.found)}
    return example.replace(faces=Faces(**faces))


def test_letters_tell_what_an_utterance_lacks() -> None:
    assert missing_letters(EXAMPLES[0]) == ""
    assert missing_letters(without(EXAMPLES[0], "vt")) == "tv"
    assert missing_letters(unseen(EXAMPLES[0]), "keep") == ""
    assert missing_letters(unseen(EXAMPLES[0]), "drop") == "v"


@pytest.mark.parametrize("letters", ["t", "a", "v", "ta", "tv", "av"])
def test_the_terms_that_are_left_are_scaled(letters: str) -> None:
    model = tiny()
    with torch.no_grad():
        model.weighted_fusion.weight.copy_(torch.tensor([[0.5, -0.2, 0.3]]))
        whole = collate(EXAMPLES[:2])
        batch = collate([without(EXAMPLES[0], letters), EXAMPLES[1]])
        terms = model.modality_logits(whole)
        weights = model.fusion_weights()
        left = [m for m in weights if m not in letters]
        scale = sum(map(abs, weights.values())) / sum(abs(weights[m]) for m in left)
        expected = sum(scale * weights[m] * terms[m][0] for m in left)
        found = model(batch)
    assert batch.missing == ("".join(m for m in "tav" if m in letters), "")
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], model(whole)[1].detach())


def test_unverified_faces_count_as_none() -> None:
    model, (first, second) = tiny(), EXAMPLES[:2]
    with torch.no_grad():
        dropped = model(collate([unseen(first), second], unverified="drop"))
        none = model(collate([without(first, "v"), second]))
        kept = model(collate([unseen(first), second], unverified="keep"))
        whole = model(collate([first, second]))
    assert dropped.equal(none) and kept.equal(whole) and not dropped.equal(kept)


@pytest.mark.parametrize("letters", ["t", "a", "v", "tav"])
def test_gradients_flow_where_a_whole_batch_lacks_a_modality(letters: str) -> None:
    model = tiny().train()
    batch = collate([without(example, letters) for example in EXAMPLES[:3]])
    logits = model(batch)
    assert torch.isfinite(logits).all() and (letters != "tav" or not logits.any())
    logits.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    parts = {"t": "text.", "a": "mel.", "v": "face."}
    for m, prefix in parts.items():
        moved = any(bool(g.any()) for n, g in gradients.items() if n.startswith(prefix))
        assert moved == (m not in letters)


@pytest.mark.parametrize("modalities", ["a", "t", "v"])
def test_a_single_modality_without_input_says_nothing(modalities: str) -> None:
    with torch.no_grad():
        logits = tiny(modalities)(collate([without(EXAMPLES[0], modalities), EXAMPLES[1]]))
    assert not logits[0].any() and logits[1].any()


def test_a_dataset_of_sound_only_trains(tmp_path: Path) -> None:
    settings = replace(SETTINGS, stages=("mel",))
    examples = [without(example, "tv") for example in make_examples(36)]
    shards = write_shards(tmp_path / "shards", examples, settings)
    corpus = Corpus(shards, tmp_path / "split.json", examples)
    names = [example.utterance.id for example in examples]
    corpus.resplit(
        lambda s: replace(
            s, train=tuple(names[:18]), valid=tuple(names[18:24]), test=tuple(names[24:])
        ),
        corpus.split,
    )
    result = train(options_of(corpus, tmp_path / "run", epochs=1, modalities="a", bucket=2))
    assert result is not None and result["test"]["n"] == 12
    assert load_checkpoint(tmp_path / "run").model.modalities == "a"


def test_an_utterance_without_any_input_is_not_trained_on(tmp_path: Path) -> None:
    examples = make_examples(36)
    reasons = {"v": "no_face"}
    for row in (0, 7):
        one = without(examples[row], "v")
        examples[row] = Example(one.utterance, one.label, reasons, **one)
    examples[1] = unseen(examples[1])
    shards = write_shards(tmp_path / "shards", examples, replace(SETTINGS, require=""))
    dataset = ShardDataset(shards)
    names = set(dataset.ids)
    assert names - set(dataset.with_input(V)) == {"utt000", "utt007"}
    assert names - set(dataset.with_input(V, "drop")) == {"utt000", "utt001", "utt007"}
    assert dataset.with_input({"a": ("mel",), **V}, "drop") == dataset.ids
    assert missing_letters(dataset[0]) == "v" and missing_letters(dataset[1], "drop") == "v"
    assert collate([dataset[0], dataset[2]]).missing == ("v", "")
