"""Feature stages of the sound: `waveform`, and what is computed from it without decoding."""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import opensmile
import pytest
import torch
import torchaudio
from typer.testing import CliRunner

from cli import app  # noqa: TID251
from fv2es_prep.config import DEFAULT_STAGES, PrepSettings
from fv2es_prep.errors import SettingsError, UsageError, UtteranceError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.restage import add_stages, drop_stages
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.stages.egemaps import EGEMAPS as EGEMAPS_STAGE
from fv2es_prep.stages.egemaps import EGEMAPS_LLD
from fv2es_prep.stages.mfcc import MFCC, MfccSettings
from fv2es_prep.stages.registry import StageContext, choose_stages
from fv2es_prep.stages.waveform import WAVEFORM
from fv2es_prep.types import Waveform
from pipelines.rederive import rederive

EGEMAPS = ("egemaps", "egemaps-lld")


def test_mfcc_is_added_from_the_stored_waveform_alone(
    corpus, text_model, tmp_path, prepare, options_for
):
    out = tmp_path / "shards"
    options = options_for(corpus, out, text_model, limit=2, stages=("waveform",))
    _, summary = prepare(options)
    assert (summary.counts["videos_decoded"], summary.counts["sounds_decoded"]) == (0, 1)
    _, summary = prepare(replace(options, stages=("waveform", "mfcc")))
    counts = summary.counts
    assert (counts["waveform_kept"], counts["mfcc_made"], counts["sounds_decoded"]) == (2, 2, 0)
    assert verify(out) == []
    assert rederive(out, corpus, 2) == []
    shard = next(out.glob("*.h5"))
    with ShardReader(shard) as reader:
        for row in range(2):
            example = reader.read(row)
            sound, one = example["waveform"], example.utterance
            assert sound.dtype == np.int16
            assert abs(len(sound) - one.duration_s * 16_000) <= 2
            assert np.abs(sound).max() > 300
            plain = torchaudio.transforms.MFCC(
                16_000, 40, melkwargs={"n_fft": 1024, "n_mels": 80, "hop_length": 200}
            )(torch.from_numpy(sound.astype(np.float32) / 32767))
            np.testing.assert_allclose(example["mfcc"], plain.T.numpy(), rtol=1e-5, atol=1e-4)

    _, summary = prepare(replace(options, stages=("waveform", *EGEMAPS)))
    assert (summary.counts["egemaps_made"], summary.counts["sounds_decoded"]) == (2, 0)
    assert verify(out) == []
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    with ShardReader(shard) as reader:
        for row in range(2):
            example = reader.read(row)
            sound = example["waveform"].astype(np.float32) / 32767
            plain = smile.process_signal(sound, 16_000).to_numpy()[0]
            np.testing.assert_allclose(example["egemaps"], plain, rtol=1e-5)
            assert example["egemaps-lld"].shape[1] == 25
            assert len(example["egemaps-lld"]) > 50 * example.utterance.duration_s


def test_a_waveform_is_the_sound_at_its_rate_in_16_bits():
    context = StageContext(PrepSettings(stages=("waveform",)), "", ())
    make = WAVEFORM.load(context)
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 1600).astype(np.float32)
    kept = make(Waveform(samples, 16_000))
    assert kept.dtype == np.int16
    np.testing.assert_allclose(kept / 32767, samples, atol=0.5 / 32767 + 1e-7)
    assert make(Waveform(4 * samples, 16_000)).min() == -32767  # clipped, not wrapped around
    assert len(make(Waveform(samples, 8_000))) == 3200
    for bad in (samples[:0], np.full(100, np.nan, np.float32)):
        with pytest.raises(UtteranceError, match="no audio samples, or some that are no finite"):
            make(Waveform(bad, 16_000))


def test_sound_too_short_for_opensmile_is_zeros():
    context = StageContext(PrepSettings(stages=("waveform", *EGEMAPS)), "", ())
    for stage, shape in ((EGEMAPS_STAGE, (88,)), (EGEMAPS_LLD, (1, 25))):
        found = stage.load(context)(np.full(100, 1000, np.int16))
        assert found.shape == shape and not found.any()


def test_without_opensmile_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(UsageError, match="needs the package opensmile") as caught:
        EGEMAPS_STAGE.load(StageContext(PrepSettings(stages=("waveform", "egemaps")), "", ()))
    assert "fv2es[egemaps]" in caught.value.hint


@pytest.mark.parametrize("count", [1, 512, 513, 5000])
def test_the_shortest_sound_has_mfcc(count):
    context = StageContext(PrepSettings(stages=("waveform", "mfcc")), "", ())
    found = MFCC.load(context)(np.full(count, 1000, np.int16))
    assert found.shape == (1 + max(count, 513) // 200, 40)
    assert np.isfinite(found).all()


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(SettingsError, match="n_mfcc 90"):
        MfccSettings(n_mfcc=90)
    with pytest.raises(SettingsError, match="mfcc needs the stage waveform"):
        choose_stages(["mfcc"])


def test_stages_are_added_to_shards_and_removed_without_the_corpus(
    corpus, text_model, tmp_path, prepare, options_for
):
    out, fresh = tmp_path / "shards", tmp_path / "fresh"
    options = options_for(corpus, out, text_model, limit=2, stages=(*DEFAULT_STAGES, "waveform"))
    prepare(options)
    plain = read_index(out).settings
    index = add_stages(out, ["mfcc"])
    assert index.settings.stages == (*DEFAULT_STAGES, "waveform", "mfcc")
    assert verify(out) == []
    assert rederive(out, corpus, 2) == []
    assert "mfcc" in (out / "report.html").read_text("utf-8")
    # As if all had been prepared at once; preparing it now copies everything.
    prepare(replace(options, out=fresh, stages=index.settings.stages))
    assert values_of(out) == values_of(fresh)
    _, summary = prepare(replace(options, stages=index.settings.stages))
    assert summary.counts["mfcc_kept"] == summary.counts["faces_kept"] == 2

    assert add_stages(out, ["mfcc"]) == read_index(out)
    with pytest.raises(SettingsError, match="mfcc needs the stage waveform"):
        drop_stages(out, ["waveform"])
    with pytest.raises(UsageError, match="landmarks needs video, which shards do not store"):
        add_stages(out, ["landmarks"])
    with pytest.raises(UsageError, match="has no stage egemaps"):
        drop_stages(out, ["egemaps"])
    assert drop_stages(out, ["mfcc"]).settings == plain
    assert verify(out) == []


def test_adding_a_stage_may_be_killed_at_any_shard(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    made = tmp_path / "made"
    options = options_for(corpus, made, text_model, stages=("waveform",), limit=8, shard_mb=0.1)
    prepare(options)
    assert len(read_index(made).shards) == 2
    # The process ends after so many renames of shards: two are made, then two exchanged.
    for after in range(5):
        out = tmp_path / str(after)
        shutil.copytree(made, out)
        kill_and_continue(out, after, monkeypatch)


def kill_and_continue(out: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, rename = [after], Path.replace

    def replace_or_die(path: Path, target: Path) -> Path:
        if path.suffix == ".h5" or target.suffix == ".h5":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_or_die)
        with contextlib.suppress(KeyboardInterrupt):
            add_stages(out, ["mfcc"])
    result = CliRunner().invoke(app, ["shards", "add", str(out), "mfcc"])
    assert result.exit_code == 0, result.output
    assert verify(out) == []
    assert read_index(out).settings.stages == ("waveform", "mfcc")
    assert not (out / ".restaged").exists()


def values_of(directory: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for shard in sorted(directory.glob("*.h5")):
        with h5py.File(shard) as file:
            file.visititems(
                lambda path, data: (
                    found.setdefault(path, []).append(data[()].tobytes())
                    if isinstance(data, h5py.Dataset)
                    else None
                )
            )
    return found
