"""The baseline: preparation and the data of an epoch, as the published code does them.

This is our own code after its description, no copy. IEMOCAP: all pictures of a dialogue are read
into one array; every picture of an utterance is written as JPEG, both halves cut to 224x224, and
its sound is written three times. CMU-MOSEI: uncropped pictures at 2 per second. An epoch loads the
sampled pictures of each utterance, finds their faces in one batch, and makes a new mel transform.

Two defects of the published code are left out, so that it does the intended work: batches that stop
at a picture without a face, and CMU-MOSEI pictures that are thinned out twice.

`apart` runs `dump`, `epochs` and `read` in separate processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import Stopwatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fv2es_prep.types import Recording, Utterance

    Picture = NDArray[np.uint8]

FACE_PX, MARGIN_PX = 48, 2
_CROP_PX, _TALK_PX = 224, 360
_STEP = 15
_FPS = 29.97
_CHUNK_ROWS = 32
# Pictures are held twice, as frames and as their stack; leave memory for other processes.
_MEMORY_SHARE = 0.5


class Facenet:
    """facenet-pytorch as in the published model: largest face of each picture, 48 pixels."""

    def __init__(self) -> None:
        from facenet_pytorch import MTCNN

        self._mtcnn = MTCNN(image_size=FACE_PX, margin=MARGIN_PX, post_process=False)

    def largest(self, pictures: Sequence[Picture]) -> list[tuple[list[float] | None, float]]:
        """Find box (left, top, right, bottom) and probability; None and 0 without a face.

        Args:
            pictures: one batch, uint8 (H, W, 3) of equal size.
        """
        import numpy as np
        from facenet_pytorch.models.utils.detect_face import extract_face

        found: list[tuple[list[float] | None, float]] = []
        boxes, probs = self._mtcnn.detect(np.stack(pictures))
        for picture, box, prob in zip(pictures, boxes, probs, strict=True):
            if box is None:
                _centre(picture, FACE_PX)
                found.append((None, 0.0))
            else:
                extract_face(picture, box[0], image_size=FACE_PX, margin=MARGIN_PX)
                found.append((box[0].tolist(), float(prob[0])))
        return found


def read(corpus: str, limit_s: float) -> dict[str, Any]:
    """Read the first seconds of a dialogue as the published code does, to measure memory."""
    from benchmarks.material import inventory_of

    frames = _read_frames(inventory_of(Path(corpus)).recordings[0].video, limit_s)
    return {"seconds": len(frames) / _FPS, "array_bytes": int(frames.nbytes)}


def dump(corpus: str, tree: str, limit_s: float) -> dict[str, Any]:
    """Prepare the first recording of a corpus.

    Args:
        corpus: material of either shape.
        tree: the folder to fill.
        limit_s: seconds of the recording to prepare; fewer if memory is short.

    Returns:
        ``dump_s`` and ``dump_cpu_s``; ``media_s`` and ``speech_s``, seconds of prepared media and
        speech; ``files``, ``bytes`` and ``disk_bytes`` of the tree.
    """
    from benchmarks.material import inventory_of

    inventory = inventory_of(Path(corpus))
    recording = inventory.recordings[0]
    whole_s, limit_s = limit_s, min(limit_s, _affordable_s())
    chosen = [
        utterance
        for utterance in inventory.utterances
        if utterance.recording_id == recording.id and utterance.end_s <= limit_s
    ]
    with Stopwatch() as watch:
        write = _dump_talk if inventory.corpus == "mosei" else _dump_dialogue
        media_s = write(recording, chosen, Path(tree), limit_s)
    sizes = [path.stat() for path in Path(tree).rglob("*") if path.is_file()]
    return {
        "dump_s": watch.wall_s,
        "dump_cpu_s": watch.cpu_s,
        "media_s": media_s,
        "cut_short": limit_s < whole_s,
        "speech_s": sum(utterance.duration_s for utterance in chosen),
        "utterances": len(chosen),
        "files": len(sizes),
        "bytes": sum(size.st_size for size in sizes),
        "disk_bytes": sum(size.st_blocks * 512 for size in sizes),
    }


def epochs(tree: str, counts: Sequence[int]) -> dict[str, Any]:
    """Measure the work of an epoch before the network: load, detect, spectrum, by utterance.

    Args:
        tree: result of `dump`.
        counts: numbers of torch threads, with one epoch each.

    Returns:
        Number of threads -> seconds as ``load_s``, ``detect_s``, ``mel_s`` and their sum
        ``epoch_s``.
    """
    import torch

    facenet = Facenet()
    folders = sorted(path for path in Path(tree).iterdir() if path.is_dir())
    found = {}
    for count in counts:
        torch.set_num_threads(count)
        # The one-time cost of the first call is not part of an epoch.
        facenet.largest(_load(folders[0])[:1])
        _spectrum(folders[0])
        found[str(count)] = _epoch(facenet, folders)
    return found


def _epoch(facenet: Facenet, folders: Sequence[Path]) -> dict[str, float]:
    load, detect, mel = Stopwatch(), Stopwatch(), Stopwatch()
    for folder in folders:
        with load:
            loaded = _load(folder)
        with detect:
            facenet.largest(loaded)
        with mel:
            _spectrum(folder)
    return {
        "load_s": load.wall_s,
        "detect_s": detect.wall_s,
        "mel_s": mel.wall_s,
        "epoch_s": load.wall_s + detect.wall_s + mel.wall_s,
    }


def _affordable_s() -> float:
    """Seconds of 720x480 video whose pictures, held twice, fit into a share of free memory."""
    import psutil

    return float(_MEMORY_SHARE * psutil.virtual_memory().available / (2 * 720 * 480 * 3 * _FPS))


def _read_frames(video: Path, limit_s: float) -> Picture:
    import cv2
    import numpy as np

    source = cv2.VideoCapture(str(video))
    frames: list[Picture] = []
    while len(frames) < limit_s * _FPS:
        there, frame = source.read()
        if not there:
            break
        frames.append(np.asarray(frame, np.uint8))
    source.release()
    return np.stack(frames)


def _dump_dialogue(
    recording: Recording, utterances: Sequence[Utterance], tree: Path, limit_s: float
) -> float:
    """Returns how many seconds of pictures were read."""
    import cv2
    from scipy.io import wavfile

    frames = _read_frames(recording.video, limit_s)
    rate, sound = wavfile.read(recording.audio)
    for utterance in utterances:
        folder = _folder(tree, utterance)
        first, last = int(_FPS * utterance.start_s), int(_FPS * utterance.end_s)
        for number, frame in enumerate(frames[first:last]):
            middle = frame.shape[1] // 2
            for side, half in (("L", frame[:, :middle]), ("R", frame[:, middle:])):
                cv2.imwrite(str(folder / f"image_{side}_{number}.jpg"), _centre(half, _CROP_PX))
        heard = sound[int(rate * utterance.start_s) : int(rate * utterance.end_s)]
        wavfile.write(folder / "audio.wav", rate, heard)
        wavfile.write(folder / "audio_L.wav", rate, heard[:, 0])
        wavfile.write(folder / "audio_R.wav", rate, heard[:, 1])
    return len(frames) / _FPS


def _dump_talk(
    recording: Recording, utterances: Sequence[Utterance], tree: Path, limit_s: float
) -> float:
    """Returns how many seconds of pictures were read."""
    import cv2
    from scipy.io import wavfile

    source, frames, number = cv2.VideoCapture(str(recording.video)), [], 0
    while number < limit_s * _FPS:
        there, frame = source.read()
        if not there:
            break
        if number % _STEP == 0:
            frames.append(frame)
        number += 1
    source.release()
    rate, sound = wavfile.read(recording.audio)
    for utterance in utterances:
        folder = _folder(tree, utterance)
        for i, frame in enumerate(frames[int(2 * utterance.start_s) : int(2 * utterance.end_s)]):
            cv2.imwrite(str(folder / f"image_{i}.jpg"), frame)
        heard = sound[int(rate * utterance.start_s) : int(rate * utterance.end_s)]
        wavfile.write(folder / "audio.wav", rate, heard)
    return number / _FPS


def _folder(tree: Path, utterance: Utterance) -> Path:
    """Make the folder of an utterance, with the metadata for its loader."""
    folder = tree / utterance.id
    folder.mkdir(parents=True)
    side = {"left": "L", "right": "R", "full": ""}[utterance.view.half]
    meta = {"side": side, "text": utterance.transcript, "label": utterance.labels}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def _load(folder: Path) -> list[Picture]:
    """Load the pictures of an utterance for an epoch, two per second."""
    import numpy as np
    from PIL import Image

    side = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["side"]
    if side:
        count = len(list(folder.glob(f"image_{side}_*.jpg")))
        paths = [folder / f"image_{side}_{number}.jpg" for number in range(0, count, _STEP)]
        return [np.asarray(Image.open(path)) for path in paths]
    pictures = []
    for number in range(len(list(folder.glob("image_*.jpg")))):
        stored = Image.open(folder / f"image_{number}.jpg")
        half = (stored.width // 2, stored.height // 2)
        picture = np.asarray(stored.resize(half) if stored.height > _TALK_PX else stored)
        pictures.append(_centre(picture, _TALK_PX))
    return pictures


def _spectrum(folder: Path) -> None:
    """Make a new transform; cut the rows into chunks, the last one padded with zeros."""
    import torch
    from scipy.io import wavfile
    from torchaudio.transforms import MelSpectrogram

    side = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["side"]
    rate, samples = wavfile.read(folder / (f"audio_{side}.wav" if side else "audio.wav"))
    sound = torch.from_numpy(samples).float() / 32768
    power = MelSpectrogram(sample_rate=rate, win_length=int(rate / 16000 * 400))(sound)
    missing = -power.shape[1] % _CHUNK_ROWS
    torch.nn.functional.pad(power, (0, missing)).unfold(1, _CHUNK_ROWS, _CHUNK_ROWS)


def _centre(picture: Picture, side_px: int) -> Picture:
    """Cut the central square, as far as the picture contains it."""
    height, width = picture.shape[:2]
    top, left = max((height - side_px) // 2, 0), max((width - side_px) // 2, 0)
    return picture[top : top + side_px, left : left + side_px]
