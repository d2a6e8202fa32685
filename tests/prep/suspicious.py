"""A dataset of generated speech and faces, in which faults can be planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import make_index, write_index
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance

CLASSES = ("ang", "hap", "sad")
SETTINGS = PrepSettings(text=TextSettings("tests", "0" * 64, vocabulary_size=100, max_tokens=8))
HOP_S, SHA = 0.0125, ("0" * 64, "1" * 64)
_SPEAKERS, _SHARD = 8, 24
Fault = Callable[[list[Example], int], Example]


def make_examples(count: int, seed: int = 0) -> list[Example]:
    """Utterances of several speakers; each class sounds and looks different."""
    rng = np.random.default_rng(seed)
    heads = rng.normal(120, 30, (_SPEAKERS, 12, 12, 3)).repeat(4, 1).repeat(4, 2)
    return [_example(number, heads, rng) for number in range(count)]


def _example(number: int, heads: np.ndarray, rng: np.random.Generator) -> Example:
    speaker, kind = number % _SPEAKERS, int(rng.integers(len(CLASSES)))
    frames = int(rng.integers(4, 8))
    start, seconds = 10.0 * number, 0.5 * frames
    pictures = heads[speaker] + rng.normal(0, 14, (frames, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
    pictures[:, 30:38, 14:34] += 40 * (kind - 1)
    spoken = round(rng.uniform(1.8, 3.2) * seconds)
    words = " ".join(f"w{n}" for n in rng.integers(0, 10_000, spoken))
    return Example(
        Utterance(
            id=f"{speaker}_{number:03d}",
            recording_id=f"{speaker}",
            start_s=start,
            end_s=start + seconds,
            transcript=words,
            labels=(CLASSES[kind],),
            speaker=f"{speaker}",
            session=f"{speaker // 2}",
        ),
        np.eye(len(CLASSES), dtype=np.uint8)[kind],
        faces=Faces(
            rgb=np.clip(pictures, 0, 255).astype(np.uint8),
            times_s=start + 0.5 * np.arange(frames),
            found=np.ones(frames, np.bool_),
            box=np.tile(np.array([10, 20, 58, 68], np.float32), (frames, 1)),
            prob=np.full(frames, 0.9, np.float32),
        ),
        mel=MelSpectrum(_speech(seconds, kind, rng), HOP_S),
        tokens=rng.integers(0, 100, 6).astype(np.int32),
    )


def _speech(seconds: float, kind: int, rng: np.random.Generator) -> np.ndarray:
    """Syllables of random colour, about 20 dB below full scale, between silences."""
    rows = 1 + int(seconds / HOP_S)
    syllables = rng.normal(0, 1, (rows // 12 + 2, 8))
    at = np.arange(rows) / 12
    course = np.stack([np.interp(at, np.arange(len(syllables)), s) for s in syllables.T], 1)
    tilt = np.linspace(1.5 + 0.4 * kind, -1.5 - 0.4 * kind, 128)
    loud = 0.5 + 0.3 * kind + course.repeat(16, 1) + tilt + rng.normal(0, 0.3, (rows, 128))
    fade = np.maximum(np.minimum(np.arange(rows), np.arange(rows)[::-1]) - 8, 0)
    return np.maximum(loud - 8 * (1 - np.minimum(fade / 5, 1))[:, None], -9).astype(np.float16)


def write_examples(
    directory: Path,
    examples: Sequence[Example],
    classes: tuple[str, ...] = CLASSES,
    settings: PrepSettings = SETTINGS,
) -> Path:
    """Write them as shards."""
    directory.mkdir(parents=True)
    ratings = tuple(f"r{n}" for n in range(len(examples[0].utterance.ratings)))
    receipts = []
    for number, begin in enumerate(range(0, len(examples), _SHARD)):
        part = examples[begin : begin + _SHARD]
        media = dict.fromkeys(sorted({e.utterance.recording_id for e in part}), SHA)
        header = ShardHeader("tests", classes, ratings, settings, media, f"{number:064d}")
        path = directory / f"tests-{number:05d}.h5"
        with ShardWriter(path, header) as writer:
            for example in part:
                writer.append(example)
            digest, size = writer.close()
        receipts.append(ShardReceipt(path.name, digest, size, len(part), header.task_digest))
    write_dropped(directory, [])
    write_index(directory, make_index("tests", classes, ratings, settings, receipts))
    return directory


def louder(example: Example, decibels: float, bands: slice = slice(None)) -> Example:
    """With other power in some bands."""
    log_power = example.mel.log_power.copy()
    log_power[:, bands] += np.float16(decibels * np.log(10) / 10)
    return example.replace(mel=MelSpectrum(log_power, HOP_S))


def copied(example: Example, source: Example, rng: np.random.Generator) -> Example:
    """Another's sound, later by 50 ms, louder and noisy, and another's pictures with noise."""
    shifted = louder(source, 4).mel.log_power[4:]
    noisy = (shifted + rng.normal(0, 0.1, shifted.shape)).astype(np.float16)
    span = replace(example.utterance, end_s=example.utterance.start_s + len(noisy) * HOP_S)
    faces = source.faces
    rgb = np.clip(faces.rgb + rng.normal(0, 1.5, faces.rgb.shape), 0, 255).astype(np.uint8)
    changed = Example(span, example.label, **dict(example))
    return changed.replace(mel=MelSpectrum(noisy, HOP_S), faces=replace(faces, rgb=rgb))


def relabelled(example: Example, classes: tuple[str, ...], by: int) -> Example:
    """With the class that comes so many later."""
    kind = (int(example.label.argmax()) + by) % len(classes)
    span = replace(example.utterance, labels=(classes[kind],))
    return Example(span, np.eye(len(classes), dtype=np.uint8)[kind], **dict(example))


def cut(example: Example, at_start: bool) -> Example:
    """The span without its first or last third."""
    log_power = example.mel.log_power
    third = len(log_power) // 3
    left = log_power[third:] if at_start else log_power[:-third]
    span = example.utterance
    change = {"start_s": span.start_s + third * HOP_S} if at_start else {}
    span = replace(span, **(change or {"end_s": span.end_s - third * HOP_S}))
    parts = {**example, "mel": MelSpectrum(np.ascontiguousarray(left), HOP_S)}
    return Example(span, example.label, **parts)


def pictured(example: Example, rgb: np.ndarray) -> Example:
    """With other pictures."""
    return example.replace(faces=replace(example.faces, rgb=rgb.astype(np.uint8)))
