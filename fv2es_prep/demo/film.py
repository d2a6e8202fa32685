"""The video of the demo dialogues: the picture of each frame, and the encoding.

Frames are composed as YUV 4:2:0 planes, the encoder's input, so that a frame costs a few copies.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
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
_NOISE_STEPS = 5  # largest sensor noise, in steps of 255
_ROOM = 64  # margin of the noise picture; each frame takes another part of it
_BLINK = Expression(eyes=-1.0)
_JAWS = (0.0, 2.5, 5.0)  # additional opening of the mouth in speech, in portrait pixels

Plane = npt.NDArray[np.uint8]
# A half picture with its margin as YUV 4:2:0: shapes (512, 392) and twice (256, 196).
_Picture = tuple[Plane, Plane, Plane]


class _Actor:
    """One speaker; holds the pictures of the current turn."""

    def __init__(self, sex: str, dialogue: Dialogue, seed: int) -> None:
        self._portrait: Portrait = make_portrait(sex, dialogue.session, seed)
        self._turns = [turn for turn in dialogue.turns if turn.speaker == sex]
        self._rng = dialogue.chance(seed, ord(sex))
        self._rest = [_to_yuv(express(self._portrait, look)) for look in (REST, _BLINK)]
        self._phase = float(self._rng.uniform(0, 6))
        self._spoken: tuple[str, list[_Picture]] = ("", [])

    def picture(self, at_s: float) -> _Picture:
        """The picture at a time: the turn's expression, or a face at rest."""
        for turn in self._turns:
            if turn.start_s <= at_s < turn.end_s:
                opened = abs(np.sin(2 * np.pi * 3.1 * at_s + self._phase))
                return self._speaking(turn)[int(opened * 2.999)]
        return self._rest[int((at_s + self._phase) % 3.2 < 0.13)]

    def offset(self, at_s: float) -> tuple[int, int]:
        """Top and left edge of the crop in pixels; they move, so that the head sways."""
        down = 3 * np.sin(0.9 * at_s + self._phase) + 1.5 * np.sin(4.3 * at_s)
        right = 4 * np.sin(0.7 * at_s + 2 * self._phase) + 1.5 * np.sin(3.7 * at_s)
        return MARGIN + round(float(down)), MARGIN + round(float(right))

    def _speaking(self, turn: Turn) -> list[_Picture]:
        """The pictures of a turn, mouth nearly closed to open."""
        if self._spoken[0] != turn.turn_id:
            look = _vary(EXPRESSIONS[turn.face], self._rng)
            looks = [replace(look, jaw=look.jaw + jaw) for jaw in _JAWS]
            pictures = [_to_yuv(express(self._portrait, opened)) for opened in looks]
            if turn.hidden:
                pictures = [_behind_card(picture) for picture in pictures]
            self._spoken = (turn.turn_id, pictures)
        return self._spoken[1]


def _vary(look: Expression, rng: np.random.Generator) -> Expression:
    strength = rng.uniform(0.75, 1.15)
    parts = {name: x * strength * rng.uniform(0.8, 1.2) for name, x in asdict(look).items()}
    parts["teeth"] = min(1.0, parts["teeth"])
    parts["tilt"] += rng.normal(0, 2.0)
    parts["light"] += rng.normal(0, 0.03)
    return Expression(**parts)


def _to_yuv(rgb: npt.NDArray[np.uint8]) -> _Picture:
    """RGB, shape (512, 392, 3), as BT.601 planes."""
    red, green, blue = (rgb[..., band].astype(np.float32) for band in range(3))
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    chroma_u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    chroma_v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return luma.astype(np.uint8), _halve(chroma_u), _halve(chroma_v)


def _halve(plane: npt.NDArray[np.float32]) -> Plane:
    rows, columns = plane.shape
    squares = plane.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return np.asarray(squares, dtype=np.uint8)


def _behind_card(picture: _Picture) -> _Picture:
    y, u, v = (plane.copy() for plane in picture)
    top, left = HALF_HEIGHT // 2 + MARGIN - 140, HALF_WIDTH // 2 + MARGIN - 110
    y[top : top + 260, left : left + 220] = 30
    for plane in (u, v):
        plane[top // 2 : top // 2 + 130, left // 2 : left // 2 + 110] = 128
    return y, u, v


def draw_frames(dialogue: Dialogue, seed: int) -> Iterator[bytes]:
    """The frames of a dialogue, each as YUV 4:2:0 planes of 720x480 pixels, 518,400 bytes."""
    rng = dialogue.chance(seed, 19)
    right = "FM".replace(dialogue.left, "")
    actors = [_Actor(sex, dialogue, seed) for sex in (dialogue.left, right)]
    shape = (HALF_HEIGHT + _ROOM, 2 * HALF_WIDTH + _ROOM)
    # Negative steps are kept as 256 minus the step, which wraps when added.
    noise = rng.integers(-_NOISE_STEPS, _NOISE_STEPS + 1, size=shape).astype(np.uint8)
    rate, unit = FRAME_RATE
    for number in range(int(dialogue.duration_s * rate / unit)):
        row, column = rng.integers(_ROOM, size=2)
        grain = noise[row : row + HALF_HEIGHT, column : column + 2 * HALF_WIDTH]
        yield _compose(actors, number * unit / rate, grain)


def _compose(actors: list[_Actor], at_s: float, grain: Plane) -> bytes:
    """The two halves side by side, with noise on the brightness."""
    planes: list[list[Plane]] = [[], [], []]
    for actor in actors:
        picture, (top, left) = actor.picture(at_s), actor.offset(at_s)
        for plane, parts, step in zip(picture, planes, (1, 2, 2), strict=True):
            t, x = top // step, left // step
            parts.append(plane[t : t + HALF_HEIGHT // step, x : x + HALF_WIDTH // step])
    y, u, v = map(np.hstack, planes)
    # Brightness stays within 16 to 235, so the noise cannot overflow.
    return b"".join(plane.tobytes() for plane in (y + grain, u, v))


def film_dialogue(dialogue: Dialogue, path: Path, seed: int) -> None:
    """Draw a dialogue and encode it as an AVI file like IEMOCAP's; equal arguments, equal bytes.

    Raises:
        RuntimeError: the encoder failed; the message holds its output.
    """
    # A killed run leaves only a .part file.
    part = path.with_name(path.name + ".part")
    with _start_encoder(part) as encoder:
        assert encoder.stdin is not None
        try:
            for frame in draw_frames(dialogue, seed):
                encoder.stdin.write(frame)
        except BrokenPipeError:
            pass  # The encoder has ended; its output and exit status are raised below.
        said = encoder.communicate()[1].decode(errors="replace").strip()
    if encoder.returncode != 0:
        raise RuntimeError(f"{path}: the video encoder failed: {said}")
    part.replace(path)


def _start_encoder(path: Path) -> subprocess.Popen[bytes]:
    import imageio_ffmpeg

    size, rate = f"{2 * HALF_WIDTH}x{HALF_HEIGHT}", "/".join(map(str, FRAME_RATE))
    frames = f"-f rawvideo -pix_fmt yuv420p -s {size} -r {rate} -i pipe:"
    codec = "-c:v mpeg4 -vtag DX50 -b:v 1800k -g 250 -bf 0"
    # Bit-exact and on one thread: no version string and no thread count in the bytes.
    exact = "-fflags +bitexact -flags:v +bitexact -threads 1"
    options = f"-v error -nostats -y {frames} -f avi {codec} {exact}".split()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *options, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
