"""A small corpus in CMU-MOSEI's layout with the defects of the real one, made by a script.

Owns the files. What is to become of each utterance stands in `test_mosei`.

Each picture has its own number in black and white squares along its upper edge, so that it can be
told which one was taken.
"""

from __future__ import annotations

import csv
import os
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import h5py
import numpy as np
from scipy.io import wavfile

from fv2es_prep.demo.portraits import EXPRESSIONS, express, make_portrait
from fv2es_prep.media.ffmpeg import ffmpeg_path

RATE_HZ = 16_000
BITS = 10
SQUARE_PX = 16
"""Side of a square of the number, in a picture of 360 lines."""


@dataclass(frozen=True)
class Line:
    """One utterance: sums of three raters for anger, disgust, fear, happy, sad, surprise."""

    number: int
    start_s: float
    end_s: float
    text: str
    sums: tuple[int, ...] | None = (0, 0, 0, 1, 0, 0)
    sentiment: int = 2


@dataclass(frozen=True)
class Film:
    """A video: pictures a second, height, length, where the picture is black, what is there."""

    fps: str = "25"
    lines_px: int = 360
    seconds: float = 2.0
    left_px: int = 100
    black_from_s: float = 99.0
    wav: bool = True


FILMS = {
    "_0efYOjQYRc": Film("25", seconds=6.0),
    "-3g5yACwYnA": Film("30000/1001", seconds=5.2, black_from_s=4.0, wav=False),
    "abc_": Film("30", 1080, 2.2, left_px=-150),
    "parts_0": Film("25", seconds=1.6, wav=False),
}
SPOKEN = {
    "_0efYOjQYRc": [
        Line(0, -0.3, 2.025, "Before the beginning.", (3, 0, 0, 0, 2, 0), -4),
        Line(1, 1.814, 4.0, "Vettese has served.", (0, 0, 1, 9, 0, 0), 5),
        Line(10, 3.5, 5.0, "Caf\N{LATIN SMALL LETTER E WITH ACUTE}: 5:30."),
        Line(2, 5.0, 6.9, "It ends too late.", (0, 6, 0, 0, 0, 3), -9),
        Line(3, 5.9, 9.0, "It is hardly there."),
    ],
    "-3g5yACwYnA": [
        Line(10, 0.0, 1.5, "One ___ and another."),
        Line(2, 1.4, 3.0, "", (0, 0, 0, 0, 5, 0)),
        Line(3, 4.1, 5.1, "All is black."),
        Line(5, 2.0, 2.6, "Nobody rated it.", None),
    ],
    "abc_": [Line(0, 0.0, 2.0, "No emotion at all.", (0, 0, 0, 0, 0, 0), 0)],
    "--x__": [Line(0, 0.0, 2.0, "The video is missing.")],
    "corrupt": [Line(0, 0.0, 1.0, "The video is damaged."), Line(1, 1.0, 2.0, "Too.")],
    "parts": [Line(0, 10.0, 11.5, "A video of its own."), Line(1, 11.3, 12.5, "It has none.")],
}
ODD_LINES = {
    "-3g5yACwYnA": [
        "-3g5yACwYnA___4______3.0___Its start is empty.",
        "-3g5yACwYnA______1.0___2.0___It has no number.",
        "-3g5yACwYnA___2___0.0___1.0___The number was there.",
        "something else",
        "",
    ]
}
RATED_ONLY = {"notext": Line(0, 0.0, 1.5, ""), "_0efYOjQYRc": Line(77, 50.0, 60.0, "")}


def make_mosei(root: Path) -> Path:
    """Write the corpus below ``root / "Raw"``, with both sources of labels."""
    base = root / "Raw"
    full, parts = base / "Videos/Full/Combined", base / "Videos/Segmented/Combined"
    sounds, texts = base / "Audio/Full/WAV_16000", base / "Transcript/Segmented/Combined"
    for folder in (full, parts, sounds, texts, base / "Labels"):
        folder.mkdir(parents=True)
    for name, film in FILMS.items():
        path = (parts if name.startswith("parts") else full) / f"{name}.mp4"
        make_film(path, film, sounds / f"{name}.wav")
    (full / "corrupt.mp4").write_bytes((full / "abc_.mp4").read_bytes()[:5000])
    os.link(full / "-3g5yACwYnA.mp4", full / "notext.mp4")
    os.link(full / "-3g5yACwYnA.mp4", full / "unused.mp4")
    os.link(parts / "parts_0.mp4", parts / "parts_9.mp4")
    for name in ("corrupt", "lonely"):
        os.link(sounds / "abc_.wav", sounds / f"{name}.wav")
    (full / "._abc_.mp4").write_bytes(b"\0\5\x16\7")
    (texts / "._abc_.txt").write_bytes(b"\0\5\x16\7")
    for video, lines in SPOKEN.items():
        rows = [f"{video}___{s.number}___{s.start_s}___{s.end_s}___{s.text}" for s in lines]
        text = "\r\n".join([*rows, *ODD_LINES.get(video, [])]) + "\r\n"
        (texts / f"{video}.txt").write_text(text, encoding="utf-8", newline="")
    write_raters(base / "Labels")
    write_csd(root / "CMU_MOSEI_Labels.csd")
    return root


def rated() -> list[tuple[str, Line]]:
    """(video, line) of everything that was rated."""
    spoken = [(video, line) for video, lines in SPOKEN.items() for line in lines]
    return [*((v, line) for v, line in spoken if line.sums is not None), *RATED_ONLY.items()]


def make_film(path: Path, film: Film, sound: Path) -> None:
    """An mp4 with H.264, B-frames and AAC; the sound stays as a file of its own if asked for."""
    samples = np.arange(int(film.seconds * RATE_HZ))
    tone = np.sin(samples * 0.1) * (0.3 + 0.2 * np.sin(samples * 0.002))
    wavfile.write(sound, RATE_HZ, (tone * 20_000).astype(np.int16))
    width, height = film.lines_px * 16 // 9, film.lines_px
    command = [ffmpeg_path(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", film.fps, "-i", "pipe:0", "-i", str(sound)]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-bf", "2", "-g", "30"]
    command += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k", "-y", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for number in range(int(Fraction(film.fps) * Fraction(str(film.seconds)))):
            encoder.stdin.write(draw(film, number).tobytes())
    assert encoder.returncode == 0
    if not film.wav:
        sound.unlink()


def draw(film: Film, number: int) -> np.ndarray:
    """One picture: somebody on a plain wall, who sways a little, and the picture's number."""
    width, height = film.lines_px * 16 // 9, film.lines_px
    picture = np.full((height, width, 3), 90, np.uint8)
    if number / Fraction(film.fps) >= film.black_from_s:
        return np.zeros_like(picture)
    person = portrait(height)
    left = film.left_px + round(4 * np.sin(number / 7))
    begin, end = max(left, 0), min(left + person.shape[1], width)
    picture[:, begin:end] = person[:, begin - left : end - left]
    side = SQUARE_PX * film.lines_px // 360
    for bit in range(BITS):
        picture[:side, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
    return picture


def portrait(height: int, known: dict[int, np.ndarray] = {}) -> np.ndarray:  # noqa: B006  # a cache
    """One of the demo's speakers as high as the picture: uint8 (height, W, 3)."""
    if height not in known:
        smiling = express(make_portrait("F", 1, 5), EXPRESSIONS["hap"])
        wide = round(smiling.shape[1] * height / smiling.shape[0])
        known[height] = cv2.resize(smiling, (wide, height)).astype(np.uint8)
    return known[height]


def number_in(view: np.ndarray, lines_px: int) -> int:
    """The number that is in a view of so many lines, whose left and upper edges are whole."""
    side = SQUARE_PX * lines_px // 360
    middles = [(bit * side + side // 2) for bit in range(BITS)]
    return sum((view[side // 2, x].mean() > 128) << bit for bit, x in enumerate(middles))


def write_raters(folder: Path) -> None:
    """Two tables as Mechanical Turk exports them: three raters of each, among other columns."""
    head = ["HITId", "Input.VIDEO_ID", "Input.CLIP", "WorkerId"]
    head += [f"Answer.{name}" for name in ("anger", "disgust", "fear", "happiness", "sadness")]
    head += ["Answer.surprise", "Answer.sentiment", "Answer.comment"]
    entries = rated()
    for name, part in (("one.csv", entries[::2]), ("two.csv", entries[1::2])):
        with (folder / name).open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.writer(file)
            table.writerow(head)
            for video, line in part:
                for rater in range(3):
                    votes = [share(total, rater) for total in (*line.sums, line.sentiment)]
                    table.writerow(["H", video, line.number, f"W{rater}", *votes, "a, b"])
            if name == "two.csv":
                table.writerow(["H", "", "", "W0", *"0000000", ""])


def share(total: int, rater: int) -> int:
    """What one of three raters gives to a sum, at most 3 each."""
    left = max(abs(total) - 3 * rater, 0)
    return int(np.sign(total)) * min(left, 3)


def write_csd(path: Path) -> None:
    """The means of the same raters; rows in the reverse order, a start before 0 is 0."""
    videos: dict[str, list[Line]] = {}
    for video, line in rated():
        videos.setdefault(video, []).insert(0, line)
    with h5py.File(path, "w") as file:
        file["All Labels/metadata/root name"] = ["All Labels"]
        for video, lines in videos.items():
            rows = []
            for line in lines:
                anger, disgust, fear, happy, sad, surprise = line.sums
                rows.append([line.sentiment, happy, sad, anger, surprise, disgust, fear])
            group = file.create_group(f"All Labels/data/{video}")
            group["features"] = np.array(rows, np.float32) / 3
            group["intervals"] = [[max(line.start_s, 0), line.end_s] for line in lines]
