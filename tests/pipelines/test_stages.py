"""Datasets of chosen stages: what is added, kept and removed; a stage of another package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ffmpeg
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from fv2es_prep.errors import UsageError
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.export import export
from fv2es_prep.shards.tools.info import dataset_info, info_text
from fv2es_prep.shards.tools.show import draw_to_file, example_text, example_values, find_example
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.stages.registry import choose_stages
from tests import command_line

ROOT = Path(__file__).parents[2]
ALL = ("faces", "mel", "tokens", "landmarks")


def test_landmarks_are_added_and_removed_without_other_work(
    corpus, text_model, tmp_path, prepare, options_for
):
    out = tmp_path / "shards"
    options = options_for(corpus, out, text_model, limit=2)
    prepare(options)
    before = columns(out)
    _, summary = prepare(replace(options, stages=ALL))
    counts = summary.counts
    assert (counts["landmarks_made"], counts["faces_kept"], counts["mel_kept"]) == (2, 2, 2)
    assert (counts["videos_decoded"], counts["sounds_decoded"]) == (1, 0)
    assert counts["frames_sampled"] > 0
    after = columns(out)
    assert {path for path in after if path not in before} == {
        *("landmarks/points", "landmarks/offsets", "digest/landmarks", "origin/landmarks")
    }
    assert all(after[path] == before[path] for path in before if path != "digest/row")
    assert verify(out) == []
    assert "landmarks.points" not in read_index(out).settings.to_json()
    check_tools(out, tmp_path)

    fresh = options_for(corpus, tmp_path / "fresh", text_model, limit=2, stages=ALL)
    _, made = prepare(fresh)
    assert columns(tmp_path / "fresh") == after
    # Pictures are searched once for faces and landmarks: as many as for faces alone.
    assert made.counts["frames_sampled"] == counts["frames_sampled"]
    assert made.counts["videos_decoded"] == 1

    _, summary = prepare(options)
    counts = summary.counts
    assert (counts["videos_decoded"], counts["sounds_decoded"], counts["faces_kept"]) == (0, 0, 2)
    assert columns(out) == before


def check_tools(out: Path, tmp_path: Path) -> None:
    """A stage appears by itself in info, show, the report and exports."""
    info = dataset_info(out)
    assert info["stages"]["landmarks"] == {"rows": info["stages"]["faces"]["rows"]}
    assert info["bytes"]["landmarks"] > 0
    assert "landmarks" in info_text(info)
    assert "landmarks: rows" in (out / "report.html").read_text("utf-8")
    with ShardReader(next(out.glob("*.h5"))) as reader:
        example = reader.read(0)
    assert example["landmarks"].shape == (len(example.faces.found), 5, 2)
    assert np.array_equal(np.isnan(example["landmarks"][:, 0, 0]), ~example.faces.found)
    shown = find_example(out, example.utterance.id)
    assert example_values(shown)["landmarks"] == {"shape": list(example["landmarks"].shape)}
    assert "landmarks" in example_text(shown)
    draw_to_file(shown, tmp_path / "one.png")
    export(out, "parquet", tmp_path / "parquet")
    table = pq.read_table(next((tmp_path / "parquet/data").glob("*.parquet")))
    stored = np.frombuffer(table["landmarks"][0].as_py(), np.float32)
    assert np.array_equal(stored, example["landmarks"].ravel(), equal_nan=True)
    tars = export(out, "webdataset", tmp_path / "tars")
    assert b"landmarks.npy" in tars[0].read_bytes()


def columns(directory: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(directory.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None
                )
            )
    return found


def test_stages_are_ordered_and_refused_by_name():
    assert choose_stages(["landmarks", "tokens", "faces"]) == ("faces", "tokens", "landmarks")
    with pytest.raises(UsageError, match="unknown stage 'smell'"):
        choose_stages(["smell"])


STAGE = '''
from dataclasses import dataclass

import numpy as np

from fv2es_prep.stages.base import Column, Stage


@dataclass(frozen=True)
class LoudnessSettings:
    """Settings.

    Attributes:
        floor_db: lowest level.
    """

    floor_db: float = -80.0


class Loudness(Stage):
    """Level of the sound."""

    name, needs, main, settings = "loudness", ("sound",), "level", LoudnessSettings

    def columns(self, settings):
        return (Column("level", "row", "<f4", (), "dB", "root mean square"),)

    def load(self, context):
        floor_db = self.settings_of(context.settings).floor_db
        return lambda sound: np.float32(
            max(20 * np.log10(np.sqrt(np.mean(sound.samples**2)) + 1e-9), floor_db)
        )


class Softness(Stage):
    """The level of another stage, turned round, for each of three ears."""

    name, needs = "softness", ("loudness",)

    def columns(self, settings):
        return (Column("values", "ragged", "<f4", (), "dB", "minus the level"),)

    def load(self, context):
        return lambda level: np.full(3, -level, np.float32)


LOUDNESS, SOFTNESS = Loudness(), Softness()
'''


def test_a_stage_of_another_package_works_from_the_command_line(tmp_path):
    site = tmp_path / "site"
    (site / "loud-1.0.dist-info").mkdir(parents=True)
    (site / "loud.py").write_text(STAGE)
    (site / "loud-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: loud\n")
    (site / "loud-1.0.dist-info/entry_points.txt").write_text(
        "[fv2es.stages]\nloudness = loud:LOUDNESS\nsoftness = loud:SOFTNESS\n"
    )
    clip = tmp_path / "clip.mkv"
    picture = ffmpeg.input("testsrc=d=2:r=10:s=64x48", f="lavfi")
    tone = ffmpeg.input("sine=f=440:r=16000:d=2", f="lavfi")
    made = ffmpeg.output(picture, tone, str(clip), vcodec="ffv1", acodec="flac", loglevel="error")
    made.run(cmd=ffmpeg_path())
    table = tmp_path / "t.csv"
    table.write_text("id,video,start_s,end_s,labels\na,clip.mkv,0,1,x\nb,clip.mkv,1,2,y\n")
    shards, tars = tmp_path / "shards", tmp_path / "parquet"

    def fv2es(*arguments: object) -> str:
        done = command_line.fv2es(*arguments, site=site)
        assert done.returncode == 0, done.stderr
        return done.stdout

    prep = ("prep", "table", table, "--out", shards, "--executor", "inline", "--json", "--stages")
    told = json.loads(fv2es(*prep, "softness,mel,loudness"))
    assert (told["prepared"], told["counts"]["loudness_made"]) == (2, 2)
    assert told["counts"]["videos_decoded"] == 0
    # Exit status 0: the dataset is whole, and derived again it is the same.
    fv2es("shards", "verify", shards, "--sample", 2, "--against", table, "--tokenizer", "none")
    fv2es("shards", "export", shards, "--format", "parquet", "--out", tars)
    level = pq.read_table(next(tars.glob("data/*.parquet")))["loudness"].to_pylist()
    assert level == pytest.approx([-21.07, -21.07], abs=0.1)
    info = json.loads(fv2es("shards", "info", shards, "--json"))
    assert info["stages"]["softness"] == {"rows": 6}
    assert info["settings"]["loudness"] == {"floor_db": -80.0}
    # Where the package is not installed its columns are ignored, and verify says so.
    with ShardReader(next(shards.glob("*.h5"))) as reader:
        assert list(reader.read(1)) == ["mel"]
    assert {finding.code for finding in verify(shards)} == {"stage"}
    told = json.loads(fv2es(*prep, "mel"))
    assert (told["counts"]["mel_kept"], told["counts"]["sounds_decoded"]) == (2, 0)
    assert verify(shards) == []
