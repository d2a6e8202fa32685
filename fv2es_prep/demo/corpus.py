"""The demo corpus on disk: folders and files in IEMOCAP's exact layout.

Owns the tree. The plan comes from script.py, text files from annotations.py, sound from voice.py,
video from film.py.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fv2es_prep.demo.annotations import evaluation_text, transcription_text
from fv2es_prep.demo.film import film_dialogue
from fv2es_prep.demo.script import Dialogue, plan_corpus
from fv2es_prep.demo.voice import SAMPLE_RATE, speak_dialogue

_FOLDERS = ("EmoEvaluation", "transcriptions", "wav", "avi/DivX")
_README = """\
This corpus is generated. It is not IEMOCAP and holds nothing of it.

It has the folders, names and file formats of IEMOCAP, so that software for IEMOCAP can be tried
without it. The words are made from templates and the voices are synthetic. The faces are drawn
from one portrait: NASA's public-domain picture of the astronaut Eileen Collins, as distributed
with scikit-image. She said, felt and meant none of this.

Numbers measured on this corpus say nothing about how well emotions are recognised in people.
"""


def make_corpus(
    root: Path,
    *,
    sessions: int = 5,
    dialogues: int = 2,
    turns: int = 24,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Generates a small corpus in IEMOCAP's layout.

    Args:
        root: the folder to fill; made if missing, files of the same name are replaced.
        sessions: number of sessions, each with two speakers of its own; 1 to 99.
        dialogues: recordings per session.
        turns: turns of the six emotions per recording, each 1.4 to 2.4 s; one xxx, one oth and
            one unlabelled turn come on top.
        seed: random seed; equal arguments give equal bytes.
        progress: called with each recording's name when it is written.

    Returns:
        root.

    Raises:
        ValueError: a count is out of range.
    """
    _check(sessions, dialogues, turns)
    root = Path(root)
    # Threads suffice: the encoder is a process of its own, and most of the work is in it.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        plans = plan_corpus(sessions, dialogues, turns, seed)
        for name in pool.map(lambda plan: _write_dialogue(root, plan, seed), plans):
            if progress is not None:
                progress(name)
    _write_strays(root, plans[0].name, seed)
    # Last, so that a tree with a README.txt is a whole one.
    (root / "README.txt").write_bytes(_README.encode("ascii"))
    return root


def _check(sessions: int, dialogues: int, turns: int) -> None:
    """Refuses counts that IEMOCAP's names cannot hold."""
    for name, value in (("sessions", sessions), ("dialogues", dialogues), ("turns", turns)):
        if not 1 <= value <= 99:
            raise ValueError(f"{name} is {value}, expected 1 to 99")


def _write_dialogue(root: Path, dialogue: Dialogue, seed: int) -> str:
    """Writes the four files of a recording and returns its name."""
    from scipy.io import wavfile

    base = root / f"Session{dialogue.session}" / "dialog"
    for folder in _FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    name = dialogue.name
    labels = evaluation_text(dialogue, seed)
    (base / "EmoEvaluation" / f"{name}.txt").write_bytes(labels.encode("ascii"))
    words = transcription_text(dialogue)
    (base / "transcriptions" / f"{name}.txt").write_bytes(words.encode("ascii"))
    wavfile.write(base / "wav" / f"{name}.wav", SAMPLE_RATE, speak_dialogue(dialogue, seed))
    film_dialogue(dialogue, base / "avi" / "DivX" / f"{name}.avi", seed)
    return name


def _write_strays(root: Path, name: str, seed: int) -> None:
    """Leaves the AppleDouble files that IEMOCAP's tree has and that no reader should open."""
    base = root / "Session1" / "dialog"
    junk = np.random.default_rng([seed, 23]).bytes(200)
    # Magic number, version 2, filler, no entries: then junk that is neither video nor text.
    header = bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(2)
    (base / "avi" / "DivX" / f"._{name}.avi").write_bytes(header + junk)
    (base / "EmoEvaluation" / f"._{name}.txt").write_bytes(header + junk)
