"""The video of the demo dialogues: which picture is shown in which frame, and the encoding.

Owns the AVI files. How a face looks is the business of portraits.py. Frames are put together as
YUV 4:2:0 planes, which is what the encoder takes, so that a frame costs a few copies.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fv2es_prep.demo.portraits import (
    EXPRESSIONS,
    HALF_HEIGHT,
    HALF_WIDTH,
    MARGIN,
    REST,
    Expression,
    Portrait,
    express,
    make_portrait,
)
from fv2es_prep.demo.script import Dialogue, Turn

FRAME_RATE = (30_000, 1001)  # frames per second, as a fraction
_NOISE_STEPS = 5  # sensor noise: brightness differs by up to this many of 255 steps
_ROOM = 64  # the noise picture is larger by this, so that each frame takes another piece of it
_BLINK = Expression(eyes=-1.0)
_JAWS = (0.0, 2.5, 5.0)  # how far the mouth opens further in speaking, portrait pixels

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Picture:
    """A half picture with its margin as YUV 4:2:0: shapes (512, 392) and twice (256, 196)."""

    y: Plane
    u: Plane
    v: Plane


class _Actor:
    """One speaker before the camera; keeps the pictures of the turn being spoken."""

    def __init__(self, sex: str, dialogue: Dialogue, seed: int) -> None:
        self._portrait: Portrait = make_portrait(sex, dialogue.session, seed)
        self._turns = [turn for turn in dialogue.turns if turn.speaker == sex]
        self._rng = dialogue.chance(seed, ord(sex))
        self._rest = [_to_yuv(express(self._portrait, look)) for look in (REST, _BLINK)]
        self._phase = float(self._rng.uniform(0, 6))
        self._spoken: tuple[str, list[_Picture]] = ("", [])

    def picture(self, at_s: float) -> _Picture:
        """The picture at an instant, seconds: the turn's expression, or a face at rest."""
        for turn in self._turns:
            if turn.start_s <= at_s < turn.end_s:
                opened = abs(np.sin(2 * np.pi * 3.1 * at_s + self._phase))
                return self._speaking(turn)[int(opened * 2.999)]
        return self._rest[int((at_s + self._phase) % 3.2 < 0.13)]

    def offset(self, at_s: float) -> tuple[int, int]:
        """How far the head has moved down and right at an instant, pixels within MARGIN."""
        down = 3 * np.sin(0.9 * at_s + self._phase) + 1.5 * np.sin(4.3 * at_s)
        right = 4 * np.sin(0.7 * at_s + 2 * self._phase) + 1.5 * np.sin(3.7 * at_s)
        return MARGIN + round(float(down)), MARGIN + round(float(right))

    def _speaking(self, turn: Turn) -> list[_Picture]:
        """The pictures of a turn, mouth nearly closed to open; drawn when the turn begins."""
        if self._spoken[0] != turn.turn_id:
            look = _vary(EXPRESSIONS[turn.face], self._rng)
            pictures = [_to_yuv(express(self._portrait, _opened(look, jaw))) for jaw in _JAWS]
            if turn.hidden:
                pictures = [_behind_card(picture) for picture in pictures]
            self._spoken = (turn.turn_id, pictures)
        return self._spoken[1]


def _vary(look: Expression, rng: np.random.Generator) -> Expression:
    """The same expression, stronger or weaker, each part a little different."""
    strength = rng.uniform(0.75, 1.15)
    parts = {
        field.name: getattr(look, field.name) * strength * rng.uniform(0.8, 1.2)
        for field in fields(look)
    }
    parts["teeth"] = min(1.0, parts["teeth"])
    parts["tilt"] += rng.normal(0, 2.0)
    parts["light"] += rng.normal(0, 0.03)
    return Expression(**parts)


def _opened(look: Expression, jaw: float) -> Expression:
    """The same expression with the mouth further open, portrait pixels."""
    parts = {field.name: getattr(look, field.name) for field in fields(look)}
    return Expression(**{**parts, "jaw": look.jaw + jaw})


def _to_yuv(rgb: npt.NDArray[np.uint8]) -> _Picture:
    """Turns RGB, shape (512, 392, 3), into BT.601 planes."""
    red, green, blue = (rgb[..., band].astype(np.float32) for band in range(3))
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    chroma_u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    chroma_v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return _Picture(luma.astype(np.uint8), _halve(chroma_u), _halve(chroma_v))


def _halve(plane: npt.NDArray[np.float32]) -> Plane:
    """Averages each square of four pixels."""
    rows, columns = plane.shape
    squares = plane.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return np.asarray(squares, dtype=np.uint8)


def _behind_card(picture: _Picture) -> _Picture:
    """Hides the face and the hair behind a dark card."""
    y, u, v = picture.y.copy(), picture.u.copy(), picture.v.copy()
    top, left = HALF_HEIGHT // 2 + MARGIN - 140, HALF_WIDTH // 2 + MARGIN - 110
    y[top : top + 260, left : left + 220] = 30
    for plane in (u, v):
        plane[top // 2 : top // 2 + 130, left // 2 : left // 2 + 110] = 128
    return _Picture(y, u, v)


def draw_frames(dialogue: Dialogue, seed: int) -> Iterator[bytes]:
    """Draws the frames of a dialogue, one after the other.

    Args:
        dialogue: the plan.
        seed: random seed; equal arguments give equal frames.

    Yields:
        One frame as YUV 4:2:0 planes of a 720x480 picture, 518,400 bytes.
    """
    rng = dialogue.chance(seed, 19)
    right = "FM".replace(dialogue.left, "")
    actors = [_Actor(sex, dialogue, seed) for sex in (dialogue.left, right)]
    noise = _make_noise(rng)
    rate, unit = FRAME_RATE
    for number in range(int(dialogue.duration_s * rate / unit)):
        row, column = rng.integers(_ROOM, size=2)
        grain = noise[row : row + HALF_HEIGHT, column : column + 2 * HALF_WIDTH]
        yield _compose(actors, number * unit / rate, grain)


def _make_noise(rng: np.random.Generator) -> Plane:
    """Sensor noise; negative steps are kept as 256 minus the step, which wraps when added."""
    shape = (HALF_HEIGHT + _ROOM, 2 * HALF_WIDTH + _ROOM)
    return rng.integers(-_NOISE_STEPS, _NOISE_STEPS + 1, size=shape).astype(np.uint8)


def _compose(actors: list[_Actor], at_s: float, grain: Plane) -> bytes:
    """Puts the two halves side by side and adds the noise to the brightness."""
    halves = []
    for actor in actors:
        picture, (top, left) = actor.picture(at_s), actor.offset(at_s)
        halves.append((picture, top, left))
    # Brightness stays within 16 to 235, so noise of a few steps cannot wrap round.
    y = np.hstack([p.y[t : t + HALF_HEIGHT, x : x + HALF_WIDTH] for p, t, x in halves]) + grain
    small = [
        np.hstack(
            [
                plane[t // 2 : t // 2 + HALF_HEIGHT // 2, x // 2 : x // 2 + HALF_WIDTH // 2]
                for plane, t, x in planes
            ]
        )
        for planes in ([(p.u, t, x) for p, t, x in halves], [(p.v, t, x) for p, t, x in halves])
    ]
    return b"".join(plane.tobytes() for plane in (y, *small))


def film_dialogue(dialogue: Dialogue, path: Path, seed: int) -> None:
    """Draws and encodes the video of a dialogue the way IEMOCAP's are encoded.

    Args:
        dialogue: the plan.
        path: the AVI file to write.
        seed: random seed; equal arguments give equal bytes.

    Raises:
        RuntimeError: the encoder failed; the message holds what it printed.
    """
    # A killed run leaves only a .part file, which nobody takes for a video.
    part = path.with_name(path.name + ".part")
    with _start_encoder(part) as encoder:
        assert encoder.stdin is not None
        try:
            for frame in draw_frames(dialogue, seed):
                encoder.stdin.write(frame)
        except BrokenPipeError:
            pass  # The encoder has gone; what it printed and its exit status are raised below.
        said = encoder.communicate()[1].decode(errors="replace").strip()
    if encoder.returncode != 0:
        raise RuntimeError(f"{path}: the video encoder failed: {said}")
    part.replace(path)


def _start_encoder(path: Path) -> subprocess.Popen[bytes]:
    """Starts the encoder, which reads frames from its standard input."""
    import ffmpeg
    import imageio_ffmpeg

    size = f"{2 * HALF_WIDTH}x{HALF_HEIGHT}"
    frames = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="yuv420p", s=size, r="/".join(map(str, FRAME_RATE))
    )
    # Bit-exact and on one thread, so that no version string or split shows in the bytes.
    exact = {"fflags": "+bitexact", "flags:v": "+bitexact", "threads": 1}
    codec = {"c:v": "mpeg4", "vtag": "DX50", "b:v": "1800k", "g": 250, "bf": 0}
    stream = ffmpeg.output(frames, str(path), format="avi", **codec, **exact)
    stream = stream.global_args("-loglevel", "error", "-nostats").overwrite_output()
    encoder: subprocess.Popen[bytes] = stream.run_async(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), pipe_stdin=True, pipe_stderr=True
    )
    return encoder
