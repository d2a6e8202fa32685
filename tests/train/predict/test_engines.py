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
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build, preset
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.predict.engines import CompiledEncoder, use_engine
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
    given, mel = model.picture_encoders()["mel"], torch.rand(3, 1, 128, 32)
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
    monkeypatch.setattr("fv2es_train.predict.engines.CHUNKS_TO_CONVERT", 4)
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
    text = load_checkpoint(trained("t")).model.for_inference()
    with pytest.raises(UsageError, match="no encoder that OpenVINO runs"):
        use_engine(text, "openvino", CPU)
    faces = load_checkpoint(trained("v")).model.for_inference()
    with pytest.raises(UsageError, match="it is on cuda"):
        use_engine(faces, "openvino", torch.device("cuda"))
