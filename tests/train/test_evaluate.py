"""Evaluating a written run: the same numbers as at its end, stored thresholds, and refusals."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fv2es_prep.config import FrameSettings
from fv2es_prep.errors import SettingsError, SplitError, TrainError, UsageError
from fv2es_prep.splits import read_split, write_split
from fv2es_prep.utils.phases import Report
from fv2es_train.data.batches import collate
from fv2es_train.evaluation import metrics
from fv2es_train.evaluation.comparison import compare
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.evaluation.predictions import file_of, read_predictions
from fv2es_train.evaluation.tables import format_metrics
from fv2es_train.models.checkpoint import load_checkpoint, save_checkpoint
from fv2es_train.models.encoders import RepVggBlock
from fv2es_train.models.run_files import write_ids
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, write_shards


@pytest.mark.parametrize("subset", ["valid", "test"])
def test_evaluating_gives_the_numbers_of_the_run(subset: str, corpus: Corpus, run: Path) -> None:
    measured = json.loads((run / "metrics.json").read_text())[subset]
    assert evaluate(corpus.shards, corpus.split, run, subset) == measured


def test_the_progress_counts_every_utterance(corpus: Corpus, run: Path) -> None:
    begun: list[tuple[str, int | None, str]] = []
    done: list[int] = []

    def phase(*given: Any) -> AbstractContextManager[Report]:
        begun.append(given)
        return nullcontext(done.append)

    evaluate(corpus.shards, corpus.split, run, "test", batch_size=5, phase=phase)
    assert (begun, done) == ([("evaluate", 12, "utterances")], [5, 5, 2])
    compare([run, run], "test", corpus.shards, corpus.split, phase=phase)
    assert (len(begun), sum(done)) == (3, 36)


def test_a_result_says_what_was_measured(corpus: Corpus, run: Path) -> None:
    result = evaluate(corpus.shards, corpus.split, run, "test", batch_size=5)
    assert (result["subset"], result["n"], result["checkpoint"]) == ("test", 12, "best")
    assert result["trained_on_this_split"] is True
    assert set(result["per_class"]) == set(CLASSES)
    assert "average" in format_metrics(result)
    json.dumps(result, allow_nan=False)


def test_thresholds_are_the_stored_ones_and_never_fitted(
    corpus: Corpus, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("thresholds were fitted in evaluation")

    monkeypatch.setattr(metrics, "fit_thresholds", forbidden)
    stored = json.loads((run / "best" / "config.json").read_text())["thresholds"]
    for subset in ("train", "valid", "test"):
        assert evaluate(corpus.shards, corpus.split, run, subset)["thresholds"] == stored


def test_evaluation_fuses_a_copy(
    corpus: Corpus, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a multi-branch block ran in evaluation")

    monkeypatch.setattr(RepVggBlock, "forward", forbidden)
    evaluate(corpus.shards, corpus.split, run)


def test_a_checkpoint_comes_back_the_same(run: Path, tmp_path: Path) -> None:
    first = load_checkpoint(run)
    save_checkpoint(tmp_path, replace(first, which="last"))
    again = load_checkpoint(tmp_path, "last")
    assert not again.model.training
    batch = collate(make_examples(4))
    with torch.no_grad():
        assert first.model(batch).equal(again.model(batch))
    assert again.model.config == first.model.config
    for name in ("train", "settings", "thresholds", "split_digest", "epoch", "metrics"):
        assert getattr(again, name) == getattr(first, name)


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_behind(
    run: Path, tmp_path: Path
) -> None:
    kept = load_checkpoint(run)
    for epoch in (1, 2):
        save_checkpoint(tmp_path, replace(kept, epoch=epoch))
    assert load_checkpoint(tmp_path).epoch == 2
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_shards_prepared_otherwise_are_refused_by_the_setting(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    other = replace(SETTINGS, frames=FrameSettings(interval_s=0.25))
    shards = write_shards(tmp_path / "shards", corpus.examples, other)
    with pytest.raises(
        SettingsError, match=r"frames\.interval_s = 0\.5, but these shards have 0\.25"
    ):
        evaluate(shards, corpus.split, run)


def test_shards_with_other_classes_are_refused(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", corpus.examples, classes=CLASSES[::-1])
    with pytest.raises(SettingsError, match="the run has the classes ang"):
        evaluate(shards, corpus.split, run)


def test_another_split_is_said(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    split = corpus.resplit(lambda s: s, tmp_path / "split.json")
    found = evaluate(corpus.shards, split, run, allow_seen=True)
    assert found["trained_on_this_split"] is False


def test_utterances_of_the_training_are_refused_with_their_count(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    own, mixed = read_split(corpus.split), tmp_path / "split.json"
    test = (*own.test[:4], *own.train[:2], own.valid[0])
    write_split(replace(own, test=test, train=(), valid=()), mixed)
    said = r"of the 7 .* utterances: 2 in the run's train subset and 1 in the run's valid subset"
    with pytest.raises(TrainError, match=said) as raised:
        evaluate(corpus.shards, mixed, run)
    assert raised.value.exit_status == 1 and "--allow-seen" in raised.value.hint
    found = evaluate(corpus.shards, mixed, run, allow_seen=True)
    assert found["seen"] == {"train": 2, "valid": 1}
    assert "has seen utterances of this subset: 2 in train, 1 in valid" in format_metrics(found)
    with pytest.raises(TrainError, match=said):
        compare([run, run], shards=corpus.shards, split=mixed)
    # Folds: the test subset of one is in the train subset of another.
    swapped = tmp_path / "fold-1.json"
    write_split(replace(own, test=own.train, train=own.test), swapped)
    with pytest.raises(TrainError, match="in the run's train subset"):
        evaluate(corpus.shards, swapped, run)
    # Its own subsets by their own names are no surprise.
    assert evaluate(corpus.shards, corpus.split, run, "train")["seen"]["valid"] == 0


def test_stored_predictions_of_the_training_are_not_compared(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    ids = read_predictions(file_of(run, "test")).ids
    write_ids(copied, {"train": ids[:3], "valid": []})
    with pytest.raises(TrainError, match="test utterances: 3 in the run's train subset"):
        compare([run, copied])
    assert compare([run, copied], allow_seen=True)["runs"][1]["seen"] == {"train": 3, "valid": 0}


def test_an_empty_subset_and_unknown_names_are_refused(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    split = corpus.resplit(lambda s: replace(s, test=()), tmp_path / "split.json")
    with pytest.raises(SplitError, match="'test' of the split is empty"):
        evaluate(corpus.shards, split, run)
    with pytest.raises(UsageError, match="'exam'"):
        evaluate(corpus.shards, corpus.split, run, "exam")
    with pytest.raises(UsageError, match="contains no checkpoint"):
        evaluate(corpus.shards, corpus.split, tmp_path / "nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        lambda best: (best / "model.safetensors").write_bytes(b"no weights"),
        lambda best: (best / "model.safetensors").unlink(),
        lambda best: (best / "config.json").write_text("{"),
        lambda best: (best / "config.json").write_text('{"format": "other"}'),
    ],
)
def test_a_damaged_checkpoint_is_one_error(damage: Any, run: Path, tmp_path: Path) -> None:
    kept = load_checkpoint(run)
    damage(save_checkpoint(tmp_path, kept))
    with pytest.raises(TrainError, match="best"):
        load_checkpoint(tmp_path)


def test_weights_that_give_no_numbers_name_the_utterance(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    kept = load_checkpoint(run)
    with torch.no_grad():
        kept.model.v_out.bias.fill_(float("nan"))
    save_checkpoint(tmp_path, kept)
    with pytest.raises(TrainError, match="utt024"):
        evaluate(corpus.shards, corpus.split, tmp_path)


def test_engines_measure_the_same(run: Path, corpus: Corpus) -> None:
    paths = corpus.shards, corpus.split, run
    by_torch, by_openvino = evaluate(*paths, engine="torch"), evaluate(*paths, engine="openvino")
    assert by_torch["average"] == pytest.approx(by_openvino["average"], abs=1e-6)
