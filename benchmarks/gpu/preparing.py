"""Preparation on the device: faces in batches, and the features of encoders, against the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.features import KINDS, encoder_of, inputs_of, model_directory
from benchmarks.gpu.kit import Kit
from benchmarks.results import Section, Table, Verdict

TITLE = "faces and features"
_WITHIN_PX, _WITHIN = 1.0, 1e-3


def measure(kit: Kit) -> Section:
    """Pictures a second of the face detector, and utterances a second of each kind of encoder."""
    faces, off_px = _faces(kit)
    rows, off = [], 0.0
    with tempfile.TemporaryDirectory(dir=kit.out) as folder:
        for name in ("bert",) if kit.small else tuple(KINDS):
            kit.say(f"features: {name}")
            row = _features(kit, name, Path(folder))
            rows.append(row)
            off = max(off, row[-1])
    columns = ("encoder", "utterances", "device, utterances/s", "CPU, utterances/s", "difference")
    tables = (faces, Table("features, relative difference to the CPU", columns, tuple(rows)))
    verdicts = (
        Verdict(
            "largest face: difference of the corners to the CPU, px", off_px, _WITHIN_PX, "at most"
        ),
        Verdict("features: largest relative difference", off, _WITHIN, "at most"),
    )
    return Section(tables, verdicts)


def _faces(kit: Kit) -> tuple[Table, float]:
    from fv2es_prep.config import FaceSettings
    from fv2es_prep.detectors.detector import FaceDetector

    rows, off = [], 0.0
    on_cpu, on_device = FaceDetector(FaceSettings()), FaceDetector(FaceSettings(), _name(kit))
    for side, count in ((224, 4),) if kit.small else ((224, 256), (720, 128), (1080, 64)):
        kit.say(f"faces: {side} px")
        pictures = _pictures(side, count)
        few = pictures[: min(count, 16)]
        seconds = kit.seconds(lambda given=pictures: on_device.largest(given))
        cpu_s = kit.seconds(lambda given=few: on_cpu.largest(given))
        pairs = zip(on_cpu.largest(few), on_device.largest(few), strict=True)
        off = max(off, *(float(np.abs(a.box - b.box).max()) for a, b in pairs))
        rows.append((f"{side} px", on_device.batch, count / seconds, len(few) / cpu_s))
    columns = ("pictures", "batch", "device, pictures/s", "CPU `exact`, pictures/s")
    return Table("faces", columns, tuple(rows)), off


def _name(kit: Kit) -> str:
    return "cuda" if kit.device.type == "cuda" else "cpu"


def _pictures(side: int, count: int) -> list[Any]:
    """Pictures with one face each, at another place and size in each."""
    import cv2
    from skimage import data

    portrait, rng = data.astronaut()[:300, 100:400], np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        size = int(rng.integers(side // 2, side))
        picture = rng.integers(90, 110, (side, side, 3), dtype=np.uint8)
        top, left = rng.integers(0, side - size + 1, 2)
        picture[top : top + size, left : left + size] = cv2.resize(portrait, (size, size))
        pictures.append(picture)
    return pictures


def _features(kit: Kit, name: str, folder: Path) -> tuple[Any, ...]:
    directory = model_directory(name, folder)
    values = inputs_of(name, quick=kit.small)[: 2 if kit.small else None]
    few = values[:16]
    on_device, on_cpu = (encoder_of(KINDS[name], directory, d) for d in (_name(kit), "cpu"))
    seconds = kit.seconds(lambda: on_device(values))
    cpu_s = kit.seconds(lambda: on_cpu(few))
    pairs = list(zip(on_device(few), on_cpu(few), strict=True))
    off = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    return name, len(values), len(values) / seconds, len(few) / cpu_s, off
