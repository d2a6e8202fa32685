"""`fv2es predict`: many videos with one run, each as far as it goes.

Owns the options, which files are meant, and where a video's picture and film go. Yields what is to
be printed; the command line prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.corpora import CORPORA
from fv2es_prep.errors import TokenizerError, TrainError, UsageError, WorkError
from fv2es_prep.types import View
from fv2es_prep.utils.files import make_directory
from fv2es_train.predict import render
from fv2es_train.predict.outputs import (
    UtterancePrediction,
    VideoPrediction,
    summarise,
    video_json,
)
from fv2es_train.predict.request import (
    DEFAULT_RULES,
    FaceChoice,
    Request,
    Span,
    SpanRules,
    parse_view,
)
from fv2es_train.predict.spans import given_spans, read_spans
from fv2es_train.predict.subtitles import Transcript, read_transcript

if TYPE_CHECKING:
    from fv2es_train.predict.predictor import Predictor

# What is taken from a folder; a file that is named is tried whatever its name is.
SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".aiff", ".asf", ".avi", ".divx", ".dv", ".flac", ".flv", ".gif"),
        *(".m2ts", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts"),
        *(".mxf", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".vob", ".wav", ".webm", ".wma", ".wmv"),
    )
)


@dataclass(frozen=True)
class PredictOptions:
    """What `fv2es predict` is asked to do.

    Attributes:
        videos: files and folders.
        run: directory of the run.
        sound: the file of the sound, for one video.
        spans: a file of spans, see `spans.read_spans`, for one video.
        transcript: a transcript, see `subtitles`, for one video.
        asr: see `words.recogniser`.
        tokenizer: directory or name, where the settings' name leads nowhere.
        views: see `request.parse_view`; or a corpus whose ids tell each span's view.
        faces: ``largest`` or ``all``.
        form: ``table``, ``json``, ``csv`` or ``srt``.
        plot: PNG file of the time line; a folder where there are several videos.
        video: MP4 file of the film; a folder where there are several videos.
        device: where the model computes.
        rules: how speech is cut.
    """

    videos: tuple[Path, ...]
    run: Path
    sound: Path | None = None
    spans: Path | None = None
    transcript: Path | None = None
    asr: str | None = None
    tokenizer: str | None = None
    views: tuple[str, ...] = ("full",)
    faces: FaceChoice = "largest"
    form: str = "table"
    plot: Path | None = None
    video: Path | None = None
    device: str = "auto"
    rules: SpanRules = DEFAULT_RULES


@dataclass
class Outcome:
    """How it went, filled in while `predict_videos` goes on.

    Attributes:
        failed: video -> why nothing or not all of it was scored.
    """

    failed: dict[str, str] = field(default_factory=dict)


def predict_videos(
    options: PredictOptions, outcome: Outcome, say: Callable[[str], None]
) -> Iterator[Any]:
    """Score all videos.

    Args:
        options: what is asked for.
        outcome: what failed is put here.
        say: called with what is not a result.

    Yields:
        The lines of the chosen form as they are known; for ``json`` one object at the end.

    Raises:
        UsageError: the options do not fit one another, or there is no video or run.
        WorkError: the run, its tokenizer or the recogniser cannot be loaded.
    """
    requests = requests_of(options)
    from fv2es_train.predict.predictor import Predictor

    predictor = Predictor.load(options.run, options.device, options.tokenizer, options.asr)
    if predictor.words is not None or any(_worded(request) for request in requests):
        predictor.check_tokenizer()
    if options.form == "csv":
        yield render.csv_head(predictor.classes)
    objects = []
    for request in requests:
        try:
            work = _Work(request, predictor, options, say)
            yield from work.lines()
            objects.append(work.json())
        except (TokenizerError, TrainError):
            raise
        except WorkError as error:
            outcome.failed[str(request.video)] = error.sentence
            say(f"{request.video}: {error}")
            objects.append({"video": str(request.video), "error": error.sentence})
    if options.form == "json":
        yield {"run": str(options.run), "classes": list(predictor.classes), "videos": objects}


def requests_of(options: PredictOptions) -> list[Request]:
    """A request for each video.

    Raises:
        UsageError: the options do not fit one another, or there is no video.
    """
    videos = list(dict.fromkeys(v for place in options.videos for v in videos_in(place)))
    if len(videos) > 1:
        _refuse_for_many(options)
        for folder in filter(None, (options.plot, options.video)):
            make_directory(folder)
    spans, lines = _spans_of(options)
    rule = _view_rule(options.views)
    views = (View(),) if rule else tuple(parse_view(text) for text in options.views)
    if rule:
        spans = _viewed(spans, options.views[0], rule)
    request = Request(videos[0], options.sound, spans, lines, views, options.faces, options.rules)
    return [replace(request, video=video) for video in videos]


def videos_in(place: Path) -> list[Path]:
    """The file itself, or the media files in a folder and its folders.

    Raises:
        UsageError: there is no such place, or no media file in it.
    """
    if not place.exists():
        raise UsageError(f"there is no {place}", "pass video files, or a folder of them")
    if not place.is_dir():
        return [place]
    found = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise UsageError(f"{place} holds no media file", "pass video files, or a folder of them")
    return found


def _refuse_for_many(options: PredictOptions) -> None:
    for name in ("sound", "spans", "transcript"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for one video", "call the command for each video")
    if options.form == "srt":
        raise UsageError("--srt is for one video", "call the command for each video")
    for name in ("plot", "video"):
        place: Path | None = getattr(options, name)
        if place is not None and (place.is_file() or place.suffix):
            raise UsageError(
                f"--{name} {place} is one file, and there are several videos",
                f"pass a folder: --{name} out",
            )


def _spans_of(options: PredictOptions) -> tuple[tuple[Span, ...] | None, tuple[str, ...]]:
    """The spans that are given, with their words, and words without times."""
    spans = None if options.spans is None else read_spans(options.spans)
    given = Transcript() if options.transcript is None else read_transcript(options.transcript)
    return given_spans(spans, given.spans), given.lines


def _view_rule(views: tuple[str, ...]) -> Callable[[str], View] | None:
    """The rule by ids of the corpus that the one view names."""
    if len(views) != 1 or views[0] not in CORPORA.names():
        return None
    return CORPORA.load(views[0]).view_of


def _viewed(
    spans: tuple[Span, ...] | None, corpus: str, rule: Callable[[str], View]
) -> tuple[Span, ...]:
    if spans is None or not all(span.id for span in spans):
        raise UsageError(
            f"--view {corpus} needs the ids of the spans, and there are none",
            f"pass --transcript with a transcription of {corpus}, or --spans with ids",
        )
    return tuple(replace(span, view=rule(span.id)) for span in spans)


def _worded(request: Request) -> bool:
    return bool(request.lines) or any(span.text is not None for span in request.spans or ())


class _Work:
    """One video: its lines as they come, and afterwards what was found."""

    def __init__(
        self,
        request: Request,
        predictor: Predictor,
        options: PredictOptions,
        say: Callable[[str], None],
    ) -> None:
        self._request, self._predictor, self._options = request, predictor, options
        self._say = say
        self._found: list[UtterancePrediction] = []
        self._notes: list[str] = []

    def lines(self) -> Iterator[str]:
        """The lines of the chosen form, each as soon as it is known."""
        form, classes, video = self._options.form, self._predictor.classes, self._request.video
        if form == "table":
            yield f"{video}\n{render.table_head(classes)}"
        if form == "srt":
            yield from (block.rstrip("\n") + "\n" for block in render.srt_blocks(self._each()))
        for one in self._each() if form != "srt" else ():
            if form == "table":
                yield "\n".join(render.table_lines(one, classes))
            elif form == "csv":
                yield render.csv_row(str(video), one, classes)
        if form == "table":
            yield "\n".join(render.video_lines(self.summary)) + "\n"
        self._draw()

    def json(self) -> dict[str, Any]:
        """The video and its utterances."""
        return video_json(self.summary, self._found)

    @property
    def summary(self) -> VideoPrediction:
        """The whole video, as far as it was scored."""
        name = str(self._request.video)
        return summarise(name, self._found, self._predictor.thresholds, self._notes)

    def _each(self) -> Iterator[UtterancePrediction]:
        for one in self._predictor.predict(self._request, self._note):
            self._found.append(one)
            yield one

    def _note(self, sentence: str) -> None:
        self._notes.append(sentence)
        self._say(f"{self._request.video.name}: {sentence}")

    def _draw(self) -> None:
        if self._options.plot is not None:
            from fv2es_train.predict.timeline import draw_timeline

            draw_timeline(self._place(self._options.plot, ".png"), self.summary, self._found)
        if self._options.video is not None:
            from fv2es_train.predict.annotated_video import film

            place = self._place(self._options.video, ".mp4")
            thresholds, media = self._predictor.thresholds, self._predictor.settings.media
            film(self._request, self._found, thresholds, place, media)

    def _place(self, asked: Path, suffix: str) -> Path:
        return asked / f"{self._request.video.stem}{suffix}" if asked.is_dir() else asked
