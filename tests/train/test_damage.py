"""A table of damages and commands: each command answers each damage with one sentence.

No traceback, no wait for a pipe, exit status 1 or 2, at most 500 characters, and a hint.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_train.models.pack import pack

LIMIT_S = 20
LONGEST = 500


def _change(path: Path, **values: Any) -> None:
    """Other values in a JSON object; a file that is none is left as it is."""
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, **values}))


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _closed(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    path.chmod(0)


def _huge(path: Path) -> None:
    # Sparse, so that it costs nothing.
    with path.open("r+b") as file:
        file.truncate(6 << 30)


def _noise(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(100_000))


ANY: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "directory": _directory,
    "binary": _noise,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "huge": _huge,
    "pipe": _fifo,
    "closed": _closed,
}
TEXT: dict[str, Callable[[Path], Any]] = {
    "encoding": lambda path: path.write_bytes(path.read_bytes()[:-2] + b"\xe9\xff}\n"),
}
JSON: dict[str, Callable[[Path], Any]] = {
    **TEXT,
    "list": lambda path: path.write_text("[]"),
    "number": lambda path: path.write_text("3"),
    "null": lambda path: path.write_text("null"),
    "object": lambda path: path.write_text("{}"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "nested objects": lambda path: path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000),
    "long string": lambda path: path.write_text(json.dumps("\x1b[31m" * 400_000)),
}
FORMAT: dict[str, Callable[[Path], Any]] = {
    **JSON,
    "version": lambda path: _change(path, format_version="9.0"),
    "version of another type": lambda path: _change(path, format_version=[1]),
    "format": lambda path: _change(path, format="x" * 5000),
    "values of another type": lambda path: path.write_text(
        json.dumps(dict.fromkeys(json.loads(path.read_text()), 3))
    ),
    "NaN": lambda path: path.write_text(
        json.dumps(
            {
                name: float("nan") if isinstance(value, int | float) else value
                for name, value in json.loads(path.read_text()).items()
            }
        )
    ),
}


@dataclass(frozen=True)
class Row:
    """A file, its damages, and the commands that read it.

    Attributes:
        file: path in the workspace.
        damages: name -> what damages the file.
        commands: in words; places of the workspace in capitals.
        harmless: damages that a command may be content with.
    """

    file: str
    damages: dict[str, Callable[[Path], Any]]
    commands: tuple[str, ...]
    harmless: tuple[str, ...] = ()


EVAL = "eval --shards SHARDS --split SPLIT --run RUN --resamples 0 --allow-seen"
TRAIN = "train --shards SHARDS --split SPLIT --out OUT --model fv2es-tiny --epochs 1"
RESUME = "train --resume RUN"
PREDICT = "predict VIDEO --run RUN --spans SPANS --transcript WORDS --asr none"
READERS = (
    "shards info SHARDS",
    "shards verify SHARDS",
    "shards show SHARDS ID",
    "shards merge SHARDS SHARDS --out OUT",
    "shards export SHARDS --format webdataset --out OUT",
    "splits build SHARDS --recipe random --out OUT --allow-empty-class",
    "splits stats SHARDS SPLIT",
    "splits audit SHARDS SPLIT",
    EVAL,
    TRAIN,
)
TABLE = "prep table TABLE --out OUT --tokenizer ALBERT --dry-run"
ALL = tuple({**ANY, **FORMAT})
# For files beside which the command does its whole work.
WHOLE = {
    name: {**ANY, **JSON}[name]
    for name in ("missing", "binary", "huge", "pipe", "encoding", "number", "nested")
}
ROWS = (
    Row(
        "shards/index.json",
        {**ANY, **FORMAT},
        (*READERS, "shards prune SHARDS", "convert-checkpoint RUN --shards SHARDS --out OUT"),
    ),
    Row("split.json", {**ANY, **FORMAT}, (*READERS[6:], "splits diff SPLIT SPLIT"), ("NaN",)),
    Row(
        "run/best/config.json",
        {**ANY, **FORMAT},
        (EVAL, PREDICT, "pack RUN OUT", "convert-checkpoint RUN --to published --out OUT"),
        ("NaN",),
    ),
    Row("run/best/model.safetensors", ANY, (EVAL, PREDICT, "pack RUN OUT")),
    # Without a state the run begins again.
    Row("run/state.pt", {k: v for k, v in ANY.items() if k != "missing"}, (RESUME,)),
    Row("run/config.toml", {**ANY, **JSON}, (RESUME, "config diff RUN RUN"), ("truncated",)),
    Row("run/ids.json", WHOLE, (EVAL.removesuffix(" --allow-seen"),), ALL),
    Row("run/familiarity.json", WHOLE, (PREDICT,), ALL),
    Row("run/predictions/test.csv", {**ANY, **TEXT}, ("compare RUN RUN",), ("encoding",)),
    Row("run/tokenizer/tokenizer.json", {**ANY, **JSON}, (PREDICT,)),
    Row("run/tokenizer/tokenizer_config.json", {**ANY, **JSON}, (PREDICT,), ("missing", "object")),
    Row("run.fv2es", ANY, (EVAL.replace("RUN", "PACKED"), PREDICT.replace("RUN", "PACKED"))),
    Row("table.csv", {**ANY, **TEXT}, (TABLE,), ("encoding", "truncated")),
    Row("clip.srt", {**ANY, **TEXT}, (PREDICT,), ("encoding", "truncated", "binary")),
    Row("spans.json", {**ANY, **JSON}, (PREDICT,), ("encoding",)),
    Row("clip.avi", ANY, (PREDICT,), ("truncated", "huge")),
    Row(
        "settings.toml",
        {**ANY, **TEXT},
        tuple(f"{command} --config SETTINGS" for command in (TABLE, TRAIN, PREDICT)),
        ("empty", "truncated"),
    ),
    Row(
        "albert/config.json",
        {**ANY, **JSON},
        (f"{TRAIN} --text-encoder ALBERT",),
    ),
    Row("albert/model.safetensors", ANY, (f"{TRAIN} --text-encoder ALBERT",)),
    Row("albert/tokenizer.json", {**ANY, **JSON}, (TABLE,)),
    Row("weights.pt", ANY, ("convert-checkpoint WEIGHTS --out OUT",)),
)


@pytest.fixture(scope="module")
def whole(
    prepared: Path,
    text_model: Path,
    trained: Callable[[str], Path],
    files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """One of each file that commands read, all in order."""
    place = tmp_path_factory.mktemp("whole")
    shutil.copytree(prepared, place / "shards", ignore=shutil.ignore_patterns("report.html"))
    shutil.copytree(text_model, place / "albert")
    shutil.copytree(trained("tav"), place / "run")
    shutil.copy(trained("tav").parents[1] / "split/split.json", place)
    pack(place / "run", place / "run.fv2es")
    shutil.copy(files[0], place / "clip.avi")
    (place / "id").write_text(read_catalogue(prepared).ids[0].as_py())
    (place / "clip.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nI am happy\n")
    (place / "spans.json").write_text('[{"start_s": 0, "end_s": 1}]\n')
    (place / "settings.toml").write_text("# No field differs from its default here.\n\n\n")
    (place / "weights.pt").write_bytes((place / "run/state.pt").read_bytes())
    with (place / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "video", "start_s", "end_s", "text", "labels"])
        table.writerows([f"u{n}", "clip.avi", n, n + 1, "well", "sad"] for n in range(3))
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "place"))


@pytest.fixture
def bounded() -> Iterator[None]:
    """A command that hangs is a failure, not a wait."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(command: str, place: Path) -> tuple[int, list[str]]:
    """Exit status and the lines of stderr, of a command that ends on purpose."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
    named = {
        **{name.upper(): place / name for name in ("shards", "run", "out", "albert")},
        "SPLIT": place / "split.json",
        "PACKED": place / "run.fv2es",
        "TABLE": place / "table.csv",
        "WORDS": place / "clip.srt",
        "SPANS": place / "spans.json",
        "VIDEO": place / "clip.avi",
        "SETTINGS": place / "settings.toml",
        "WEIGHTS": place / "weights.pt",
        "ID": (place / "id").read_text(),
    }
    signal.alarm(LIMIT_S)
    result = CliRunner().invoke(app, [str(named.get(word, word)) for word in command.split()])
    signal.alarm(0)
    error = result.exception
    assert error is None or isinstance(error, SystemExit), f"{command}: {error!r}"
    return result.exit_code, [line for line in result.stderr.splitlines() if line.strip()]


def check(row: Row, kind: str, command: str, place: Path) -> None:
    status, lines = run(command, place)
    said = f"{command} with {row.file} {kind}: {status} {lines}"
    if kind in row.harmless and status == 0:
        return
    assert status in (1, 2), said
    assert all(len(line.removeprefix("error: ")) <= LONGEST for line in lines), said
    # These go on, and tell at their end what they found.
    if status == 1 and (command.startswith("shards verify") or row.file == "clip.avi"):
        return
    assert sum(line.startswith("error: ") for line in lines) == 1, said
    assert lines[-1].startswith("hint: "), said


CASES = [(row, kind) for row in ROWS for kind in row.damages]
NAMES = [f"{row.file}-{kind}" for row, kind in CASES]


@pytest.mark.slow
@pytest.mark.parametrize(("row", "kind"), CASES, ids=NAMES)
def test_each_damage_is_told(row: Row, kind: str, place: Path, bounded: None) -> None:
    row.damages[kind](place / row.file)
    for command in row.commands:
        check(row, kind, command, place)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_a_binary_file_is_told_by_the_first_command(row: Row, place: Path, bounded: None) -> None:
    _noise(place / row.file)
    check(row, "binary", row.commands[0], place)


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted({c for row in ROWS for c in row.commands}))
def test_without_damage_the_commands_work(command: str, place: Path, bounded: None) -> None:
    if "convert" in command or "merge" in command:
        pytest.skip("it refuses what is whole here, for another reason")
    status, lines = run(command, place)
    assert status == 0, lines
