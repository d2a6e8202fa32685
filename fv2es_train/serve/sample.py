"""The sample of the page: a short generated film of two speakers, with its words and spans."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.types import View
from fv2es_train.predict.request import Request, Span
from fv2es_train.serve.admission import check_content, check_spans
from fv2es_train.serve.jobs import PREVIEW, Job
from fv2es_train.serve.messages import ScoreTask

if TYPE_CHECKING:
    from fv2es_train.serve.settings import Limits

NAME = "sample.avi"
# Of the six emotions; three other turns are added. The film has about 16 seconds.
_TURNS = 4
_SIDE_PX = 224


class Sample:
    """The sample of one server; the film is generated on the first request and then kept.

    ``workspace`` is the private directory of uploads, which is removed with the server.
    """

    def __init__(self, workspace: Path) -> None:
        self._path = workspace / NAME
        self._spans: tuple[Span, ...] = ()
        self._lock = threading.Lock()

    def job(self, limits: Limits, pictures_hz: float) -> Job:
        """A job that scores the sample and makes a preview; blocks while the film is generated.

        ``pictures_hz`` is the number of sampled pictures per second.

        Raises:
            ApiError: the sample exceeds a limit of this server.
        """
        with self._lock:
            if not self._spans:
                self._spans = _generate(self._path)
        folder = Path(tempfile.mkdtemp(dir=self._path.parent))
        try:
            # The end of a job removes its upload.
            video = Path(shutil.copyfile(self._path, folder / NAME))
            views = tuple(dict.fromkeys(span.view for span in self._spans if span.view))
            request = Request(video, spans=self._spans, views=views)
            checked = check_content(video, NAME, limits)
            check_spans(request, checked.size, pictures_hz, limits)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return Job(ScoreTask(checked, request, folder / PREVIEW), folder)


def _generate(path: Path) -> tuple[Span, ...]:
    """Generate the film; the spans of its turns, each in the view of its speaker."""
    from fv2es_prep.demo import make_talk

    temporary = path.with_name(f"new-{path.name}")
    plan = make_talk(temporary, turns=_TURNS)
    temporary.replace(path)
    views = {turn.speaker: _view(turn.speaker == plan.left) for turn in plan.turns}
    return tuple(
        Span(turn.start_s, turn.end_s, turn.text, view=views[turn.speaker]) for turn in plan.turns
    )


def _view(is_left: bool) -> View:
    return View("left", _SIDE_PX, 0) if is_left else View("right", _SIDE_PX, 1)
