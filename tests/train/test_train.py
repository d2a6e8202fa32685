"""A run from shards to measured model: what is written, what changes, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import OutputError, SplitError, TokenizerError, TrainError, UsageError
from fv2es_prep.types import MelSpectrum
from fv2es_train.models.families import build, preset
from fv2es_train.models.text_encoder import small
from fv2es_train.training.loop import train
from fv2es_train.training.state import load_state
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, options_of, write_shards

TIMES = ("seconds", "utterances_per_s")


def test_a_run_holds_checkpoints_history_and_metrics(run: Path, summary: dict[str, Any]) -> None:
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert found == {
        "best/model.safetensors",
        "best/config.json",
        "last/model.safetensors",
        "last/config.json",
        "history.jsonl",
        "ids.json",
        "familiarity.json",
        "metrics.json",
        "predictions/valid.csv",
        "predictions/test.csv",
        "curves.png",
        "test.png",
        "README.md",
        "config.toml",
        "shards.json",
        "state.pt",
        "tensorboard/events.out.tfevents.0000000000.fv2es",
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
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


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
    monkeypatch.setattr(
        "fv2es_train.training.loop.measure", lambda *_: {"average": {"f1_binary": 1.0}}
    )
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


def test_a_loss_that_is_no_number_names_the_utterances(tmp_path: Path) -> None:
    examples = make_examples(18)
    spoilt = np.full_like(examples[4].mel.log_power, np.nan)
    examples[4] = examples[4].replace(mel=MelSpectrum(spoilt, 0.0125))
    shards = write_shards(tmp_path / "shards", examples)
    corpus = Corpus(shards, tmp_path / "split.json", examples)

    def all_train(split: Any) -> Any:
        names = [example.utterance.id for example in examples]
        return replace(split, train=tuple(names[:12]), valid=tuple(names[12:]), test=())

    corpus.resplit(all_train, corpus.split)
    with pytest.raises(TrainError, match=r"in epoch 1: the loss is nan .*utt004"):
        train(options_of(corpus, tmp_path / "run", modalities="a", batch_size=3, save_every=1))
    assert not (tmp_path / "run" / "best").exists()
    # The state to continue from is that of the batch before.
    assert all(value.isfinite().all() for value in load_state(tmp_path / "run").model.values())


@pytest.mark.parametrize("subset", ["train", "valid"])
def test_an_empty_subset_is_refused(subset: str, corpus: Corpus, tmp_path: Path) -> None:
    split = corpus.resplit(lambda s: replace(s, **{subset: ()}), tmp_path / "split.json")
    with pytest.raises(SplitError, match=f"'{subset}' of the split is empty"):
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
    with pytest.raises(UsageError, match="already contains a run") as caught:
        train(options)
    assert "--overwrite" in caught.value.hint
    train(replace(options, overwrite=True))
    assert len((out / "history.jsonl").read_text().splitlines()) == 1


def test_places_that_cannot_be_written_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        train(options_of(corpus, tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write"):
        train(options_of(corpus, tmp_path / "file" / "run", modalities="t"))


def test_a_text_encoder_with_too_few_words_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    from fv2es_train.models import text_encoder as texts

    texts.small(10, 0).albert.save_pretrained(tmp_path / "albert")  # type: ignore[operator]
    options = options_of(corpus, tmp_path / "run", text_encoder=str(tmp_path / "albert"))
    with pytest.raises(TrainError, match="40 token ids, but the text encoder accepts 10"):
        train(options)


def test_a_text_encoder_with_too_few_positions_is_refused() -> None:
    model = preset("fv2es-tiny").model
    text = small(SETTINGS.text.vocabulary_size, 0).config | {"max_position_embeddings": 50}
    chosen = replace(model, label_classes=("sad",), text=text)
    with pytest.raises(TrainError, match="up to 100 token ids, but the text encoder accepts 50"):
        build(chosen, SETTINGS)
    # What a checkpoint says of its encoder is compared, too.
    with pytest.raises(TrainError, match="40 token ids, but the text encoder accepts 10"):
        build(replace(chosen, text=small(10, 0).config), SETTINGS)


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
