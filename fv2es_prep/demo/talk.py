"""A raw video to predict on: one more dialogue of the demo speakers, picture and sound in one file.

Owns putting the two into one file. The plan comes from script.py, and it is in no corpus.
"""

import subprocess
import tempfile
from pathlib import Path

from fv2es_prep.demo.film import film_dialogue
from fv2es_prep.demo.script import Dialogue, plan_talk
from fv2es_prep.demo.voice import SAMPLE_RATE, speak_dialogue

# The corpus has fewer dialogues of a session than this.
_NUMBER = 98


def make_talk(path: Path, *, turns: int = 12, seed: int = 0) -> Dialogue:
    """Generates a video of the first session's speakers that no corpus holds.

    Args:
        path: the AVI file to write; its left half and channel 0 are the first speaker's.
        turns: turns of the six emotions; three others come on top.
        seed: of the corpus whose speakers these are; equal arguments give equal pictures and sound.

    Returns:
        Its plan: who said what with which emotion, for those who want to compare.

    Raises:
        RuntimeError: an encoder failed; the message holds what it printed.
    """
    import imageio_ffmpeg
    from scipy.io import wavfile

    plan = plan_talk(1, _NUMBER, turns, seed)
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
