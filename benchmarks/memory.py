"""Peak memory of a preparation worker against the length of a recording.

Joins copies of one generated dialogue to recordings of the wanted lengths (no decoding: streams are
copied), prepares each with one Dask worker, and watches every process of the run.

    python benchmarks/memory.py --minutes 1 10 60 --out build/bench
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import ffmpeg
import psutil

from fv2es_prep.corpora.iemocap import parse_labels, parse_transcript
from fv2es_prep.demo import make_corpus, make_text_model
from fv2es_prep.media.ffmpeg import ffmpeg_path

NAME = "Ses01F_impro01"
MIB = 1 << 20
BOUND_MIB = 1536


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        base = make_corpus(Path(folder) / "base", sessions=1, dialogues=1, turns=24)
        make_text_model(Path(folder) / "albert")
        for minutes in options.minutes:
            rows.append(measure(Path(folder), base, minutes))
            print(line(rows[-1]), flush=True)
    (options.out / "memory.json").write_text(json.dumps(rows, indent=2) + "\n")
    return int(any(row["worker_peak_mib"] > BOUND_MIB for row in rows))


def line(row: dict[str, float]) -> str:
    return (
        f"{row['minutes']:6.1f} min, {row['utterances']:5} utterances: worker at most "
        f"{row['worker_peak_mib']:.0f} MiB (bound {BOUND_MIB}), ffmpeg "
        f"{row['ffmpeg_peak_mib']:.0f} MiB, {row['seconds']:.0f} s"
    )


def measure(folder: Path, base: Path, minutes: float) -> dict[str, float]:
    """Prepare one recording of about that length with one worker."""
    corpus, shards = folder / f"corpus-{minutes}", folder / f"shards-{minutes}"
    lengthen(base, corpus, minutes * 60)
    program = str(Path(sys.executable).parent / "fv2es")
    command = [program, "prep", "iemocap", str(corpus), "--out", str(shards), "--json"]
    command += ["--tokenizer", str(folder / "albert"), "--executor", "local:1"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        peaks = watch(process)
        assert process.stdout is not None
        summary = json.loads(process.stdout.read())
    shutil.rmtree(corpus)
    return {
        "minutes": minutes,
        "utterances": summary["prepared"],
        "worker_peak_mib": round(peaks["python"] / MIB, 1),
        "ffmpeg_peak_mib": round(peaks["ffmpeg"] / MIB, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def watch(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """The largest resident size seen of any Python and of any ffmpeg process of the run."""
    peaks = {"python": 0, "ffmpeg": 0}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        for member in [root, *root.children(recursive=True)]:
            try:
                kind = "ffmpeg" if "ffmpeg" in member.name() else "python"
                peaks[kind] = max(peaks[kind], member.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    return peaks


def lengthen(base: Path, corpus: Path, wanted_s: float) -> None:
    """A corpus of one dialogue: the base's, joined to itself until it is long enough."""
    old, new = base / "Session1/dialog", corpus / "Session1/dialog"
    for part in ("EmoEvaluation", "transcriptions", "wav", "avi/DivX"):
        (new / part).mkdir(parents=True)
    with wave.open(str(old / f"wav/{NAME}.wav")) as sound:
        length_s = sound.getnframes() / sound.getframerate()
        parameters, data = sound.getparams(), sound.readframes(sound.getnframes())
    copies = max(round(wanted_s / length_s), 1)
    with wave.open(str(new / f"wav/{NAME}.wav"), "wb") as sound:
        sound.setparams(parameters)
        for _ in range(copies):
            sound.writeframes(data)
    ffmpeg.input(str(old / f"avi/DivX/{NAME}.avi"), stream_loop=copies - 1).output(
        str(new / f"avi/DivX/{NAME}.avi"), c="copy", loglevel="error"
    ).run(cmd=ffmpeg_path())
    repeat_annotations(old, new, copies, length_s)


def repeat_annotations(old: Path, new: Path, copies: int, length_s: float) -> None:
    """The labels and transcripts of each copy, moved in time and numbered on."""
    turns = list(parse_labels((old / f"EmoEvaluation/{NAME}.txt").read_text()))
    spoken = list(parse_transcript((old / f"transcriptions/{NAME}.txt").read_text()))
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
    (new / f"EmoEvaluation/{NAME}.txt").write_text("".join(labels))
    (new / f"transcriptions/{NAME}.txt").write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
