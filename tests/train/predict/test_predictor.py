"""Predicting raw video: the numbers of evaluation, and what is said where parts are missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from fv2es_prep.config import MediaSettings
from fv2es_prep.corpora.iemocap import view_of
from fv2es_prep.errors import MediaError, TokenizerError, TrainError, UsageError
from fv2es_prep.types import Faces, View
from fv2es_train.data.batches import collate
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.decision import Decision
from fv2es_train.predict.outputs import UtterancePrediction, summarise
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.render import video_lines
from fv2es_train.predict.request import Request, Span, SpanRules
from fv2es_train.predict.timeline import draw_timeline
from tests.train.media import LEFT, NAME, changed, ffmpeg


def spans_of(shards: Path) -> tuple[list[str], tuple[Span, ...]]:
    """The utterances of one recording, as its corpus has them."""
    dataset = ShardDataset(shards)
    ids = [name for name in dataset.ids if name.startswith(NAME)]
    own = [example.utterance for example in map(ShardDataset(shards, ids).__getitem__, range(6))]
    spans = (Span(u.start_s, u.end_s, u.transcript, u.id, view_of(u.id)) for u in own)
    return ids, tuple(spans)


@pytest.mark.parametrize("modalities", ["tav", "a", "v", "tv"])
def test_predicting_equals_evaluating(
    modalities: str,
    trained: Callable[[str], Path],
    prepared: Path,
    files: tuple[Path, Path],
    text_model: Path,
) -> None:
    ids, spans = spans_of(prepared)
    checkpoint = load_checkpoint(trained(modalities))
    dataset = ShardDataset(prepared, ids)
    batch = collate([dataset[i] for i in range(len(ids))], checkpoint.settings.text.pad_id)
    with torch.no_grad():
        logits = checkpoint.model(batch).double().numpy()
    expected = checkpoint.decision.probability(logits, modalities)
    predictor = Predictor(checkpoint, str(text_model))
    found = {one.id: one for one in predictor.predict(Request(*files, spans))}
    assert len(found) == len(ids) == 6
    for name, row, fused in zip(ids, expected, logits, strict=True):
        one = found[name]
        assert set(one.used) == set(modalities) and one.missing == {}
        np.testing.assert_allclose(list(one.probability.values()), row, atol=1e-5)
        logit = [sum(terms.values()) for terms in one.contribution.values()]
        np.testing.assert_allclose(logit, fused, atol=1e-4)
        chosen = zip(predictor.classes, checkpoint.decision.decided(row), strict=True)
        assert one.decided == tuple(name for name, decided in chosen if decided)


def test_without_words_sound_and_faces_are_scored(predictor: Predictor, talk: Path) -> None:
    told: list[str] = []
    found = list(predictor.predict(Request(talk, views=(LEFT,)), told.append))
    assert found and all(set(one.used) == {"a", "v"} for one in found)
    assert all(0.5 <= one.end_s - one.start_s <= 15.2 and one.faces_found for one in found)
    assert [one.start_s for one in found] == sorted(one.start_s for one in found)
    assert "no transcript" in " ".join(told)


@pytest.mark.parametrize(
    ("how", "used", "said"),
    [
        (("-an", "-c:v", "copy"), "v", "holds no sound"),
        (("-vn", "-c:a", "copy"), "a", "holds no picture"),
        (("-af", "volume=0", "-c:v", "copy"), "v", "no speech was detected"),
        (("-vf", "drawbox=c=black:t=fill"), "a", ""),
    ],
)
def test_what_is_missing_is_left_out_and_told(
    how: Sequence[str], used: str, said: str, predictor: Predictor, talk: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    found = list(predictor.predict(Request(changed(tmp_path, talk, *how)), told.append))
    assert found and {one.used for one in found} == {used}
    lacking = {"a": "v", "v": "a"}[used]
    assert all(one.missing[lacking] and set(one.probability) for one in found)
    assert said in " ".join(told)


@pytest.mark.parametrize(
    ("how", "rest", "used"),
    [
        (("-af", "atrim=0:2", "-c:v", "copy"), "-an", "v"),
        (("-vf", "trim=0:2", "-c:a", "copy"), "-vn", "a"),
    ],
)
def test_a_source_that_ends_early_is_as_if_removed_where_it_is_too_short(
    how: Sequence[str], rest: str, used: str, predictor: Predictor, talk: Path, tmp_path: Path
) -> None:
    whole, removed = tmp_path / "six.mp4", tmp_path / "removed.mp4"
    ffmpeg("-i", talk, "-t", "6", "-c", "copy", whole)
    short = changed(tmp_path, whole, *how)
    ffmpeg("-i", short, rest, "-c", "copy", removed)
    spans = (Span(0, 3, view=LEFT), Span(0, 6, view=LEFT))
    half, one = predictor.predict(Request(short, spans=spans))
    assert half.used in ("va", "av") and half.end_s == 3
    # The picture that begins at 2 s may be the last.
    assert half.faces_seen in {"v": (6,), "a": (4, 5)}[used]
    _, other = predictor.predict(Request(removed, spans=spans))
    assert one.used == other.used == used and one.end_s == other.end_s == 6
    assert one.probability == pytest.approx(other.probability, abs=1e-6)
    assert one.boxes == other.boxes and len(one.boxes) == (12 if used == "v" else 0)


def test_a_video_of_neither_is_an_error(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is no video")
    with pytest.raises(MediaError):
        list(predictor.predict(Request(path)))
    with pytest.raises(MediaError):
        list(predictor.predict(Request(path, spans=(Span(0, 1),))))


def test_what_is_left_weighs_as_much_as_all_together(predictor: Predictor, talk: Path) -> None:
    spans = (Span(1, 3, "how dare you", view=LEFT),)
    whole = next(iter(predictor.predict(Request(talk, spans=spans))))
    part = next(iter(predictor.predict(Request(talk, spans=(Span(1, 3, view=LEFT),)))))
    weights = dict(
        zip("tva", predictor.scorer.model.weighted_fusion.weight[0].abs().tolist(), strict=True)
    )
    factor = sum(weights.values()) / (weights["v"] + weights["a"])
    for name, terms in part.contribution.items():
        for letter in "va":
            assert terms[letter] == pytest.approx(factor * whole.contribution[name][letter], 1e-4)


def test_each_view_is_a_speaker(predictor: Predictor, files: tuple[Path, Path]) -> None:
    views = (LEFT, View("right", 224, 1))
    found = list(predictor.predict(Request(*files, views=views)))
    assert {one.speaker for one in found} == {"left", "right"}


def test_all_faces_are_scored_on_their_own(predictor: Predictor, talk: Path) -> None:
    found = list(predictor.predict(Request(talk, spans=(Span(1, 4),), faces="all")))
    assert [one.speaker for one in found] == ["face 1", "face 2"]
    left, right = found
    middle = 360
    assert all(box.right < middle for box in left.boxes)
    assert all(box.left > middle for box in right.boxes)
    assert left.contribution["ang"]["a"] == right.contribution["ang"]["a"]
    assert left.probability != right.probability


def test_one_person_is_scored_by_default_and_the_same_where_there_is_but_one(
    predictor: Predictor, talk: Path
) -> None:
    both = (Span(1, 4),)
    (one,) = predictor.predict(Request(talk, spans=both))
    left, right = predictor.predict(Request(talk, spans=both, faces="all"))
    assert one.boxes in (left.boxes, right.boxes) and one.faces_found == one.faces_seen == 6
    alone = (Span(1, 4, view=LEFT),)
    (track,) = predictor.predict(Request(talk, spans=alone))
    (largest,) = predictor.predict(Request(talk, spans=alone, faces="largest"))
    assert track.boxes == largest.boxes and track.probability == largest.probability


def test_utterances_come_while_the_video_goes_on(predictor: Predictor, talk: Path) -> None:
    spans = tuple(Span(k, k + 1, view=LEFT) for k in range(6))
    coming = predictor.predict(Request(talk, spans=spans))
    assert next(coming).start_s == 0
    assert next(coming).start_s == 1
    coming.close()


def test_what_the_model_saw_is_shown_before_its_utterance(predictor: Predictor, talk: Path) -> None:
    shown: list[tuple[str, Faces]] = []
    request = Request(talk, spans=(Span(0, 2, view=LEFT), Span(2, 4, view=LEFT)))
    coming = predictor.predict(request, on_faces=lambda name, faces: shown.append((name, faces)))
    for count, one in enumerate(coming, 1):
        assert len(shown) == count
        name, faces = shown[-1]
        assert name == one.id and faces.rgb.shape == (one.faces_seen, 48, 48, 3)
        assert faces.times_s.tolist() == [box.time_s for box in one.boxes]


def test_faces_that_were_not_looked_at_are_not_shown(
    predictor: Predictor, trained: Callable[[str], Path], talk: Path, tmp_path: Path
) -> None:
    shown: list[str] = []
    dark = Request(changed(tmp_path, talk, "-vf", "drawbox=c=black:t=fill"), spans=(Span(0, 2),))
    list(predictor.predict(dark, on_faces=lambda name, _: shown.append(name)))
    deaf = Predictor.load(trained("a"), "cpu", None, "none")
    list(
        deaf.predict(
            Request(talk, spans=(Span(0, 2),)), on_faces=lambda name, _: shown.append(name)
        )
    )
    assert shown == []


def test_other_limits_refuse_and_change_no_number(
    predictor: Predictor, trained: Callable[[str], Path], text_model: Path, talk: Path
) -> None:
    def limited(media: MediaSettings) -> Predictor:
        return Predictor.load(trained("tav"), "cpu", str(text_model), "none", media=media)

    request = Request(talk, spans=(Span(0, 2, "you", view=LEFT), Span(5, 8, "no", view=LEFT)))
    generous = limited(MediaSettings(720 * 480 * 2, 9, 30, 5))
    for one, other in zip(generous.predict(request), predictor.predict(request), strict=True):
        assert one == replace(other, seconds=one.seconds)
    for media in (MediaSettings(max_duration_s=7), MediaSettings(max_pixels=100)):
        told: list[str] = []
        coming = limited(media).predict(Request(talk), told.append)
        if media.max_pixels == 100:
            assert {one.used for one in coming} == {"a"} and "pixels" in " ".join(told)
        else:
            with pytest.raises(MediaError, match="more than 7 s"):
                list(coming)


def test_another_tokenizer_is_refused(
    trained: Callable[[str], Path], text_model: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(text_model, tmp_path / "other"))
    rules = json.loads((other / "tokenizer.json").read_text())
    rules["model"]["vocab"][-1][0] = "another"
    (other / "tokenizer.json").write_text(json.dumps(rules))
    with pytest.raises(TokenizerError, match="the run needs its tokenizer"):
        Predictor.load(trained("tav"), "cpu", str(other), "none").check_tokenizer()


def test_a_run_of_words_alone_needs_words(trained: Callable[[str], Path], talk: Path) -> None:
    with pytest.raises(TrainError, match="only text"):
        list(Predictor.load(trained("t"), "cpu", None, "none").predict(Request(talk)))


def test_rules_and_spans_out_of_range_are_refused() -> None:
    for wrong in (lambda: SpanRules(3, 2), lambda: Span(2, 1), lambda: Span(-1, 1)):
        with pytest.raises(UsageError):
            wrong()


def test_a_video_is_the_mean_weighted_by_length() -> None:
    def one(start_s: float, end_s: float, value: float) -> UtterancePrediction:
        probability, decided = {"ang": value}, ("ang",) if value > 0.5 else ()
        return UtterancePrediction(
            *("x", start_s, end_s, None, "", "", "full", 0, 0, "a", {}),
            *(probability, decided, {"ang": {"a": 0.0}}),
        )

    decision = Decision(thresholds={"ang": 0.5})
    whole = summarise("v", [one(0, 3, 0.8), one(3, 4, 0.2)], decision)
    assert whole.probability["ang"] == pytest.approx(0.65)
    assert whole.share["ang"] == pytest.approx(0.75)
    assert (whole.decided, whole.top, whole.scored) == (("ang",), "ang", 2)
    assert summarise("v", [], decision).top == ""
    strange = replace(one(0, 3, 0.8), decided=(), undecided="out-of-distribution audio")
    assert summarise("v", [strange], decision).decided == ()
    assert summarise("v", [strange, one(3, 4, 0.6)], decision).decided == ("ang",)


def test_persons_are_summarised_one_by_one_and_their_common_time_counts_once(
    tmp_path: Path,
) -> None:
    def one(start_s: float, end_s: float, speaker: str, value: float) -> UtterancePrediction:
        probability, decided = {"ang": value, "neu": 1 - value}, ("ang",) if value > 0.5 else ()
        return UtterancePrediction(
            *("x", start_s, end_s, None, "", speaker, "full", 1, 1, "va", {}),
            *(probability, decided, {n: {"v": 1.0, "a": -2.0} for n in probability}),
        )

    found = [one(0, 10, "face 1", 0.9), one(0, 10, "face 2", 0.1), one(12, 19.5, "face 1", 0.9)]
    whole = summarise("v", found, Decision(thresholds={"ang": 0.5, "neu": 0.5}))
    assert (whole.spoken_s, whole.decided) == (17.5, ())
    first, second = whole.speakers
    assert (first.speaker, first.spoken_s, first.scored) == ("face 1", 17.5, 2)
    assert first.probability["ang"] == pytest.approx(0.9)
    assert (second.spoken_s, second.top, second.share["ang"]) == (10, "neu", 0)
    shown = "\n".join(video_lines(whole))
    assert "face 2: neu has the highest mean" in shown and "whole video" not in shown
    assert draw_timeline(tmp_path / "t.png", whole, found).is_file()
    assert summarise("v", found[:1], Decision(thresholds={"ang": 0.5})).speakers == ()


def test_a_term_stands_on_the_one_before_it(tmp_path: Path, monkeypatch: Any) -> None:
    bars = []
    draw = Axes.bar
    monkeypatch.setattr(Axes, "bar", lambda self, *a, **k: bars.append(a) or draw(self, *a, **k))
    one = UtterancePrediction(
        *("x", 1.0, 3.0, None, "", "", "full", 1, 1, "tva", {}, {"ang": 0.9}, ("ang",)),
        {"ang": {"t": 1.0, "v": -0.5, "a": 2.0}},
    )
    summary = summarise("v", [one], Decision(thresholds={"ang": 0.5}))
    draw_timeline(tmp_path / "t.png", summary, [one])
    assert bars[:3] == [(1.0, 1.0, 2.0, 0.0), (1.0, -0.5, 2.0, 0.0), (1.0, 2.0, 2.0, 1.0)]
