"""One configuration from its sources: defaults, a preset, a TOML file, ``--set``, flags.

Owns their precedence, unknown names, and the TOML form.
"""

from __future__ import annotations

import difflib
import json
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin

from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.utils.fields import Field, fields_of, values_of
from fv2es_prep.utils.files import read_regular, shown_path

T = TypeVar("T")


def resolve(
    kind: type[T],
    given: Mapping[str, Any],
    preset: Mapping[str, Any] | None = None,
    options: Mapping[str, str] = {},
) -> T:
    """Return the configuration: the user's values override the preset, the preset the defaults.

    Args:
        kind: the dataclass.
        given: values by dotted path, see `given_values`.
        preset: values of top-level fields; a dataclass instance is a whole section.
        options: the option or argument of the command line by dotted path, for the hint.

    Raises:
        SettingsError: an unknown path, a value that does not fit, or a missing required field.
    """
    values = settle(kind, given, preset)
    missing = [path for path, value in values.items() if value is MISSING]
    if missing:
        option = options.get(missing[0], f"--set {missing[0]}=VALUE")
        raise SettingsError(
            f"{missing[0]} is missing", f"pass {option}, or set {missing[0]} in a --config file"
        )
    return cast("T", _build(kind, "", values, preset))


def settle(
    kind: type[Any], given: Mapping[str, Any], preset: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Like `resolve`, but values by path; a missing required one is `dataclasses.MISSING`."""
    known = fields_of(kind, preset)
    values = {path: field.default for path, field in known.items()}
    tables = [path for path, field in known.items() if get_origin(field.type) is dict]
    for path, value in given.items():
        table = next((name for name in tables if path.startswith(f"{name}.")), "")
        if table:
            key = path.removeprefix(f"{table}.")
            values[table] = known[table].convert({**values[table], key: value})
        elif path in known:
            values[path] = known[path].convert(value)
        else:
            raise _unknown(path, known)
    return values


def _unknown(path: str, known: Iterable[str]) -> SettingsError:
    last = path.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last]
    near += difflib.get_close_matches(path, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "list all fields: fv2es config show"
    return SettingsError(f"unknown configuration field {path!r}", hint)


def _build(base: Any, prefix: str, values: Mapping[str, Any], preset: Any = None) -> Any:
    """The dataclass ``base``, or a copy of the instance ``base``, with the values in it."""
    changes = {}
    for name, value in values_of(base, preset).items():
        path = f"{prefix}{name}"
        if path in values:
            changes[name] = values[path]
        elif is_dataclass(value):
            changes[name] = _build(value, f"{path}.", values)
        elif name in (preset or {}):
            changes[name] = value
    return base(**changes) if isinstance(base, type) else replace(base, **changes)


def given_values(
    file: Path | None = None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The user's values by dotted path; flags override ``PATH=VALUE`` sets, sets the file.

    Raises:
        UsageError: the file cannot be read, or a set has no ``=``.
    """
    given = flatten(read_toml(file)) if file else {}
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"invalid --set {text!r}", "write --set PATH=VALUE, e.g. --set seed=1")
        given[path.strip()] = value.strip()
    return given | {path: value for path, value in (flags or {}).items() if value is not None}


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; raises UsageError if it cannot be read or parsed."""
    try:
        return tomllib.loads(read_regular(path).decode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot read {path}: {reason}", "print a valid one: fv2es config show"
        ) from error


def flat_values(config: Any) -> dict[str, Any]:
    """The values of a configuration by dotted path."""
    return {path: field.default for path, field in fields_of(config).items()}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted path."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        found |= flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def to_toml(known: Mapping[str, Field], values: Mapping[str, Any]) -> str:
    """Every value with its documentation as TOML; a missing one is a comment."""
    tables: dict[str, list[str]] = {"": []}
    for path, field in known.items():
        doc = textwrap.fill(field.doc, 98, initial_indent="# ", subsequent_indent="# ")
        line = _line(field, values[path])
        tables.setdefault(path.rpartition(".")[0], []).append(f"{doc}\n{line}\n")
    texts = (f"[{name}]\n" * bool(name) + "".join(lines) for name, lines in tables.items())
    return "\n".join(text for text in texts if text)


def _line(field: Field, value: Any) -> str:
    if value is None or value is MISSING:
        has_word = value is None and field.none_word
        return f'{field.name} = "none"' if has_word else f"# {field.name} = {field.expected}"
    return f"{field.name} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """A value as TOML: text, a number, a boolean, a path, or a list or mapping of them."""
    if isinstance(value, Mapping):
        pairs = (f"{toml_value(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, float):
        return repr(value)
    # A JSON string, integer or boolean is also TOML, except for the character DEL.
    text = json.dumps(shown_path(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The paths whose values differ, with both values; None for a missing one."""
    pairs = {path: (left.get(path), right.get(path)) for path in {**left, **right}}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
