"""Load everything that `Predictor.predict` uses, by running it on noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.stages.base import Pictures
from fv2es_prep.stages.faces import crop_faces
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.types import Utterance, Waveform
from fv2es_train.predict import speech
from fv2es_train.predict.modalities import text_example
from fv2es_train.predict.outputs import VIDEO

if TYPE_CHECKING:
    from fv2es_train.predict.predictor import Predictor

# Unlike the rate of the spectrum, so that resampling is loaded, too.
_RATE_HZ, _WIDTH, _HEIGHT = 48_000, 640, 480


def warm_up(predictor: Predictor) -> None:
    """Run all stages and the model once, except for the decoders and the tokenizer."""
    stages, noise = predictor.stages, np.random.default_rng(0)
    input_of("picture", stages.settings.media)
    ffmpeg_version(ffmpeg_path())
    samples = noise.normal(0, 0.1, _RATE_HZ).astype(np.float32)
    waveform = Waveform(samples, _RATE_HZ)
    speech.load()
    example = text_example(Utterance("warm", "", 0, 1, "", ()), stages, with_text=False)
    example = example.replace(mel=mel_spectrum(waveform, stages.settings.mel))
    if VIDEO in predictor.modalities:
        rgb = noise.integers(0, 256, (_HEIGHT, _WIDTH, 3)).astype(np.uint8)
        example = example.replace(faces=crop_faces(Pictures([0.0], [rgb]), stages.detector))
    predictor.scorer.score(example)
    if predictor.recogniser is not None:
        predictor.recogniser.recognise(waveform)
