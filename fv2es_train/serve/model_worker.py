"""The worker process: holds the model, receives tasks over a pipe, replies with updates."""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import fields
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import Fv2esError, WorkError
from fv2es_train.predict.outputs import relative_boxes
from fv2es_train.serve.messages import (
    STOP,
    LoadedModel,
    RewordTask,
    ScoreTask,
    Task,
    Update,
    UtteranceResult,
    failure,
)
from fv2es_train.serve.settings import ServeConfig

if TYPE_CHECKING:
    from fv2es_prep.types import Faces
    from fv2es_train.predict.outputs import UtterancePrediction
    from fv2es_train.predict.predictor import Predictor

_LOG = logging.getLogger("fv2es.serve")
_MAX_FACES, _JPEG_QUALITY = 6, 85


def run_worker(connection: Connection, config: ServeConfig, folder: Path) -> None:
    """Load the model, then run tasks until the other end of the pipe is closed.

    The first reply is a `LoadedModel` or a failure; temporary files go into ``folder``.
    """
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    threading.Thread(target=_exit_with_server, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        try:
            predictor = _load(config)
        except Fv2esError as error:
            connection.send(failure(error))
            return
        connection.send(_loaded_model(predictor))
        while True:
            task = connection.recv()
            if task != STOP:
                _run(task, predictor, connection)


def _exit_with_server() -> None:
    """Exit with the server, however it ends."""
    server = parent_process()
    assert server is not None, "a worker is a process of its own"
    server.join()
    os._exit(1)


def _load(config: ServeConfig) -> Predictor:
    # Loading creates many objects that stay, and little garbage.
    gc.disable()
    import torch

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    from fv2es_train.predict.predictor import Predictor

    predictor = Predictor.load(
        config.run,
        config.device,
        config.tokenizer,
        config.asr,
        media=config.limits.media,
        encoders=config.encoders,
        engine=config.engine,
        at_once=True,
        precision=config.precision,
    )
    predictor.check_tokenizer()
    predictor.warm()
    gc.freeze()
    gc.enable()
    return predictor


def _loaded_model(predictor: Predictor) -> LoadedModel:
    model, recogniser = predictor.scorer.model, predictor.recogniser
    return LoadedModel(
        model=model.config.name,
        classes=predictor.classes,
        decision=predictor.decision,
        modalities=predictor.modalities,
        recogniser=recogniser.name if recogniser is not None else None,
        device=str(next(model.parameters()).device),
        pictures_hz=1 / predictor.settings.frames.spacing_s,
        ratings=predictor.ratings,
    )


def _run(task: Task, predictor: Predictor, connection: Connection) -> None:
    updates = _reword(task, predictor) if isinstance(task, RewordTask) else _score(task, predictor)
    try:
        for update in updates:
            connection.send(update)
            if connection.poll() and connection.recv() == STOP:
                connection.send(Update(end="stopped"))
                return
        connection.send(Update(end="done"))
    except Fv2esError as error:
        if isinstance(task, ScoreTask):
            error = WorkError(_without_path(error.sentence, task), error.hint)
        connection.send(failure(error))
    except (EOFError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001  # any error of a task: go on with the next one
        _LOG.exception("a task failed")
        sentence = "internal error with this video; see the log of the server"
        connection.send(failure(WorkError(sentence, "tell the administrator of the server")))


def _without_path(sentence: str, task: ScoreTask) -> str:
    """Replace the path of the upload in a sentence by its name."""
    path, name = task.request.video, task.video.name
    return sentence.replace(str(path), name).replace(path.name, name)


def _score(task: ScoreTask, predictor: Predictor) -> Iterator[Update]:
    notes: list[str] = []
    faces: dict[str, Faces] = {}

    def new_notes() -> Iterator[Update]:
        while notes:
            yield Update(note=_without_path(notes.pop(0), task))

    yield Update(part="speech" if task.request.spans is None else "utterances")
    for one in predictor.predict(task.request, notes.append, faces.__setitem__):
        yield from new_notes()
        yield Update(part="utterances", utterance=_result(one, task, faces.pop(one.id, None)))
    yield from new_notes()
    if task.preview is not None:
        from fv2es_train.predict.uploads import make_preview

        yield Update(part="preview")
        try:
            make_preview(task.request.video, task.preview, predictor.settings.media)
        except WorkError as error:
            yield Update(note=f"no preview: {_without_path(error.sentence, task)}")
        else:
            yield Update(previewed=True)


def _reword(task: RewordTask, predictor: Predictor) -> Iterator[Update]:
    yield Update(part="utterances")
    for one in task.utterances:
        reworded = predictor.reword(one, task.text[one.id]) if one.id in task.text else one
        assert isinstance(reworded, UtteranceResult), "it keeps places and faces"
        yield Update(utterance=reworded)


def _result(one: UtterancePrediction, task: ScoreTask, faces: Faces | None) -> UtteranceResult:
    missing = {letter: _without_path(reason, task) for letter, reason in one.missing.items()}
    # Without a detected face, the picture shows nothing about the speaker.
    seen = task.video.size if "v" in one.used else None
    places = relative_boxes(one, *seen) if seen else []
    shown = tuple(_jpegs(faces)) if faces is not None and "v" in one.used else ()
    values = {f.name: getattr(one, f.name) for f in fields(one) if f.init}
    return UtteranceResult(**values | {"missing": missing}, places=tuple(places), faces=shown)


def _jpegs(faces: Faces) -> Iterator[str]:
    """Yield some of the pictures that the model saw, evenly spread over the utterance."""
    import cv2
    import numpy as np

    count = len(faces.rgb)
    for k in np.unique(np.linspace(0, count - 1, min(_MAX_FACES, count)).round().astype(int)):
        bgr = np.ascontiguousarray(faces.rgb[k][..., ::-1])
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        yield f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
