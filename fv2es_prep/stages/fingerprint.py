"""Fingerprints: digests of all inputs of each part of an example; equal ones mean equal parts.

Owns which facts decide the value of a stage; runs reuse parts by their fingerprints.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fv2es_prep.config import DEFAULT_STAGES, MODALITIES, PrepSettings, digest_of, stored
from fv2es_prep.stages.base import MEDIA, Stage
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.types import Utterance

FINGERPRINT_BYTES = 16


def fingerprints_of(
    utterance: Utterance, media_hashes: tuple[str, str], settings: PrepSettings
) -> dict[str, bytes]:
    """Stage -> 16 bytes, the digest of all that decides its value.

    Args:
        utterance: as in the inventory, before any clamping.
        media_hashes: SHA-256 of the video file and of the audio file of its recording.
        settings: the settings of every stage.
    """
    video, audio = media_hashes
    # A start that the inventory moved to 0 is the integer 0 here, as in earlier shards. A plan on
    # disk reads it back as 0.0, which JSON writes differently.
    at_zero = utterance.clamped and utterance.start_s == 0
    span = [0 if at_zero else utterance.start_s, utterance.end_s]
    view = asdict(utterance.view)
    channel = view.pop("audio_channel")
    inputs: dict[str, list[Any]] = {
        "video": [video, audio, span, view, stored(settings.frames)],
        "sound": [video, audio, span, channel],
        "transcript": [utterance.transcript],
    }
    return _chained({}, inputs, settings)


def later_fingerprints(
    known: Mapping[str, bytes], utterance: Utterance, settings: PrepSettings
) -> dict[str, bytes]:
    """Add the fingerprints of stages that are made from those in ``known`` and the transcript."""
    return _chained(known, {"transcript": [utterance.transcript]}, settings)


def _chained(
    known: Mapping[str, bytes], inputs: dict[str, list[Any]], settings: PrepSettings
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for stage, decisive in _decisive(settings):
        name = stage.name
        if name in known:
            found[name] = known[name]
        else:
            value = [fact for need in stage.needs for fact in inputs[need]]
            found[name] = bytes.fromhex(digest_of([*value, *decisive]))[:FINGERPRINT_BYTES]
        inputs[name] = [found[name].hex()]
    return found


def drop_fingerprint(fingerprints: Mapping[str, bytes], settings: PrepSettings) -> str:
    """The digest, in hexadecimal, of all that decides whether an utterance is dropped."""
    stages, strict = stages_of(settings), settings.require == MODALITIES
    decisive = [fingerprints[s.name].hex() for s in stages if s.can_drop or not strict]
    return digest_of(decisive)[: 2 * FINGERPRINT_BYTES]


@functools.lru_cache(maxsize=4)
def _decisive(settings: PrepSettings) -> list[tuple[Stage, list[Any]]]:
    """Each stage with the settings that decide its value."""
    # The other options of the corpus act through the utterance and its view.
    policies: dict[str, Any] = {
        name: asdict(getattr(settings, name)) for name in ("media", "spans", "quality")
    }
    policies["corpus"] = {"layout": settings.corpus.get("layout", "")}
    found = []
    for stage in stages_of(settings):
        decisive = [stage.identity(settings)]
        if {*stage.needs} & {*MEDIA}:
            # Limits and policies decide what is dropped and clamped.
            decisive += [policies, *stage.form(settings.storage)]
        if settings.require != MODALITIES:
            decisive.append(["require", settings.require])
        if stage.name not in DEFAULT_STAGES or stage.version > 1:
            decisive.append([stage.name, stage.version])
        found.append((stage, decisive))
    return found
