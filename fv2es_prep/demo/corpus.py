"""The demo corpus on disk, in IEMOCAP's exact layout and formats, and a video outside of it."""

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fv2es_prep.demo.film import film_dialogue
from fv2es_prep.demo.script import EMOTIONS, Dialogue, Turn, plan_corpus, plan_talk
from fv2es_prep.demo.voice import SAMPLE_RATE, speak_dialogue

_FOLDERS = ("EmoEvaluation", "transcriptions", "wav", "avi/DivX")
_RATER_WORDS = {
    "ang": "Anger",
    "exc": "Excited",
    "fru": "Frustration",
    "hap": "Happiness",
    "neu": "Neutral",
    "sad": "Sadness",
    "oth": "Other",
}
# Valence, activation, dominance on the five-point scale.
_RATINGS = {
    "ang": (1.9, 3.9, 4.0),
    "exc": (4.1, 3.8, 3.4),
    "fru": (2.2, 3.1, 3.2),
    "hap": (4.0, 3.0, 3.0),
    "neu": (3.0, 2.3, 2.6),
    "sad": (2.2, 2.1, 2.3),
    "xxx": (2.8, 3.0, 3.0),
    "oth": (2.6, 2.8, 2.8),
}
# `make_talk`: the corpus has fewer dialogues of a session than this.
_TALK = 98
_README = """\
This corpus is generated. It is not IEMOCAP and holds nothing of it.

It has the folders, names and file formats of IEMOCAP, so that software for IEMOCAP can be tried
without it. The words are made from templates and the voices are synthetic. The faces are drawn
from one portrait: NASA's public-domain picture of the astronaut Eileen Collins, as distributed
with scikit-image. She said, felt and meant none of this.

Numbers measured on this corpus say nothing about how well emotions are recognised in people.
"""


def make_corpus(
    root: Path, *, sessions: int = 5, dialogues: int = 2, turns: int = 24, seed: int = 0
) -> Path:
    """Generate a small corpus in IEMOCAP's layout.

    Args:
        root: the directory to fill; files of the same name are replaced.
        sessions: number of sessions, each with its own two speakers; 1 to 99.
        dialogues: recordings per session.
        turns: turns of the six emotions per recording, 1.4 to 2.4 s each; one xxx, one oth and
            one unlabelled turn are added.
        seed: random seed; equal arguments give equal bytes.

    Raises:
        ValueError: a count is out of range.
    """
    for name, value in (("sessions", sessions), ("dialogues", dialogues), ("turns", turns)):
        if not 1 <= value <= 99:
            raise ValueError(f"{name} is {value}, expected 1 to 99")
    plans = plan_corpus(sessions, dialogues, turns, seed)
    # Threads suffice: most of the work is in the encoder's process.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda plan: _write_dialogue(root, plan, seed), plans))
    _write_strays(root, plans[0].name, seed)
    # Last: a tree with a README.txt is whole.
    (root / "README.txt").write_bytes(_README.encode("ascii"))
    return root


def make_talk(path: Path, *, turns: int = 12, seed: int = 0) -> Dialogue:
    """Generate a raw video to predict on: the first session's speakers in one more dialogue.

    Args:
        path: the AVI file to write; its left half and channel 0 are the first speaker's.
        turns: turns of the six emotions; three others are added.
        seed: seed of the corpus; equal arguments give equal pictures and sound.

    Returns:
        Its plan, with the true emotions.

    Raises:
        RuntimeError: an encoder failed; the message holds its output.
    """
    import imageio_ffmpeg
    from scipy.io import wavfile

    plan = plan_talk(1, _TALK, turns, seed)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        picture, sound = Path(place) / "picture.avi", Path(place) / "sound.wav"
        film_dialogue(plan, picture, seed)
        wavfile.write(sound, SAMPLE_RATE, speak_dialogue(plan, seed))
        program = imageio_ffmpeg.get_ffmpeg_exe()
        done = subprocess.run(
            [program, "-v", "error", "-y", "-i", picture, "-i", sound, "-c", "copy", path],
            capture_output=True,
            check=False,
            text=True,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{path}: picture and sound could not be put together: {done.stderr}")
    return plan


def _write_dialogue(root: Path, dialogue: Dialogue, seed: int) -> None:
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


def _write_strays(root: Path, name: str, seed: int) -> None:
    """Write AppleDouble files, as IEMOCAP's tree has them; no reader should open them."""
    base = root / "Session1" / "dialog"
    junk = np.random.default_rng([seed, 23]).bytes(200)
    # Magic number, version 2, filler, no entries; then junk.
    header = bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(2)
    (base / "avi" / "DivX" / f"._{name}.avi").write_bytes(header + junk)
    (base / "EmoEvaluation" / f"._{name}.txt").write_bytes(header + junk)


def evaluation_text(dialogue: Dialogue, seed: int) -> str:
    """The EmoEvaluation file of a dialogue: labels and ratings, LF line ends."""
    rng = dialogue.chance(seed, 7)
    labelled = ((turn, turn.label) for turn in dialogue.turns if turn.label is not None)
    blocks = [_evaluation_block(*pair, dialogue.session, rng) for pair in labelled]
    head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
    return "\n".join([head, *blocks]) + "\n"


def _evaluation_block(turn: Turn, label: str, session: int, rng: np.random.Generator) -> str:
    scores = [_scores(label, rng) for _ in range(3)]
    mean = ", ".join(f"{value:.4f}" for value in np.mean(scores[:2], axis=0))
    lines = [f"[{turn.start_s:.4f} - {turn.end_s:.4f}]\t{turn.turn_id}\t{label}\t[{mean}]"]
    # The last rater is the actor, whose scores IEMOCAP excludes from the mean.
    actor = f"{turn.speaker}{session}"
    for rater, word in zip(("E2", "E3", "E4", actor), _words(label, rng), strict=True):
        lines.append(f"C-{rater}:\t{word};\t()")
    for rater, (val, act, dom) in zip(("E3", "E4", actor), scores, strict=True):
        lines.append(f"A-{rater}:\tval {val}; act {act}; dom  {dom};\t()")
    return "\n".join(lines) + "\n"


def _scores(label: str, rng: np.random.Generator) -> list[int]:
    return [int(np.clip(round(m + rng.normal(0, 0.5)), 1, 5)) for m in _RATINGS[label]]


def _words(label: str, rng: np.random.Generator) -> list[str]:
    """The words of four raters, who agree except on xxx."""
    if label == "xxx":
        return [_RATER_WORDS[EMOTIONS[i]] for i in rng.permutation(len(EMOTIONS))[:4]]
    return [_RATER_WORDS[label]] * 4


def transcription_text(dialogue: Dialogue) -> str:
    """The transcription of a dialogue, one line without id and time, CRLF line ends."""
    lines = [
        f"{turn.turn_id} [{turn.start_s:08.4f}-{turn.end_s:08.4f}]: {turn.text}"
        for turn in dialogue.turns
    ]
    lines.insert(len(lines) // 2, "M: Yeah." if dialogue.left == "F" else "F:Umm.")
    return "\r\n".join(lines) + "\r\n"
