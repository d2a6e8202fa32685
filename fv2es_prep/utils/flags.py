"""Options of a command from the fields of its configuration, ``--config`` and ``--set``."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import typer

from fv2es_prep.utils.configuration import given_values, resolve, settle, to_toml
from fv2es_prep.utils.fields import Field, fields_of, shown

T = TypeVar("T")
Preset = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Flag:
    """An option whose name or help differs from its field's.

    Attributes:
        path: the field.
        names: names of the option, e.g. ``--csv``; empty: ``--`` and the field's name.
        help: help text; empty: the field's documentation.
        metavar: placeholder of the value in the help.
        argument: whether it is a positional argument.
        choices: returns the accepted words, where the field's type does not list them.
        read: turns the option's text into the field's value, where their units differ; may raise
            ValueError.
    """

    path: str
    names: tuple[str, ...] = ()
    help: str = ""
    metavar: str | None = None
    argument: bool = False
    choices: Callable[[], Iterable[str]] | None = None
    read: Callable[[str], Any] | None = None


@dataclass(frozen=True)
class Given(Generic[T]):
    """The user's values of the configuration ``kind`` by dotted path.

    ``preset`` returns the preset for them, and ``options`` names the options of its fields, see
    `configuration.resolve`.
    """

    kind: type[T]
    values: Mapping[str, Any]
    preset: Preset
    options: Mapping[str, str]

    def resolve(self, **more: Any) -> T:
        """The configuration, see `configuration.resolve`; ``more`` are top-level values."""
        given = {**self.values, **{k: v for k, v in more.items() if v is not None}}
        return resolve(self.kind, given, self.preset(given), self.options)

    def toml(self) -> str:
        """The configuration as TOML, even if required values are missing."""
        preset = self.preset(self.values)
        return to_toml(fields_of(self.kind, preset), settle(self.kind, self.values, preset))


def options_of(
    kind: type[T], panels: Mapping[str, Sequence[str | Flag]], preset: Preset = lambda _: {}
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of ``function(given: Given[T], **own options)``.

    The command has an option for each field in ``panels`` (title of a group in the help -> its
    fields), the function's own options, ``--config FILE`` and ``--set PATH=VALUE``. Its attribute
    ``show`` is a command with the same options that prints the configuration as TOML.
    """
    known = fields_of(kind, preset({}))
    flags = [
        (f if isinstance(f, Flag) else Flag(f), panel) for panel, fs in panels.items() for f in fs
    ]
    names = {flag.path.replace(".", "_"): flag for flag, _ in flags}
    options = {flag.path: _shown(known[flag.path], flag) for flag, _ in flags}
    parameters = [_parameter(known[flag.path], flag, panel) for flag, panel in flags]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def command(**passed: Any) -> None:
            mine = {p.name: passed[p.name] for p in own}
            function(_given(passed), **mine)

        def show(**passed: Any) -> None:
            typer.echo(_given(passed).toml(), nl=False)

        def _given(passed: Mapping[str, Any]) -> Given[T]:
            typed = {flag.path: _text(passed[name], flag) for name, flag in names.items()}
            values = given_values(passed["config"], passed["set"] or (), typed)
            return Given(kind, values, preset, options)

        command.__name__ = show.__name__ = function.__name__
        _describe(command, [*parameters, *own, *_SOURCES], function.__doc__)
        _describe(show, [*parameters, *_SOURCES], "Print the configuration as TOML.")
        command.show = show  # type: ignore[attr-defined]
        return command

    return decorate


def _option(name: str, kind: Any, info: Any, **options: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, info(**options)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


_SOURCES = tuple(
    _option(name, kind, typer.Option, help=text, metavar=metavar, rich_help_panel="Configuration")
    for name, kind, metavar, text in (
        ("config", Path, "FILE", "TOML file; options override it."),
        ("set", list[str], "PATH=VALUE", "Set any field; see `fv2es config show`."),
    )
)


def _parameter(field: Field, flag: Flag, panel: str) -> inspect.Parameter:
    required = field.default is MISSING
    choices = tuple(flag.choices()) if flag.choices else ()
    kind: Any = Literal.__getitem__(choices) if choices else _typer_type(field)
    default, doc = field.default, flag.help or field.doc
    plain = isinstance(default, str | int | float | Path) and str(default) not in ("", "False")
    return _option(
        field.path.replace(".", "_"),
        str if flag.read else kind,
        typer.Argument if flag.argument else partial(typer.Option, *(flag.names or _names(field))),
        help=_capitalised(doc) + "  [required]" * required,
        metavar=flag.metavar or (None if choices else _metavar(field)),
        rich_help_panel=panel,
        show_default=str(default) if plain and not flag.read else False,
    )


def _capitalised(doc: str) -> str:
    """A text with a capital letter, unless it begins with the name of a file or of a value."""
    return doc if re.match(r"\w*[.\d]", doc) else doc[:1].upper() + doc[1:]


def _shown(field: Field, flag: Flag) -> str:
    """The option of a field in an error: an argument by its placeholder."""
    if flag.argument:
        return flag.metavar or field.name.upper()
    return (flag.names or _names(field))[0]


def _names(field: Field) -> tuple[str]:
    name = field.name.replace("_", "-")
    return (f"--{name}/--no-{name}" if field.default is True else f"--{name}",)


def _metavar(field: Field) -> str | None:
    """The placeholder of the value, where Typer's own is unsuitable."""
    if get_origin(field.type) is dict:
        return "KEY=VALUE"
    listed = shown(field.type).removeprefix("list[").removesuffix("]").replace(" | ", "|")
    if get_origin(field.type) is tuple:
        return f"<{listed},...>"
    return f"<{listed}>" if field.choices and _typer_type(field) is str else None


def _typer_type(field: Field) -> Any:
    if get_origin(field.type) in (tuple, dict):
        return list[Path] if Path in get_args(field.type) else list[str]
    union = get_origin(field.type) in (Union, UnionType)
    kinds = [k for k in get_args(field.type) if k is not NoneType] if union else [field.type]
    return kinds[0] if len(kinds) == 1 else str


def _text(value: Any, flag: Flag) -> Any:
    """A repeated option as one text with commas; None if it was not passed."""
    if flag.read and value is not None:
        with contextlib.suppress(ValueError):
            value = flag.read(value)
        return value
    words = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return (",".join(value) if words else value) or None if isinstance(value, list) else value


def _describe(command: Any, parameters: Sequence[inspect.Parameter], doc: str | None) -> None:
    """Give a function of ``**kwargs`` the signature that Typer reads."""
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = doc
