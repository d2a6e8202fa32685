"""Traits: a few numbers of every utterance that the checks compare, read from the shards once.

Memory holds about 500 numbers per utterance, whatever its length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.waveform import FULL_SCALE
from fv2es_prep.utils.processes import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example, Faces, MelSpectrum

# The course of a spectrum: number of moments, and of groups of bands.
_MOMENTS, _GROUPS = 24, 8
_TONE_GROUPS = 32
# Range above silence: 40 dB below the loudest, as natural logarithm of power.
_RANGE = np.float32(9.2)
# Side in pixels of the mean face.
_SIDE = 12
# Side of the mean face in colour.
_TINTS = 4
_SOUND = ("loud_db", "quiet_db", "peak_db", "start_db", "end_db", "high_db", "sound_s")
_PICTURES = ("contrast", "change")
_VECTORS = {"course": _MOMENTS * _GROUPS, "tone": 2 * _TONE_GROUPS, "face": _SIDE * _SIDE}
_VECTORS["tint"] = _TINTS * _TINTS * 3


@dataclass(frozen=True)
class Traits:
    """Numbers of N utterances, in the order of the catalogue; NaN where a modality is missing.

    Attributes:
        catalogue: the catalogue of the dataset.
        numbers: name -> float32 (N,). Levels of frames are in dB of full scale (a square wave is
            0): ``loud_db``, the 90th percentile; ``quiet_db`` and ``peak_db``, the lowest and
            highest; ``start_db`` and ``end_db``, of the first and last frame. ``high_db``, the
            upper half of the frequencies, relative to all; ``sound_s``, seconds of sound;
            ``clipped``, share of stored samples in runs at the peak; ``contrast``, the largest
            deviation of a picture's pixels and ``change``, the largest mean difference of
            successive pictures, both in levels of 255.
        vectors: name -> float32 (N, D): ``course``, the spectrum over time, of length 1; ``tone``,
            mean and deviation of groups of bands; ``face``, the mean face in grey; ``tint``, the
            mean face in colour with fewer pixels.
    """

    catalogue: Catalogue
    numbers: dict[str, NDArray[np.float32]]
    vectors: dict[str, NDArray[np.float32]]

    @property
    def ids(self) -> list[str]:
        """The ids of all utterances."""
        ids: list[str] = self.catalogue.ids.to_pylist()
        return ids


def read_traits(
    directory: Path,
    catalogue: Catalogue,
    report: Callable[[int], None] = lambda _: None,
    jobs: int = 1,
) -> Traits:
    """Read the shards once.

    Args:
        directory: the dataset.
        catalogue: its catalogue.
        report: receives the number of shards done since its last call.
        jobs: number of processes.

    Raises:
        ShardError: a shard is missing or damaged.
    """
    index = catalogue.index
    tasks = [(directory / entry.name, index) for entry in index.shards]
    parts: list[dict[str, Any]] = []
    for part in in_order(_of_shard, tasks, jobs):
        parts.append(part)
        report(1)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    vectors = {name: whole.pop(name) for name in _VECTORS}
    return Traits(catalogue, whole, vectors)


def _of_shard(path: Path, index: Index) -> dict[str, Any]:
    """Name -> values of the rows of one shard."""
    with ShardReader(path, index=index) as reader:
        count = len(reader)
        names = (*_SOUND, *_PICTURES, "clipped")
        found = {name: np.full(count, np.nan, np.float32) for name in names}
        found |= {name: np.full((count, d), np.nan, np.float32) for name, d in _VECTORS.items()}
        for row in range(count):
            for name, value in _of_example(reader.read(row), index.settings.mel.n_fft).items():
                found[name][row] = value
    return found


def _of_example(example: Example, n_fft: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "mel" in example:
        values |= _of_sound(example.mel, n_fft)
    if "waveform" in example:
        values["clipped"] = _clipped(example["waveform"])
    if "faces" in example and len(example.faces.rgb):
        values |= _of_pictures(example.faces)
    return values


def _of_sound(mel: MelSpectrum, n_fft: int) -> dict[str, Any]:
    log_power = mel.log_power.astype(np.float32)
    power = np.exp(log_power)
    # Power of a square wave at full scale, by Parseval's theorem for a Hann window.
    full = np.float32(3 / 16 * n_fft**2)
    level = 10 * np.log10(power.sum(1) / full)
    high = np.percentile(level, 90)
    # The upper quarter of the mel bands covers about the upper half of the frequencies.
    upper = 10 * np.log10(power[:, power.shape[1] * 3 // 4 :].sum(1) / full)
    return {
        "loud_db": high,
        "quiet_db": level.min(),
        "peak_db": level.max(),
        "start_db": level[0],
        "end_db": level[-1],
        "high_db": np.percentile(upper, 90) - high,
        "sound_s": len(level) * mel.hop_s,
        "course": course_vector(log_power),
        "tone": np.concatenate([_grouped(log_power.mean(0)), _grouped(log_power.std(0))]),
    }


def _grouped(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    return _means(bands[:, None], _TONE_GROUPS)[:, 0]


def _means(rows: NDArray[np.float32], parts: int) -> NDArray[np.float32]:
    """Split the rows (R, D) into equal parts; the mean of each, (parts, D).

    With fewer rows than parts, rows are repeated.
    """
    edges = np.linspace(0, len(rows), parts + 1)
    begin = np.minimum(edges[:-1].astype(int), len(rows) - 1)
    sums = np.add.reduceat(rows, begin, axis=0)
    lengths = np.diff([*begin, len(rows)])
    # reduceat returns a single row if two parts begin at the same row.
    means = sums / np.maximum(lengths, 1)[:, None]
    return means.astype(np.float32, copy=False)


def centred(log_power: NDArray[np.float32]) -> NDArray[np.float32]:
    """The course of a spectrum (T, M): groups of bands without their means, float32 (T, 8)."""
    # Without a floor, silence, which all utterances have, would dominate.
    audible = np.maximum(log_power, log_power.max() - _RANGE)
    groups = _means(np.ascontiguousarray(audible.T), _GROUPS).T
    course: NDArray[np.float32] = groups - groups.mean(0)
    return course


def course_vector(log_power: NDArray[np.float32]) -> NDArray[np.float32]:
    """The course at fixed moments, float32 (192,) of length 1; 0 if nothing changes."""
    course = _means(centred(log_power), _MOMENTS).ravel()
    length = np.float32(np.linalg.norm(course))
    return course / length if length > 1e-3 else np.zeros_like(course)


def _clipped(samples: NDArray[np.int16]) -> float:
    """Share of samples in runs of three or more at the peak, if the peak is loud."""
    size = np.abs(samples.astype(np.int32))
    peak = int(size.max(initial=0))
    if peak < FULL_SCALE // 4 or len(size) < 3:
        return 0.0
    at = size >= peak - 1
    runs = at[:-2] & at[1:-1] & at[2:]
    return float(np.count_nonzero(runs) / len(size))


def _of_pictures(faces: Faces) -> dict[str, Any]:
    grey = grey_faces(faces)
    side = min(_SIDE, grey.shape[1])
    change = np.abs(np.diff(grey, axis=0)).mean((1, 2)).max() if len(grey) > 1 else np.nan
    mean = _means(_means(grey.mean(0), side).T, side).T
    face = np.zeros((_SIDE, _SIDE), np.float32)
    face[:side, :side] = mean
    contrast = faces.rgb.reshape(len(grey), -1, 3).std(1).max()
    size = faces.rgb.shape[1]
    columns = _means(faces.rgb.mean(0, np.float32).reshape(size, -1), _TINTS)
    lines = columns.reshape(_TINTS, size, 3).swapaxes(0, 1).reshape(size, -1)
    tint = _means(lines, _TINTS).ravel()
    return {"contrast": contrast, "change": change, "face": face.ravel(), "tint": tint}


def grey_faces(faces: Faces) -> NDArray[np.float32]:
    """The pictures in grey, float32 (F, S, S), 0 to 255."""
    grey: NDArray[np.float32] = faces.rgb.astype(np.float32).mean(3)
    return grey
