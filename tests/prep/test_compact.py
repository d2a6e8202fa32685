"""Compact shards: what is lost is bounded and lost once; all that reads shards knows them."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from fv2es_prep.config import (
    COMPACT,
    LOSSLESS,
    MelSettings,
    PrepSettings,
    StorageSettings,
)
from fv2es_prep.errors import SettingsError, ShardError, UsageError
from fv2es_prep.shards import schema
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.export import export
from fv2es_prep.shards.tools.info import dataset_info
from fv2es_prep.shards.tools.merge import merge
from fv2es_prep.shards.tools.show import draw_to_file, example_values, extract_example, find_example
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.shards.writer import ShardHeader, ShardWriter, example_row
from fv2es_prep.stages.faces import JpegFaces, stored_faces
from fv2es_prep.stages.fingerprint import fingerprints_of
from fv2es_prep.stages.mel import MelSteps, mel_grid, stored_mel
from fv2es_prep.types import MelSpectrum, Utterance
from fv2es_prep.utils.files import sha256_of
from tests.prep.conftest import SETTINGS, make_example, sound_example

MEL = MelSettings()
HALF = StorageSettings(faces="jpeg", jpeg_quality=80), StorageSettings(mel="uint8")


def settings_of(storage: StorageSettings) -> PrepSettings:
    return dataclasses.replace(SETTINGS, storage=storage)


@pytest.fixture(scope="session")
def compact_once(make_dataset, tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("compact") / "shards", storage=COMPACT)


@pytest.fixture
def compact(make_dataset, tmp_path) -> Path:
    """A sound compact dataset that a test may break."""
    return make_dataset(tmp_path / "compact", storage=COMPACT)


def smooth(count: int) -> np.ndarray:
    """Faces as smooth as real ones: no noise from pixel to pixel."""
    rng = np.random.default_rng(count)
    coarse = rng.uniform(40, 215, (count, 5, 5, 3))
    places = np.linspace(0, 4, 48)
    for axis in (1, 2):
        low = np.minimum(places.astype(int), 3)
        shape = [1, 1, 1, 1]
        shape[axis] = 48
        part = (places - low).reshape(shape)
        coarse = coarse.take(low, axis) * (1 - part) + coarse.take(low + 1, axis) * part
    return coarse.astype(np.uint8)


# What is lost.


def test_every_logarithm_comes_back_within_half_a_step():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    grid = mel_grid(MEL)
    known = every[np.isfinite(every) & (every >= grid[0]) & (every <= grid[-1])][None]
    steps = stored_mel(MelSpectrum(known, MEL.hop_s), COMPACT, MEL)
    lost = np.abs(steps.log_power.astype(float) - known.astype(float)).max()
    assert lost < 0.067
    assert math.expm1(lost) < 0.07


def test_the_grid_begins_at_the_floor_and_ends_above_any_sound_of_full_scale():
    from fv2es_prep.stages.mel import mel_spectrum
    from fv2es_prep.types import Waveform

    grid = mel_grid(MEL)
    assert len(grid) == 256 and (np.diff(grid.astype(float)) > 0).all()
    assert grid[0] == np.log(1e-10).astype(np.float16)
    assert grid[-1] == np.float16(math.log(30_000))
    time_s = np.arange(16_000) / 16_000
    for frequency_hz in (50, 333, 1000, 5000):
        loud = np.sign(np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)
        assert mel_spectrum(Waveform(loud, 16_000), MEL).log_power.max() < grid[-1]


def test_power_beyond_the_grid_is_its_ends():
    beyond = np.array([[-np.inf, -23.5, 11, np.inf]], np.float16)
    steps = stored_mel(MelSpectrum(beyond, MEL.hop_s), COMPACT, MEL)
    assert isinstance(steps, MelSteps)
    assert steps.steps.tolist() == [[0, 0, 255, 255]]


def test_a_step_that_was_looked_up_is_the_same_step_again():
    every = MelSteps(np.arange(256, dtype=np.uint8)[None], MEL)
    again = stored_mel(MelSpectrum(every.log_power, MEL.hop_s), COMPACT, MEL)
    assert np.array_equal(again.steps, every.steps)
    assert (every.hop_s, every.power.dtype) == (MEL.hop_s, np.float32)


def test_faces_keep_their_grey_levels_and_order():
    faces = dataclasses.replace(make_example("1A", 3).faces, rgb=smooth(4))
    stored = stored_faces(faces, COMPACT)
    assert isinstance(stored, JpegFaces)
    lost = np.abs(stored.rgb.astype(int) - faces.rgb)
    assert lost.mean() < 2 and lost.max() < 16
    assert (stored.rgb.shape, stored.rgb.dtype) == (faces.rgb.shape, np.uint8)
    assert len(stored.files) == stored.sizes.sum() < faces.rgb.size / 3
    for name in ("times_s", "found", "box", "prob"):
        assert getattr(stored, name) is getattr(faces, name)
    coarse = stored_faces(faces, HALF[0])
    assert len(coarse.files) < len(stored.files)


def test_colour_is_not_coarser_than_light():
    """4:2:0 would smear red and blue columns of one pixel into each other."""
    rgb = np.zeros((1, 48, 48, 3), np.uint8)
    rgb[:, :, ::2, 0] = rgb[:, :, 1::2, 2] = 200
    stored = stored_faces(dataclasses.replace(make_example("1A", 0).faces, rgb=rgb), COMPACT)
    assert np.abs(stored.rgb.astype(int) - rgb).mean() < 8


def test_what_has_its_form_already_is_left_as_it_is():
    example = sound_example("1A", 2, settings_of(COMPACT))
    assert stored_faces(example.faces, COMPACT) is example.faces
    assert stored_mel(example.mel, COMPACT, MEL) is example.mel
    plain = make_example("1A", 2)
    assert stored_faces(plain.faces, LOSSLESS) is plain.faces
    assert stored_mel(plain.mel, LOSSLESS, MEL) is plain.mel


def test_what_is_stored_can_be_handed_to_another_process():
    example = sound_example("1A", 2, settings_of(COMPACT))
    for copy in (example, pickle.loads(pickle.dumps(example))):
        assert np.array_equal(copy.faces.rgb, example.faces.rgb)
        assert np.array_equal(copy.mel.power, example.mel.power)


# What is stored.


@pytest.mark.parametrize("storage", [COMPACT, *HALF])
def test_what_goes_in_comes_out_byte_for_byte(storage, tmp_path):
    settings = settings_of(storage)
    examples = [sound_example("1A", number, settings) for number in range(3)]
    header = ShardHeader("tests", ("ang", "neu"), ("valence",), settings, {}, "digest")
    results = []
    for name in ("a.h5", "b.h5"):
        with ShardWriter(tmp_path / name, header) as writer:
            for example in examples:
                writer.append(example)
            writer.append(examples[2])
            writer.rewind(2)
            writer.append(examples[2])
            results.append(writer.close())
    assert results[0] == results[1]
    with ShardReader(tmp_path / "a.h5") as reader:
        assert reader.attribute("requires") == '["compact"]'
        for row, example in enumerate(examples):
            read = reader.read(row)
            assert digests_of(example_row(read), settings_of(storage)) == digests_of(
                example_row(example), settings_of(storage)
            )
            assert np.array_equal(read.faces.rgb, example.faces.rgb)
            assert np.array_equal(read.mel.log_power, example.mel.log_power)


def test_a_plain_shard_requires_nothing_and_a_compact_one_names_the_feature(dataset, compact):
    for directory, requires in ((dataset, []), (compact, ["compact"])):
        assert json.loads((directory / "index.json").read_text())["requires"] == requires
        with ShardReader(directory / "tests-00000.h5") as reader:
            assert json.loads(reader.attribute("requires")) == requires
            assert reader.attribute("format_version") == "1.2"


def test_a_reader_that_does_not_know_the_feature_names_it(compact, monkeypatch):
    monkeypatch.setattr(schema, "KNOWN_FEATURES", frozenset())
    said = r"requires the feature\(s\) compact, which this fv2es does not know"
    with ShardReader(compact / "tests-00000.h5") as reader, pytest.raises(ShardError, match=said):
        reader.read(0)
    with pytest.raises(ShardError, match=said):
        read_index(compact)


def test_the_writer_refuses_another_form_than_the_settings_say(tmp_path):
    for settings, example in (
        (settings_of(COMPACT), make_example("1A", 1)),
        (settings_of(HALF[1]), make_example("1A", 1)),
        (SETTINGS, sound_example("1A", 1, settings_of(HALF[1]))),
        (SETTINGS, sound_example("1A", 1, settings_of(HALF[0]))),
    ):
        header = ShardHeader("tests", ("ang", "neu"), ("valence",), settings, {}, "digest")
        with ShardWriter(tmp_path / "a.h5", header) as writer, pytest.raises(ValueError):  # noqa: PT011
            writer.append(example)


@pytest.mark.parametrize(
    "changes", [{"faces": "webp"}, {"mel": "int8"}, {"jpeg_quality": 0}, {"jpeg_quality": 101}]
)
def test_unknown_forms_are_refused(changes):
    with pytest.raises(SettingsError):
        StorageSettings(**changes)


def test_each_form_is_another_origin_of_its_part_alone():
    def origin(storage: StorageSettings):
        return fingerprints_of(Utterance("a", "r", 0, 1, "", ()), ("v", "a"), settings_of(storage))

    plain, both = origin(LOSSLESS), origin(COMPACT)
    assert [plain[n] == both[n] for n in plain] == [False, False, True]
    assert origin(HALF[1])["faces"] == plain["faces"] and origin(HALF[1])["mel"] == both["mel"]
    assert origin(HALF[0])["faces"] != both["faces"]  # another quality
    assert origin(StorageSettings(jpeg_quality=50)) == plain


# All that reads shards.


def test_a_compact_dataset_is_sound(compact_once):
    assert verify(compact_once) == []


def test_200_random_byte_changes_are_found(compact):
    path = compact / "tests-00000.h5"
    whole, rng = path.read_bytes(), random.Random(5)
    without_hash = 0
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        found = {finding.code for finding in verify(compact)}
        assert "sha256" in found
        without_hash += len(found) > 1
    assert without_hash >= 190


def test_a_damaged_face_is_a_shard_error_that_names_the_row(compact, break_shard):
    def other(file: h5py.File) -> None:
        file["faces/values"][:2] = 0

    break_shard(compact, other)
    with ShardReader(compact / "tests-00000.h5") as reader:
        assert reader.read(1).faces.rgb.shape == (2, 48, 48, 3)
        damaged = reader.read(0)
        assert np.isfinite(damaged.mel.power).all()
        with pytest.raises(ShardError, match=r"tests-00000.h5, row 0, is damaged: a JPEG file"):
            _ = damaged.faces.rgb


def test_faces_that_end_outside_their_column_are_damage(compact, break_shard):
    def more(file: h5py.File) -> None:
        file["faces/sizes"][-1] += 1

    break_shard(compact, more, digests=False)
    with (
        ShardReader(compact / "tests-00000.h5") as reader,
        pytest.raises(ShardError, match="damaged: faces/sizes add up to"),
    ):
        reader.read(1)


def test_info_show_export_and_the_catalogue_read_it(compact_once, dataset, tmp_path):
    plain, small = dataset_info(dataset), dataset_info(compact_once)
    assert small["utterances"] == plain["utterances"] == 5
    assert small["bytes"]["mel"] < 0.51 * plain["bytes"]["mel"]
    assert small["bytes"]["total"] == sum(small["bytes"].values()) / 2
    assert small["settings"]["storage"]["faces"] == "jpeg"
    assert read_catalogue(compact_once).counts["faces"].tolist() == (
        read_catalogue(dataset).counts["faces"].tolist()
    )
    shown, other = (find_example(directory, "1A_é2") for directory in (compact_once, dataset))
    assert example_values(shown)["faces"] == example_values(other)["faces"]
    draw_to_file(shown, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(extract_example(shown, tmp_path / "extracted")) == 4
    export(compact_once, "webdataset", tmp_path / "tars")
    export(compact_once, "parquet", tmp_path / "parquet")


def test_compact_and_plain_datasets_are_not_merged(make_dataset, compact, tmp_path):
    other = make_dataset(tmp_path / "other", prefix="z")
    with pytest.raises(UsageError, match=r"storage\.faces jpeg, .* has raw"):
        merge([compact, other], tmp_path / "merged")
    small = make_dataset(tmp_path / "small", prefix="z", storage=COMPACT)
    merge([compact, small], tmp_path / "merged")
    assert verify(tmp_path / "merged") == []


def test_a_corpus_is_prepared_compact_and_verified_against_its_source(
    corpus, text_model, prepared, tmp_path, prepare, options_for
):
    from pipelines.commands.plan_text import describe
    from pipelines.plan import plan_corpus
    from pipelines.rederive import rederive

    out = tmp_path / "out"
    options = options_for(corpus, out, text_model, compact=True)
    planned = describe(plan_corpus(options), 1)
    _, summary = prepare(options)
    assert verify(out) == []
    assert rederive(out, corpus, 6) == []
    assert 0.7 < summary.size_bytes / planned["shard_bytes"] < 1.5
    index = read_index(prepared)
    assert summary.size_bytes < 0.5 * index.size_bytes
    for entry in index.shards:
        with ShardReader(out / entry.name) as small, ShardReader(prepared / entry.name) as plain:
            for row in range(len(plain)):
                a, b = small.read(row), plain.read(row)
                assert np.abs(a.faces.rgb.astype(int) - b.faces.rgb).mean() < 4
                lost = np.abs(a.mel.log_power.astype(float) - b.mel.log_power).max()
                assert lost < 0.067


def test_kept_parts_are_the_same_bytes(corpus, text_model, tmp_path, prepare, options_for):
    """JPEG files made again of decoded pixels would be others."""
    out = tmp_path / "out"
    prepare(options_for(corpus, out, text_model, compact=True))
    changed = {"compact": True, "merge": {"exc": "hap"}, "shard_mb": 16}
    _, summary = prepare(options_for(corpus, out, text_model, **changed))
    assert summary.counts["faces_kept"] == summary.counts["mel_kept"] == 18
    assert summary.counts["videos_decoded"] == 0
    fresh = tmp_path / "fresh"
    prepare(options_for(corpus, fresh, text_model, **changed))
    assert {p.name: sha256_of(p) for p in out.glob("*.h5")} == {
        p.name: sha256_of(p) for p in fresh.glob("*.h5")
    }


def test_a_damaged_face_is_made_anew_and_the_rest_kept(
    corpus, text_model, tmp_path, prepare, options_for, break_shard
):
    out = tmp_path / "out"
    prepare(options_for(corpus, out, text_model, compact=True))
    before = {path.name: sha256_of(path) for path in out.glob("*.h5")}

    def other(file: h5py.File) -> None:
        file["faces/values"][:2] = 0
        data = b"0" * 64
        file.attrs.create("task_digest", np.array(data, h5py.string_dtype("utf-8", 64)))

    break_shard(out, other, digests=False)
    _, summary = prepare(options_for(corpus, out, text_model, compact=True))
    assert (summary.counts["faces_kept"], summary.counts["mel_kept"]) == (5, 6)
    assert before == {path.name: sha256_of(path) for path in out.glob("*.h5")}
