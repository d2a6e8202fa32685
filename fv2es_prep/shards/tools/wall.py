"""A wall of utterances for a page: faces, spectrum, class and words of a sample."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.types import Example
from fv2es_prep.utils.emotions import named

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 48
_FACES, _WIDTH, _HEIGHT = 4, 192, 44
_FLOOR_DB = 60.0
STYLE = """
.wall { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem }
.wall figure img { width: 100%; display: block; margin: 0; border: 0; image-rendering: auto }
.wall figcaption { font-weight: normal; font-size: .82em; overflow-wrap: anywhere; margin: .2rem 0 }
"""


def wall_html(directory: Path, catalogue: Catalogue) -> str:
    """Some utterances of each class; the same utterances for the same dataset."""
    places = _sample(catalogue)
    tiles = "".join(_tiles(directory, catalogue, places))
    parts = {"faces": f"up to {_FACES} faces", "mel": "the spectrum"}
    held = [text for stage, text in parts.items() if stage in catalogue.counts]
    return (
        f"<h2>Utterances</h2><p>{len(places)} of {len(catalogue)}, drawn from each class: "
        f"{', '.join([*held, 'class, id and words'])}.</p>"
        f"<style>{STYLE}</style><div class=wall>{tiles}</div>"
    )


def _sample(catalogue: Catalogue) -> NDArray[np.int64]:
    """Sorted rows of the catalogue: the same number from each class, if it has enough."""
    random = np.random.default_rng(0)
    columns = catalogue.label.T.astype(np.bool_)
    each = -(-_MOST // max(len(columns), 1))
    chosen = [np.zeros(0, np.int64)]
    for column in columns:
        rows = np.flatnonzero(column)
        chosen.append(random.choice(rows, min(each, len(rows)), replace=False))
    found = np.unique(np.concatenate(chosen))
    if not len(found):
        found = np.arange(min(len(catalogue), _MOST))
    return np.sort(random.choice(found, min(_MOST, len(found)), replace=False))


def _tiles(directory: Path, catalogue: Catalogue, places: NDArray[np.int64]) -> Iterator[str]:
    shards = catalogue.index.shards
    for shard in np.unique(catalogue.shard[places]):
        with ShardReader(directory / shards[shard].name) as reader:
            for place in places[catalogue.shard[places] == shard]:
                yield _tile(reader.read(int(catalogue.row[place])))


def _tile(example: Example) -> str:
    utterance = example.utterance
    labels = " + ".join(map(named, utterance.labels)) or "no class"
    words = f"<br>“{html.escape(utterance.transcript[:120])}”" if utterance.transcript else ""
    name = html.escape(utterance.id)
    return (
        f"<figure>{_faces(example)}{_spectrum(example)}"
        f"<figcaption><b>{html.escape(labels)}</b> <code>{name}</code>{words}</figcaption></figure>"
    )


def _faces(example: Example) -> str:
    faces = example.get("faces")
    if faces is None or not len(faces.rgb):
        return ""
    found = np.flatnonzero(faces.found)
    rows = found if len(found) else np.arange(len(faces.rgb))
    few = rows[np.linspace(0, len(rows) - 1, min(_FACES, len(rows))).astype(int)]
    strip = np.hstack(faces.rgb[few])
    # As wide as other tiles, even with fewer faces.
    space = strip.shape[0] * _FACES - strip.shape[1]
    return _image(np.pad(strip, ((0, 0), (0, max(space, 0)), (0, 0)), constant_values=127), "faces")


def _spectrum(example: Example) -> str:
    from PIL import Image

    mel = example.get("mel")
    if mel is None or not len(mel.log_power):
        return ""
    # No more rows than the picture has columns.
    rows = np.linspace(0, len(mel.log_power) - 1, min(len(mel.log_power), _WIDTH)).astype(int)
    decibels = 10 / np.log(10) * mel.log_power[rows].astype(np.float32)
    scaled = np.clip((decibels - decibels.max() + _FLOOR_DB) * 255 / _FLOOR_DB, 0, 255)
    picture = Image.fromarray(scaled.astype(np.uint8).T[::-1]).resize((_WIDTH, _HEIGHT))
    return _image(np.asarray(picture), "spectrum")


def _image(pixels: NDArray[np.uint8], what: str) -> str:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "jpeg", quality=75)
    data = base64.b64encode(target.getvalue()).decode()
    return f'<img alt="{what}" src="data:image/jpeg;base64,{data}">'
