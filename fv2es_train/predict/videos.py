"""`fv2es predict`: score many videos with one run; write lines, plots and annotated videos."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.corpora import CORPORA
from fv2es_prep.errors import TokenizerError, TrainError, UsageError, WorkError
from fv2es_prep.types import View
from fv2es_prep.utils.files import make_directory
from fv2es_train.predict import render
from fv2es_train.predict.outputs import UtterancePrediction, run_json, summarise, video_json
from fv2es_train.predict.request import PredictConfig, Request, Span, parse_view
from fv2es_train.predict.spans import given_spans, read_spans
from fv2es_train.predict.subtitles import Transcript, read_transcript

if TYPE_CHECKING:
    from fv2es_train.predict.predictor import Predictor

# Suffixes of media files in a folder; a file that the user names may have any suffix.
SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".aiff", ".asf", ".avi", ".divx", ".dv", ".flac", ".flv", ".gif"),
        *(".m2ts", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts"),
        *(".mxf", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".vob", ".wav", ".webm", ".wma", ".wmv"),
    )
)


def predict_videos(
    config: PredictConfig, failed: dict[str, str], say: Callable[[str], None]
) -> Iterator[Any]:
    """Score all videos. A video that fails does not stop the others.

    Args:
        config: the options.
        failed: updated with video -> why it was not scored, or not completely.
        say: called with messages that are not results.

    Yields:
        The lines of the chosen form as soon as they are known; for ``json`` one object at the end.

    Raises:
        UsageError: options contradict each other, or a video or the run does not exist.
        WorkError: the run, its tokenizer or the recogniser cannot be loaded.
    """
    requests = requests_of(config)
    videos = [request.video for request in requests]
    plots, films = (
        output_paths(place, videos, suffix)
        for place, suffix in ((config.plot, ".png"), (config.video, ".mp4"))
    )
    from fv2es_train.predict.predictor import Predictor

    where = config.device, config.tokenizer, config.asr
    predictor = Predictor.load(
        config.run,
        *where,
        encoders=config.encoders,
        engine=config.engine,
        precision=config.precision,
    )
    predictor.check_encoders()
    if predictor.recogniser is not None or any(_has_text(request) for request in requests):
        predictor.check_tokenizer()
    if config.form == "csv":
        yield render.csv_head(predictor.classes, predictor.ratings)
    objects = []
    for request in requests:
        try:
            outputs = plots.get(request.video), films.get(request.video)
            one = yield from _predict_video(request, predictor, config, say, *outputs)
            objects.append(one)
        except (TokenizerError, TrainError):
            raise
        except WorkError as error:
            failed[str(request.video)] = error.sentence
            say(f"{request.video}: {error}")
            objects.append({"video": str(request.video), "error": error.sentence})
    if config.form == "json":
        yield run_json(str(config.run), predictor.classes, predictor.ratings, objects)


def requests_of(config: PredictConfig) -> list[Request]:
    """Make a request for each video.

    Raises:
        UsageError: options contradict each other, or a video does not exist.
    """
    videos = list(dict.fromkeys(v for place in config.videos for v in videos_in(place)))
    if len(videos) > 1:
        _check_many(config)
        for folder in filter(None, (config.plot, config.video)):
            make_directory(folder)
    spans = None if config.spans is None else read_spans(config.spans)
    text = Transcript() if config.transcript is None else read_transcript(config.transcript)
    spans = given_spans(spans, text.spans)
    rule = _view_rule(config.views)
    views = (View(),) if rule else tuple(map(parse_view, config.views))
    if rule:
        spans = _views_by_id(spans, config.views[0], rule)
    request = Request(videos[0], config.sound, spans, text.lines, views, config.faces, config.rules)
    return [replace(request, video=video) for video in videos]


def videos_in(place: Path) -> list[Path]:
    """List the media files in a folder and its subfolders; for a file, the file itself.

    Raises:
        UsageError: the path does not exist or contains no media file.
    """
    hint = "pass video files or a folder of them"
    if not place.exists():
        raise UsageError(f"{place} does not exist", hint)
    if not place.is_dir():
        return [place]
    found = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise UsageError(f"{place} contains no media file", hint)
    return found


def _check_many(config: PredictConfig) -> None:
    given = [name for name in ("sound", "spans", "transcript") if getattr(config, name)]
    if config.form == "srt":
        given.append("srt")
    if given:
        raise UsageError(
            f"--{given[0]} works for one video, but there are several", "run the command per video"
        )
    for name, place in (("plot", config.plot), ("video", config.video)):
        if place is not None and (place.is_file() or place.suffix):
            raise UsageError(
                f"--{name} {place} is one file, but there are several videos",
                f"pass a folder: --{name} out",
            )


def _view_rule(views: tuple[str, ...]) -> Callable[[str], View] | None:
    """The rule id of a span -> view, if the only view is the name of a corpus."""
    if len(views) != 1 or views[0] not in CORPORA.names():
        return None
    return CORPORA.load(views[0]).view_of


def _views_by_id(
    spans: tuple[Span, ...] | None, corpus: str, rule: Callable[[str], View]
) -> tuple[Span, ...]:
    if spans is None or not all(span.id for span in spans):
        raise UsageError(
            f"--view {corpus} needs spans with ids",
            f"pass --transcript with a transcription of {corpus}, or --spans with ids",
        )
    return tuple(replace(span, view=rule(span.id)) for span in spans)


def _has_text(request: Request) -> bool:
    return bool(request.lines) or any(span.text is not None for span in request.spans or ())


def _predict_video(
    request: Request,
    predictor: Predictor,
    config: PredictConfig,
    say: Callable[[str], None],
    plot: Path | None,
    film: Path | None,
) -> Generator[str, None, dict[str, Any]]:
    """Yield the lines of one video as soon as they are known; return it as plain JSON values."""
    name, notes = str(request.video), list[str]()
    found: list[UtterancePrediction] = []

    def on_note(sentence: str) -> None:
        notes.append(sentence)
        say(f"{request.video.name}: {sentence}")

    def scored() -> Iterator[UtterancePrediction]:
        for one in predictor.predict(request, on_note):
            found.append(one)
            yield one

    named = predictor.classes, predictor.ratings
    yield from render.lines(config.form, name, scored(), *named)
    summary = summarise(name, found, predictor.decision, notes)
    if config.form == "table":
        yield "\n".join(render.video_lines(summary)) + "\n"
    if plot is not None:
        from fv2es_train.predict.timeline import draw_timeline

        make_directory(plot.parent)
        draw_timeline(plot, summary, found)
    if film is not None:
        from fv2es_train.predict.annotated_video import write_annotated_video

        make_directory(film.parent)
        write_annotated_video(request, found, predictor.decision, film, predictor.settings.media)
    return video_json(summary, found)


def output_paths(given: Path | None, videos: Sequence[Path], suffix: str) -> dict[Path, Path]:
    """Choose the output file of each video: the given file, or one in the given folder.

    In that folder, the outputs keep the subfolders of the videos below their common folder. Videos
    whose names differ only in their suffix keep the suffix.
    """
    if given is None or (len(videos) == 1 and not given.is_dir()):
        return dict.fromkeys(videos, given) if given else {}
    whole = [Path(os.path.normpath(video.absolute())) for video in videos]
    root = os.path.commonpath([path.parent for path in whole])
    stems = [path.relative_to(root).with_suffix("") for path in whole]
    count = Counter(str(stem).lower() for stem in stems)
    found = {}
    for video, path, stem in zip(videos, whole, stems, strict=True):
        name = path.name if count[str(stem).lower()] > 1 else stem.name
        found[video] = given / stem.with_name(f"{name}{suffix}")
    return found
