"""Finds utterances that look wrong by themselves, or compared with the median of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fv2es_prep.shards.suspects.neighbours import nearest, robust_z, scaled
from fv2es_prep.shards.suspects.suspect import Suspect
from fv2es_prep.shards.suspects.traits import Traits

# Frames of speech stay 9 dB and more below a square wave of full scale, a sine 3 dB.
_CLIPPED_DB, _CLIPPED_SHARE = -3.0, 1e-3
_SILENT_DB = -60.0
# Loss of high frequencies at a lower sampling rate; least share of the span with sound.
_NARROW_DB, _SHORT = 25.0, 0.8
_EMPTY_CONTRAST, _FROZEN_CHANGE = 3.0, 0.05
# Speech fades in, and fades out more slowly; within a word a frame is nearly as loud as the loud
# ones. A complete start and end are this many dB below the loud frames.
_START_DB, _END_DB, _ABOVE_NOISE_DB = 17.0, 14.5, 10.0
# Robust deviations of the distance to the nearest utterances, and of words per second.
_FAR, _WORDS_FAR = 6.0, 6.0
_NEIGHBOURS, _ENOUGH = 5, 20


def clipped(traits: Traits) -> Iterator[Suspect]:
    """Find clipped sound in the samples of a stored waveform, otherwise in the levels of frames."""
    numbers = traits.numbers
    share, peak = numbers["clipped"], numbers["peak_db"]
    for row in np.flatnonzero(share > _CLIPPED_SHARE):
        yield _of(
            traits, row, "clipped", share[row], f"{share[row]:.1%} of its samples are at the peak"
        )
    for row in np.flatnonzero(np.isnan(share) & (peak > _CLIPPED_DB)):
        sentence = (
            f"its frames reach {peak[row]:.1f} dB of full scale, expected below -9 for speech"
        )
        yield _of(traits, row, "clipped", peak[row] - _CLIPPED_DB, sentence)


def silent(traits: Traits) -> Iterator[Suspect]:
    """Find utterances whose loudest frame is nearly silent."""
    peak = traits.numbers["peak_db"]
    for row in np.flatnonzero(peak < _SILENT_DB):
        sentence = f"its loudest frame is at {peak[row]:.0f} dB of full scale"
        yield _of(traits, row, "silent", _SILENT_DB - peak[row], sentence)


def rate(traits: Traits) -> Iterator[Suspect]:
    """Find utterances whose sampling rate differs from that of the others, or of their files."""
    high, seconds = traits.numbers["high_db"], traits.catalogue.seconds
    below = np.nanmedian(high) - high if np.isfinite(high).any() else high
    audible = traits.numbers["peak_db"] >= _SILENT_DB
    for row in np.flatnonzero(audible & (below > _NARROW_DB)):
        sentence = f"its high frequencies are {below[row]:.0f} dB weaker than the median"
        yield _of(traits, row, "rate", below[row], sentence)
    share = traits.numbers["sound_s"] / seconds
    for row in np.flatnonzero(share < _SHORT):
        sentence = f"its sound covers {share[row]:.0%} of its span of {seconds[row]:.2f} s"
        yield _of(traits, row, "rate", 100 * (1 - share[row]), sentence)


def pictures(traits: Traits) -> Iterator[Suspect]:
    """Find utterances whose pictures show nothing, or do not move."""
    contrast, change = traits.numbers["contrast"], traits.numbers["change"]
    empty = contrast < _EMPTY_CONTRAST
    for row in np.flatnonzero(empty):
        sentence = f"its pictures are of one colour: pixels deviate by {contrast[row]:.1f} of 255"
        yield _of(traits, row, "pictures", _EMPTY_CONTRAST - contrast[row], sentence)
    for row in np.flatnonzero(~empty & (change < _FROZEN_CHANGE)):
        yield _of(traits, row, "pictures", 1.0, "its pictures are all the same")


def cut(traits: Traits) -> Iterator[Suspect]:
    """Find spans that start or end within speech: the first or last frame is loud."""
    numbers = traits.numbers
    start, end = (numbers[name] for name in ("start_db", "end_db"))
    loud = numbers["loud_db"]
    starts, ends = _START_DB - (loud - start), _END_DB - (loud - end)
    excess, level = np.maximum(starts, ends), np.where(starts >= ends, start, end)
    recordings = traits.catalogue.recordings
    noise = np.full(len(recordings.values), np.inf, np.float32)
    np.fmin.at(noise, recordings.codes, numbers["quiet_db"])
    within = (excess > 0) & (level > noise[recordings.codes] + _ABOVE_NOISE_DB)
    for row in np.flatnonzero(within & (numbers["peak_db"] >= _SILENT_DB)):
        place, below = "starts" if starts[row] >= ends[row] else "ends", loud[row] - level[row]
        sentence = f"it {place} only {below:.0f} dB below its loud frames, not in silence"
        yield _of(traits, row, "cut", excess[row], sentence)


def outlier_sound(traits: Traits) -> Iterator[Suspect]:
    """Find spectra far from their nearest."""
    yield from _outliers(traits, "tone", "outlier-sound", "spectrum")


def outlier_faces(traits: Traits) -> Iterator[Suspect]:
    """Find mean faces far from their nearest."""
    yield from _outliers(traits, "face", "outlier-faces", "face")


def outlier_words(traits: Traits) -> Iterator[Suspect]:
    """Find utterances with far more or fewer words per second than the others."""
    texts = traits.catalogue.texts.to_pylist()
    words = np.array([len(text.split()) for text in texts], np.float32)
    speed = words / traits.catalogue.seconds.astype(np.float32)
    speed[words == 0] = np.nan
    # Utterances of words alone have a nominal span.
    speed[np.isnan(traits.numbers["sound_s"]) & np.isnan(traits.numbers["contrast"])] = np.nan
    if np.count_nonzero(np.isfinite(speed)) < _ENOUGH:
        return
    far, usual = robust_z(np.log(speed)), np.nanmedian(speed)
    for row in np.flatnonzero(np.abs(far) > _WORDS_FAR):
        sentence = f"it has {speed[row]:.1f} words per second, the median is {usual:.1f}"
        yield _of(traits, row, "outlier-words", abs(far[row]), sentence)


def _outliers(traits: Traits, name: str, kind: str, noun: str) -> Iterator[Suspect]:
    vectors = traits.vectors[name]
    known = np.flatnonzero(np.isfinite(vectors[:, 0]))
    if len(known) < _ENOUGH:
        return
    distances = nearest(scaled(vectors[known]), _NEIGHBOURS)[1].mean(1)
    far = robust_z(np.log(np.maximum(distances, 1e-6)))
    factor = distances / np.median(distances)
    for place in np.flatnonzero(far > _FAR):
        sentence = (
            f"its {noun} is {factor[place]:.1f} times as far from the nearest others as the median"
        )
        yield _of(traits, known[place], kind, far[place], sentence)


def _of(traits: Traits, row: Any, kind: str, score: Any, sentence: str) -> Suspect:
    return Suspect(kind, traits.catalogue.ids[int(row)].as_py(), float(score), sentence)
