"""The fv2es side of the measurements: preparation, its floor, and an epoch of its reader.

Owns the calls into fv2es. `apart` runs them in separate processes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import Stopwatch
from fv2es_prep.config import FaceSettings, PrepSettings

if TYPE_CHECKING:
    from fv2es_prep.types import Inventory, Utterance
    from pipelines.run import Summary

_BATCH = 8
# So small that each recording gets its own shard.
_SHARD_MB = 0.1
_CPU_TIMES = ("user", "system", "children_user", "children_system")


def fv2es(*arguments: str) -> list[str]:
    """The command line of the fv2es program beside this Python."""
    return [str(Path(sys.executable).parent / "fv2es"), *arguments]


def printed_by(*arguments: str) -> str:
    """Run a command of fv2es and return its stdout.

    Raises:
        RuntimeError: the command failed; the message contains its stderr.
    """
    done = subprocess.run(fv2es(*arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"fv2es {' '.join(arguments)}: {done.stderr[-500:]}")
    return done.stdout


def face_settings(detector: str) -> FaceSettings:
    """Make the settings of a face detector.

    Args:
        detector: ``exact``, ``fast`` or ``facenet``.
    """
    chosen: dict[str, Any] = {"detector": detector}
    return FaceSettings(**chosen)


def prepare(corpus: str, out: str, tokenizer: str, cores: int, detector: str) -> dict[str, Any]:
    """Prepare a corpus on as many warm workers as cores, and restrict them to these cores.

    Otherwise a worker and its decoder would use two cores, and one worker would be as fast as two.
    Before the clock starts, the workers start and prepare the first utterance of each recording.
    One-time work such as the report is measured separately. So the result is the speed of a long
    run.

    Args:
        corpus: material of either shape.
        out: the dataset directory; an existing one is removed first.
        tokenizer: directory of the tokenizer.
        cores: number of cores and workers.
        detector: see `face_settings`.

    Returns:
        ``wall_s`` and ``cpu_s`` of all processes together, from scanning the corpus to its last
        utterance; ``finish_s``, wall seconds from there to index and report; ``start_s``, wall
        seconds until every worker was warm; ``utterances``, ``pictures``, ``faces_found`` and
        ``bytes`` from the summary of the run; ``media_s``, the length of all recordings up to the
        end of the last utterance.
    """
    from distributed import Client

    from benchmarks.material import inventory_of
    from pipelines.executors.local import local_cluster

    _stay_on(cores)
    inventory, directory = inventory_of(Path(corpus)), Path(out).absolute()
    warm = directory.with_name(directory.name + "-warm")
    first = [members[0] for members in _by_recording(inventory.utterances)]
    starting = Stopwatch()
    with starting:
        cluster = local_cluster(cores)
    with cluster, Client(cluster):
        where = (tokenizer, cluster.scheduler_address, detector)
        with starting:
            _run(replace(inventory, utterances=tuple(first)), warm, *where)
        built = _Built(len(inventory.utterances))
        with Stopwatch() as watch:
            before_s = _family_cpu_s()
            summary = _run(inventory_of(Path(corpus)), directory, *where, built.take)
    shutil.rmtree(warm)
    return {
        "wall_s": built.wall_s,
        "cpu_s": built.cpu_s - before_s,
        "finish_s": watch.wall_s - built.wall_s,
        "start_s": starting.wall_s,
        "utterances": summary.prepared,
        "pictures": summary.counts["frames_sampled"],
        "faces_found": summary.counts["faces_found"],
        "bytes": summary.size_bytes,
        "media_s": sum(
            max(utterance.end_s for utterance in members)
            for members in _by_recording(inventory.utterances)
        ),
    }


class _Built:
    """Records when the last utterance of a run was done.

    Args:
        count: the utterances of the run.

    Attributes:
        wall_s: seconds from its construction to that moment.
        cpu_s: CPU seconds of all processes at that moment.
    """

    def __init__(self, count: int) -> None:
        self._left = count
        self._began_s = time.perf_counter()
        self.wall_s = self.cpu_s = 0.0

    def take(self, done: int) -> None:
        """Count finished utterances."""
        self._left -= done
        if self._left <= 0:
            self.wall_s = time.perf_counter() - self._began_s
            self.cpu_s = _family_cpu_s()


def _stay_on(cores: int) -> None:
    """Restrict this process and its children to ``cores``, if the system supports it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _run(
    inventory: Inventory,
    out: Path,
    tokenizer: str,
    executor: str,
    detector: str,
    report: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Plan and run, with one shard per recording."""
    from fv2es_prep.stages.tokens import describe_tokenizer
    from pipelines.plan import make_plan
    from pipelines.run import run

    shutil.rmtree(out, ignore_errors=True)
    text = describe_tokenizer(tokenizer, 100)
    settings = PrepSettings(faces=face_settings(detector), text=text)
    plan = make_plan(inventory, settings, tokenizer, out, _SHARD_MB)
    summary = run(plan, out, executor, report)
    if not summary.complete or summary.dropped_in_preparation:
        raise RuntimeError(f"the preparation is incomplete: {summary.to_json()}")
    return summary


def _family_cpu_s() -> float:
    """CPU seconds of this process and its children, running and ended."""
    import psutil

    ours = psutil.Process()
    return float(
        sum(
            sum(getattr(process.cpu_times(), name) for name in _CPU_TIMES)
            for process in (ours, *ours.children(recursive=True))
        )
    )


def _by_recording(utterances: Sequence[Utterance]) -> list[list[Utterance]]:
    groups = itertools.groupby(utterances, key=lambda utterance: utterance.recording_id)
    return [list(members) for _, members in groups]


def floor(corpus: str, detectors: Sequence[str]) -> dict[str, Any]:
    """Measure unavoidable CPU seconds: decoding a recording to null, and detection alone.

    Args:
        corpus: material of either shape; its first recording is used.
        detectors: see `face_settings`.

    Returns:
        ``decode_cpu_s`` of ffmpeg on one thread; for each detector ``NAME_cpu_s`` on the pictures
        that preparation samples, utterance by utterance; ``media_s`` and ``pictures``.
    """
    import torch

    from benchmarks.material import inventory_of
    from benchmarks.timing import decode_to_null
    from fv2es_prep.config import FrameSettings
    from fv2es_prep.detectors.detector import FaceDetector
    from fv2es_prep.media.recording import OpenRecording

    torch.set_num_threads(1)
    inventory = inventory_of(Path(corpus))
    recording = inventory.recordings[0]
    chosen = _by_recording(inventory.utterances)[0]
    with Stopwatch() as decode:
        decode_to_null(recording.video)
    finders = {name: FaceDetector(face_settings(name)) for name in detectors}
    pictures, detect_s = 0, dict.fromkeys(finders, 0.0)
    with OpenRecording(recording, chosen, FrameSettings()) as source:
        for utterance in chosen:
            views = [rgb for _, rgb in source.frames(utterance)]
            for name, finder in finders.items():
                if not pictures:
                    finder.largest(views[:1])
                began = time.process_time()
                finder.largest(views)
                detect_s[name] += time.process_time() - began
            pictures += len(views)
    return {
        "decode_cpu_s": decode.cpu_s,
        **{f"{name}_cpu_s": seconds for name, seconds in detect_s.items()},
        "media_s": max(utterance.end_s for utterance in chosen),
        "pictures": pictures,
    }


def read_epochs(shards: str, epochs: int) -> dict[str, Any]:
    """Read a dataset as training does: shuffled batches, padded and collated, in one process.

    Args:
        shards: the dataset directory.
        epochs: number of passes; the first one also opens the shards. What is imported at the
            first example does not count, as for the published way.

    Returns:
        ``read_s`` of all passes, and ``utterances`` of one pass.
    """
    import torch
    from torch.utils.data import DataLoader

    from fv2es_train.data.batches import collate
    from fv2es_train.data.dataset import ShardDataset

    torch.set_num_threads(1)
    collate([ShardDataset(Path(shards))[0]])
    with Stopwatch() as watch:
        dataset = ShardDataset(Path(shards))
        loader = DataLoader(dataset, batch_size=_BATCH, shuffle=True, collate_fn=collate)
        for _ in range(epochs):
            for _batch in loader:
                pass
    return {"read_s": watch.wall_s, "utterances": len(dataset)}
