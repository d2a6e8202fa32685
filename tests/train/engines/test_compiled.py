"""OpenVINO gives the vectors of torch, and runs only what it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fv2es_prep.errors import UsageError
from fv2es_train.engines.compiled import CompiledEncoder, use_engine
from fv2es_train.engines.openvino_model import check_bfloat16
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build, preset
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.predict.scoring import Scorer
from tests.train.conftest import CLASSES, SETTINGS, Corpus

CPU = torch.device("cpu")


def small_nest() -> FV2ES:
    """The layers of the published network, narrower and fewer."""
    sizes: dict[str, Any] = {"mel_dims": (16, 32, 64), "mel_heads": (1, 2, 4)}
    sizes |= {"mel_depths": (1, 1, 1), "modalities": "a", "label_classes": CLASSES}
    model = build(replace(preset("fv2es").model, **sizes), SETTINGS).for_inference()
    assert isinstance(model, FV2ES)
    return model


@pytest.mark.slow
def test_openvino_gives_the_vectors_of_torch() -> None:
    model = small_nest()
    given, mel = model.row_encoders()["mel"], torch.rand(3, 1, 128, 32)
    with torch.inference_mode():
        expected = model.mel(mel)
        compiled = CompiledEncoder(model.mel, given)
        for rows in (1, 3):
            assert torch.allclose(compiled(mel[:rows]), expected[:rows], atol=1e-5)
    assert compiled.encoder is None


@pytest.mark.slow
def test_auto_converts_the_published_sound_after_so_many_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fv2es_train.engines.compiled.CHUNKS_TO_CONVERT", 4)
    model = small_nest()
    use_engine(model, "auto", CPU)
    assert isinstance(model.mel, CompiledEncoder)
    mel = torch.rand(3, 1, 128, 32)
    with torch.inference_mode():
        first, second = model.mel(mel), model.mel(mel)
        assert model.mel.encoder is not None
        third = model.mel(mel)
    assert model.mel.encoder is None
    assert first.equal(second) and torch.allclose(first, third, atol=1e-5)


def test_a_group_of_texts_in_openvino_has_the_vectors_of_torch(run: Path) -> None:
    model = load_checkpoint(run).model.for_inference()
    assert isinstance(model, FV2ES)
    tokens = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0], [2, 3, 0, 0, 0]])
    mask = (tokens > 0).long()
    compiled = CompiledEncoder(model.text, model.row_encoders()["text"])
    with torch.inference_mode():
        expected = model.text(tokens, mask)
        assert torch.allclose(compiled(tokens, mask), expected, atol=1e-5)
        assert torch.allclose(compiled(tokens[2:, :2], mask[2:, :2]), expected[2:], atol=1e-5)


@pytest.fixture
def bfloat16() -> None:
    try:
        check_bfloat16()
    except UsageError as error:
        pytest.skip(error.sentence)


@pytest.mark.usefixtures("bfloat16")
def test_bfloat16_changes_logits_and_little(run: Path, corpus: Corpus) -> None:
    exact = Scorer(load_checkpoint(run), engine="openvino")
    rough = Scorer(load_checkpoint(run), engine="auto", precision="bfloat16")
    assert isinstance(rough.model.text, CompiledEncoder)
    off = []
    for example in corpus.examples[:4]:
        one, other = (s.score(example).probability for s in (exact, rough))
        off.append(np.subtract([*one.values()], [*other.values()]))
    assert 1e-6 < np.abs(off).max() < 0.05


def test_bfloat16_needs_openvino(run: Path) -> None:
    model = load_checkpoint(run).model.for_inference()
    with pytest.raises(UsageError, match="torch computes in float32 only"):
        use_engine(model, "torch", CPU, precision="bfloat16")


def test_a_cpu_without_bfloat16_is_named(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    model = load_checkpoint(run).model.for_inference()
    with pytest.raises(UsageError, match="no instructions for bfloat16"):
        use_engine(model, "auto", CPU, precision="bfloat16")


def test_auto_leaves_small_encoders_to_torch(run: Path) -> None:
    model = load_checkpoint(run).model.for_inference()
    use_engine(model, "auto", CPU, at_once=True)
    assert not any(isinstance(part, CompiledEncoder) for part in model.modules())


def test_a_run_scores_the_same_with_both_engines(run: Path, corpus: Corpus) -> None:
    torch_scorer = Scorer(load_checkpoint(run))
    openvino = Scorer(load_checkpoint(run), engine="openvino")
    assert isinstance(openvino.model.face, CompiledEncoder)
    for example in corpus.examples[:4]:
        for missing in ("", "v", "t"):
            one, other = (s.score(example, missing) for s in (torch_scorer, openvino))
            values = [[*scores.probability.values()] for scores in (one, other)]
            np.testing.assert_allclose(*values, atol=1e-5)


def test_what_openvino_cannot_run(trained: Callable[[str], Path]) -> None:
    sound = load_checkpoint(trained("a")).model.for_inference()
    with pytest.raises(UsageError, match="no encoder that OpenVINO runs"):
        use_engine(sound, "openvino", CPU)
    faces = load_checkpoint(trained("v")).model.for_inference()
    with pytest.raises(UsageError, match="it is on cuda"):
        use_engine(faces, "openvino", torch.device("cuda"))
