"""The fields of a configuration: a frozen dataclass whose fields may be dataclasses themselves.

Owns their paths, types, choices, defaults, documentation, and the conversion of text.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from fv2es_prep.errors import SettingsError

_DOC = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Field:
    """One value of a configuration.

    Attributes:
        path: dotted path, e.g. ``mel.n_mels``.
        type: type, without the bounds that `msgspec.Meta` adds.
        bounded: type with its bounds.
        default: default value; `dataclasses.MISSING` where the field is required.
        doc: its entry under ``Attributes:`` in the docstring.
    """

    path: str
    type: Any
    bounded: Any
    default: Any
    doc: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words of a `Literal`, optional or not, or of a tuple's items; otherwise empty."""
        return tuple(_literals(self.type))

    @property
    def expected(self) -> str:
        """The accepted values, e.g. ``none | embeddings | all | int``."""
        return shown(self.bounded)

    @property
    def none_word(self) -> bool:
        """Whether the text ``none`` means no value."""
        parts = get_args(self.type)
        return NoneType in parts and str not in parts and Path not in parts

    def convert(self, value: Any) -> Any:
        """The value in the field's type.

        Args:
            value: a Python or TOML value, or text: a number, ``true``, ``none``, a TOML list or
                words with commas between them.

        Raises:
            SettingsError: the value does not fit; the message has the field, the value and the
                accepted values.
        """
        try:
            parsed = self._parse(value) if isinstance(value, str) else value
            return msgspec.convert(parsed, self.bounded, strict=False, dec_hook=_path)
        except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"{self.path} is {value!r}, expected {self.expected}",
                f"{self.path}: {self.doc}",
            ) from error

    def _parse(self, text: str) -> Any:
        origin = get_origin(self.type)
        if origin not in (tuple, dict):
            return None if self.none_word and text.lower() == "none" else text
        if text.startswith(("[", "{")):
            return tomllib.loads(f"value = {text}")["value"]
        items = [item.strip() for item in text.split(",") if item.strip()]
        if origin is dict and (odd := next((item for item in items if "=" not in item), None)):
            sentence = f"invalid {self.name} {odd!r}: expected NAME=VALUE[,NAME=VALUE]"
            raise SettingsError(sentence, f"{self.path}: {self.doc}")
        return items if origin is tuple else dict(item.partition("=")[::2] for item in items)


def fields_of(config: Any, preset: Mapping[str, Any] | None = None) -> dict[str, Field]:
    """Every field of a dataclass, or of an instance with its values as defaults, by its path.

    ``metadata={"derived": True}`` marks a computed field, which is left out; ``{"required": True}``
    marks a field that the user must set although it has a default. ``preset`` replaces defaults of
    top-level fields; a dataclass instance in it is a section.
    """
    return {field.path: field for field in _walk(config, "", preset or {})}


def values_of(config: Any, preset: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The value of each top-level field: the preset's, the instance's, or the default."""
    values = dict(preset or {})
    for f in fields(config):
        made = f.default if f.default_factory is MISSING else f.default_factory()
        values.setdefault(f.name, made if isinstance(config, type) else getattr(config, f.name))
    return values


def _walk(config: Any, prefix: str, preset: Mapping[str, Any]) -> Iterator[Field]:
    kind = config if isinstance(config, type) else type(config)
    types, bounded = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    docs, values = docs_of(kind), values_of(config, preset)
    for f in fields(kind):
        path, value = f"{prefix}{f.name}", values[f.name]
        if is_dataclass(value):
            yield from _walk(value, f"{path}.", {})
        elif not f.metadata.get("derived"):
            required = f.metadata.get("required") and isinstance(config, type)
            default = MISSING if required and f.name not in preset else value
            yield Field(path, types[f.name], bounded[f.name], default, docs.get(f.name, ""))


def check_fields(config: Any) -> None:
    """Raise SettingsError for a value that does not fit its field; for ``__post_init__``."""
    for field in fields_of(config).values():
        field.convert(field.default)


def docs_of(kind: type) -> dict[str, str]:
    """The entries under ``Attributes:`` of a class and of its bases, by field."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        found |= {name: " ".join(text.split()) for name, text in _DOC.findall(attributes)}
    return {name: text.replace("``", "").replace("`", "") for name, text in found.items()}


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise msgspec.ValidationError(f"expected {kind.__name__}")


def _literals(kind: Any) -> Iterator[str]:
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield part
        else:
            yield from _literals(part)


def shown(kind: Any) -> str:
    """A type for messages, e.g. ``none | embeddings | all | int``."""
    origin, parts = get_origin(kind), [p for p in get_args(kind) if p is not Ellipsis]
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin is Annotated:
        meta, signs = parts[1], {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        bounds = {sign: getattr(meta, name) for name, sign in signs.items()}
        limits = [f" {sign} {bound}" for sign, bound in bounds.items() if bound is not None]
        return shown(parts[0]) + ",".join(limits)
    words = [shown(part) for part in parts]
    if origin in (tuple, dict):
        return f"{'list' if origin is tuple else 'dict'}[{', '.join(words)}]"
    names = {NoneType: "none", Path: "path"}
    return " | ".join(words) or names.get(kind, getattr(kind, "__name__", str(kind)))
