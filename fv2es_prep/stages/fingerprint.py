"""What each part of an example is made from, as a digest: equal origins, equal parts.

Owns which facts decide the faces, the spectrum and the tokens of an utterance. By it a run knows
what it can keep of an earlier one, whatever shard it lies in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fv2es_prep.config import PrepSettings, StorageSettings, digest_of
from fv2es_prep.types import Utterance

ORIGIN_BYTES = 16


@dataclass(frozen=True)
class Origin:
    """Digests of what the parts of one example are made from, 16 bytes each.

    Attributes:
        faces: the video file, the span, the view, and the settings that decide faces
            and the form that they are stored in.
        mel: the audio file, the span, the channel, and the settings that decide the spectrum
            and the form that it is stored in.
        tokens: the transcript and the tokenizer.
    """

    faces: bytes = bytes(ORIGIN_BYTES)
    mel: bytes = bytes(ORIGIN_BYTES)
    tokens: bytes = bytes(ORIGIN_BYTES)

    @property
    def media(self) -> str:
        """One digest, in hexadecimal, of all that decides whether an utterance is dropped."""
        return digest_of([self.faces.hex(), self.mel.hex()])[: 2 * ORIGIN_BYTES]


UNKNOWN = Origin()
"""The origin of an example that was not made from a corpus; it is never kept."""


def origin_of(utterance: Utterance, sources: tuple[str, str], settings: PrepSettings) -> Origin:
    """The origin of an utterance's parts.

    Args:
        utterance: as the inventory has it, before any clamping.
        sources: SHA-256 of the video file and of the audio file of its recording.
        settings: the settings of every stage.
    """
    video, audio = sources
    span = [utterance.start_s, utterance.end_s]
    chosen = settings.to_json()
    text, storage = chosen.pop("text"), settings.storage
    del chosen["storage"]
    # The corpus's other options act through the utterance and its view.
    chosen["corpus"] = {"layout": settings.corpus.get("layout", "")}
    faces, mel, frames = chosen.pop("faces"), chosen.pop("mel"), chosen.pop("frames")
    # What is left (limits and policies) decides what is dropped and clamped: it is in both.
    view = asdict(utterance.view)
    channel = view.pop("audio_channel")
    return Origin(
        faces=_short([video, audio, span, view, frames, faces, chosen, *_form(storage)]),
        mel=_short([video, audio, span, channel, mel, chosen, storage.mel]),
        tokens=_short([utterance.transcript, {**text, "tokenizer": ""}]),
    )


def _form(storage: StorageSettings) -> list[object]:
    return [storage.faces] if storage.faces == "raw" else [storage.faces, storage.jpeg_quality]


def _short(value: object) -> bytes:
    return bytes.fromhex(digest_of(value))[:ORIGIN_BYTES]
