"""The table of RAVDESS that recipes/runs/ravdess-sound.toml reads."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "recipes/runs/ravdess_table.py"


def test_the_name_of_a_file_gives_emotion_sentence_and_actor(tmp_path: Path) -> None:
    # A song (03-02) and a video (01-01) are not rows.
    for name in ("03-01-06-01-02-01-12", "03-01-01-01-01-02-03", "03-02-05-01-01-01-01"):
        (tmp_path / f"{name}.wav").touch()
    (tmp_path / "01-01-06-01-02-01-12.mp4").touch()
    found = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=True
    )
    first, second = csv.DictReader(found.stdout.splitlines())
    assert first == {
        "id": "03-01-01-01-01-02-03",
        "audio": str(tmp_path / "03-01-01-01-01-02-03.wav"),
        "labels": "neutral",
        "text": "Kids are talking by the door",
        "speaker": "actor03",
    }
    assert (second["labels"], second["speaker"]) == ("fearful", "actor12")
    assert second["text"] == "Dogs are sitting by the door"
