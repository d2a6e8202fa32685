"""Written predictions, groups, comparisons, folds and the card: from small finished runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import read_index, write_index
from fv2es_prep.splits import read_split, write_split
from fv2es_prep.types import Provenance
from fv2es_train.evaluation.breakdown import by_modality
from fv2es_train.evaluation.comparison import compare
from fv2es_train.evaluation.evaluate import evaluate, open_run, outputs_of, predict
from fv2es_train.evaluation.inference import terms_of
from fv2es_train.evaluation.measurement import Bootstrap, measurement
from fv2es_train.evaluation.metrics import METRICS
from fv2es_train.evaluation.model_card import write_card
from fv2es_train.evaluation.predictions import (
    Predictions,
    file_of,
    read_predictions,
    write_predictions,
)
from fv2es_train.evaluation.run_page import comparison_body
from fv2es_train.evaluation.tables import format_comparison, format_folds, format_groups
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.decision import Decision
from fv2es_train.training.folds import train_folds
from tests.train.conftest import Corpus, options_of

FEW = Bootstrap(resamples=50)


def other_run(run: Path, place: Path, shift: float) -> Path:
    """A run that says the same, but for noise."""
    found = read_predictions(file_of(run, "test"))
    noise = np.random.default_rng(0).normal(0, shift, found.logits.shape).astype("f4")
    file_of(place, "test").parent.mkdir(parents=True)
    changed = replace(found, logits=found.logits + noise, predicted=1 - found.truth)
    write_predictions(file_of(place, "test"), changed.take(range(len(found))[::-1]))
    return place


def test_written_predictions_give_the_numbers_of_the_run(run: Path) -> None:
    measured = json.loads((run / "metrics.json").read_text())
    for subset in ("valid", "test"):
        found = measurement(read_predictions(file_of(run, subset)), Bootstrap())
        assert {name: measured[subset][name] for name in found} == found


def test_predictions_come_back_the_very_same(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    made = predict(open_run(corpus.shards, corpus.split, run, "test"))
    write_predictions(tmp_path / "p.csv", made)
    again = read_predictions(tmp_path / "p.csv")
    for name, value in vars(made).items():
        assert np.array_equal(getattr(again, name), value), name
    header = (tmp_path / "p.csv").read_text().splitlines()[0].split(",")
    assert header[:5] == ["id", "recording", "speaker", "session", "true_ang"]


def test_damaged_and_missing_predictions_are_one_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"test\.csv does not exist"):
        compare([run, tmp_path])
    lines = file_of(run, "test").read_text().splitlines()
    for damage in ("", "id,name\n", lines[0] + "\nutt,1\n", "\n".join(lines)[:-40]):
        place = tmp_path / "p.csv"
        place.write_text(damage)
        with pytest.raises(TrainError, match=r"p\.csv is not a predictions file"):
            read_predictions(place)


@pytest.mark.parametrize("by", ["speaker", "session", "recording", "modality-missing"])
def test_groups_hold_every_utterance_once(by: str, corpus: Corpus, run: Path) -> None:
    found = evaluate(corpus.shards, corpus.split, run, by=by, bootstrap=FEW)
    groups = found["by"]["groups"]
    assert sum(group["n"] for group in groups) == found["n"]
    accuracy = sum(group["n"] * group["average"]["accuracy"] for group in groups) / found["n"]
    assert accuracy == pytest.approx(found["average"]["accuracy"])
    if by == "modality-missing":
        # The examples have faces and no transcripts.
        assert [group["group"] for group in groups] == ["no transcript"]
    table = format_groups(found["by"]).splitlines()
    assert table[0].split()[:2] == [by, "n"]
    assert table[0].split()[-1] in (*METRICS, "single_label.accuracy")


def test_a_modality_is_left_out_by_its_term(corpus: Corpus, run: Path) -> None:
    found = evaluate(corpus.shards, corpus.split, run, by="modality", bootstrap=FEW)
    groups = {group["group"]: group["average"] for group in found["by"]["groups"]}
    kinds = ("text", "video", "audio")
    alone, without = [f"{k} alone" for k in kinds], [f"without {k}" for k in kinds]
    assert list(groups) == ["all modalities", *without, *alone]
    assert groups["all modalities"] == pytest.approx(found["average"])
    opened = open_run(corpus.shards, corpus.split, run, "test")
    outputs = outputs_of(opened.checkpoint, opened.dataset, opened.device, batch_size=5)
    terms, logits = terms_of(opened.checkpoint.model, outputs), outputs.logits.numpy()
    assert np.allclose(sum(terms.values()), logits, atol=1e-5)
    assert outputs.missing == ("",) * len(logits)
    right = ((terms["a"] > 0) == (logits > 0)).mean()
    assert right < 1 and groups["audio alone"] != groups["text alone"]


def test_what_is_left_of_an_incomplete_utterance_has_its_own_temperature() -> None:
    """The first lacks audio, and the last has nothing left without video."""
    names, truth = ("p", "q", "r"), np.array([[1, 0], [0, 0], [0, 0]], np.uint8)
    nothing = np.zeros((3, 2))
    shown = Predictions(
        ("x", "y"), names, names, names, names, truth, truth, nothing, nothing.astype("f4")
    )
    said = np.array([[1, -5], [1, -5], [0, 0]], "f4")
    terms = {"t": said, "v": 0 * said, "a": 0 * said}
    decision = Decision(temperature={"t": 1, "ta": 4}, thresholds={"x": 0.6, "y": 0.4})
    groups = by_modality(shown, terms, decision, ["t", "tva", "v"])
    (found,) = (g["average"] for g in groups if g["group"] == "without video")
    assert found["accuracy"] == 1


def test_an_unknown_grouping_is_refused(corpus: Corpus, run: Path) -> None:
    with pytest.raises(UsageError, match="'weather'"):
        evaluate(corpus.shards, corpus.split, run, by="weather")
    with pytest.raises(UsageError, match="unknown bootstrap unit 'session'"):
        Bootstrap(by="session")


def test_a_run_does_not_differ_from_itself(corpus: Corpus, run: Path) -> None:
    found = compare([run, run], shards=corpus.shards, split=corpus.split, bootstrap=FEW)
    assert found == compare([run, run], bootstrap=FEW)
    for values in found["differences"][0]["average"].values():
        assert (values["difference"], values["interval"], values["p"]) == (0, [0, 0], 1)


def test_a_worse_run_is_seen_and_the_order_of_lines_does_not_matter(
    run: Path, tmp_path: Path
) -> None:
    worse = other_run(run, tmp_path / "worse", 5)
    found = compare([run, worse])
    (row,) = found["differences"]
    change = row["average"]["accuracy"]
    ours, theirs = (one["average"]["accuracy"] for one in found["runs"])
    assert (theirs, change["difference"]) == (0, pytest.approx(-ours))
    assert change["interval"][1] < 0 and change["p"] < 0.05
    table = format_comparison(found)
    assert "f1_binary" in table and f"{worse} minus {run}" in table
    assert "single_label.f1_macro" in table
    json.dumps(found, allow_nan=False)
    page = "".join(comparison_body(found))
    assert page.count("<svg") == 1 and "http" not in page
    assert f"<h2>{worse} minus {run}</h2>" in page and f">f1_binary: {worse.name}<" in page


def test_runs_of_other_utterances_or_labels_are_refused(run: Path, tmp_path: Path) -> None:
    other = other_run(run, tmp_path / "other", 0)
    found = read_predictions(file_of(other, "test"))
    write_predictions(file_of(other, "test"), found.take(range(5)))
    with pytest.raises(UsageError, match="on 5 utterances, .* on 12; 7 of them"):
        compare([run, other])
    write_predictions(file_of(other, "test"), replace(found, truth=1 - found.truth))
    with pytest.raises(UsageError, match="different labels for 12 utterance"):
        compare([run, other])
    with pytest.raises(UsageError, match="1 run"):
        compare([run])


def test_folds_are_trained_once_and_put_together(corpus: Corpus, tmp_path: Path) -> None:
    made, folds = read_split(corpus.split), tmp_path / "folds"
    folds.mkdir()
    write_split(replace(made, test=made.test[:6]), folds / "fold-0.json")
    write_split(replace(made, test=made.test[6:]), folds / "fold-1.json")
    # No utterance of one class is left: this fold fails, the others go on.
    write_split(replace(made, train=made.train[:3], test=()), folds / "fold-2.json")
    options = options_of(corpus, tmp_path / "runs", split=folds, modalities="t", epochs=1)
    said: list[str] = []
    found = train_folds(options, say=said.append)
    assert found["failed"] == ["fold-2"] and "fold-2 failed" in "\n".join(said)
    done = found["folds"][:2]
    values = [fold["test"]["average"]["accuracy"] for fold in done]
    assert found["mean"]["average"]["accuracy"] == pytest.approx(np.mean(values))
    assert found["standard_deviation"]["average"]["accuracy"] == pytest.approx(
        np.std(values, ddof=1)
    )
    # Both folds have six test utterances, so here the two ways agree.
    assert found["pooled"]["n"] == 12
    assert found["pooled"]["average"]["accuracy"] == pytest.approx(np.mean(values))
    assert "standard_deviation" in format_folds(found)
    assert json.loads((tmp_path / "runs" / "folds.json").read_text()) == found

    again = train_folds(options)
    assert [fold["trained"] for fold in again["folds"]] == [False, False, True]
    assert again["pooled"] == found["pooled"]
    with pytest.raises(UsageError, match="contains a run with lr"):
        train_folds(replace(options, lr=0.1))
    with pytest.raises(UsageError, match=r"contains no fold-0\.json"):
        train_folds(replace(options, split=tmp_path / "runs"))


def test_the_card_says_what_was_trained_on_what(corpus: Corpus, run: Path) -> None:
    card = (run / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "fv2es" and "tests" in front["tags"]
    split, measured = read_split(corpus.split), json.loads((run / "metrics.json").read_text())
    f1 = measured["test"]["average"]["f1_binary"]
    low, high = measured["test"]["interval"]["f1_binary"]
    valid = len(split.ids("valid"))
    for said in (
        split.digest(),
        f"| f1_binary | {f1:.3f} [{low:.3f}, {high:.3f}] |",
        "| `fv2es-tiny` |",
        f"| the recording (dialogue, video) | {valid} of {valid} | 12 of 12 | 12 of 12 |",
        "licence of its own",
        "Do not use it for decisions\n  about people",
        "Trained on the corpus tests, recordings of people.",
        "12 of 12 share a recording with train",
        "Not for decisions about people",
    ):
        assert said in card, said
    assert str(corpus.shards.parent) not in card and str(run.parent) not in card
    # One class is decided: thresholds are not used.
    assert "Probabilities were calibrated on valid" in card and "Thresholds were" not in card
    opening = card.split("## ")[0]
    assert all(said in opening for said in ("Trained on", "with train", "Not for decisions"))
    for picture in ("curves.png", "test.png"):
        assert f"({picture})" in card
        assert (run / picture).read_bytes().startswith(b"\x89PNG")


def test_the_card_of_generated_data_says_so_and_gives_its_licence(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(corpus.shards, shards)
    made = Provenance("fv2es-demo", True, "Generated by fv2es; free to use.", "1")
    write_index(shards, replace(read_index(shards), provenance=(made,)))
    split, checkpoint = read_split(corpus.split), load_checkpoint(run)
    summary = {
        **dict.fromkeys(("parameters", "epochs", "best_epoch", "seconds"), 1),
        "model": "fv2es-tiny",
        "modalities": "tav",
        "stopped_early": False,
        "without_votes": None,
        "device": "cpu",
        **json.loads((run / "metrics.json").read_text()),
    }
    write_card(tmp_path / "card.md", checkpoint, shards, read_catalogue(shards), split, summary)
    card = (tmp_path / "card.md").read_text()
    assert "Trained on the corpus fv2es-demo 1: generated data that show no real person." in card
    assert "Generated by fv2es; free to use." in card and "on fv2es-demo" in card
    assert "University" not in card
