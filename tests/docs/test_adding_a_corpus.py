"""The tables and the adapter that docs/adding-a-corpus.md shows do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ffmpeg
import pytest

from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.corpora.table import COLUMNS, scan
from fv2es_prep.media.ffmpeg import ffmpeg_path

PAGE = Path(__file__).parents[2] / "docs/adding-a-corpus.md"
TEXT = PAGE.read_text("utf-8")
TABLES = dict(re.findall(r"### ([^\n]+)\n(?:(?!###).)*?```text\n(.*?)```", TEXT, re.DOTALL))
CLASSES = {
    "MELD": ("fear", "neutral"),
    "CREMA-D": ("ANG", "HAP", "SAD"),
    "RAVDESS": ("angry", "fearful", "happy"),
    "Long recordings, several classes": ("anger", "joy", "surprise"),
}
MEDIA = re.compile(r"[\w/-]+\.(?:mp4|flv|wav)")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test picture of 1.5 s with a tone."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    picture = ffmpeg.input("testsrc2=s=64x48:r=25:d=1.5", f="lavfi")
    tone = ffmpeg.input("sine=frequency=440:duration=1.5", f="lavfi")
    ffmpeg.output(picture, tone, str(path), loglevel="error").run(cmd=ffmpeg_path())
    return path


def test_all_columns_are_described():
    described = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", TEXT, re.MULTILINE)))
    )
    assert described == set(COLUMNS)


@pytest.mark.parametrize("name", CLASSES)
def test_a_table_of_the_page_is_read(name, clip, tmp_path):
    for media in set(MEDIA.findall(TABLES[name])):
        path = tmp_path / media
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(clip)
    table = tmp_path / "table.csv"
    table.write_text(TABLES[name], "utf-8")
    inventory = scan(table, LabelChoice(()))
    assert len(inventory.utterances) == 3
    assert not inventory.dropped
    assert inventory.label_classes == CLASSES[name]
    assert inventory.without_text == {"CREMA-D": 3, "Long recordings, several classes": 1}.get(
        name, 0
    )


def test_the_page_shows_no_other_table():
    assert TABLES.keys() == CLASSES.keys()


def test_the_adapter_of_the_page_is_whole(clip, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(code, PAGE.name, "exec"), module)
    for path in ("anger/1.mkv", "joy/1.mkv", "joy/notes.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to(clip)
    clips = module["CLIPS"]
    inventory = clips.scan(tmp_path, LabelChoice(clips.classes), clips.options())
    assert [u.labels for u in inventory.utterances] == [("anger",), ("joy",)]
    assert [entry.reason for entry in inventory.dropped] == ["not_a_recording"]
