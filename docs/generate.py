"""Write the generated parts of the documentation, or check that they are current.

Owns `cli.md` and the tables between ``<!-- generated:NAME -->`` and ``<!-- end -->``. Leaves the
facts to the code: the commands, the shard schema, the configurations and the drop reasons.

Run it with `make docs`, or with ``--check`` to be told what is out of date (exit status 1).
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.config import COMPACT, DEFAULT_STAGES, PrepSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.shards.schema import ATTRIBUTES, columns_of
from fv2es_prep.shards.suspects.suspect import KINDS
from fv2es_prep.shards.verify.finding import CODES
from fv2es_prep.stages.base import Column
from fv2es_prep.stages.registry import STAGES, load_stage
from fv2es_prep.utils.configuration import toml_value
from fv2es_prep.utils.environment import VARIABLES
from fv2es_prep.utils.fields import fields_of
from fv2es_train.config import TrainConfig
from fv2es_train.predict.request import PredictConfig
from fv2es_train.serve.settings import ServeConfig
from fv2es_train.training.run_config import preset_of
from pipelines.config import PrepConfig, preset_values

DOCS = Path(__file__).parent
WIDTH = 80
_BLOCK = re.compile(r"(<!-- generated:([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_CLI_HEAD = """\
# Commands

This page is generated from the program by `make docs`: each command's `--help` at 80 columns.

Results go to stdout, everything else to stderr. `--json` prints one JSON object instead of text.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | the work failed, in whole or in part; finished shards and checkpoints are kept |
| 2 | wrong usage: an option, a path or a corpus that is not as expected |
| 130, 143 | interrupted from the keyboard; `fv2es prep` stopped by SIGTERM |

[Environment variables](configuration.md#environment-variables) change what the commands do.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and group with its full name, parents first."""
    import typer

    from cli import app  # noqa: TID251  # what the script fv2es runs

    yield from _walk("fv2es", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    words = command.list_commands(None) if hasattr(command, "list_commands") else ()
    for word in words:
        child = command.get_command(None, word)
        yield from _walk(f"{name} {word}", child)


def help_text(name: str, command: Any) -> str:
    """A command's help as plain text, the same on every terminal."""
    options = ["-h", "--help"]
    context = command.context_class(
        command, info_name=name, terminal_width=WIDTH, help_option_names=options
    )
    return re.sub(r"\x1b\[\d+m", "", command.get_help(context))


def cli_page() -> str:
    """The page of all commands."""
    parts = [
        f"## {name}\n\n```text\n{help_text(name, command)}\n```" for name, command in commands()
    ]
    return "\n\n".join([_CLI_HEAD.rstrip(), *parts]) + "\n"


def columns_table(columns: Iterable[Column]) -> str:
    """Columns of a shard."""
    rows = ((f"`{c.path}`", _type(c), c.shape, c.unit, c.meaning) for c in columns)
    return _table(("column", "type", "shape", "unit", "meaning"), rows)


def compact_columns() -> list[Column]:
    """The columns that differ in a compact shard."""
    plain = columns_of(PrepSettings())
    return [c for c in columns_of(PrepSettings(storage=COMPACT)) if c not in plain]


def stages_table() -> str:
    """The built-in stages."""
    stages = [load_stage(name) for name in STAGES.builtin]
    rows = ((f"`{s.name}`", " ".join(s.needs), str(s.version), _first_line(s)) for s in stages)
    return _table(("stage", "needs", "version", "value"), rows)


def _first_line(stage: object) -> str:
    return (type(stage).__doc__ or "").partition("\n")[0].rstrip(".")


def optional_columns() -> list[Column]:
    """The columns of the built-in stages that are not made unless they are chosen."""
    settings = PrepSettings()
    others = [load_stage(name) for name in STAGES.builtin if name not in DEFAULT_STAGES]
    return [column for stage in others for column in stage.stored_columns(settings)]


def attributes_table() -> str:
    """The root attributes of a shard."""
    return _table(("attribute", "value"), ((f"`{n}`", text) for n, text in ATTRIBUTES.items()))


def reasons_table() -> str:
    """The codes under which something is left out."""
    return _table(("code", "meaning"), ((f"`{r.value}`", r.meaning) for r in DropReason))


def codes_table() -> str:
    """What `fv2es shards verify` may find, but for the invariants."""
    numbered = (("I1, I2, …", "the invariant of that number does not hold"),)
    return _table(("code", "meaning"), (*((f"`{n}`", t) for n, t in CODES.items()), *numbered))


def suspects_table() -> str:
    """What `fv2es shards check` looks for."""
    return _table(("kind", "what is suspected"), ((f"`{n}`", t) for n, t in KINDS.items()))


def fields_table(kind: type, preset: Mapping[str, Any]) -> str:
    """The fields of a configuration."""
    rows = (
        (f"`{f.path}`", f"`{f.expected}`".replace("|", "\\|"), _default(f.default), f.doc)
        for f in fields_of(kind, preset).values()
    )
    return _table(("field", "type", "default", "meaning"), rows)


def options_table() -> str:
    """The options of the published program, each with its fields here."""
    rows = []
    for option in tomllib.loads((DOCS / "published-options.toml").read_text("utf-8"))["option"]:
        here = option.get("here", ())
        flags = ", ".join(f"`{flag}`" for flag in option["flags"].split(", "))
        changes = ", ".join(dict.fromkeys(one["changes"] for one in here))
        fields = ", ".join(_home(one) for one in here) or f"not here: {option['without']}"
        rows.append((flags, option["there"], fields, changes))
    return _table(("published", "what it did there", "here", "changes"), rows)


def _home(one: Mapping[str, str]) -> str:
    """A field as a reader writes it; a command, or the preset that has it, beside it."""
    if one["changes"] == "command":
        return f"`fv2es {one['field']}`"
    preparing = one["changes"] in ("faces", "tokens", "classes")
    where = " of `fv2es prep`" if preparing else f" of `{one['model']}`" if "model" in one else ""
    return f"`{one['field']}`{where}"


def _default(value: Any) -> str:
    return "" if value is None or value is MISSING else f"`{toml_value(value)}`"


def _type(column: Column) -> str:
    return "text" if column.kind == "text" else np.dtype(column.dtype).name


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def environment_table() -> str:
    """The environment variables."""
    return _table(("variable", "meaning"), ((f"`{n}`", text) for n, text in VARIABLES.items()))


BLOCKS: dict[str, Callable[[], str]] = {
    "columns": lambda: columns_table(columns_of(PrepSettings())),
    "compact-columns": lambda: columns_table(compact_columns()),
    "optional-columns": lambda: columns_table(optional_columns()),
    "stages": stages_table,
    "attributes": attributes_table,
    "drop-reasons": reasons_table,
    "finding-codes": codes_table,
    "suspect-kinds": suspects_table,
    "environment": environment_table,
    "prep-fields": lambda: fields_table(PrepConfig, preset_values("iemocap", {})),
    "published-options": options_table,
    "train-fields": lambda: fields_table(TrainConfig, preset_of({})),
    "serve-fields": lambda: fields_table(ServeConfig, {}),
    "predict-fields": lambda: fields_table(PredictConfig, {}),
}


def filled(text: str) -> str:
    """A page with each generated block written anew."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", text)


def out_of_date(docs: Path) -> dict[Path, str]:
    """Each page that is not current, with the text that it should have."""
    wanted = {docs / "cli.md": cli_page()}
    for path in sorted(docs.rglob("*.md")):
        if path not in wanted:
            wanted[path] = filled(path.read_text(encoding="utf-8"))
    return {path: text for path, text in wanted.items() if _text(path) != text}


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write what is out of date; with ``--check`` only name it. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    check = parser.parse_args(arguments).check
    stale = out_of_date(docs)
    for path, text in stale.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        state = "is out of date: run `make docs`" if check else "written"
        sys.stderr.write(f"{path.relative_to(docs.parent)} {state}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
