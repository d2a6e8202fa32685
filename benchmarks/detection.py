"""Section b: speed of each detector on one thread, and whether it finds the same faces.

The reference for speed is facenet-pytorch at its best batch size. The reference for boxes is
facenet-pytorch with one picture at a time, because its result depends on the rest of a batch.
Each detector runs in a separate process; time is the CPU seconds of that process.
"""

from __future__ import annotations

import functools
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.ours import face_settings
from benchmarks.pictures import FULL, QUICK, Clip, collect, timed_part
from benchmarks.results import Section, Table, Verdict
from benchmarks.timing import median_of

if TYPE_CHECKING:
    from benchmarks.bench import Bench

    Box = list[float]

TITLE = "face detection"
BATCHES = (1, 8, 24)
OURS = ("exact", "fast")
# Number of pictures per call of our detectors: about those of an utterance.
_AT_ONCE = 16
_SAME_PX, _SAME_IOU = 0.01, 0.9
_FASTER = {
    ("exact", "halves 360x480"): 2.5,
    ("exact", "real clips"): 2.5,
    ("exact", "real clips of 700 lines or more"): 3.0,
    ("exact", "enlarged to 720x720"): 3.0,
    ("exact", "enlarged to 1280x720"): 3.0,
    ("exact", "enlarged to 1920x1080"): 3.0,
    ("fast", "halves 360x480"): 4.0,
    ("fast", "real clips"): 3.0,
}
_ALIKE = {"exact": 0.99, "fast": 0.995}
_SHOWN = 20

Found = tuple["Box | None", float]


def measure(bench: Bench) -> Section:
    folder = bench.out / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sets, skipped = collect(bench, folder)
    with ExitStack() as stack:
        pools = {name: stack.enter_context(_pool(name)) for name in ("facenet", *OURS)}
        rounds = _time(bench, sets, pools)
        found = {
            name: {kind: _all(pool, sets[kind]) for kind in sets} for name, pool in pools.items()
        }
    agreement = {
        kind: {
            name: compare(sets[kind], found["facenet"][kind], found[name][kind]) for name in OURS
        }
        for kind in sets
    }
    rates = {kind: _rates(rounds[kind]) for kind in sets}
    shutil.rmtree(folder)
    return _section(rates, agreement, rounds, skipped)


def _pool(name: str) -> ProcessPoolExecutor:
    """A pool of one process with one detector."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=_load, initargs=(name,))


def _time(
    bench: Bench, sets: dict[str, list[Clip]], pools: dict[str, ProcessPoolExecutor]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    amounts = QUICK if bench.quick else FULL
    rounds = {}
    for kind, clips in sets.items():
        bench.say(f"detection on {kind}")
        part = timed_part(clips, amounts.timed)
        ways = {
            f"facenet {batch}": functools.partial(_seconds, pools["facenet"], part, batch)
            for batch in BATCHES
        }
        for name in OURS:
            ways[name] = functools.partial(_seconds, pools[name], part, _AT_ONCE)
        rounds[kind] = bench.measure(ways)
    return rounds


def _seconds(
    pool: ProcessPoolExecutor, part: Sequence[tuple[Clip, int]], batch: int
) -> dict[str, float]:
    cpu_s = sum(pool.submit(_detect, clip, count, batch).result()[1] for clip, count in part)
    return {"cpu_s": cpu_s / sum(count for _, count in part)}


def _all(pool: ProcessPoolExecutor, clips: Sequence[Clip]) -> list[list[Found]]:
    return [pool.submit(_detect, clip, len(clip.times_s), 1).result()[0] for clip in clips]


_loaded: Any = None


def _load(name: str) -> None:
    """In the other process: load and warm up the detector."""
    global _loaded  # noqa: PLW0603  # a process of a pool has no other place for it
    import numpy as np
    import torch

    torch.set_num_threads(1)
    if name == "facenet":
        from benchmarks.published import Facenet

        _loaded = Facenet()
    else:
        from fv2es_prep.detectors.detector import FaceDetector

        _loaded = FaceDetector(face_settings(name))
    _loaded.largest([np.zeros((224, 224, 3), np.uint8)])


def _detect(clip: Clip, count: int, batch: int) -> tuple[list[Found], float]:
    """In the other process: detect faces in the first pictures of a clip; return CPU seconds."""
    pictures = list(clip.load()[:count].copy())
    found: list[Any] = []
    began = time.process_time()
    for first in range(0, count, batch):
        found += _loaded.largest(pictures[first : first + batch])
    seconds = time.process_time() - began
    return [_plain(face) for face in found], seconds


def _plain(face: Any) -> Found:
    if isinstance(face, tuple) and len(face) == 2:
        return face
    return ([float(edge) for edge in face.box], float(face.prob)) if face.found else (None, 0.0)


def compare(
    clips: Sequence[Clip], wanted: Sequence[Sequence[Found]], found: Sequence[Sequence[Found]]
) -> dict[str, Any]:
    """Compare the faces of a detector with those of the reference.

    Args:
        clips: the pictures.
        wanted: box and probability of the reference for each picture of each clip.
        found: the same for another detector.

    Returns:
        ``pictures``, ``faces`` of the reference, ``same_box`` and ``alike``, the shares of
        pictures with boxes within 0.01 px and at IoU >= 0.9 (or without a face in both), and
        ``exceptions``: each picture whose box differs by more than 0.01 px.
    """
    pictures, faces, same, alike = 0, 0, 0, 0
    exceptions: list[dict[str, Any]] = []
    for clip, old, new in zip(clips, wanted, found, strict=True):
        for time_s, (box, prob), (other, other_prob) in zip(clip.times_s, old, new, strict=True):
            off_px, iou = _distance(box, other), overlap(box, other)
            pictures, faces = pictures + 1, faces + (box is not None)
            same, alike = same + (off_px <= _SAME_PX), alike + (iou >= _SAME_IOU)
            if off_px > _SAME_PX:
                seen = {"facenet_box": box, "facenet_prob": prob, "box": other, "prob": other_prob}
                exceptions.append({"file": clip.file, "time_s": time_s, "iou": iou, **seen})
    return {
        "pictures": pictures,
        "faces": faces,
        "same_box": same / pictures,
        "alike": alike / pictures,
        "exceptions": exceptions,
    }


def _distance(box: Box | None, other: Box | None) -> float:
    """The largest difference between corresponding edges, in pixels."""
    if box is None or other is None:
        return 0.0 if box is other else float("inf")
    return max(abs(a - b) for a, b in zip(box, other, strict=True))


def overlap(box: Box | None, other: Box | None) -> float:
    """Intersection over union; 1 if neither has a face, 0 if only one has."""
    if box is None or other is None:
        return float(box is other)
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return shared / (sum(areas) - shared)


def _rates(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Pictures per CPU second of each detector; ``facenet`` uses its best batch size."""
    rates = {name: 1 / median_of(found, "cpu_s") for name, found in rounds.items()}
    return {**rates, "facenet": max(rates[f"facenet {batch}"] for batch in BATCHES)}


def _section(
    rates: dict[str, dict[str, float]],
    agreement: dict[str, dict[str, Any]],
    rounds: dict[str, Any],
    skipped: list[str],
) -> Section:
    names = [*(f"facenet {batch}" for batch in BATCHES), *OURS]
    speed = Table(
        "pictures per CPU second on one thread; facenet-pytorch by its batch size",
        ("pictures", *names, *(f"{name} / facenet" for name in OURS)),
        tuple(
            (kind, *(rate[n] for n in names), *(rate[n] / rate["facenet"] for n in OURS))
            for kind, rate in rates.items()
        ),
    )
    boxes = Table(
        "the same largest face as facenet-pytorch, one picture at a time",
        ("pictures", "detector", "of them", "with a face", "within 0.01 px %", "IoU >= 0.9 %"),
        tuple(
            (kind, name, a["pictures"], a["faces"], 100 * a["same_box"], 100 * a["alike"])
            for kind, by_name in agreement.items()
            for name, a in by_name.items()
        ),
    )
    data = {"rates": rates, "agreement": agreement, "rounds": rounds, "skipped": skipped}
    tables = (speed, boxes, *_exceptions(agreement))
    return Section(tables, tuple(_verdicts(rates, agreement)), tuple(skipped), data)


def _verdicts(
    rates: dict[str, dict[str, float]], agreement: dict[str, dict[str, Any]]
) -> list[Verdict]:
    verdicts = []
    for (name, kind), bound in _FASTER.items():
        rate, same = rates.get(kind), agreement.get(kind, {}).get(name)
        faster = None if rate is None else rate[name] / rate["facenet"]
        verdicts.append(Verdict(f"(1) {name} / facenet-pytorch, {kind}", faster, bound))
        alike = None if same is None else same["alike"]
        if name == "exact":
            close = None if same is None else same["same_box"]
            what = f"(1) {name}: boxes within 0.01 px, {kind}"
            verdicts.append(Verdict(what, close, _ALIKE[name]))
        share = 1.0 if name == "exact" else _ALIKE[name]
        verdicts.append(Verdict(f"(1) {name}: boxes at IoU >= 0.9, {kind}", alike, share))
    return verdicts


def _exceptions(agreement: dict[str, dict[str, Any]]) -> list[Table]:
    """All differences of the exact detector, and other faces found by the fast one."""
    tables = []
    for name in OURS:
        rows = [
            (
                e["file"],
                e["time_s"],
                f"{e['iou']:.4f}",
                _words(e["facenet_box"]),
                f"{e['facenet_prob']:.4f}",
                _words(e["box"]),
                f"{e['prob']:.4f}",
            )
            for by_name in agreement.values()
            for e in by_name[name]["exceptions"]
            if name == "exact" or e["iou"] < _SAME_IOU
        ]
        if rows:
            more = f", the first {_SHOWN} of {len(rows)}" if len(rows) > _SHOWN else ""
            columns = ("file", "time s", "IoU", "facenet box", "prob", "our box", "prob")
            tables.append(Table(f"exceptions of {name}{more}", columns, tuple(rows[:_SHOWN])))
    return tables


def _words(box: Box | None) -> str:
    return "none" if box is None else " ".join(f"{edge:.2f}" for edge in box)


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    kinds, ways = list(data["rates"]), ("facenet", *OURS)
    for place, way in enumerate(ways):
        values = [data["rates"][kind][way] for kind in kinds]
        label = "facenet-pytorch, best batch" if way == "facenet" else f"fv2es {way}"
        at = [number + 0.27 * (place - 1) for number in range(len(kinds))]
        axes.bar_label(axes.bar(at, values, 0.25, label=label), fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set(ylabel="pictures per CPU second, one thread")
    axes.legend()
