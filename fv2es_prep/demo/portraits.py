"""Pictures of the demo speakers: ten people and six expressions from one portrait.

Positions on the face are in "portrait pixels": pixels of the original picture from the middle of
the face, x to the right and y down. The face is about 87 wide and 110 high.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

HALF_WIDTH, HALF_HEIGHT = 360, 480
# Portraits are larger than the half picture on each side, so that a head can move.
MARGIN = 16
_FACE_X, _FACE_Y = 224.0, 117.0  # middle of the face in the original picture
_REACH = 112  # half the side of the square around the face that an expression changes, pixels

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expression:
    """How a face departs from rest; lengths in portrait pixels."""

    smile: float = 0.0  # corners of the mouth up (negative: down)
    wide: float = 0.0  # corners of the mouth apart (negative: together)
    teeth: float = 0.0  # share of the teeth that shows, 0 to 1
    jaw: float = 0.0  # how far the mouth stands open
    brow: float = 0.0  # brows up (negative: down)
    slant: float = 0.0  # inner ends of the brows up and outer ends down (negative: the reverse)
    eyes: float = 0.0  # eyelids apart, as a share of the eye's height (negative: closing)
    tilt: float = 0.0  # head towards the shoulder, degrees
    nod: float = 0.0  # face down, towards the chest (negative: up)
    flush: float = 0.0  # red added to the skin (negative: pallor), as a share
    light: float = 0.0  # brightness added to the face, as a share
    above: float = 0.0  # brightness added to the brow and taken from the chin, as a share


REST = Expression()
EXPRESSIONS = {
    "ang": Expression(-3, -2, 0.7, 3, -6, -5, 0.1, 0, 3, 0.22, -0.06, -0.12),
    "exc": Expression(3, 2, 1.0, 10, 8, 1, 0.5, -4, -5, 0.08, 0.14, 0.08),
    "fru": Expression(-4, -5, 0.0, 0, -3, 4, -0.5, 8, 0, 0.10, -0.16, 0.06),
    "hap": Expression(5, 5, 1.0, 2, 3, 0, -0.3, -6, 0, 0.05, 0.10, -0.08),
    "neu": Expression(0, 0, 0.1, 1, 0, 0, 0.0, 0, 0, 0.0, 0.0, 0.0),
    "sad": Expression(-7, -1, 0.0, 0, 2, 6, -0.4, 5, 7, -0.14, -0.10, -0.06),
}


@dataclass(frozen=True)
class Portrait:
    """A speaker's head and shoulders at rest."""

    lips: Image  # float32 (512, 392, 3), RGB 0 to 255, mouth closed
    smile: Image  # the same with the teeth showing
    right: Image  # float32 (512, 392), portrait pixels right of the middle
    down: Image  # float32 (512, 392), portrait pixels below the middle
    pixels: tuple[float, float]  # picture pixels per portrait pixel (x, y); negative if mirrored


def make_portrait(sex: str, session: int, seed: int) -> Portrait:
    """The speaker of a session, sex "F" or "M", made from the public-domain portrait."""
    rng = np.random.default_rng([seed, session, ord(sex), 17])
    scale = rng.uniform(0.92, 1.05) * (1.04 if sex == "M" else 1.0)
    mirror = 1 if rng.random() < 0.5 else -1
    pixels = (mirror * scale * rng.uniform(0.94, 1.06), scale)
    rows, columns = np.mgrid[: HALF_HEIGHT + 2 * MARGIN, : HALF_WIDTH + 2 * MARGIN]
    right = ((columns - HALF_WIDTH / 2 - MARGIN) / pixels[0]).astype(np.float32)
    down = ((rows - HALF_HEIGHT / 2 - MARGIN) / pixels[1]).astype(np.float32)
    # Men have a heavier jaw: the lower face is sampled from nearer the middle.
    jaw = 1 - (0.10 if sex == "M" else 0.0) * _bell(right, down, 0, 45, 60, 25)
    smile = _sample(_original(), _FACE_Y + down, _FACE_X + right * jaw)
    smile = _dress(smile, right, down, sex, rng)
    return Portrait(_close_lips(smile, right, down), smile, right, down, pixels)


@cache
def _original() -> Image:
    """The portrait of Eileen Collins, float32 (512, 512, 3), RGB."""
    from skimage.data import astronaut

    return np.asarray(astronaut(), dtype=np.float32)


def _sample(image: Image, rows: Image, columns: Image) -> Image:
    """The image at fractional positions, linear; the edge continues outside."""
    from scipy.ndimage import map_coordinates

    planes = [
        map_coordinates(image[..., band], (rows, columns), order=1, mode="nearest", prefilter=False)
        for band in range(3)
    ]
    return np.stack(planes, axis=-1).astype(np.float32)


def _bell(right: Image, down: Image, x: float, y: float, width: float, height: float) -> Image:
    """A bell of height 1 around a place on the face."""
    bell = np.exp(-0.5 * (((right - x) / width) ** 2 + ((down - y) / height) ** 2))
    return np.asarray(bell, dtype=np.float32)


def _oval(right: Image, down: Image, x: float, y: float, width: float, height: float) -> Image:
    """1 inside an oval, 0 outside, with a soft rim."""
    distance = np.sqrt(((right - x) / width) ** 2 + ((down - y) / height) ** 2)
    return np.asarray(np.clip((1.0 - distance) * 8 + 0.5, 0, 1), dtype=np.float32)


def _dress(image: Image, right: Image, down: Image, sex: str, rng: np.random.Generator) -> Image:
    """The image with a speaker's own skin, hair, clothes and backdrop."""
    original = image
    clothes = np.clip((image[..., 0] - image[..., 2] - 80) / 60, 0, 1) * (down > 55)
    grey = image.mean(axis=-1, keepdims=True)
    dyed = grey * rng.uniform(0.3, 1.3, 3).astype(np.float32)
    image = _blend(image, dyed, clothes.astype(np.float32))
    hair = _oval(right, down, 3, -22, 80, 82) * (1 - _oval(right, down, 0, 10, 42, 58))
    shade = rng.uniform(0.45, 0.8) if sex == "M" else rng.uniform(0.7, 1.1)
    image = _blend(image, (0.5 * grey + 0.5 * image) * shade, hair)
    for side in (-1, 1):
        image = _blend(image, image * 0.45, _bell(right, down, side * 26 + 1, -27, 9, 2.2))
    person = np.maximum(_oval(right, down, 3, -22, 82, 84), _oval(right, down, -8, 190, 170, 150))
    person = person * (1 - _old_backdrop(original, right, down))
    backdrop = rng.uniform(60, 190, 3) * (1 + 0.001 * down[..., None])
    tint = rng.uniform(0.94, 1.06, 3) * rng.uniform(0.88, 1.06)
    return _blend(backdrop.astype(np.float32), image * tint.astype(np.float32), person)


def _old_backdrop(image: Image, right: Image, down: Image) -> Image:
    """The portrait's own backdrop: bright and grey, outside the face and the collar."""
    spread = image.max(axis=-1) - image.min(axis=-1)
    grey = np.clip((55 - spread) / 15, 0, 1) * np.clip((image.mean(axis=-1) - 120) / 25, 0, 1)
    face = _oval(right, down, 0, 10, 50, 64)
    collar = _oval(right, down, -17, 110, 98, 74)
    return np.asarray(grey * (1 - np.maximum(face, collar)), dtype=np.float32)


def _blend(below: Image, above: Image, weight: Image) -> Image:
    mixed = below + (above - below) * weight[..., None]
    return np.asarray(mixed, dtype=np.float32)


def _close_lips(image: Image, right: Image, down: Image) -> Image:
    """Paint lips over the portrait's teeth, along the curve of its smile."""
    level = np.asarray(down + 6 * (right / 19) ** 2, dtype=np.float32)
    # The colour is that of the picture's lower lip.
    lip = image[_bell(right, down, 0, 35.5, 6, 1.2) > 0.5].mean(axis=0)
    lips = _oval(right, level, 0, 28, 19, 5.5)
    image = _blend(image, np.broadcast_to(lip * 0.92, image.shape), lips)
    return _blend(image, image * 0.6, _bell(right, level, 0, 28, 9, 0.9))


def express(portrait: Portrait, look: Expression) -> npt.NDArray[np.uint8]:
    """A speaker with an expression: uint8 (512, 392, 3), RGB, a half picture with MARGIN."""
    middle = (HALF_HEIGHT // 2 + MARGIN, HALF_WIDTH // 2 + MARGIN)
    box = tuple(slice(at - _REACH, at + _REACH) for at in middle)
    right, down = portrait.right[box], portrait.down[box]
    shift_x, shift_y = _shifts(right, down, look)
    rows, columns = np.mgrid[: 2 * _REACH, : 2 * _REACH].astype(np.float32)
    rows = rows - shift_y * portrait.pixels[1]
    columns = columns - shift_x * portrait.pixels[0]
    face = _blend(portrait.lips[box], portrait.smile[box], np.full_like(right, look.teeth))
    face = _sample(_open_mouth(face, right, down, look), rows, columns)
    drawn = portrait.lips.copy()
    drawn[box] = _light(face, right, down, look)
    return np.asarray(np.clip(drawn, 0, 255), dtype=np.uint8)


def _shifts(right: Image, down: Image, look: Expression) -> tuple[Image, Image]:
    """Displacement of each point of the face, right and down, portrait pixels."""
    head = _bell(right, down, 0, -10, 48, 52)
    turn = np.deg2rad(look.tilt)
    shift_x = -turn * (down - 60) * head
    shift_y = turn * right * head + look.nod * head
    shift_y += look.jaw * _bell(right, down, 0, 40, 22, 12)
    shift_y -= look.jaw * 0.25 * _bell(right, down, 0, 20, 16, 6)
    for side in (-1, 1):
        corner = _bell(right, down, side * 19, 25, 9, 9)
        shift_y -= look.smile * corner
        shift_x += side * look.wide * corner
        inner, outer = (_bell(right, down, side * x + 1, -27, 8, 6) for x in (12, 34))
        shift_y -= look.brow * _bell(right, down, side * 24 + 1, -27, 15, 7)
        shift_y -= look.slant * (inner - 0.8 * outer)
        eye = _bell(right, down, side * 21, -14, 12, 6)
        shift_y += look.eyes * (down + 14) * eye
    return np.asarray(shift_x, np.float32), np.asarray(shift_y, np.float32)


def _open_mouth(face: Image, right: Image, down: Image, look: Expression) -> Image:
    """Darken the inside of an open mouth, below the upper teeth."""
    if look.jaw < 1.5:
        return face
    inside = _oval(right, down, 0, 29, 12, 1.5 + 0.35 * look.jaw)
    return _blend(face, np.broadcast_to(np.array([60, 20, 22], np.float32), face.shape), inside)


def _light(face: Image, right: Image, down: Image, look: Expression) -> Image:
    near = _bell(right, down, 0, 5, 36, 42)
    cheeks = near * 0.6 + 0.7 * (
        _bell(right, down, -24, 12, 12, 12) + _bell(right, down, 24, 12, 12, 12)
    )
    gain = 1 + (look.light - look.above * down / 40) * near
    red = look.flush * cheeks
    return np.asarray(
        face * gain[..., None] * np.stack([1 + 0.5 * red, 1 - red, 1 - red], axis=-1), np.float32
    )
