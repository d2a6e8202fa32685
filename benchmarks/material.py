"""Generated media: dialogues in the shape of IEMOCAP, talking heads in that of CMU-MOSEI.

Owns the shapes and the cache. The people, voices and label files come from the demo corpus.

IEMOCAP-shaped: 720x480, 29.97 pictures a second, mpeg4 in AVI at 1.8 Mb/s, a key picture every
250, no B-frames, two people side by side with sensor noise, 40 utterances in 300 s that cover 72 %
of it. MOSEI-shaped: 1280x720 H.264 in mp4 (veryfast, crf 23, B-frames), one talking head, 16
utterances in 120 s that cover 93 % of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.io import wavfile

from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.demo import make_text_model
from fv2es_prep.demo.corpus import evaluation_text, transcription_text
from fv2es_prep.demo.film import film_dialogue
from fv2es_prep.demo.portraits import EXPRESSIONS, Expression, express, make_portrait
from fv2es_prep.demo.script import EMOTIONS, Dialogue, Turn, make_sentence
from fv2es_prep.demo.voice import SAMPLE_RATE, speak_dialogue
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.types import Inventory, Recording, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Part of every cache name: increase it when the material changes.
_VERSION = 1
_SEED = 5
_IEMOCAP_RATE, _IEMOCAP_COVERED = 40 / 300, 0.72
_MOSEI_RATE, _MOSEI_COVERED = 16 / 120, 0.93
# Number of generated recordings; further ones are the same files under other names.
_DISTINCT = 2
_EVERY_HIDDEN = 20
_FPS = "30000/1001"
_WIDTH, _HEIGHT = 1280, 720
# Strength of the noise filter: just enough to survive crf 23 and to give about 1.8 Mb/s.
_NOISE = 8


def text_model(out: Path) -> Path:
    """Make a small ALBERT and its tokenizer."""
    return _cached(out, "albert", make_text_model)


def iemocap_shaped(out: Path, seconds: float, recordings: int) -> Path:
    """Make a corpus in IEMOCAP's layout with one dialogue per session.

    Args:
        out: the folder of the benchmarks.
        seconds: length of each dialogue in seconds.
        recordings: number of dialogues, 1 to 99.
    """
    return _cached(
        out,
        f"iemocap-{seconds:g}s-{recordings}",
        lambda folder: _make_iemocap(folder, seconds, recordings),
    )


def mosei_shaped(out: Path, seconds: float, recordings: int) -> Path:
    """Make talking heads: ``video``, ``sound`` and ``utterances.json`` for `inventory_of`."""
    return _cached(
        out,
        f"mosei-{seconds:g}s-{recordings}",
        lambda folder: _make_mosei(folder, seconds, recordings),
    )


def inventory_of(corpus: Path) -> Inventory:
    """Read the inventory of either kind of material."""
    listed = corpus / "utterances.json"
    from fv2es_prep.corpora import iemocap, mosei

    if not listed.is_file():
        return iemocap.scan(corpus, LabelChoice(iemocap.LABELS))
    entries = json.loads(listed.read_text(encoding="utf-8"))
    view = mosei.view_of("whole")
    utterances = [
        Utterance(**{**entry, "labels": tuple(entry["labels"])}, view=view) for entry in entries
    ]
    recordings = [
        Recording(path.stem, path, corpus / f"sound/{path.stem}.wav")
        for path in sorted((corpus / "video").iterdir())
    ]
    return make_inventory("mosei", recordings, utterances, (), LabelChoice(EMOTIONS))


def _cached(out: Path, name: str, make: Callable[[Path], Any]) -> Path:
    folder = out / "material" / f"{name}-v{_VERSION}"
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder


def _make_iemocap(root: Path, seconds: float, recordings: int) -> None:
    for session in range(1, recordings + 1):
        if session <= _DISTINCT:
            _write_dialogue(root, _dialogue(session, seconds, _IEMOCAP_RATE, _IEMOCAP_COVERED))
        else:
            _copy_session(root, (session - 1) % _DISTINCT + 1, session)


def _dialogue(session: int, seconds: float, rate: float, covered: float) -> Dialogue:
    """Make turns at even distances, with uneven lengths that cover the wanted share in total."""
    rng = np.random.default_rng([_SEED, session])
    count = max(round(seconds * rate), 1)
    room_s = (seconds - 0.5) / count
    lengths = rng.uniform(0.75, 1.25, count)
    lengths = np.minimum(lengths * covered * seconds / lengths.sum(), 0.99 * room_s)
    name = f"Ses{session:02d}F_impro01"
    turns = []
    for number, length_s in enumerate(lengths.tolist()):
        emotion = EMOTIONS[number % len(EMOTIONS)]
        speaker = "FM"[number % 2]
        start_s = round(number * room_s + (room_s - length_s) * rng.uniform(0.2, 0.8), 4)
        turns.append(
            Turn(
                turn_id=f"{name}_{speaker}{number:03d}",
                speaker=speaker,
                start_s=start_s,
                end_s=round(start_s + length_s, 4),
                label=emotion,
                text=make_sentence(rng, emotion),
                face=emotion,
                voice=emotion,
                hidden=number % _EVERY_HIDDEN == _EVERY_HIDDEN // 4,
            )
        )
    return Dialogue(name, session, tuple(turns), seconds)


def _write_dialogue(root: Path, dialogue: Dialogue) -> None:
    base, name = root / f"Session{dialogue.session}/dialog", dialogue.name
    for part in ("EmoEvaluation", "transcriptions", "wav", "avi/DivX"):
        (base / part).mkdir(parents=True)
    labels, words = evaluation_text(dialogue, _SEED), transcription_text(dialogue)
    (base / f"EmoEvaluation/{name}.txt").write_text(labels, encoding="ascii")
    (base / f"transcriptions/{name}.txt").write_text(words, encoding="ascii")
    wavfile.write(base / f"wav/{name}.wav", SAMPLE_RATE, speak_dialogue(dialogue, _SEED))
    film_dialogue(dialogue, base / f"avi/DivX/{name}.avi", _SEED)


def _copy_session(root: Path, model: int, session: int) -> None:
    """Copy a dialogue under the names of another session; media are hard links."""
    old, new = f"Ses{model:02d}", f"Ses{session:02d}"
    source = root / f"Session{model}"
    for path in sorted(source.rglob("*.*")):
        copy = root / f"Session{session}" / path.relative_to(source)
        copy = copy.with_name(copy.name.replace(old, new))
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            text = path.read_text(encoding="ascii").replace(old, new)
            copy.write_text(text, encoding="ascii")
        else:
            os.link(path, copy)


def _make_mosei(root: Path, seconds: float, recordings: int) -> None:
    (root / "video").mkdir()
    (root / "sound").mkdir()
    entries: list[dict[str, Any]] = []
    for number in range(1, recordings + 1):
        model = (number - 1) % _DISTINCT + 1
        dialogue = _dialogue(model, seconds, _MOSEI_RATE, _MOSEI_COVERED)
        video, sound = root / f"video/talk{number:02d}.mp4", root / f"sound/talk{number:02d}.wav"
        if number <= _DISTINCT:
            both = speak_dialogue(dialogue, _SEED)
            wavfile.write(sound, SAMPLE_RATE, both[:, 0] // 2 + both[:, 1] // 2)
            _film_talk(dialogue, video)
        else:
            os.link(root / f"video/talk{model:02d}.mp4", video)
            os.link(root / f"sound/talk{model:02d}.wav", sound)
        entries += (_entry(turn, video.stem) for turn in dialogue.turns)
    (root / "utterances.json").write_text(json.dumps(entries), encoding="utf-8")


def _entry(turn: Turn, recording: str) -> dict[str, Any]:
    return {
        "id": f"{recording}[{turn.turn_id[-3:]}]",
        "recording_id": recording,
        "start_s": turn.start_s,
        "end_s": turn.end_s,
        "transcript": turn.text,
        "labels": [turn.label],
    }


def _film_talk(dialogue: Dialogue, path: Path) -> None:
    """Film a speaker of the demo, enlarged, in front of a plain wall; the encoder adds noise."""
    command = [ffmpeg_path(), "-loglevel", "error", "-nostdin", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{_WIDTH}x{_HEIGHT}", "-r", _FPS, "-i", "pipe:0"]
    command += ["-vf", f"noise=all_seed={_SEED}:alls={_NOISE}:allf=t", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", str(path)]
    looks = {emotion: _looks(dialogue.session, emotion) for emotion in EMOTIONS}
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for number in range(int(dialogue.duration_s * 30000 / 1001)):
            encoder.stdin.write(_talking(dialogue, looks, number * 1001 / 30000))
    if encoder.returncode != 0:
        raise RuntimeError(f"{path}: the video encoder failed with status {encoder.returncode}")


def _looks(session: int, emotion: str) -> list[NDArray[np.uint8]]:
    """Draw a speaker with nearly closed, half open and open mouth: uint8 (H + 32, W + 32, 3)."""
    import cv2

    portrait, look = make_portrait("F", session, _SEED), EXPRESSIONS[emotion]
    pictures = []
    for jaw in (0.0, 2.5, 5.0):
        opened = Expression(**{**vars(look), "jaw": look.jaw + jaw})
        tall = _HEIGHT + 32
        half = express(portrait, opened)
        wide = round(half.shape[1] * tall / half.shape[0])
        half = cv2.resize(half, (wide, tall), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
        left = (_WIDTH + 32 - wide) // 2
        right = _WIDTH + 32 - wide - left
        pictures.append(np.pad(half, ((0, 0), (left, right), (0, 0)), mode="edge"))
    return pictures


def _talking(dialogue: Dialogue, looks: dict[str, list[NDArray[np.uint8]]], at_s: float) -> bytes:
    """Draw the picture at ``at_s``: expression of the current turn, head slightly moving."""
    begun = [turn for turn in dialogue.turns if turn.start_s <= at_s] or dialogue.turns[:1]
    turn = begun[-1]
    opened = abs(np.sin(2 * np.pi * 3.1 * at_s)) if at_s < turn.end_s else 0.0
    picture = looks[turn.face][int(opened * 2.999)]
    down = 16 + round(float(6 * np.sin(0.9 * at_s) + 3 * np.sin(4.3 * at_s)))
    right = 16 + round(float(8 * np.sin(0.7 * at_s) + 3 * np.sin(3.7 * at_s)))
    return picture[down : down + _HEIGHT, right : right + _WIDTH].tobytes()
