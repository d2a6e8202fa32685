"""A corpus of another installed package is prepared and verified from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ffmpeg
import pytest

from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.shards.index import read_index
from tests.command_line import fv2es

PAGE = Path(__file__).parents[2] / "docs/adding-a-corpus.md"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The adapter of docs/adding-a-corpus.md, installed as a package of its own."""
    site = tmp_path / "site"
    info = site / "clips_corpus-1.0.dist-info"
    info.mkdir(parents=True)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (site / "clips_corpus.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clips-corpus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fv2es.corpora]\nclips = clips_corpus:CLIPS\n")
    return site


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two clips of two classes, and a file that is no clip."""
    for number, name in enumerate(("anger/1.mp4", "joy/1.mp4", "joy/notes.txt")):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no clip")
            continue
        picture = ffmpeg.input(f"testsrc2=s=64x48:r=25:d={1 + number}", f="lavfi")
        tone = ffmpeg.input(f"sine=frequency={440 + 220 * number}:duration={1 + number}", f="lavfi")
        ffmpeg.output(picture, tone, str(path), loglevel="error").run(cmd=ffmpeg_path())
    return tmp_path / "raw"


def test_a_corpus_of_another_package_is_prepared_and_verified(package, raw, text_model, tmp_path):
    assert "clips" in fv2es("prep", "--help", site=package).stdout
    assert "--suffix" in fv2es("prep", "clips", "--help", site=package).stdout
    out = tmp_path / "shards"
    words = ("prep", "clips", raw, "--out", out, "--tokenizer", text_model, "--suffix", ".mp4")
    made = fv2es(*words, "--executor", "local:2", "--json", site=package)
    assert made.returncode == 0, made.stderr
    summary = json.loads(made.stdout)
    assert (summary["prepared"], summary["dropped"]) == (2, {"not_a_recording": 1})
    index = read_index(out)
    assert (index.corpus, index.label_classes) == ("clips", ("anger", "joy"))
    assert index.settings.corpus == {"suffix": ".mp4"}
    verified = fv2es("shards", "verify", out, "--against", raw, "--sample", 2, site=package)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    alone = fv2es("shards", "verify", out, "--against", raw)
    assert alone.returncode == 2 and "unknown corpus 'clips'" in alone.stderr
