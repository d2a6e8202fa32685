"""Prediction with a run that reads the columns of pretrained encoders, wherever they are now."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import TokenizerError, UsageError
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.utils.files import write_json
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.inference import loader_of, run_model
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.feature_config import LinearConfig
from fv2es_train.predict.encoder_sources import check_encoders, find_encoders, without_unread
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import store, train_config
from tests.train.conftest import random_split
from tests.train.media import LEFT, NAME

_MINE = EncoderSettings(encoder="mine", architecture="bert", sha256="ab" * 32, layers=2, width=8)
CPU = torch.device("cpu")


def test_only_encoders_that_the_model_reads_are_needed(tmp_path: Path) -> None:
    stages = ("faces", "waveform", "audio-a", "text-b", "text-c")
    settings = PrepSettings(stages=stages, others={"text-b": asdict(_MINE)})
    read = without_unread(settings, LinearConfig(modalities="t", features=("text-b",)))
    assert read.stages == ("faces", "waveform", "text-b")

    # The shards of the run name the place, as long as it is there; what is given comes first.
    shards, run, here = tmp_path / "shards", tmp_path / "run", tmp_path / "here"
    here.mkdir()
    run.mkdir()
    store(train_config("linear", shards=shards, split=tmp_path / "split.json", out=run))
    for place, found in ((here, {"text-b": str(here)}), (tmp_path / "gone", {})):
        shards.mkdir(exist_ok=True)
        write_json(shards / "run.json", {"encoders": {"text-b": str(place), "audio-a": str(here)}})
        assert find_encoders(run, read, ()) == found
    assert find_encoders(run, read, [f"text:b={shards}"]) == {"text-b": str(shards)}
    assert find_encoders(tmp_path / "packed", read, [f"text:b={here}"]) == {"text-b": str(here)}
    with pytest.raises(UsageError, match="does not read the encoder stage audio-a") as caught:
        find_encoders(run, read, [f"audio:a={here}"])
    assert caught.value.hint == "choose from text-b"

    with pytest.raises(TokenizerError) as absent:
        check_encoders(StageContext(read, "", ()))
    sentence = "the run needs the encoder 'mine' (abababababab) of its stage text-b: the encoder"
    assert absent.value.sentence.startswith(sentence)
    assert absent.value.hint.endswith("--encoder text:b=DIR")


def probabilities(talk: tuple[Path, Path], run: Path, *words: str | Path) -> dict[str, list[float]]:
    picture, sound = talk
    words = (picture, "--sound", sound, "--run", run, "--asr", "none", "--json", *words)
    result = CliRunner().invoke(app, ["predict", *map(str, words)])
    assert result.exit_code == 0, result.output
    (video,) = json.loads(result.stdout)["videos"]
    return {one["id"]: list(one["probability"].values()) for one in video["utterances"]}


@pytest.mark.slow
def test_a_run_finds_its_encoders_after_they_were_moved(
    demo: Path,
    files: tuple[Path, Path],
    text_model: Path,
    prepare: Any,
    options_for: Callable[..., Any],
    tmp_path: Path,
) -> None:
    from tests.encoder_models import make_encoder

    out, run, split = tmp_path / "shards", tmp_path / "run", tmp_path / "split.json"
    kinds = {"audio-a": "wav2vec2", "text-b": "bert", "text-c": "roberta", "video-d": "dinov2"}
    places = {}
    for stage, name in kinds.items():
        kind, place = make_encoder(name, tmp_path / stage, text_model)
        places[stage] = f"{kind}:{stage[-1]}={place}"
    stages = ("faces", "tokens", "waveform", *places.values())
    prepare(options_for(demo, out, text_model, stages=stages))
    random_split(out, tmp_path)
    features = ("audio-a", "text-b", "video-d")
    given = {"modalities": "tav", "features": features}
    train(train_config("linear", shards=out, split=split, out=run, model=given))
    spans = spans_of(out, tmp_path)
    view = ("--spans", spans, "--view", "iemocap")

    # All are where they were; that of text-c, which the model does not read, is gone.
    shutil.rmtree(tmp_path / "text-c")
    found = probabilities(files, run, *view)
    checkpoint, dataset = load_checkpoint(run), ShardDataset(out, list(found))
    raw = run_model(checkpoint.model, loader_of(dataset, checkpoint.model, 4), CPU).logits
    expected = checkpoint.decision.probability(raw.double().numpy(), "tav")
    assert len(found) == 6
    np.testing.assert_allclose(list(found.values()), expected, atol=0.01)

    moved = {}
    for stage in features:
        place = (tmp_path / stage).rename(tmp_path / f"moved-{stage}")
        kind, alias = stage.split("-")
        moved[stage] = ("--encoder", f"{kind}:{alias}={place}")
    refused = CliRunner().invoke(app, ["predict", str(files[0]), "--run", str(run)])
    assert refused.exit_code == 1 and "of its stage audio-a" in refused.stderr
    assert "--encoder audio:a=DIR" in refused.stderr
    words = [word for pair in moved.values() for word in pair]
    assert probabilities(files, run, *view, *words) == found
    check_other_ways(Predictor.load(run, "cpu", None, "none", encoders=words[1::2]), files)
    # Another one is known by its weights.
    weights = tmp_path / "moved-text-b" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    refused = CliRunner().invoke(app, ["predict", str(files[0]), "--run", str(run), *words])
    assert refused.exit_code == 1 and "has the digest" in refused.stderr


def check_other_ways(predictor: Predictor, files: tuple[Path, Path]) -> None:
    """Warm, with other words, and with each face for itself."""
    predictor.warm()
    spans = (Span(0, 3, "Yes.", view=LEFT),)
    (one,) = predictor.predict(Request(*files, spans))
    assert predictor.reword(one, "Yes.").probability == pytest.approx(one.probability, abs=1e-6)
    assert predictor.reword(one, "I hate it!").probability != one.probability
    assert set(predictor.reword(one, None).used) == {"a", "v"}
    (alone,) = predictor.predict(Request(*files, spans, faces="all"))
    assert alone.speaker.endswith("face 1")
    assert alone.probability == pytest.approx(one.probability, abs=0.02)


def spans_of(shards: Path, place: Path) -> Path:
    """The utterances of one recording with their transcripts, as `--spans` reads them."""
    found = []
    for shard in sorted(shards.glob("*.h5")):
        with ShardReader(shard) as reader:
            found += [reader.read(row).utterance for row in range(len(reader))]
    rows = [
        {"id": u.id, "start_s": u.start_s, "end_s": u.end_s, "text": u.transcript}
        for u in found
        if u.id.startswith(NAME)
    ]
    write_json(place / "spans.json", rows)
    return place / "spans.json"
