"""typer.Typer with the help and the errors of fv2es."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fv2es_prep.utils.console import complain
from fv2es_prep.utils.help_text import help_text
from fv2es_prep.utils.usage_errors import CommandLineError, sentence_and_hint


class _Command(TyperCommand):
    """A command with our help."""

    def get_help(self, ctx: Any) -> str:
        """See `help_text`."""
        return help_text(self, ctx)


class Group(TyperGroup):
    """A group of commands with our help, and our errors when it is the program."""

    def get_help(self, ctx: Any) -> str:
        """See `help_text`."""
        return help_text(self, ctx)

    def main(self, *given: Any, **options: Any) -> Any:
        """Run the program; a wrong command line is one sentence and a hint, exit status 2."""
        if not options.get("standalone_mode", True):
            return super().main(*given, **options)
        try:
            status = super().main(*given, **{**options, "standalone_mode": False})
        except CommandLineError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.ctx.get_help(), err=True)
            else:
                complain(*sentence_and_hint(error))
            sys.exit(2)
        except typer.Abort:
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


class App(typer.Typer):
    """A group whose commands have our help; without arguments it prints its own.

    Args:
        options: as of `typer.Typer`.
    """

    def __init__(self, **options: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"]}
        usual = {"cls": Group, "no_args_is_help": True, "rich_markup_mode": None}
        usual |= {"context_settings": settings, "pretty_exceptions_enable": False}
        super().__init__(**{**usual, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As of `typer.Typer`."""
        return super().command(name, **{"cls": _Command, **options})
