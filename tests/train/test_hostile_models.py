"""Directories of tokenizers, encoders and runs that a stranger made: nothing in them runs."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251
from fv2es_prep.errors import Fv2esError, TokenizerError, TrainError, UsageError, WorkError
from fv2es_prep.stages.tokens import load_tokenizer
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.run_files import unpacked
from fv2es_train.models.text_encoder import pretrained
from fv2es_train.predict.recognisers import load_recogniser
from fv2es_train.training.state import load_state

MARK = "it-ran"
CODE = "import pathlib\npathlib.Path({mark!r}).touch()\n"


class _Touch:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def change(directory: Path, file: str, **values: Any) -> None:
    path = directory / file
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **values}))


def code(directory: Path, mark: Path, file: str, reference: Any) -> None:
    for name in ("tokenizer", "modeling", "configuration"):
        (directory / f"{name}.py").write_text(CODE.format(mark=str(mark)))
    key = {"tokenizer_config.json": "tokenizer_class", "config.json": "model_type"}
    change(directory, file, auto_map=reference, **{key.get(file, "processor_class"): "Strange"})


def pickled(directory: Path, mark: Path, name: str) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "tokenizer.json").unlink()
    (directory / name).write_bytes(pickle.dumps(_Touch(mark)))


def linked(directory: Path, mark: Path, name: str) -> None:
    secret = mark.with_name("secret")
    secret.write_text('{"secret": "of another user"}')
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(secret)


def fifo(directory: Path, mark: Path, name: str) -> None:
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)


def large(directory: Path, mark: Path) -> None:
    with (directory / "tokenizer.json").open("r+b") as file:
        file.truncate(200 << 20)


def looping(directory: Path, mark: Path) -> None:
    (directory / "config.json").unlink()
    (directory / "config.json").symlink_to("config.json")


def nested(directory: Path, mark: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        (directory / name).write_text('{"a":' * 50_000 + "1" + "}" * 50_000)


TOKENIZER = {"AutoTokenizer": ["tokenizer.Strange", "tokenizer.Strange"]}
BOTH: dict[str, Callable[[Path, Path], None]] = {
    "tokenizer's auto_map": lambda d, m: code(d, m, "tokenizer_config.json", TOKENIZER),
    "tokenizer's auto_map, a list": lambda d, m: code(
        d, m, "tokenizer_config.json", ["tokenizer.Strange", None]
    ),
    "config's auto_map": lambda d, m: code(
        d, m, "config.json", {"AutoModel": "modeling.M", "AutoConfig": "configuration.C"}
    ),
    "auto_map inside": lambda d, m: change(
        d, "config.json", text_config={"auto_map": {"AutoModel": "modeling.M"}}
    ),
    "processor's auto_map": lambda d, m: code(
        d, m, "processor_config.json", {"AutoProcessor": "modeling.P"}
    ),
    "preprocessor's auto_map": lambda d, m: code(
        d, m, "preprocessor_config.json", {"AutoImageProcessor": "modeling.P"}
    ),
    "code of another repository": lambda d, m: change(
        d, "config.json", auto_map={"AutoModel": "stranger/repo--modeling.M"}
    ),
    "a kernel": lambda d, m: change(d, "config.json", attn_implementation="stranger/kernel"),
    "an adapter": lambda d, m: change(d, "adapter_config.json", base_model_name_or_path="a/b"),
    "a link to another file": lambda d, m: linked(d, m, "tokenizer_config.json"),
    "a link as a template": lambda d, m: linked(d, m, "chat_template.jinja"),
    "a link to itself": looping,
    "a pipe": lambda d, m: fifo(d, m, "config.json"),
    "a pipe as the tokenizer": lambda d, m: fifo(d, m, "tokenizer.json"),
    "nested JSON": nested,
    "a huge tokenizer": large,
    "JSON of another type": lambda d, m: (d / "config.json").write_text("[1]") and None,
    "pytorch_model.bin": lambda d, m: pickled(d, m, "pytorch_model.bin"),
    "a pickle as safetensors": lambda d, m: pickled(d, m, "model.safetensors"),
    "a pickle as tokenizer.json": lambda d, m: pickled(d, m, "tokenizer.json"),
    "a pickle as spiece.model": lambda d, m: pickled(d, m, "spiece.model"),
}
ENCODER: dict[str, Callable[[Path, Path], None]] = {
    "a million layers": lambda d, m: change(d, "config.json", num_hidden_layers=10**6),
    "a large matrix": lambda d, m: change(d, "config.json", vocab_size=9_000_000),
    "a larger matrix": lambda d, m: change(d, "config.json", vocab_size=10**12),
    "weights elsewhere": lambda d, m: change(
        d, "model.safetensors.index.json", weight_map={"a": "../other.safetensors"}
    ),
    "another family": lambda d, m: change(d, "config.json", model_type="strange"),
}


@pytest.fixture
def hostile(text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a tokenizer and encoder to spoil; a pipe answers all prompts with yes."""

    def asked(*_: object) -> str:
        raise AssertionError("it asks the user")

    monkeypatch.setattr(builtins, "input", asked)
    return Path(shutil.copytree(text_model, tmp_path / "albert"))


def one_line(error: Fv2esError) -> None:
    assert len(error.sentence) <= 500 and "\n" not in error.sentence
    assert error.hint
    assert "trust_remote_code" not in str(error) and "weights_only" not in str(error)


def refused(result: Result) -> None:
    """One sentence and a hint; no traceback."""
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    error, hint = [line for line in result.stderr.splitlines() if line.strip()][-2:]
    assert error.startswith("error: ") and len(error) <= 510
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("kind", [k for k in BOTH if k != "pytorch_model.bin"])
def test_a_hostile_tokenizer_is_refused(kind: str, hostile: Path, tmp_path: Path) -> None:
    BOTH[kind](hostile, tmp_path / MARK)
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(str(hostile))
    one_line(caught.value)
    assert not (tmp_path / MARK).exists()
    assert "of another user" not in str(caught.value)


@pytest.mark.parametrize("kind", [k for k in (*BOTH, *ENCODER) if "as the tok" not in k])
def test_a_hostile_text_encoder_is_refused(kind: str, hostile: Path, tmp_path: Path) -> None:
    {**BOTH, **ENCODER}[kind](hostile, tmp_path / MARK)
    with pytest.raises(TokenizerError) as caught:
        pretrained(str(hostile))
    one_line(caught.value)
    assert not (tmp_path / MARK).exists()
    assert "strange" not in sys.modules


def test_commands_refuse_them_with_one_sentence(
    hostile: Path,
    tmp_path: Path,
    demo: Path,
    trained: Callable[[str], Path],
    talk: Path,
    prepared: Path,
) -> None:
    code(hostile, tmp_path / MARK, "tokenizer_config.json", TOKENIZER)
    run = trained("tav")
    split = run.parents[1] / "split" / "split.json"
    own = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(own / "tokenizer")
    shutil.copytree(hostile, own / "tokenizer")
    words = tmp_path / "talk.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:03,000\nI am happy today\n")
    prep = ("prep", "iemocap", demo, "--out", tmp_path / "shards", "--executor", "inline")
    train = ("train", "--shards", prepared, "--split", split, "--out", tmp_path / "new")
    predict = ("predict", talk, "--transcript", words, "--asr", "none")
    for command in (
        (*prep, "--tokenizer", hostile),
        (*train, "--model", "fv2es-tiny", "--text-encoder", hostile),
        (*predict, "--run", own),
    ):
        refused(CliRunner().invoke(app, list(map(str, command)), input="y\n" * 9))
    assert not (tmp_path / MARK).exists()


def test_a_hostile_recogniser_is_refused(hostile: Path, tmp_path: Path) -> None:
    code(hostile, tmp_path / MARK, "config.json", {"AutoConfig": "configuration.C"})
    with pytest.raises(WorkError, match="auto_map") as caught:
        load_recogniser(str(hostile))
    one_line(caught.value)
    assert not (tmp_path / MARK).exists()


def test_a_whole_directory_of_either_kind_is_taken(text_model: Path) -> None:
    assert len(load_tokenizer(str(text_model))) > 10
    assert pretrained(str(text_model)).width > 10


def test_a_link_within_a_download_is_followed(text_model: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "0123", tmp_path / "blobs"
    shutil.copytree(text_model, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert len(load_tokenizer(str(snapshot))) > 10


def test_a_stored_encoder_names_no_code(trained: Callable[[str], Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained("tav"), tmp_path / "run"))
    config = json.loads((run / "best/config.json").read_text())
    for values in (
        {"auto_map": {"AutoModel": "stranger/repo--m.M"}},
        {"attn_implementation": "stranger/kernel"},
        {"num_hidden_layers": 10**7},
    ):
        changed = {**config, "model": {**config["model"], "text": config["model"]["text"] | values}}
        (run / "best/config.json").write_text(json.dumps(changed))
        with pytest.raises(TrainError, match="cannot be read"):
            load_checkpoint(run)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trans_layers": 40, "trans_ffn": 10**7}, "its config.json needs"),
        ({"mel_depths": [10**9, 1, 1]}, "expected 1000 at most"),
        ({"face_stages": [[16] * 2000, [64], [64]]}, "at most 1000"),
        ({"text": {"vocab_size": 9 * 10**6, "embedding_size": 10**4}}, "its config.json needs"),
    ],
    ids=["wide", "deep", "long", "vocabulary"],
)
def test_a_run_of_more_weights_than_it_holds_is_refused_before_it_is_built(
    values: dict[str, Any], said: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained("tav"), tmp_path / "run"))
    stored = json.loads((run / "best/config.json").read_text())
    values = {**values, "text": stored["model"]["text"] | values.get("text", {})}
    stored["model"] |= values
    (run / "best/config.json").write_text(json.dumps(stored))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TrainError, match=said) as caught:
        load_checkpoint(run)
    one_line(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_a_run_whose_settings_never_end_is_refused(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained("tav"), tmp_path / "run"))
    stored = json.loads((run / "best/config.json").read_text())
    stored["settings"]["faces"]["factor"] = 1.0
    (run / "best/config.json").write_text(json.dumps(stored))
    with pytest.raises(TrainError, match=r"best cannot be read: .*factor is 1\.0") as caught:
        load_checkpoint(run)
    one_line(caught.value)


STATES: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda p, m: p.write_bytes(b""),
    "text": lambda p, m: p.write_text("no state"),
    "pickle": lambda p, m: p.write_bytes(pickle.dumps(_Touch(m))),
    "torch's pickle": lambda p, m: torch.save(_Touch(m), p),
    "other content": lambda p, m: torch.save({"version": 1, "state": [1]}, p),
    "no mapping": lambda p, m: torch.save(torch.zeros(1), p),
    "compressed": lambda p, m: _zip(p, {"archive/data.pkl": b"0"}, zipfile.ZIP_DEFLATED),
}


def _zip(path: Path, entries: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("kind", STATES)
def test_a_damaged_state_is_told_without_torchs_advice(kind: str, tmp_path: Path) -> None:
    STATES[kind](tmp_path / "state.pt", tmp_path / MARK)
    with pytest.raises(TrainError, match=r"state\.pt cannot be read") as caught:
        load_state(tmp_path)
    one_line(caught.value)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    "name", ["../out", "/out", "best/../../out", "a\\..\\out", "C:out", "a\0b"]
)
def test_a_packed_run_stays_in_its_place(name: str, tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("x" * len(name))
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr(entry, "a")
    # The writer would mend the name.
    data = (tmp_path / "run.zip").read_bytes().replace(b"x" * len(name), name.encode())
    (tmp_path / "run.zip").write_bytes(data)
    with pytest.raises(UsageError, match="unsafe name") as caught:
        unpacked(tmp_path / "run.zip")
    one_line(caught.value)


def test_a_packed_run_is_bounded(tmp_path: Path) -> None:
    bomb, link, twice = (tmp_path / name for name in ("bomb.zip", "link.zip", "twice.zip"))
    _zip(bomb, {f"{n}": b"" for n in range(1001)})
    entry = zipfile.ZipInfo("best/config.json")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(link, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    _zip(twice, {"best/a": b"1", "best/b": b"2"})
    twice.write_bytes(twice.read_bytes().replace(b"best/b", b"best/a"))
    for path, said in ((bomb, "would unpack to more"), (link, "is a link"), (twice, "twice")):
        with pytest.raises(UsageError, match=said) as caught:
            unpacked(path)
        one_line(caught.value)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    _zip(path, {"a": b"0" * 5000, "b": b"", "c": b""})
    with zipfile.ZipFile(path, "a") as archive:
        first, *others = archive.infolist()
        for one in others:
            one.file_size = one.compress_size = first.file_size
            one.CRC, one.header_offset = first.CRC, first.header_offset
        archive._didModify = True  # type: ignore[attr-defined]  # writes the directory anew
    with pytest.raises(UsageError, match="would unpack to more than its"):
        unpacked(path)
