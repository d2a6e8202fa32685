"""Section p: the time of a prediction and of its parts, relative to the length of the video.

Every second of the video is scored, in utterances of 5 s with words. The weights are random, which
does not affect the time. The parts are measured one by one on the same video; the whole is measured
with `Predictor.predict` and with the command line.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.material import iemocap_shaped, text_model
from benchmarks.ours import fv2es
from benchmarks.results import Cell, Section, Table
from benchmarks.timing import environment, in_rounds
from fv2es_prep.config import PrepSettings
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Recording, Utterance, View
from fv2es_train.config import TrainConfig
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fv2es_train.models.decision import Decision
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.recognisers import Recogniser, load_recogniser
from fv2es_train.predict.request import DEFAULT_RULES, Request, Span
from fv2es_train.predict.spans import fixed_spans
from fv2es_train.predict.speech import detect_speech

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.bench import Bench

TITLE = "prediction"
LENGTHS_S = {True: (10, 60), False: (10, 60, 600)}
_CLASSES = ("ang", "exc", "fru", "hap", "neu", "sad")
_MODELS = ("fv2es", "fv2es-lite", "fv2es-tiny")
_FORMS = {"fused": True, "branches": False}
# Networks within the model that are measured separately.
_NETWORKS = {"faces": "face", "sound": "mel"}
_VIEW = View("left", 224, 0)
_WORDS = "nobody ever explains why I keep waiting"
_NAME = "Ses01F_impro01"
# Longer videos are measured once, because they average over themselves.
_ROUNDS_UP_TO_S = 10

Seconds = Mapping[str, float | None]


def measure(bench: Bench) -> Section:
    runs = {name: _run(bench, name) for name in _MODELS}
    hearer = load_recogniser(None)
    rows = []
    for length_s in LENGTHS_S[bench.quick]:
        bench.say(f"prediction, {length_s} s")
        ways = _ways(_request(bench, length_s), runs, hearer, text_model(bench.out))
        rounds = bench.rounds if length_s <= _ROUNDS_UP_TO_S else 1
        measured = in_rounds(ways, rounds, bench.noise)
        rows.append({"length_s": length_s, **_medians(measured)})
        bench.noise.sound()
    return _section(rows, hearer)


def _ways(
    request: Request, runs: Mapping[str, Path], hearer: Recogniser | None, tokenizer: Path
) -> dict[str, Callable[[], Seconds]]:
    """The ways to measure side by side on one video."""
    settings = load_checkpoint(runs["fv2es"]).settings
    stages = StageContext(settings, str(tokenizer), _CLASSES)
    ways: dict[str, Callable[[], Seconds]] = {
        "parts": functools.partial(_parts, request, stages, hearer)
    }
    for name, run in runs.items():
        for form, fuse in _FORMS.items():
            predictor = Predictor(load_checkpoint(run), str(tokenizer), fuse=fuse)
            next(iter(predictor.predict(request)))
            network = predictor.scorer.model
            clocks = {part: _Clock(getattr(network, at)) for part, at in _NETWORKS.items()}
            warm = functools.partial(_warm, name, form, predictor, clocks, request)
            ways[f"{name}, {form}"] = warm
        ways[f"{name}, first"] = functools.partial(_first, name, run, request, tokenizer)
    return ways


def _medians(measured: Mapping[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for rounds in measured.values():
        for name in rounds[0]:
            values = [one[name] for one in rounds if one[name] is not None]
            found[name] = statistics.median(values) if values else None
    return found


def _section(rows: list[dict[str, Any]], hearer: Recogniser | None) -> Section:
    import torch

    names = [name for name in rows[0] if name != "length_s"]
    table = Table(
        "seconds for a video, all of it scored; x: as a share of its length (real-time factor)",
        ("what", *(head for row in rows for head in (f"{row['length_s']} s", "x"))),
        tuple((name, *(cell for row in rows for cell in _cells(row, name))) for name in names),
    )
    notes = (
        "first: a new process of `fv2es predict`, imports included; warm: the second call in one "
        "process; spans and words are given to both",
        "branches: the RepVGG blocks as they were trained; the first process has them fused",
        "decode, detect and mel are measured one after the other; in the whole the decoder, a "
        "process of its own, goes on beside them",
        "its faces, its sound: these networks within the model",
        f"torch has {torch.get_num_threads()} thread(s); up to {_ROUNDS_UP_TO_S} s medians of the "
        "rounds, beyond it one round",
        f"asr: {hearer.name}, on the generated voices, which are no words"
        if hearer
        else "asr: not measured, for the extra asr is not installed",
    )
    data = {"rows": rows, "asr": hearer.name if hearer else None}
    return Section((table,), (), notes, data)


def _cells(row: Mapping[str, Any], name: str) -> tuple[Cell, Cell]:
    """Seconds and factor; a part that was not measured says so."""
    took = row[name]
    return ("not measured", None) if took is None else (took, took / row["length_s"])


def _run(bench: Bench, name: str) -> Path:
    """Make a run with random weights and the sizes of the published text encoder."""
    from transformers import AlbertConfig

    from fv2es_train.models import text_encoder as texts

    settings = PrepSettings(text=describe_tokenizer(str(text_model(bench.out)), 100))
    model, config = preset(name).model, TrainConfig(**preset(name).train)
    known = settings.text.vocabulary_size
    small = texts.small(known, settings.text.pad_id)
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    large = AlbertConfig(vocab_size=known, num_hidden_layers=12, **sizes).to_dict()
    text = small if name == "fv2es-tiny" else texts.from_config(large)
    model = replace(model, label_classes=_CLASSES, text=text.config)
    decision = Decision(thresholds=dict.fromkeys(_CLASSES, 0.5))
    made = Checkpoint(FV2ES(model, text), config, settings, decision, "", 1)
    run = bench.out / "material" / f"run-{name}"
    save_checkpoint(run, made)
    return run


def _request(bench: Bench, length_s: int) -> Request:
    """Request all of a dialogue of this length, for its left speaker."""
    base = iemocap_shaped(bench.out, float(length_s), 1) / "Session1/dialog"
    files = (base / f"avi/DivX/{_NAME}.avi", base / f"wav/{_NAME}.wav")
    spans = [Span(a, b, _WORDS, f"u{a:g}", _VIEW) for a, b in fixed_spans(length_s, DEFAULT_RULES)]
    return Request(*files, tuple(spans), views=(_VIEW,))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _parts(request: Request, stages: StageContext, hearer: Recogniser | None) -> Seconds:
    """Seconds of each part alone, over all utterances, warmed up by the first one."""
    settings = stages.settings
    utterances = [
        Utterance(s.id, "r", s.start_s, s.end_s, _WORDS, (), view=_VIEW)
        for s in request.spans or ()
    ]
    recording = Recording("r", request.video, request.sound or request.video)
    began = time.perf_counter()
    with OpenRecording(recording, utterances, settings.frames) as source:
        decoded = [(source.waveform(u), [rgb for _, rgb in source.frames(u)]) for u in utterances]
    spent: dict[str, float] = {"decode": time.perf_counter() - began}
    spent["speech"] = _seconds(lambda: detect_speech(recording.audio, [0], settings.media))
    works: dict[str, Callable[[Any, Any], object]] = {
        "detect": lambda _, pictures: stages.detector.largest(pictures),
        "mel": lambda waveform, _: mel_spectrum(waveform, settings.mel),
    }
    if hearer is not None:
        works["asr"] = lambda waveform, _: hearer.recognise(waveform)
    for part, work in works.items():
        work(*decoded[0])
        spent[part] = _seconds(lambda work=work: [work(*one) for one in decoded])
    return {**spent, "asr": spent.get("asr")}


class _Clock:
    """Measures the seconds that a network took since the last `take`."""

    def __init__(self, network: nn.Module) -> None:
        self._began = self._seconds = 0.0
        network.register_forward_pre_hook(self._begin)
        network.register_forward_hook(self._end)

    def _begin(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _end(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._began

    def take(self) -> float:
        """Return the seconds and reset the clock."""
        taken, self._seconds = self._seconds, 0.0
        return taken


def _warm(
    name: str, form: str, predictor: Predictor, clocks: Mapping[str, _Clock], request: Request
) -> Seconds:
    """Seconds of a call of a warm predictor, and of the model within it."""
    for clock in clocks.values():
        clock.take()
    began = time.perf_counter()
    done = list(predictor.predict(request))
    took = time.perf_counter() - began
    return {
        **{f"{name}: its {part}, {form}": clock.take() for part, clock in clocks.items()},
        f"{name}: model, {form}": sum(one.seconds["text"] + one.seconds["model"] for one in done),
        f"{name}: warm, {form}": took,
    }


def _first(name: str, run: Path, request: Request, tokenizer: Path) -> Seconds:
    """Seconds of a new process, from its start to its end."""
    table = run.parent / "spans.json"
    spans = [{"start_s": s.start_s, "end_s": s.end_s, "text": s.text} for s in request.spans or ()]
    table.write_text(json.dumps(spans), encoding="utf-8")
    command = [*fv2es("predict"), request.video, "--sound", request.sound, "--run", run, "--csv"]
    command += ["--view", "left:224:0", "--tokenizer", tokenizer, "--spans", table]
    command += ["--asr", "none"]
    took = _seconds(
        lambda: subprocess.run(command, env=environment(), check=True, capture_output=True)
    )
    return {f"{name}: first": took}


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes, rows = figure.subplots(), data["rows"]
    names = [name for name, value in rows[-1].items() if name != "length_s" and value is not None]
    axes.barh(names[::-1], [rows[-1][name] / rows[-1]["length_s"] for name in names[::-1]])
    axes.set(xlabel=f"seconds for a second of video ({rows[-1]['length_s']} s of it)")
