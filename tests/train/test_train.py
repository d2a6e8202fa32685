"""A run from shards to measured model: what is written, what changes, and what is refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fv2es_prep.errors import OutputError, SplitError, TokenizerError, TrainError, UsageError
from fv2es_prep.settings import PrepSettings
from fv2es_prep.types import MelSpectrum
from fv2es_train.batch import Batch
from fv2es_train.model import FV2ES, build_model
from fv2es_train.progress import Bar, Lines, progress_for
from fv2es_train.train import positive_weights, train
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, options_of, write_shards


def test_a_run_holds_checkpoints_history_and_metrics(run: Path, summary: dict[str, Any]) -> None:
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert found == {
        "best/model.safetensors",
        "best/config.json",
        "last/model.safetensors",
        "last/config.json",
        "history.jsonl",
        "metrics.json",
        "predictions/valid.csv",
        "predictions/test.csv",
        "curves.png",
        "test.png",
        "README.md",
    }
    measured = json.loads((run / "metrics.json").read_text())
    assert measured == {"valid": summary["valid"], "test": summary["test"]}
    assert summary["test"]["n"] == 12


def test_history_has_a_line_per_epoch(run: Path, summary: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert summary["best_epoch"] in [line["epoch"] for line in lines if line["best"]]
    assert lines[1]["train_loss"] < lines[0]["train_loss"]
    assert set(lines[0]["lr"]) == {"main", "text"}


def test_a_stored_config_says_all_and_names_no_path(run: Path, corpus: Corpus) -> None:
    text = (run / "best" / "config.json").read_text()
    stored = json.loads(text)
    assert stored["label_classes"] == list(CLASSES)
    assert PrepSettings.from_json(stored["settings"]) == SETTINGS
    assert list(stored["thresholds"]) == list(CLASSES)
    assert str(corpus.shards) not in text and str(run) not in text


def test_two_epochs_change_every_parameter_of_every_branch(
    run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    options = options_of(corpus, tmp_path / "unused")
    torch.manual_seed(options.seed)
    start = build_model(options.configs(CLASSES)[0], SETTINGS)
    after = load_file(run / "last" / "model.safetensors")
    same = [name for name, value in start.named_parameters() if value.equal(after[name])]
    assert same == []
    assert {name.split(".")[0] for name in after} == {name for name, _ in start.named_children()}


def test_a_seed_decides_the_history(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    train(options_of(corpus, tmp_path / "again"))
    train(options_of(corpus, tmp_path / "other", seed=1))
    first, again, other = (history(out) for out in (run, tmp_path / "again", tmp_path / "other"))
    assert first == again
    assert first != other
    weights = [(out / "last" / "model.safetensors") for out in (run, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def history(out: Path) -> list[dict[str, Any]]:
    """The lines of history.jsonl without their times."""
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("modality", ["t", "a", "v"])
def test_each_modality_learns_alone(modality: str, corpus: Corpus, tmp_path: Path) -> None:
    options = options_of(
        corpus, tmp_path / "run", modalities=modality, epochs=8, batch_size=3, lr=1e-3, early_stop=0
    )
    summary = train(options)
    assert summary["valid"]["average"]["auc"] > 0.9


def test_early_stopping_counts_epochs_without_a_better_one(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A frozen model cannot get better, so the first epoch stays the best.
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    options = options_of(corpus, tmp_path / "run", modalities="t", epochs=9, early_stop=2)
    summary = train(options)
    assert (summary["epochs"], summary["best_epoch"], summary["stopped_early"]) == (3, 1, True)


def test_patience_waits_for_f1_alone_and_a_lower_loss_is_still_kept(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fv2es_train.train.measure", lambda *_: {"average": {"f1_binary": 1.0}})
    options = options_of(corpus, tmp_path / "run", modalities="v", epochs=9, early_stop=2)
    summary = train(options)
    assert (summary["epochs"], summary["best_epoch"]) == (3, 3)


def test_a_class_absent_from_train_is_named(corpus: Corpus, tmp_path: Path) -> None:
    def without_sad(split: Any) -> Any:
        kept = [name for name in split.train if int(name[3:]) % 6 != 5]
        return replace(split, train=tuple(kept))

    split = corpus.resplit(without_sad, tmp_path / "split.json")
    with pytest.raises(TrainError, match="has the class sad"):
        train(replace(options_of(corpus, tmp_path / "run"), split=split))
    assert not (tmp_path / "run").exists()


def test_weights_of_positives_are_negatives_over_positives() -> None:
    label = np.array([[1, 1], [0, 1], [0, 0], [0, 1]], dtype=np.uint8)
    assert positive_weights(label, ("x", "y")).tolist() == pytest.approx([3.0, 1 / 3])


def test_a_loss_that_is_no_number_names_the_utterances(tmp_path: Path) -> None:
    examples = make_examples(18)
    spoilt = np.full_like(examples[4].mel.log_power, np.nan)
    examples[4] = replace(examples[4], mel=MelSpectrum(spoilt, 0.0125))
    shards = write_shards(tmp_path / "shards", examples)
    corpus = Corpus(shards, tmp_path / "split.json", examples)

    def all_train(split: Any) -> Any:
        names = [example.utterance.id for example in examples]
        return replace(split, train=tuple(names[:12]), valid=tuple(names[12:]), test=())

    corpus.resplit(all_train, corpus.split)
    with pytest.raises(TrainError, match=r"loss is nan in epoch 1, .*utt004"):
        train(options_of(corpus, tmp_path / "run", modalities="a", batch_size=3))
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.parametrize("subset", ["train", "valid"])
def test_an_empty_subset_is_refused(subset: str, corpus: Corpus, tmp_path: Path) -> None:
    split = corpus.resplit(lambda s: replace(s, **{subset: ()}), tmp_path / "split.json")
    with pytest.raises(SplitError, match=f"'{subset}' is empty"):
        train(replace(options_of(corpus, tmp_path / "run"), split=split))


def test_a_run_without_a_test_subset_is_measured_on_valid(corpus: Corpus, tmp_path: Path) -> None:
    source = json.loads(corpus.split.read_text())
    split = corpus.resplit(
        lambda s: replace(s, train=tuple(source["train"]), valid=tuple(source["valid"]), test=()),
        tmp_path / "split.json",
    )
    options = options_of(corpus, tmp_path / "run", modalities="t", epochs=1)
    summary = train(replace(options, split=split))
    assert summary["test"] is None and summary["valid"]["n"] == 6


def test_a_run_is_not_written_over_by_accident(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = options_of(corpus, out, modalities="t", epochs=1)
    train(options)
    with pytest.raises(UsageError, match="holds a run already") as caught:
        train(options)
    assert "--overwrite" in caught.value.hint
    train(replace(options, overwrite=True))
    assert len((out / "history.jsonl").read_text().splitlines()) == 1


def test_places_that_cannot_be_written_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        train(options_of(corpus, tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot be written"):
        train(options_of(corpus, tmp_path / "file" / "run", modalities="t"))


def test_a_text_encoder_with_too_few_words_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    from fv2es_train.encoders import text as texts

    texts.small(10, 0).albert.save_pretrained(tmp_path / "albert")  # type: ignore[operator]
    options = options_of(corpus, tmp_path / "run", text_encoder=str(tmp_path / "albert"))
    with pytest.raises(TrainError, match="40 token ids, the text encoder knows 10"):
        train(options)


def test_an_unreachable_text_encoder_leaves_no_run(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerError):
        train(options_of(corpus, tmp_path / "run", text_encoder="no-one/no-such-encoder"))
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'abacus'"):
        train(options_of(corpus, tmp_path / "run", device="abacus"))


def test_progress_is_lines_where_there_is_no_terminal(corpus: Corpus, tmp_path: Path) -> None:
    stream = io.StringIO()
    train(options_of(corpus, tmp_path / "run", modalities="t"), progress_for(stream))
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert "valid f1_binary" in lines[0]


def test_progress_is_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = progress_for(stream)
    assert isinstance(bar, Bar) and isinstance(progress_for(io.StringIO()), Lines)
    bar.step(1, 2, 1, 4, 0.5)
    record = {"epoch": 1, "train_loss": 0.5, "valid_loss": 0.4, "seconds": 1.0, "best": True}
    bar.epoch({**record, "valid": {"f1_binary": None}})
    bar.close()
    assert "epoch 1" in stream.getvalue()


def test_training_uses_every_branch_in_every_epoch(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The published trainer fused its blocks at the first validation and froze them.
    seen: list[bool] = []
    forward = FV2ES.forward

    def watched(self: FV2ES, batch: Batch) -> torch.Tensor:
        if self.training:
            branches = [n for n, p in self.named_parameters() if "pointwise" in n]
            seen.append(bool(branches) and all(p.requires_grad for p in self.parameters()))
        return forward(self, batch)

    monkeypatch.setattr(FV2ES, "forward", watched)
    train(options_of(corpus, tmp_path / "run", modalities="v"))
    assert len(seen) == 6 and all(seen)
