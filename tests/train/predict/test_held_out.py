"""A recording that training never saw: `predict` is right as often as `eval` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import PredictConfig, Request
from fv2es_train.predict.videos import requests_of
from fv2es_train.training.loop import train
from tests.train.conftest import tiny_config

# Of six classes; far from chance, so that equal counts mean something.
_LEARNT = 0.6


def right(found: Predictor, request: Request, planted: Mapping[str, Utterance]) -> int:
    """How many of the planted utterances have their own class on top."""
    tops = {one.id: one.top for one in found.predict(request)}
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
    assert right(predictor, request, planted) >= round(share * len(planted))
    # What is missing is left out in both; `predict` weighs the rest by one common factor.
    wordless = tuple(replace(span, text=None) for span in request.spans or ())
    expected = round(share_of(told, "without text") * len(planted))
    assert right(predictor, replace(request, spans=wordless), planted) >= expected
