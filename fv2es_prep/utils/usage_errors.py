"""What typer says about a wrong command line, as one sentence and a hint."""

from __future__ import annotations

import re
from typing import Any

import typer

from fv2es_prep.utils.near import meant

# Base of all errors of a command line. typer does not export it.
CommandLineError: Any = typer.BadParameter.__base__
_COMMAND = re.compile(r"No such command '?([^'.]*)'?")
_CHOICE = re.compile(r"(?:Value error, )?'(.*)' is not one of (.*?)\.?$")


def sentence_and_hint(error: Any) -> tuple[str, str]:
    """The sentence and the hint for an error that typer raised about a command line."""
    context, kind = error.ctx, type(error).__name__
    path = context.command_path if context else "fv2es"
    see = f"see `{path} --help`"
    message = (error.message or error.format_message()).rstrip(".").removeprefix("Value error, ")
    if kind == "NoSuchOption":
        known = [name for param in context.command.params for name in _options(param)]
        return f"{path} has no option {error.option_name}", meant(error.option_name, known, see)
    if kind == "BadOptionUsage":
        return message[:1].lower() + message[1:], f"write {error.option_name} VALUE"
    if found := _COMMAND.match(message):
        names = context.command.list_commands(context)
        return f"{path} has no command {found[1]!r}", meant(found[1], names)
    param = getattr(error, "param", None)
    if param is None:
        return f"{path}: {message[:1].lower()}{message[1:]}", see
    if kind == "MissingParameter":
        return f"{path} needs {_shown(param)}", see
    if found := _CHOICE.match(message):
        known = re.findall(r"'([^']+)'", found[2])
        message = f"{found[1]!r} is not one of {', '.join(known)}"
        return f"{_shown(param)}: {message}", meant(found[1], known, see)
    return f"{_shown(param)}: {message[:1].lower()}{message[1:]}", see


def _options(param: Any) -> list[str]:
    return [*param.opts, *param.secondary_opts] if param.param_type_name == "option" else []


def _shown(param: Any) -> str:
    """An option by its longest name, an argument by its placeholder."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))
