"""Section g: peak memory of a preparation worker against the length of a recording.

Joins copies of one dialogue to recordings of the wanted lengths (streams are copied, not decoded),
prepares each with one worker, and watches every process of the run. The memory for a recording of a
few seconds is taken as that of the imports. Also measures what each further worker takes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import wave
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ffmpeg
import psutil

from benchmarks.apart import call_apart
from benchmarks.material import iemocap_shaped, text_model
from benchmarks.ours import fv2es
from benchmarks.results import Section, Table, Verdict
from benchmarks.workers import METHODS, memory
from fv2es_prep.corpora.iemocap import parse_labels, parse_transcript
from fv2es_prep.media.ffmpeg import ffmpeg_path

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "memory"
_NAME = "Ses01F_impro01"
_MB = 1_000_000
_BOUND_MB = 400.0
# For each further worker.
_WORKER_MB = 400.0
_MINUTES = {True: (1, 5), False: (1, 10, 60)}
_ASKED_MINUTES = 60
_TINY_S = 8.0
# Lengths of a dialogue that the published way reads, to measure its memory per second.
_BASELINE_S = (10.0, 40.0)


def measure(bench: Bench) -> Section:
    rows = []
    with tempfile.TemporaryDirectory(dir=bench.out) as folder:
        tiny = iemocap_shaped(bench.out, _TINY_S, 1)
        base = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
        for minutes in (0, *_MINUTES[bench.quick]):
            bench.say(f"memory, {minutes or _TINY_S / 60:.3g} minutes")
            corpus = tiny
            if minutes:
                corpus = Path(folder) / f"corpus-{minutes}"
                lengthen(base, corpus, minutes * 60)
            rows.append(watch_worker(corpus, Path(folder) / "shards", text_model(bench.out)))
            bench.noise.sound()
    minutes_of = [_TINY_S / 60, *_MINUTES[bench.quick]]
    rows = [{"minutes": m, **row} for m, row in zip(minutes_of, rows, strict=True)]
    section = _section(rows, _published(base))
    bench.say("memory of further workers")
    return _with_workers(section, {method: memory(bench.out, method) for method in METHODS})


def _published(base: Path) -> dict[str, float]:
    """Memory of the published way: bytes per second of dialogue, from two lengths."""
    few, many = (call_apart("published:read", corpus=str(base), limit_s=s) for s in _BASELINE_S)
    slope = (many["peak_bytes"] - few["peak_bytes"]) / (many["seconds"] - few["seconds"])
    return {"bytes_per_second": slope}


def _section(rows: list[dict[str, float]], published: dict[str, float]) -> Section:
    base = rows[0]["worker_peak"]
    above = [(row["worker_peak"] - base) / _MB for row in rows]
    slope = published["bytes_per_second"]
    table = Table(
        "one worker of `fv2es prep iemocap`, resident MB (10^6 bytes); the first row is the base",
        ("minutes", "utterances", "worker", "above the base", "ffmpeg", "published, estimated"),
        tuple(
            (
                row["minutes"],
                row["utterances"],
                row["worker_peak"] / _MB,
                over,
                row["ffmpeg_peak"] / _MB,
                slope * row["minutes"] * 60 / _MB,
            )
            for row, over in zip(rows, above, strict=True)
        ),
    )
    longest = rows[-1]["minutes"]
    asked = longest >= _ASKED_MINUTES
    verdicts = [
        Verdict(
            f"(6) {_ASKED_MINUTES} minutes: a worker's peak above its imports, MB",
            above[-1] if asked else None,
            _BOUND_MB,
            "at most",
        )
    ]
    if not asked:
        what = f"the same at {longest:g} minutes, MB"
        verdicts.append(Verdict(what, above[-1], _BOUND_MB, "at most"))
    note = f"the published way holds {slope / _MB:.0f} MB for each second of a dialogue"
    return Section((table,), tuple(verdicts), (note,), {"rows": rows, "published": published})


def _with_workers(section: Section, found: dict[str, dict[str, float]]) -> Section:
    names = ("two", "four", "further")
    table = Table(
        "proportional set size of workers and the process that forks them, MB (10^6 bytes)",
        ("workers are", "two workers", "four workers", "each further one"),
        tuple(
            (kind, *(found[method][name] / _MB for name in names))
            for kind, method in zip(("forked", "spawned"), METHODS, strict=True)
        ),
    )
    further = found["forkserver"]["further"] / _MB
    verdict = Verdict("each further worker, MB", further, _WORKER_MB, "at most")
    return replace(
        section,
        tables=(*section.tables, table),
        verdicts=(*section.verdicts, verdict),
        data={**section.data, "workers": found},
    )


def watch_worker(corpus: Path, shards: Path, tokenizer: Path) -> dict[str, float]:
    """Prepare a corpus with one worker; return its utterances and peak resident sizes in bytes."""
    command = fv2es("prep", "iemocap", str(corpus), "--out", str(shards), "--json")
    command += ["--tokenizer", str(tokenizer), "--executor", "local:1"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        peaks = watch(process)
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
    seconds = time.perf_counter() - began
    shutil.rmtree(shards)
    return {"utterances": summary["prepared"], "seconds": round(seconds, 1), **peaks}


def watch(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Watch a run; return the peak resident size of a worker and of an ffmpeg."""
    peaks = {"worker_peak": 0.0, "ffmpeg_peak": 0.0}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        for member in root.children(recursive=True):
            try:
                name = "ffmpeg_peak" if "ffmpeg" in member.name() else "worker_peak"
                peaks[name] = max(peaks[name], member.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    return peaks


def lengthen(base: Path, corpus: Path, wanted_s: float) -> None:
    """Make a corpus of one dialogue: that of the base, repeated until it is long enough."""
    old, new = base / "Session1/dialog", corpus / "Session1/dialog"
    for part in ("EmoEvaluation", "transcriptions", "wav", "avi/DivX"):
        (new / part).mkdir(parents=True)
    with wave.open(str(old / f"wav/{_NAME}.wav")) as sound:
        length_s = sound.getnframes() / sound.getframerate()
        parameters, data = sound.getparams(), sound.readframes(sound.getnframes())
    copies = max(round(wanted_s / length_s), 1)
    with wave.open(str(new / f"wav/{_NAME}.wav"), "wb") as sound:
        sound.setparams(parameters)
        for _ in range(copies):
            sound.writeframes(data)
    ffmpeg.input(str(old / f"avi/DivX/{_NAME}.avi"), stream_loop=copies - 1).output(
        str(new / f"avi/DivX/{_NAME}.avi"), c="copy", loglevel="error"
    ).run(cmd=ffmpeg_path())
    repeat_annotations(old, new, copies, length_s)


def repeat_annotations(old: Path, new: Path, copies: int, length_s: float) -> None:
    """Write the labels and transcripts of each copy, with shifted times and new numbers."""
    turns = list(parse_labels((old / f"EmoEvaluation/{_NAME}.txt").read_text()))
    spoken = list(parse_transcript((old / f"transcriptions/{_NAME}.txt").read_text()))
    words = dict(entry for entry in spoken if isinstance(entry, tuple))
    labels, lines = [], []
    for copy in range(copies):
        for turn in turns:
            if isinstance(turn, str):
                continue
            start_s, end_s = turn.start_s + copy * length_s, turn.end_s + copy * length_s
            name = f"{turn.id}{copy:03d}"
            labels.append(f"[{start_s:.4f} - {end_s:.4f}]\t{name}\t{turn.label}\t[3, 3, 3]\n")
            lines.append(f"{name} [{start_s:.4f}-{end_s:.4f}]: {words.get(turn.id, '')}\n")
    (new / f"EmoEvaluation/{_NAME}.txt").write_text("".join(labels))
    (new / f"transcriptions/{_NAME}.txt").write_text("".join(lines))


def draw(figure: Any, data: dict[str, Any]) -> None:
    rows, axes = data["rows"], figure.subplots()
    minutes = [row["minutes"] for row in rows]
    slope = data["published"]["bytes_per_second"]
    axes.plot(minutes, [r["worker_peak"] / _MB for r in rows], marker="o", label="fv2es worker")
    axes.plot(minutes, [r["ffmpeg_peak"] / _MB for r in rows], marker="s", label="its ffmpeg")
    estimated = [slope * 60 * minute / _MB for minute in minutes]
    axes.plot(minutes, estimated, linestyle="--", color="0.5", label="published, estimated")
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="minutes of the recording", ylabel="peak resident MB (10^6 bytes)")
    axes.set_xticks(minutes, [f"{minute:.3g}" for minute in minutes])
    axes.minorticks_off()
    axes.legend()
