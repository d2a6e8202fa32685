"""Section p: how long a prediction takes against the length of the video, and which part of it.

Every second of the video is scored, in utterances of 5 s with words. The weights are random: they
cost as much as trained ones. The parts are measured one by one on the same video, and the whole
as `Predictor.predict` does it.
"""

from __future__ import annotations

import functools
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.material import iemocap_shaped, text_model
from benchmarks.ours import fv2es
from benchmarks.results import Section, Table
from benchmarks.timing import environment
from fv2es_prep.example import Stages
from fv2es_prep.media.audio import mel_spectrum
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.text import describe_tokenizer
from fv2es_prep.settings import PrepSettings
from fv2es_prep.types import Recording, Utterance, View
from fv2es_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fv2es_train.config import preset
from fv2es_train.model import FV2ES
from fv2es_train.predict import words
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from fv2es_train.predict.spans import fixed_spans
from fv2es_train.predict.speech import listen

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "prediction"
_CLASSES = ("ang", "exc", "fru", "hap", "neu", "sad")
_LENGTHS_S = {True: (10, 60), False: (10, 60, 600)}
_MODELS = ("fv2es", "fv2es-tiny")
_VIEW = View("left", 224, 0)
_WORDS = "nobody ever explains why I keep waiting"
_PARTS = ("decode", "detect", "mel", "speech", "asr")
_NAME = "Ses01F_impro01"


def measure(bench: Bench) -> Section:
    runs = {name: _run(bench, name) for name in _MODELS}
    rows: list[dict[str, Any]] = []
    for length_s in _LENGTHS_S[bench.quick]:
        bench.say(f"prediction, {length_s} s")
        base = iemocap_shaped(bench.out, float(length_s), 1) / "Session1/dialog"
        files = (base / f"avi/DivX/{_NAME}.avi", base / f"wav/{_NAME}.wav")
        request = _request(files, length_s, bench.out)
        rows.append({"length_s": length_s, **_parts(request, runs["fv2es"], text_model(bench.out))})
        for name, run in runs.items():
            rows[-1] |= _whole(name, run, request, bench.out)
        bench.noise.sound()
    return _section(rows)


def _section(rows: list[dict[str, Any]]) -> Section:
    names = [name for name in rows[0] if name != "length_s"]
    table = Table(
        "real-time factor: seconds of work for a second of video, all of it scored",
        ("what", *(f"{row['length_s']} s" for row in rows)),
        tuple(
            (name, *(None if r[name] is None else r[name] / r["length_s"] for r in rows))
            for name in names
        ),
    )
    notes = (
        "first: a new process of `fv2es predict`, imports included",
        "warm: the second call in one process; spans and words are given to both",
        "there is no lite preset: fv2es-tiny is the small one",
        "asr is whisper tiny.en, where the extra asr is installed",
    )
    return Section((table,), (), notes, {"rows": rows})


def _run(bench: Bench, name: str) -> Path:
    """A run with random weights and the published text encoder's sizes."""
    from transformers import AlbertConfig

    from fv2es_train.encoders import text as texts

    settings = PrepSettings(text=describe_tokenizer(str(text_model(bench.out)), 100))
    model, config = preset(name)
    known = settings.text.vocabulary_size
    small = texts.small(known, settings.text.pad_id)
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    large = AlbertConfig(vocab_size=known, num_hidden_layers=12, **sizes).to_dict()
    text = small if name == "fv2es-tiny" else texts.from_config(large)
    model = replace(model, label_classes=_CLASSES, text=text.config)
    thresholds = dict.fromkeys(_CLASSES, 0.5)
    made = Checkpoint(FV2ES(model, text), config, settings, thresholds, "", 1)
    run = bench.out / "material" / f"run-{name}"
    save_checkpoint(run, made)
    return run


def _request(files: tuple[Path, Path], length_s: int, out: Path) -> Request:
    from fv2es_train.predict.request import DEFAULT_RULES

    spans = [Span(a, b, _WORDS, f"u{a:g}", _VIEW) for a, b in fixed_spans(length_s, DEFAULT_RULES)]
    table = [{"start_s": s.start_s, "end_s": s.end_s, "text": s.text} for s in spans]
    (out / "spans.json").write_text(json.dumps(table))
    return Request(*files, tuple(spans), views=(_VIEW,))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _parts(request: Request, run: Path, tokenizer: Path) -> dict[str, float | None]:
    """Seconds of each part alone, over all utterances, each warmed up by its first one."""
    settings = load_checkpoint(run).settings
    assert request.spans is not None
    utterances = [
        Utterance(s.id, "r", s.start_s, s.end_s, _WORDS, (), view=_VIEW) for s in request.spans
    ]
    detector = Stages(settings, str(tokenizer), _CLASSES).detector
    hearer = words.recogniser(None)
    spent: dict[str, float | None] = dict.fromkeys(_PARTS, 0.0)
    recording = Recording("r", request.video, request.sound or request.video)
    with OpenRecording(recording, utterances, settings.frames) as source:
        for number, utterance in enumerate(utterances):
            began = time.perf_counter()
            waveform, frames = source.waveform(utterance), list(source.frames(utterance))
            spent["decode"] += time.perf_counter() - began  # type: ignore[operator]
            pictures = [rgb for _, rgb in frames]
            works = {
                "detect": functools.partial(detector.largest, pictures),
                "mel": functools.partial(mel_spectrum, waveform, settings.mel),
            }
            if hearer is not None:
                works["asr"] = functools.partial(hearer.recognise, waveform)
            for part, work in works.items():
                if number == 0:
                    work()
                spent[part] += _seconds(work)  # type: ignore[operator]
    spent["speech"] = _seconds(lambda: listen(recording.audio, [0], settings.media))
    return {**spent, "asr": spent["asr"] if hearer is not None else None}


def _whole(name: str, run: Path, request: Request, out: Path) -> dict[str, float]:
    """Seconds of the whole, and of the model in it: fused and not, first and warm."""
    found: dict[str, float] = {}
    tokenizer, spans = text_model(out), out / "spans.json"
    for form, fuse in (("fused", True), ("branches", False)):
        predictor = Predictor(load_checkpoint(run), str(tokenizer), fuse=fuse)
        next(iter(predictor.predict(request)))
        done: list[Any] = []
        warm = _seconds(lambda d=done, p=predictor: d.extend(p.predict(request)))
        found[f"{name}: model, {form}"] = sum(one.seconds["model"] for one in done)
        if fuse:
            found[f"{name}: warm"] = warm
    command = [*fv2es("predict"), request.video, "--sound", request.sound, "--run", run, "--csv"]
    command += ["--view", "left:224:0", "--tokenizer", tokenizer, "--spans", spans]
    first = functools.partial(
        subprocess.run, command, env=environment(), check=True, capture_output=True
    )
    found[f"{name}: first"] = _seconds(first)
    return found


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes, rows = figure.subplots(), data["rows"]
    names = [name for name, value in rows[-1].items() if name != "length_s" and value is not None]
    axes.barh(names[::-1], [rows[-1][name] / rows[-1]["length_s"] for name in names[::-1]])
    axes.set(xlabel=f"seconds for a second of video ({rows[-1]['length_s']} s of it)")
