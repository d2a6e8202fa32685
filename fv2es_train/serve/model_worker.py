"""The process that scores: it holds the model, takes tasks through a pipe and tells how they go.

Owns doing a task. A process of its own keeps the server answering while the model computes, and can
be ended when a task takes too long or brings it down; `pool` does that.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import Fv2esError, WorkError
from fv2es_train.predict.boxes import relative_boxes
from fv2es_train.serve.messages import (
    STOP,
    Done,
    Failed,
    Message,
    Note,
    Part,
    Previewed,
    Ready,
    Reword,
    Score,
    Stopped,
    Task,
    Told,
)
from fv2es_train.serve.settings import ServeOptions

if TYPE_CHECKING:
    from fv2es_prep.types import Faces
    from fv2es_train.predict.outputs import UtterancePrediction
    from fv2es_train.predict.predictor import Predictor

_LOG = logging.getLogger("fv2es.serve")
_FACES, _QUALITY = 6, 85


def run_worker(connection: Connection, options: ServeOptions, folder: Path) -> None:
    """Load the model, then do tasks until the other end of the pipe is gone.

    Args:
        connection: tasks come in, messages go out; the first one is `Ready` or `Failed`.
        options: the server's.
        folder: where its temporary files lie.
    """
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    # Ctrl-C reaches the whole group of processes; the server decides when we end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            worker = Worker(options)
        except Fv2esError as error:
            connection.send(Failed(error))
            return
        connection.send(worker.ready())
        while True:
            task = connection.recv()
            if task != STOP:
                _do(task, worker, connection)


def _follow(parent: int) -> None:
    """End with the server, however it ends: a killed one cannot tell us."""
    while os.getppid() == parent:
        threading.Event().wait(1)
    os._exit(1)


def _do(task: Task, worker: Worker, connection: Connection) -> None:
    try:
        for message in worker.messages(task):
            connection.send(message)
            if connection.poll() and connection.recv() == STOP:
                connection.send(Stopped())
                return
        connection.send(Done())
    except Fv2esError as error:
        connection.send(Failed(_without_path(error, task)))
    except (EOFError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001  # whatever a task meets, the next one is served
        _LOG.exception("a task met a mistake")
        sentence = "the server made a mistake with this video; its log tells which"
        connection.send(Failed(WorkError(sentence, "tell who runs the server"), mistake=True))


def _without_path(error: Fv2esError, task: Task) -> Fv2esError:
    if isinstance(task, Reword):
        return error
    return WorkError(_plain(error.sentence, task), error.hint)


def _plain(sentence: str, task: Score) -> str:
    """A sentence with the video's own name in the place of the one it has here."""
    video = task.request.video
    return sentence.replace(str(video), task.name).replace(video.name, task.name)


class Worker:
    """A loaded model and what it does.

    Args:
        options: the server's.
    """

    def __init__(self, options: ServeOptions) -> None:
        import torch

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        from fv2es_train.predict.predictor import Predictor

        self.predictor: Predictor = Predictor.load(
            options.run, options.device, options.tokenizer, options.asr, media=options.limits.media
        )
        self.predictor.check_tokenizer()
        self.predictor.warm()

    def ready(self) -> Ready:
        """What it has loaded."""
        one, model = self.predictor, self.predictor.scorer.model
        return Ready(
            model=model.config.name,
            classes=one.classes,
            thresholds=one.thresholds,
            modalities=one.modalities,
            recogniser=one.recogniser.name if one.recogniser is not None else None,
            device=str(next(model.parameters()).device),
            pictures_hz=1 / one.settings.frames.spacing_s,
        )

    def messages(self, task: Task) -> Iterator[Message]:
        """Do a task, and tell how it goes.

        Raises:
            Fv2esError: it cannot be done.
        """
        if isinstance(task, Reword):
            yield from self._reword(task)
        else:
            yield from self._score(task)

    def _score(self, task: Score) -> Iterator[Message]:
        notes: list[str] = []
        seen: dict[str, Faces] = {}
        yield Part("speech" if task.request.spans is None else "utterances")
        found = self.predictor.predict(task.request, notes.append, seen.__setitem__)
        for number, one in enumerate(found):
            if number == 0:
                yield Part("utterances")
            yield from _notes(notes, task)
            yield _told(one, task, seen.pop(one.id, None))
        yield from _notes(notes, task)
        if task.preview is not None:
            yield Part("preview")
            yield self._preview(task)

    def _preview(self, task: Score) -> Message:
        from fv2es_train.predict.preview import make_preview

        assert task.preview is not None
        try:
            make_preview(task.request.video, task.preview, self.predictor.settings.media)
        except WorkError as error:
            return Note(f"no preview: {_plain(error.sentence, task)}")
        return Previewed()

    def _reword(self, task: Reword) -> Iterator[Message]:
        yield Part("utterances")
        for told in task.utterances:
            one = told.prediction
            if one.id in task.words:
                one = self.predictor.reword(one, task.words[one.id])
            yield replace(told, prediction=one)


def _notes(notes: list[str], task: Score) -> Iterator[Note]:
    """The sentences that have come since."""
    while notes:
        yield Note(_plain(notes.pop(0), task))


def _told(one: UtterancePrediction, task: Score, faces: Faces | None) -> Told:
    lost = {letter: _plain(why, task) for letter, why in one.missing.items()}
    places = [] if task.size is None else relative_boxes(one, *task.size)
    shown = () if faces is None else tuple(_jpegs(faces))
    return Told(replace(one, missing=lost), places, shown)


def _jpegs(faces: Faces) -> Iterator[str]:
    """Some of the pictures that the model saw, spread over the utterance."""
    import cv2
    import numpy as np

    count = len(faces.rgb)
    for k in np.unique(np.linspace(0, count - 1, min(_FACES, count)).round().astype(int)):
        bgr = np.ascontiguousarray(faces.rgb[k][..., ::-1])
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        yield f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
