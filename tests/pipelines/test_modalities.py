"""Modalities that are chosen, required or missing, from the command to the summary."""

from __future__ import annotations

import csv
import json

import pytest

from fv2es_prep.errors import SettingsError, UsageError
from pipelines.config import prep_config
from pipelines.plan import plan_corpus
from pipelines.run import RUN_NAME, run


def test_chosen_modalities_decide_the_stages_and_what_is_required(
    corpus, text_model, tmp_path, options_for
):
    def settings(**changes):
        return plan_corpus(options_for(corpus, tmp_path, text_model, **changes), True).settings

    whole = settings()
    assert (whole.stages, whole.require) == (("faces", "mel", "tokens"), "tav")
    assert whole == settings(modalities="vat")
    spoken = settings(modalities="at")
    assert (spoken.stages, spoken.require) == (("mel", "tokens"), "ta")
    assert settings(modalities="v", stages="faces,landmarks,mel").stages == ("faces", "landmarks")
    assert settings(require="none").require == settings(require="").require == ""
    assert settings(require="t").require == "t"
    with pytest.raises(SettingsError, match="none of the stages mel can be made from 'v' alone"):
        settings(modalities="v", stages="mel")
    for odd in ({"modalities": "x"}, {"modalities": ""}, {"require": "video"}):
        with pytest.raises(UsageError, match=rf"{next(iter(odd))} is .* expected some of tav"):
            settings(**odd)


def test_a_corpus_of_sound_alone_decodes_no_picture(
    corpus, text_model, tmp_path, prepare, options_for
):
    _, summary = prepare(options_for(corpus, tmp_path, text_model, modalities="a"))
    assert (summary.prepared, summary.missing, summary.complete) == (18, {}, True)
    assert summary.counts["mel_made"] == 18
    assert not summary.counts["videos_decoded"]


def test_missing_modalities_are_counted_by_reason(corpus, text_model, tmp_path):
    wav, video = (next(iter(sorted(corpus.rglob(f"Ses01*.{kind}")))) for kind in ("wav", "avi"))
    table = tmp_path / "corpus.csv"
    rows = [
        {"id": "heard", "audio": wav, "start_s": 0, "end_s": 2},
        {"id": "seen", "video": video, "start_s": 0, "end_s": 2, "text": "so it goes"},
        {"id": "read", "text": "nobody ever explains why"},
    ]
    with table.open("w", newline="") as file:
        names = ("id", "video", "audio", "start_s", "end_s", "text", "labels")
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({**row, "labels": "ang"} for row in rows)
    out = tmp_path / "out"
    config = prep_config("table", raw=table, out=out, tokenizer=str(text_model))
    assert config.require == "none"
    plan = plan_corpus(config)
    summary = run(plan, out, "inline", lambda _: None)
    assert summary.prepared == 3
    assert summary.missing == {
        "text": {"no_transcript": 1},
        "audio": {"no_audio": 1, "no_audio_stream": 1},
        "video": {"no_video": 2},
    }
    told = json.loads((out / RUN_NAME).read_text())["summary"]["missing"]
    assert told == summary.missing
    again = plan_corpus(config)
    assert not again.todo
    assert run(again, out, "inline", lambda _: None).missing == summary.missing
