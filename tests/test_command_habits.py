"""What holds for every command: its help, and what it says about a wrong command line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.command_line import ROOT, fv2es, refused
from tests.docs.test_docs import COMMANDS, LEAVES

MOST_WITHOUT_PANELS = 11


def shown(name: str) -> str:
    from cli import app  # noqa: TID251  # the command line itself

    asked = [*name.split()[1:], "-h"]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def options(command: Any) -> list[Any]:
    return [param for param in command.params if param.param_type_name == "option"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_80_columns_cuts_nothing(name: str) -> None:
    text = shown(name)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "…" not in text
    words = set(text.split())
    command = COMMANDS[name]
    told = [command.help or "", command.epilog or "", *(p.help or "" for p in command.params)]
    cut = [word for part in told for word in part.split() if word.rstrip(".") not in text]
    assert cut == []
    assert {
        word for param in options(command) for word in (*param.opts, *param.secondary_opts)
    } <= {word.rstrip(",") for word in words}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_choices_of_an_option(name: str) -> None:
    text = shown(name)
    for param in COMMANDS[name].params:
        for choice in (
            getattr(param, "type_descriptor", None) and param.type_descriptor.choices
        ) or ():
            assert re.search(rf"[<|,\s]{re.escape(str(choice))}[>|,.]", text), (param.opts, choice)


@pytest.mark.parametrize("name", LEAVES)
def test_many_options_stand_in_groups(name: str) -> None:
    own = options(LEAVES[name])
    without = [param for param in own if not getattr(param, "rich_help_panel", None)]
    assert len(own) <= MOST_WITHOUT_PANELS or len(without) < 5, [p.opts for p in without]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", ("fv2es has no command 'trian'", "did you mean train?")),
        ("splits biuld", ("fv2es splits has no command 'biuld'", "did you mean build?")),
        ("prep iemcap", ("fv2es prep has no command 'iemcap'", "did you mean iemocap?")),
        ("config show prep mosie", ("no command 'mosie'", "did you mean mosei?")),
        ("--colour", ("fv2es has no option --colour", "see `fv2es --help`")),
        ("train --ephocs 3", ("fv2es train has no option --ephocs", "did you mean --epochs?")),
        ("train --model fv2es-tniy", ("--model: 'fv2es-tniy'", "did you mean fv2es-tiny?")),
        ("train --epochs", ("'--epochs' requires an argument", "write --epochs VALUE")),
        ("train --epochs many", ("--epochs:", "see `fv2es train --help`")),
        ("eval --by sesion", ("--by: 'sesion' is not one of", "did you mean session?")),
        ("train --set model.dropuot=1", ("model.dropuot", "did you mean model.dropout?")),
        ("splits build x --recipe sesion --out y", ("recipe 'sesion'", "did you mean session?")),
        ("prep iemocap x --out y --preset publised", ("'publised'", "did you mean published?")),
        ("shards check x --only duplicats", ("'duplicats'", "did you mean duplicate?")),
        ("runs . --metric f1_binar", ("'f1_binar'", "did you mean f1_binary?")),
        ("run x.toml --only trian", ("'trian'", "did you mean train?")),
        ("splits build", ("fv2es splits build needs SHARDS", "see `fv2es splits build --help`")),
        ("splits build x --out y", ("fv2es splits build needs --recipe",)),
        ("train --out run", ("shards is missing", "pass --shards, or set shards in")),
        ("predict clip.mp4", ("run is missing", "pass --run, or set run in")),
        ("prep table", ("raw is missing", "pass RAW, or set raw in")),
        ("splits list more", ("unexpected extra argument", "more")),
    ],
)
def test_a_wrong_command_line_is_one_sentence_with_a_hint(
    words: str, said: tuple[str, ...]
) -> None:
    refused(fv2es(*words.split()), 2, *said)


@pytest.mark.parametrize("words", ["", "splits", "config show"])
def test_a_group_alone_prints_its_help_and_exits_with_status_2(words: str) -> None:
    result = fv2es(*words.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert "Usage: fv2es" in result.stderr


def test_every_environment_variable_is_listed() -> None:
    parts = ("fv2es_prep", "fv2es_train", "fv2es_recipe", "pipelines")
    files = [ROOT / "cli.py", ROOT / "fv2es.py"]
    files += [path for part in parts for path in (ROOT / part).rglob("*.py")]
    named = {
        name
        for path in files
        for name in re.findall(r"(?<![\w])FV2ES_[A-Z_]+", path.read_text("utf-8"))
    }
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    listed = json.loads(fv2es("config", "env", "--json", FV2ES_TOKEN="secret").stdout)
    assert named and [name for name in named if name not in listed or name not in page] == []
    assert listed["FV2ES_TOKEN"] == "(set)"


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from fv2es_prep.utils import console

    said: list[object] = []
    monkeypatch.setattr(console.typer, "secho", lambda _, fg, err: said.append((fg, err)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.complain("wrong", "do it right")
    monkeypatch.setenv("NO_COLOR", "1")
    console.complain("wrong")
    assert said == [("red", True), ("cyan", True), (None, True)]
