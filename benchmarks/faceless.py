"""Decisions on clips with a face and without one: `python -m benchmarks.faceless --run RUN`.

Makes 60 silent clips without a face (title cards, landscapes, objects) and 60 with a face (people
of the demo corpus), predicts each with a trained run, and counts those that get a decision from the
picture. Expected are at most 2 of the first and at least 58 of the second kind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fv2es_prep.demo.portraits import EXPRESSIONS, express, make_portrait
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span

Picture = NDArray[np.uint8]
WIDTH, HEIGHT, RATE_HZ, PICTURES = 480, 360, 8, 20
EACH = 20
MOST_WITHOUT, LEAST_WITH = 2, 58
_WORDS = (
    "THE END",
    "Chapter",
    "PART",
    "Directed by",
    "A FILM",
    "Episode",
    "NEWS",
    "Act",
    "Credits",
)
_OBJECTS = (
    *("coffee", "rocket", "hubble_deep_field", "chelsea", "coins", "clock", "brick", "grass"),
    *("gravel", "moon", "horse", "text", "page", "retina", "cell", "immunohistochemistry"),
)


def main(arguments: list[str] | None = None) -> int:
    """Make the clips, predict them and print the counts; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faceless", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--tokenizer", help="directory of the tokenizer, if it was moved")
    parser.add_argument("--out", type=Path, default=Path("build/faceless"))
    options = parser.parse_args(arguments)
    predictor = Predictor.load(options.run, "cpu", options.tokenizer, "none")
    counts: dict[str, dict[str, int]] = {}
    for kind, clip in make_clips(options.out):
        count = counts.setdefault(kind, {"clips": 0, "decided": 0})
        count["clips"] += 1
        count["decided"] += decided(predictor, clip)
    without = sum(counts[kind]["decided"] for kind in counts if kind != "people")
    kept = counts["people"]["decided"]
    print(json.dumps({**counts, "without_a_face": without, "with_a_face": kept}, indent=2))
    return int(without > MOST_WITHOUT or kept < LEAST_WITH)


def decided(predictor: Predictor, clip: Path) -> bool:
    """Whether the picture of a clip leads to a decision or to a likely class."""
    spans = (Span(0, PICTURES / RATE_HZ),)
    return any("v" in one.used and one.top for one in predictor.predict(Request(clip, spans=spans)))


def make_clips(out: Path) -> Iterator[tuple[str, Path]]:
    """Write the clips; yield kind and path of each."""
    out.mkdir(parents=True, exist_ok=True)
    makers: dict[str, tuple[int, Callable[[int, np.random.Generator], Picture]]] = {
        "titles": (EACH, _title),
        "landscapes": (EACH, _landscape),
        "objects": (EACH, _object),
        "people": (3 * EACH, _person),
    }
    for kind, (count, make) in makers.items():
        for number in range(count):
            rng = np.random.default_rng([number, len(kind)])
            path = out / f"{kind}-{number:02d}.avi"
            _write(path, make(number, rng), rng)
            yield kind, path


def _write(path: Path, picture: Picture, rng: np.random.Generator) -> None:
    """Write a clip in which a larger picture moves slowly, with some noise."""
    import cv2

    code: int = cv2.VideoWriter.fourcc(*"MJPG")
    writer: Any = cv2.VideoWriter(str(path), code, RATE_HZ, (WIDTH, HEIGHT))
    drift = rng.integers(0, 2, 2) * 2 - 1
    for number in range(PICTURES):
        x, y = (PICTURES + drift * number).tolist()
        part = picture[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)
        noisy = part + rng.normal(0, 3, part.shape)
        writer.write(np.clip(noisy, 0, 255).astype(np.uint8)[..., ::-1].copy())
    writer.release()


def _fitted(picture: Picture) -> Picture:
    """Scale a generated picture: larger than the crop by the distance that the crop moves."""
    import cv2

    size = (WIDTH + 2 * PICTURES, HEIGHT + 2 * PICTURES)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _plain(low: NDArray[Any], high: NDArray[Any]) -> Picture:
    """A vertical gradient between two colours."""
    share = np.linspace(0, 1, HEIGHT + 2 * PICTURES)[:, None, None]
    rows = low * (1 - share) + high * share
    return np.repeat(rows, WIDTH + 2 * PICTURES, axis=1).astype(np.uint8)


def _title(number: int, rng: np.random.Generator) -> Picture:
    import cv2

    colours = rng.integers(0, 110, (2, 3))
    picture = _plain(*colours)
    ink = tuple(map(int, rng.integers(170, 256, 3)))
    for line in range(int(rng.integers(1, 4))):
        words = f"{_WORDS[(number + line) % len(_WORDS)]} {number + line}"
        place = (int(rng.integers(40, 160)), 120 + 90 * line)
        scale, thick = float(rng.uniform(1.2, 2.6)), int(rng.integers(2, 6))
        picture = np.ascontiguousarray(picture)
        cv2.putText(picture, words, place, number % 5, scale, ink, thick, cv2.LINE_AA)
    return picture


def _landscape(_: int, rng: np.random.Generator) -> Picture:
    sky = np.array([[60, 110, 190], [210, 220, 235]]) + rng.integers(-30, 30, (2, 3))
    picture = _plain(*np.clip(sky, 0, 255))
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    sun = np.hypot(rows - rng.integers(40, 120), columns - rng.integers(60, 420))
    picture[sun < rng.integers(14, 36)] = (250, 240, 190)
    for ridge in range(4):
        waves = rng.uniform(0.005, 0.03, 3)[:, None] * columns[0] + rng.uniform(0, 6, 3)[:, None]
        top = 150 + 55 * ridge + (rng.uniform(5, 30, 3)[:, None] * np.sin(waves)).sum(0)
        green = np.array([40, 90, 50]) * (0.5 + 0.2 * ridge) + rng.integers(-15, 15, 3)
        picture[rows > top] = np.clip(green, 0, 255).astype(np.uint8)
    return picture


def _object(number: int, _: np.random.Generator) -> Picture:
    from skimage import data

    name = _OBJECTS[number % len(_OBJECTS)]
    found = np.asarray(getattr(data, name)())
    if found.dtype == bool:
        found = found * np.uint8(255)
    picture = np.stack([found] * 3, -1) if found.ndim == 2 else found[..., :3]
    # In the second round, use another part of it.
    share = 1.0 if number < len(_OBJECTS) else 0.7
    height, width = (int(share * side) for side in picture.shape[:2])
    return _fitted(np.ascontiguousarray(picture[:height, :width]))


def _person(number: int, rng: np.random.Generator) -> Picture:
    portrait = make_portrait("FM"[number % 2], number // 2, seed=1)
    looks = list(EXPRESSIONS.values())
    person = express(portrait, looks[number % len(looks)])
    backdrop = _landscape(number, rng)
    height, width = person.shape[:2]
    top = backdrop.shape[0] - min(height, backdrop.shape[0])
    left = int(rng.integers(40, backdrop.shape[1] - width - 40))
    backdrop[top:, left : left + width] = person[: backdrop.shape[0] - top]
    return backdrop


if __name__ == "__main__":
    raise SystemExit(main())
