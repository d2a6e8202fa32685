"""An exported run gives the logits of PyTorch, or nothing is written."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fv2es_prep.errors import UsageError, WorkError
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.engines.tracing import traced
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build, collate_of, preset
from fv2es_train.predict.export import export as exporting
from fv2es_train.predict.export.export import MOST_DIFFERENCE, export
from fv2es_train.predict.export.targets import TARGETS
from tests.command_line import fv2es
from tests.train.conftest import CLASSES, SETTINGS, Corpus

needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None, reason="the extra export is not installed"
)


def run_readme(out: Path) -> None:
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"x": np.array([[2, 5, 3]])}
    exec(code.replace('"text.', f'"{out}/text.'), names)
    assert names["logits"].shape == (1, len(CLASSES))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("openvino", marks=pytest.mark.slow),
        "torch-export",
        pytest.param("onnx", marks=[needs_onnx, pytest.mark.slow]),
    ],
)
def test_the_files_give_what_the_run_gives(
    target: str, run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    made = export(run, target, tmp_path / "out", corpus.shards, examples=6)
    assert {*made.difference} == {*"tav"}
    assert max(made.difference.values()) <= MOST_DIFFERENCE
    stored = json.loads((tmp_path / "out/metadata.json").read_text())
    checkpoint = load_checkpoint(run)
    dataset = ShardDataset(corpus.shards)
    batch = collate_of(checkpoint.model.config, 0)([dataset[7]])
    values = {"faces": batch.faces, "mel": batch.mel, "tokens": batch.tokens}
    total = 0.0
    for one in stored["networks"].values():
        x = values[one["input"]["name"]].contiguous().numpy()
        assert str(x.dtype) == one["input"]["dtype"]
        logits = TARGETS.load(target).load(tmp_path / "out" / one["file"])(x)
        total = total + one["fusion_weight"] * logits
    with torch.no_grad():
        np.testing.assert_allclose(total, checkpoint.model(batch).numpy(), atol=1e-4)
    if target != "onnx":  # its README uses onnxruntime, which fv2es does not need
        run_readme(tmp_path / "out")
    assert stored["label_classes"] == [*CLASSES]
    assert stored["decision"]["thresholds"] == dict(checkpoint.thresholds)
    assert made.checked_on == "6 examples of the shards"
    names = {one["file"] for one in stored["networks"].values()}
    assert names | {"README.md", "metadata.json"} <= {*made.files}


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["openvino", "torch-export", pytest.param("onnx", marks=needs_onnx)]
)
def test_a_hundred_real_examples(
    target: str, trained: Callable[[str], Path], prepared: Path, tmp_path: Path
) -> None:
    made = export(trained("tav"), target, tmp_path / "out", prepared, examples=100)
    assert made.checked_on == f"{min(100, len(ShardDataset(prepared)))} examples of the shards"
    assert max(made.difference.values()) <= MOST_DIFFERENCE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("fv2es", marks=pytest.mark.slow),
        "fv2es-lite",
        pytest.param("mme2e", marks=pytest.mark.slow),
    ],
)
def test_each_sound_and_face_network_keeps_its_dynamic_axis(name: str) -> None:
    changes: dict[str, Any] = {"modalities": "av", "label_classes": CLASSES}
    if name == "fv2es":
        # The layers of the published NesT, narrower and fewer.
        changes |= {"mel_dims": (16, 32, 64), "mel_heads": (1, 2, 4), "mel_depths": (1, 1, 1)}
    model = build(replace(preset(name).model, **changes), SETTINGS).for_inference()
    for branch in model.export_branches().values():
        program = traced(branch, branch.given).module()
        for size in (1, 2, 7):
            shape = [one if isinstance(one, int) else size for one in branch.given.shape]
            x = torch.rand(shape)
            with torch.no_grad():
                assert torch.allclose(program(x), branch(x), atol=1e-5)


def test_nothing_is_written_where_a_network_differs(
    run: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MOST_DIFFERENCE", -1.0)
    with pytest.raises(WorkError, match="differs from PyTorch"):
        export(run, "torch-export", tmp_path / "out", corpus.shards, examples=1)
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_exported(
    run: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="unknown export target 'onyx'"):
        export(run, "onyx", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(UsageError, match="not empty"):
        export(run, "openvino", tmp_path / "full")


def test_the_command_takes_generated_inputs_where_the_shards_are_gone(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    from fv2es_train.models.pack import pack

    pack(trained("av"), tmp_path / "run.fv2es")
    out = tmp_path / "out"
    said = fv2es("export", tmp_path / "run.fv2es", "--to", "torch-export", "--out", out, "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["checked_on"] == "generated inputs"
    assert {"audio.pt2", "video.pt2"} <= {*told["files"]}
