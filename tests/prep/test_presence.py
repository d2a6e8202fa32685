"""Each modality of an utterance is judged by its own source; the others are used without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import DropReason, MediaError, UtteranceError
from fv2es_prep.example import prepare_example
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Example, Recording, Utterance
from pipelines.config import prep_config
from tests.prep.conftest import frames_at
from tests.train.media import ffmpeg

SPAN = Utterance("a", "clip", 0, 6, "some words", ("ang",))
Make = Callable[..., Example]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Clips of 6 s: whole, of one source, with a short one, and with an empty one."""
    folder = tmp_path_factory.mktemp("clips")
    picture, sound = ["-f", "lavfi", "-i", "testsrc2=s=96x96:r=10"], ["-f", "lavfi", "-i", "sine"]
    encode = "-c:v", "mpeg4", "-q:v", "2", "-c:a", "pcm_s16le"
    ffmpeg(*picture, *sound, "-t", "6", *encode, folder / "whole.mkv")
    for name, of in (("picture", "-an"), ("sound", "-vn")):
        ffmpeg("-i", folder / "whole.mkv", of, "-c", "copy", folder / f"{name}.mkv")
    for name in ("picture", "sound"):
        ffmpeg("-i", folder / f"{name}.mkv", "-t", "2", "-c", "copy", folder / f"short_{name}.mkv")
    ffmpeg(*sound, "-t", "6", "-af", "volume=0", *encode, folder / "silence.mkv")
    ffmpeg(
        "-f", "lavfi", "-i", "color=black:s=96x96:r=10", "-t", "6", *encode, folder / "black.mkv"
    )
    one = ["-f", "lavfi", "-i", "testsrc2=s=96x96:r=10:d=0.1", "-vf", "loop=-1:1", "-t", "6"]
    ffmpeg(*one, *encode, folder / "frozen.mkv")
    (folder / "text.mkv").write_text("no media")
    return folder


@pytest.fixture
def make(clips: Path, text_model: Path) -> Make:
    text = describe_tokenizer(str(text_model), 40)

    def example(
        video: str | None,
        audio: str | None,
        require: str = "",
        span: Utterance = SPAN,
        **more: object,
    ) -> Example:
        settings = PrepSettings(text=text, require=require)
        files = (clips / f"{name}.mkv" if name else None for name in (video, audio))
        context = StageContext(settings, str(text_model), ("ang",))
        with OpenRecording(Recording("clip", *files), [span], settings.frames) as source:
            return prepare_example(span, source, context, **more)

    return example


def same(one: Example, other: Example) -> bool:
    assert one.missing.keys() == other.missing.keys() and [*one] == [*other]
    values = [
        (one.faces.rgb, other.faces.rgb) if "faces" in one else (0, 0),
        (one.mel.log_power, other.mel.log_power) if "mel" in one else (0, 0),
        (one.tokens, other.tokens) if "tokens" in one else (0, 0),
        (dataclasses.astuple(one.utterance), dataclasses.astuple(other.utterance)),
    ]
    return all(np.array_equal(a, b) if not isinstance(a, tuple) else a == b for a, b in values)


def test_what_is_whole_is_the_same_however_it_is_judged(make):
    assert same(make("whole", "whole"), make("whole", "whole", "tav"))


@pytest.mark.parametrize(
    ("video", "audio", "missing"),
    [
        ("whole", "short_sound", {"a": "span_outside_media"}),
        ("short_picture", "whole", {"v": "span_outside_media"}),
        ("whole", "silence", {"a": "silent_audio"}),
        ("black", "whole", {"v": "black_picture"}),
        ("frozen", "whole", {"v": "frozen_picture"}),
        ("picture", "picture", {"a": "no_audio_stream"}),
        ("sound", "sound", {"v": "no_video_stream"}),
        ("text", "whole", {"v": "undecodable_video"}),
        ("whole", "text", {"a": "undecodable_audio"}),
    ],
)
def test_a_source_that_is_not_there_is_as_if_removed(make, video, audio, missing):
    found = make(video, audio)
    assert found.missing == missing
    removed = make(*(None if n in missing else f for n, f in (("v", video), ("a", audio))))
    assert removed.missing == {next(iter(missing)): "no_audio" if "a" in missing else "no_video"}
    assert same(found, removed)
    assert found.utterance == SPAN
    with pytest.raises((UtteranceError, MediaError)) as dropped:
        make(video, audio, "tav")
    assert dropped.value.reason == next(iter(missing.values()))


def test_a_span_ends_with_its_longest_source(make):
    half = dataclasses.replace(SPAN, end_s=3)
    found = make("whole", "short_sound", span=half)
    assert found.missing == {} and found.utterance == half
    assert len(found.mel.log_power) == make(None, "short_sound", span=half).mel.log_power.shape[0]
    assert len(found.faces.rgb) == 6
    beyond = dataclasses.replace(SPAN, end_s=8)
    assert make("whole", "short_sound", span=beyond).utterance.end_s == pytest.approx(6)
    assert make("whole", None, span=beyond).utterance.clamped
    # Clamped to the shortest where all are required.
    assert make("whole", "short_sound", "tav", half).utterance.end_s == pytest.approx(2, abs=0.1)


def test_words_alone_are_an_example_and_nothing_is_none(make):
    words = make(None, None)
    assert [*words] == ["tokens"] and words.missing == {"a": "no_audio", "v": "no_video"}
    silent = dataclasses.replace(SPAN, transcript="")
    assert make("whole", "whole", span=silent).missing == {"t": "no_transcript"}
    with pytest.raises(UtteranceError) as nothing:
        make("black", None, span=silent)
    assert nothing.value.reason == DropReason.BLACK_PICTURE
    with pytest.raises(UtteranceError) as required:
        make("whole", "silence", "a")
    assert required.value.reason == DropReason.SILENT_AUDIO
    with pytest.raises(MediaError, match="holds no sound"):
        make("whole", "picture", "ta")


def test_what_is_known_to_be_missing_is_not_tried(make):
    told: list[str] = []
    found = make(
        "whole", "silence", missing={"v": "black_picture"}, on_missing=lambda *m: told.append(m[0])
    )
    assert found.missing == {"a": "silent_audio", "v": "black_picture"} and told == ["a"]


def test_a_missing_stream_is_told_without_ffmpegs_words(clips):
    with pytest.raises(MediaError) as none:
        SoundReader(clips / "picture.mkv").span(0, 1, None)
    assert none.value.sentence == "picture.mkv holds no sound"
    with pytest.raises(MediaError) as none:
        list(frames_at(clips / "sound.mkv", [0.0]))
    assert none.value.sentence == "sound.mkv holds no picture"


def test_the_first_video_stream_that_can_be_decoded_is_read(clips, tmp_path):
    two, whole = tmp_path / "two.mkv", clips / "whole.mkv"
    streams = "-map", "0:v", "-map", "0:v", "-map", "0:a", "-c", "copy"
    ffmpeg("-i", whole, *streams, two)
    data = two.read_bytes()
    assert data.count(b"V_MPEG4/ISO/ASP") == 2
    two.write_bytes(data.replace(b"V_MPEG4/ISO/ASP", b"V_NOTHING/OF/IT", 1))
    times = [0.0, 1.0, 5.5]
    pairs = list(zip(frames_at(two, times), frames_at(whole, times), strict=True))
    assert len(pairs) == 3 and all(np.array_equal(a[1], b[1]) for a, b in pairs)
    two.write_bytes(data.replace(b"V_MPEG4/ISO/ASP", b"V_NOTHING/OF/IT"))
    with pytest.raises(MediaError, match="cannot be decoded"):
        list(frames_at(two, times))


def bytes_of(shards: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(shards.glob("*.h5"))}


def test_a_corpus_of_rows_that_lack_different_things_is_prepared_whole(
    clips, text_model, prepare, tmp_path
):
    columns = "id,video,audio,text,labels,start_s,end_s"
    rows = (
        *("a,whole.mkv,,some words,ang,0,3", "b,,sound.mkv,,neu,,", "c,picture.mkv,,,ang,,"),
        *("d,,,only words,neu,,", "e,whole.mkv,,more,neu,3,9", "f,black.mkv,silence.mkv,x,ang,,"),
        *("g,black.mkv,silence.mkv,,neu,,", "h,short_picture.mkv,sound.mkv,y,ang,,"),
        *("i,folder.mkv,sound.mkv,,neu,,", "k,tree.mkv,,spoken,neu,0,1", "l,tree.mkv,,,ang,0,1"),
    )
    # Directories cannot be opened as files.
    for name in ("folder.mkv", "tree.mkv"):
        (clips / name).mkdir()
    table = clips / "mixed.csv"
    table.write_text("\n".join((columns, *rows)) + "\n")

    def prepared(out: str, **changes: Any) -> Path:
        given = {"raw": table, "out": tmp_path / out, "tokenizer": str(text_model), **changes}
        prepare(prep_config("table", **given))
        return tmp_path / out

    shards = prepared("one")
    assert [f.code for f in verify(shards)] == []
    catalogue = read_catalogue(shards)
    found = {}
    for shard in sorted(shards.glob("*.h5")):
        with ShardReader(shard) as reader:
            found |= {one.utterance.id: one for one in map(reader.read, range(len(reader)))}
    assert {name: "".join(one.missing) for name, one in found.items()} == {
        "a": "",
        "b": "tv",
        "c": "ta",
        "d": "av",
        "e": "",
        "f": "av",
        "h": "v",
        "i": "tv",
        "k": "av",
    }
    assert found["i"].missing["v"] == found["k"].missing["a"] == "not_a_file"
    assert set(catalogue.ids.to_pylist()) == set(found)
    assert found["e"].utterance.clamped and found["e"].utterance.end_s == pytest.approx(6)
    assert (found["f"].missing["a"], found["f"].missing["v"]) == ("silent_audio", "black_picture")
    assert {*found["h"]} == {"mel", "tokens"} and not found["h"].utterance.clamped
    # What an earlier run left is kept, and the rest is as in a run from nothing.
    before = bytes_of(shards)
    stages = "faces,mel,tokens,landmarks"
    assert bytes_of(prepared("one", stages=stages)) == bytes_of(prepared("two", stages=stages))
    assert bytes_of(prepared("one")) == before
    strict = prepared("three", require="tav")
    assert read_catalogue(strict).ids.to_pylist() == ["a", "e"]
