"""Every field of a preparation is set by file and by --set; only the user overrides a preset."""

from __future__ import annotations

from typing import Any

import ffmpeg
import pytest
from typer.testing import CliRunner

from fv2es_prep.corpora import CORPORA
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.utils.configuration import given_values, resolve
from fv2es_prep.utils.fields import Field, fields_of
from pipelines.commands.prep import prep, show
from pipelines.config import PrepConfig, prep_config, preset_values

GIVEN = {"raw": "RAW", "out": "OUT"}


def fields(corpus: str) -> dict[str, Field]:
    return fields_of(PrepConfig, preset_values(corpus, {}))


def value_at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def another(field: Field) -> Any:
    """A value that differs from the default and lies in the field's range."""
    if field.choices:
        return next(c for c in field.choices if c != field.default)
    if field.path == "preset":
        return "published"
    if isinstance(field.default, bool):
        return not field.default
    if field.path in ("modalities", "require"):
        return "ta"
    if field.path in ("limit", "sample"):
        return 2
    if isinstance(field.default, int):
        return field.default * 2 or 1 if field.default < 50 else field.default // 2
    if isinstance(field.default, float):
        return field.default / 2 or 0.5
    if isinstance(field.default, tuple) and field.default and field.default[0] == 0.6:
        return [0.1, 0.2, 0.3]
    if field.path == "encoders":
        return {"a.layer": 9}
    if field.path == "merge":
        return {"a": "b"}
    return ["x"] if isinstance(field.default, tuple) else "x"


@pytest.mark.parametrize("path", fields("mosei"))
def test_every_field_is_set_by_a_file_and_by_set(path, tmp_path):
    field = fields("mosei")[path]
    value = another(field)
    text = repr(value).replace("'", '"').replace("True", "true").replace(": ", " = ")
    section, _, name = path.rpartition(".")
    file = tmp_path / "job.toml"
    file.write_text(f"[{section}]\n{name} = {text}\n" if section else f"{name} = {text}\n")
    for given in (given_values(file), given_values(None, [f"{path}={text.strip(chr(34))}"])):
        config = resolve(PrepConfig, GIVEN | given, preset_values("mosei", given))
        assert value_at(config, path) == field.convert(value) != field.default
        assert field.doc


@pytest.mark.parametrize("corpus", CORPORA.names())
def test_what_show_prints_gives_the_same_configuration(corpus, tmp_path):
    words = [corpus, "RAW", "--out", "OUT", "--compact", "--interval-ms", "250", "--merge", "a=b"]
    words += ["--corpus", "mosei"] if corpus == "processed" else []
    words += ["--preset", "published"] if CORPORA.load(corpus).presets else []
    shown = CliRunner().invoke(show, words)
    assert shown.exit_code == 0, shown.output
    file = tmp_path / "job.toml"
    file.write_text(shown.stdout)
    again = prep_config(corpus, **given_values(file))
    assert (again.frames.interval_s, again.storage.faces, again.merge) == (0.25, "jpeg", {"a": "b"})
    assert CliRunner().invoke(show, [corpus, "--config", str(file)]).stdout == shown.stdout


def test_a_preset_replaces_defaults_and_its_user_overrides_it():
    config = prep_config("mosei", **GIVEN, preset="published", compact=True)
    assert (config.frames.rule, config.faces.fallback) == ("thinned", "published")
    assert (config.corpus.picture, config.corpus.label_source) == ("published", "auto")
    assert (config.storage.faces, config.storage.mel) == ("jpeg", "uint8")
    own = {"frames.rule": "time", "corpus.picture": "whole", "storage.mel": "float16"}
    config = prep_config("mosei", **GIVEN, preset="published", compact="true", **own)
    assert (config.frames.rule, config.faces.fallback) == ("time", "published")
    assert (config.corpus.picture, config.storage.mel) == ("whole", "float16")
    assert config.storage.faces == "jpeg"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "mel.n_mel=80"), "did you mean mel.n_mels?"),
        (("--set", "mel.n_mels=many"), "mel.n_mels is 'many', expected"),
        (("--interval-ms", "half"), "frames.interval_s is 'half', expected"),
        (("--max-dropped", "120%"), "max_dropped is 1.2"),
        (("--preset", "theirs"), "unknown preset 'theirs' of table"),
        (("--config", "nowhere.toml"), "cannot read nowhere.toml"),
    ],
)
def test_what_is_wrong_is_named(words, said):
    result = CliRunner().invoke(prep, ["table", "RAW", "--out", "OUT", *words])
    assert isinstance(result.exception, UsageError | SettingsError)
    assert said in str(result.exception)


def test_a_limit_of_media_is_raised_by_set(corpus, text_model, tmp_path):
    """The hint of an error names what raises the limit; here it is lowered and raised again."""
    words = ["iemocap", str(corpus), "--tokenizer", str(text_model), "--executor", "inline"]
    words += ["--limit", "1", "--out", str(tmp_path / "out"), "--json", "--set"]
    low = CliRunner().invoke(prep, [*words, "media.max_duration_s=0.5"])
    assert low.exit_code == 1 and '"too_long": 1' in low.stdout
    high = CliRunner().invoke(prep, [*words, "media.max_duration_s=3600"])
    assert high.exit_code == 0 and '"prepared": 1' in high.stdout


def test_a_run_that_prepares_nothing_fails(text_model, tmp_path):
    black = ffmpeg.input("color=black:s=64x48:r=25:d=2", f="lavfi")
    mute = ffmpeg.input("anullsrc=r=16000:cl=mono", f="lavfi", t=2)
    ffmpeg.output(black, mute, str(tmp_path / "a.mp4"), loglevel="error").run(cmd=ffmpeg_path())
    (tmp_path / "clips.csv").write_text("video,labels\na.mp4,joy\n")
    words = ["table", str(tmp_path / "clips.csv"), "--tokenizer", str(text_model)]
    words += ["--executor", "inline", "--out", str(tmp_path / "out"), "--modalities", "av"]
    done = CliRunner().invoke(prep, words)
    assert done.exit_code == 1 and "no utterance could be prepared" in done.stderr


@pytest.mark.parametrize("corpus", ["iemocap", "mosei"])
def test_fast_is_the_default_detector_and_the_published_preset_keeps_exact(corpus):
    plain, published = (
        prep_config(corpus, **GIVEN, preset=preset) for preset in ("ours", "published")
    )
    assert plain.faces.detector == "fast"
    assert published.faces.detector == "exact"
