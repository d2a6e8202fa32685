"""A recording that training never saw: `predict` is right as often as `eval` says."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.demo import make_corpus
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import Split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.types import Utterance
from fv2es_train.evaluation.evaluate import evaluate, open_run, predict
from fv2es_train.predict.outputs import UtterancePrediction, summarise, video_json
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.render import csv_head, csv_row
from fv2es_train.predict.request import PredictConfig
from fv2es_train.predict.videos import requests_of
from fv2es_train.training.loop import train
from tests.train.conftest import tiny_config

# Of six classes; far from chance, so that equal counts mean something.
_LEARNT = 0.6


def right(found: Sequence[UtterancePrediction], planted: Mapping[str, Utterance]) -> int:
    """How many of the planted utterances have their own class on top."""
    tops = {one.id: one.top for one in found}
    return sum(utterance.labels == (tops[name],) for name, utterance in planted.items())


def share_of(result: dict[str, Any], group: str) -> float:
    rows = {row["group"]: row["single_label"]["accuracy"] for row in result["by"]["groups"]}
    return float(rows[group])


def one_recording_out(shards: Path) -> tuple[Split, str]:
    """Of ten recordings one for test, one for valid; and the name of the one for test."""
    rule = Rule("group", by="recording_id", shares=(0.8, 0.1, 0.1), allow_empty_class=True)
    split = next(build_splits(read_catalogue(shards), rule))
    held, *others = {name.rpartition("_")[0] for name in split.test}
    assert not others
    assert not any(name.startswith(held) for name in (*split.train, *split.valid))
    return split, held


@pytest.mark.slow
def test_a_video_held_out_of_training_is_told_as_well_as_eval_says(
    text_model: Path,
    tmp_path: Path,
    prepare: Callable[..., Any],
    options_for: Callable[..., Any],
) -> None:
    corpus, shards = make_corpus(tmp_path / "corpus"), tmp_path / "shards"
    prepare(options_for(corpus, shards, text_model))
    split, held = one_recording_out(shards)
    write_split(split, tmp_path / "split.json")
    places = (shards, tmp_path / "split.json", tmp_path / "run")
    train(tiny_config(*places, text_encoder=str(text_model)))

    inventory = iemocap.scan(corpus, LabelChoice(iemocap.LABELS))
    planted = {u.id: u for u in inventory.utterances if u.recording_id == held}
    assert set(planted) == set(split.test)
    told = evaluate(*places, by="modality")
    share = told["single_label"]["accuracy"]
    assert share > _LEARNT

    predictor = Predictor.load(tmp_path / "run", "cpu", str(text_model), "none")
    dialog = corpus / f"Session{int(held[3:5])}" / "dialog"
    request, *_ = requests_of(
        PredictConfig(
            (dialog / f"avi/DivX/{held}.avi",),
            tmp_path / "run",
            sound=dialog / f"wav/{held}.wav",
            transcript=dialog / f"transcriptions/{held}.txt",
            views=("iemocap",),
        )
    )
    found = list(predictor.predict(request))
    assert right(found, planted) >= round(share * len(planted))
    # Each class excludes the others: eval, the page's JSON and the CSV decide the most probable.
    seen = predict(open_run(*places, "test"))
    decided = dict(zip(seen.ids, seen.predicted.tolist(), strict=True))
    # Some turns of the recording have no label.
    labelled = [one for one in found if one.id in decided]
    assert len(labelled) == len(decided)
    for one in labelled:
        assert decided[one.id] == [name == one.top for name in predictor.classes]
        shown = video_json(summarise("v", [one], predictor.decision), [one])["utterances"][0]
        assert list(shown["decided"]) == [shown["top"]] == [one.top]
        lines = csv_head(predictor.classes), csv_row("v", one, predictor.classes)
        (row,) = csv.DictReader(lines)
        assert row["decided"] == one.top
    # What is missing is left out in both; `predict` weighs the rest by one common factor.
    wordless = tuple(replace(span, text=None) for span in request.spans or ())
    expected = round(share_of(told, "without text") * len(planted))
    found = list(predictor.predict(replace(request, spans=wordless)))
    assert right(found, planted) >= expected
