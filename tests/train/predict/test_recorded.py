"""What browsers record: no length in the header, pictures at no fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fv2es_prep.types import Faces
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from tests.train.media import LEFT, ffmpeg, streamed

WEBM = ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "2M", "-c:a", "libopus")
# As MediaRecorder writes them: clusters of unknown size, and fragments.
LIVE = (*WEBM, "-live", "1", "-f", "webm")
FRAGMENTED = ("-c:v", "mpeg4", "-q:v", "2", "-c:a", "aac", "-f", "mp4")
# Without `delay_moov` ffmpeg moves all of it by the encoder's delay, for it keeps no edit list.
FRAGMENTED += ("-movflags", "frag_keyframe+empty_moov+default_base_moof+delay_moov", "-g", "15")
# Pictures grow brighter by 30 a second; between 0.5 s and 2 s of each two only each 7th is kept.
BRIGHTER = "nullsrc=s=64x64:r=30:d=6.5,geq=lum='20+30*T':cb=128:cr=128"
UNEVEN = "select='not(mod(n,7))+lt(mod(t,2),0.5)'"


@pytest.fixture(scope="module")
def brighter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six and a half seconds at no fixed rate, with a tone."""
    path = tmp_path_factory.mktemp("brighter") / "brighter.mkv"
    sources = ("-f", "lavfi", "-i", BRIGHTER, "-f", "lavfi", "-i", "sine=d=6.5")
    ffmpeg(*sources, "-vf", UNEVEN, "-fps_mode", "vfr", "-c:v", "ffv1", "-c:a", "flac", path)
    return path


def kept_s(video: Path) -> np.ndarray[Any, Any]:
    """When each picture comes, in seconds."""
    with av.open(str(video)) as file:
        return np.array(
            [
                float(packet.pts * packet.time_base)
                for packet in file.demux(video=0)
                if packet.pts is not None
            ]
        )


@pytest.mark.parametrize("sound", [(), ("-an",)])
@pytest.mark.parametrize("form", [LIVE, FRAGMENTED])
def test_length_and_picture_times_are_right(
    form: Sequence[str],
    sound: Sequence[str],
    trained: Callable[[str], Path],
    text_model: Path,
    brighter: Path,
    tmp_path: Path,
) -> None:
    # There is no face in it: the centre is what the run looks at.
    checkpoint = load_checkpoint(trained("tav"))
    train = replace(checkpoint.train, unverified_faces="keep")
    predictor = Predictor(replace(checkpoint, train=train), str(text_model))
    video = streamed(tmp_path / "recorded", brighter, *form, *sound, "-fps_mode", "vfr")
    shown: list[Faces] = []
    found = list(predictor.predict(Request(video), on_faces=lambda _, faces: shown.append(faces)))
    assert [one.start_s for one in found] == [0, 5]
    assert found[-1].end_s == pytest.approx(6.5, abs=0.1)
    times_s = kept_s(brighter)
    for faces in shown:
        for at_s, rgb in zip(faces.times_s, faces.rgb, strict=True):
            on_screen_s = times_s[times_s <= at_s + 1e-3].max()
            level = (20 + 30 * on_screen_s - 16) * 255 / 219
            assert rgb.mean() == pytest.approx(level, abs=4), at_s
    assert sum(len(faces.times_s) for faces in shown) == 13


@pytest.mark.parametrize("how", [("-f", "matroska", "-live", "1"), FRAGMENTED[-6:]])
def test_a_recording_gives_what_the_file_gives(
    how: Sequence[str], predictor: Predictor, talk: Path, tmp_path: Path
) -> None:
    video = streamed(tmp_path / "recorded", talk, "-c", "copy", *how)
    for request in (Request(talk, views=(LEFT,)), Request(talk, spans=(Span(1, 3, "you"),))):
        for one, other in zip(
            predictor.predict(request),
            predictor.predict(Request(video, spans=request.spans, views=request.views)),
            strict=True,
        ):
            assert (one.start_s, one.end_s, one.used) == (other.start_s, other.end_s, other.used)
            assert one.probability == pytest.approx(other.probability, abs=1e-3)


def test_sound_that_goes_on_after_the_picture_is_scored(
    predictor: Predictor, brighter: Path, tmp_path: Path
) -> None:
    video = streamed(tmp_path / "recorded", brighter, "-vf", "trim=0:2", *LIVE)
    found = list(predictor.predict(Request(video)))
    assert found[-1].end_s == pytest.approx(6.5, abs=0.1)
    assert {one.used for one in found} == {"a"}
