"""A real corpus: 40 of GRID's 60 sentences go to the wrong recording, and are found.

Needs the recordings and the extra ``asr``; docs/check.md has the figures of more draws.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from fv2es_train.predict.recognisers import has_embedded
from fv2es_train.words.transcript_check import check_transcripts
from pipelines.config import prep_config

GRID = Path(__file__).parents[4] / "shared/data/media/grid_s1"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.slow,
    pytest.mark.skipif(not GRID.is_dir(), reason="the GRID recordings are not there"),
    pytest.mark.skipif(not has_embedded(), reason="the extra asr is not installed"),
]


@pytest.mark.parametrize("stage", ["waveform", "mel"])
def test_sentences_of_other_recordings_are_found(
    stage: str, prepare: Callable, text_model: Path, tmp_path: Path
) -> None:
    with (GRID / "manifest.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["id"])
    said = [row["transcript"] for row in rows]
    said[10:50] = said[11:51]
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "video", "text", "labels"))
        for row, text in zip(rows, said, strict=True):
            writer.writerow((row["id"], GRID / row["video"], text, row["colour"]))
    shards = tmp_path / "shards"
    options = {"raw": table, "out": shards, "tokenizer": str(text_model)}
    prepare(prep_config("table", stages=(stage, "tokens"), **options))
    found = check_transcripts(shards, "embedded")
    named = {suspect.utterance for suspect in found.suspects}
    wrong = {row["id"] for row in rows[10:50]}
    assert len(found.mismatch) == 60 and len(named & wrong) >= 38 and not named - wrong
