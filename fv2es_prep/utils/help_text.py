"""The text of ``--help``: sections of options and commands, wrapped between words only.

Owns the form. Leaves names, types, defaults and help to the parameters of the command.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import typer

from fv2es_prep.utils.tables import wrapped

_MOST = 100
# The first column is not wider; a longer entry has its help below it.
_FIRST = 26
_CHOICES = re.compile(r" <?([\w.-]+(?:\|[\w.-]+)+)>?$")
# Typer's names of types -> the placeholders of values.
_PLACEHOLDERS = {"<str>": "TEXT", "<int>": "N", "<float>": "NUMBER", "<path>": "PATH"}
_TOGETHER = "\xa0"
_Rows = list[tuple[str, str]]


def help_text(command: Any, context: Any) -> str:
    """The help of a click command in a context, for the width of the terminal."""
    width = min(context.terminal_width or shutil.get_terminal_size().columns, _MOST)
    name, _, arguments = command.get_usage(context).partition(context.command_path)
    # Typer has braces around what is required.
    arguments = re.sub(r"{([^}]+)}", r"\1", " ".join(arguments.split()))
    usage = f"{name}{context.command_path} {arguments}"
    parts = [_wrapped(usage, width, "", "    ")]
    parts += [_wrapped(part, width, "", "") for part in _paragraphs(command.help or "")]
    for title, rows in _sections(command, context).items():
        parts.append("\n".join([typer.style(f"{title}:", bold=True), *_listed(rows, width)]))
    if command.epilog:
        parts.append(_wrapped(command.epilog, width, "", "    "))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.strip().split("\n\n")] if text.strip() else []


def _sections(command: Any, context: Any) -> dict[str, _Rows]:
    """Title -> entries: arguments, each panel of options, other options, panels of commands."""
    sections: dict[str, _Rows] = {"Arguments": []}
    others: _Rows = []
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is None:
            continue
        panel = getattr(param, "rich_help_panel", None)
        usual = sections["Arguments"] if param.param_type_name == "argument" else others
        (sections.setdefault(panel, []) if panel else usual).append(_entry(*record))
    sections["Options"] = others
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, name)
        if child is not None and not child.hidden:
            first = next(iter(_paragraphs(child.help or "")), "")
            panel = getattr(child, "rich_help_panel", None) or "Commands"
            sections.setdefault(panel, []).append((name, first))
    return {title: rows for title, rows in sections.items() if rows}


def _entry(name: str, text: str) -> tuple[str, str]:
    """An entry with our placeholder; choices that make its name too long are part of its help."""
    for theirs, ours in _PLACEHOLDERS.items():
        name = name.replace(theirs, ours)
    body, bracket, extra = text.partition("  [")
    extra = re.sub(r"^default: \((.*)\)", r"default: \1", extra)
    found = _CHOICES.search(name)
    if found and len(name) > _FIRST:
        name = f"{name[: found.start()]} NAME"
        body = f"{body.rstrip('.')}. Choices: {found[1].replace('|', ', ')}."
    # Default and bounds stay in one piece.
    return name, body + (bracket + extra).replace(" ", _TOGETHER)


def _listed(rows: _Rows, width: int) -> Iterator[str]:
    """Names, and beside them what they mean."""
    first = max((len(name) for name, _ in rows if len(name) <= _FIRST), default=_FIRST)
    for name, text in rows:
        head = f"  {name:{first}}  "
        if len(name) > first or not text:
            yield head.rstrip()
            head = " " * (first + 4)
        if text:
            yield _wrapped(text, width, head, " " * (first + 4))


def _wrapped(text: str, width: int, first: str, then: str) -> str:
    return wrapped(text, width, then, first).replace(_TOGETHER, " ")
