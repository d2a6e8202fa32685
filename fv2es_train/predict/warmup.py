"""What is loaded when it is first needed, loaded before: by a second of noise and a picture.

Owns what is gone through. Leaves when to `predictor`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.stages.faces import crop_faces
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.types import Utterance, Waveform
from fv2es_train.predict import speech
from fv2es_train.predict.modalities import words_only

if TYPE_CHECKING:
    from fv2es_train.predict.utterances import Loaded

# Of most cameras and microphones: not that of the spectrum, so that resampling is loaded too.
_RATE_HZ, _WIDTH, _HEIGHT = 48_000, 640, 480


def warm(loaded: Loaded) -> None:
    """Go through all that a video goes through, but for its decoders and the tokenizer.

    Args:
        loaded: its face detector is loaded now, where the model looks at faces.
    """
    stages, noise = loaded.stages, np.random.default_rng(0)
    settings = stages.settings
    input_of("picture", settings.media)
    ffmpeg_version(ffmpeg_path())
    samples = noise.normal(0, 0.1, _RATE_HZ).astype(np.float32)
    waveform = Waveform(samples, _RATE_HZ)
    speech.load()
    example = words_only(Utterance("warm", "", 0, 1, "", ()), stages, worded=False)
    example = replace(example, mel=mel_spectrum(waveform, settings.mel))
    if "v" in loaded.scorer.modalities:
        rgb = noise.integers(0, 256, (_HEIGHT, _WIDTH, 3)).astype(np.uint8)
        example = replace(example, faces=crop_faces([(0.0, rgb)], stages.detector))
    loaded.scorer.score(example)
    if loaded.words is not None:
        loaded.words.recognise(waveform)
