"""Print the table of RAVDESS's sound-only speech files, for `fv2es prep table`.

python recipes/runs/ravdess_table.py Audio_Speech_Actors_01-24 > ravdess.csv
"""

import csv
import sys
from pathlib import Path

# The third, fifth and seventh number of a file's name: emotion, sentence, actor.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SENTENCES = ("Kids are talking by the door", "Dogs are sitting by the door")


def main(root: Path) -> None:
    """Write a row for each speech file 03-01-*.wav or .flac below ``root`` to stdout."""
    table = csv.writer(sys.stdout)
    table.writerow(("id", "audio", "labels", "text", "speaker"))
    for path in sorted(root.resolve().rglob("03-01-*.*")):
        number = [int(part) for part in path.stem.split("-")]
        emotion, sentence = EMOTIONS[number[2] - 1], SENTENCES[number[4] - 1]
        table.writerow((path.stem, path, emotion, sentence, f"actor{number[6]:02}"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
