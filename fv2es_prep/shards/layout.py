"""Checks the layout of a file as a shard: attributes, columns, types, shapes, storage.

Owns the checks that need no row. Nothing is read before its size is known to be within the file,
and no link out of the file is followed. Leaves the values to `opening` and `verify.invariants`.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import DAMAGE, SettingsError, ShardError, words_of
from fv2es_prep.shards.schema import (
    ATTRIBUTES,
    FORMAT,
    LISTS,
    attributes_of,
    check_version,
    columns_of,
    features_of,
    row_shape,
)
from fv2es_prep.stages.base import Column
from fv2es_prep.stages.registry import is_installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_JSON_LISTS = ("requires", "label_classes", "rating_names", "stages")
_MOST_ATTRIBUTE_BYTES = 1 << 20
# Most groups and columns of a shard; a usual one has about 35.
_DEEPEST, _MOST_OBJECTS = 8, 1000


@dataclass(frozen=True)
class StoredColumn:
    """Where a contiguous column lies in the file.

    Attributes:
        dtype: its type.
        shape: its shape.
        offset: its first byte in the file.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def size_bytes(self) -> int:
        """Its size in the file, in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)

    def of(self, content: Any) -> NDArray[Any]:
        """View the column in the file's content, which is any buffer."""
        if not self.size_bytes:
            return np.empty(self.shape, self.dtype)
        return np.ndarray(self.shape, self.dtype, content, self.offset)


@dataclass(frozen=True)
class Layout:
    """The layout of a file.

    Attributes:
        problems: number of an invariant or another code of a finding, with a sentence.
        attributes: the root attributes that could be read.
        columns: path -> location, of the columns that lie within the file.
        settings: the settings in the attributes; None if they cannot be read.
        refused: why a reader of this version refuses the file; None if it does not.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    columns: dict[str, StoredColumn] = field(default_factory=dict)
    settings: PrepSettings | None = None
    refused: ShardError | None = None


def read_layout(path: str, file: Any, size_bytes: int) -> Layout:
    """Read everything of an open `h5py.File` except rows; ``path`` is for messages.

    Read rows only if there is no problem.
    """
    problems: list[tuple[str, str]] = []
    columns: dict[str, StoredColumn] = {}
    attributes, wrong = _read_attributes(file)
    problems += [
        ("I1", f"the attribute {name} cannot be read: {wrong[name]}")
        for name in attributes_of(attributes.get("format_version", ""))
        if name in wrong
    ]
    if refused := _refused(path, attributes):
        # The rest of the format of another version is unknown.
        return Layout([("version", refused.sentence)], attributes, refused=refused)
    settings, found = _check_attributes(attributes)
    problems += found
    try:
        if file.id.get_create_plist().get_userblock():
            problems.append(("I16", "it has data before the HDF5 signature (a user block)"))
        for place, dataset in _walk(file.id, "", [_MOST_OBJECTS]):
            stored, found = _stored(place, dataset, size_bytes)
            problems += found
            if stored is not None:
                columns[place] = stored
    except DAMAGE as error:
        problems.append(("unreadable", f"its columns cannot be listed: {words_of(error)}"))
    if not problems and settings is not None:
        problems += _check_columns(columns, settings, attributes)
    return Layout(problems, attributes, columns, settings)


def is_absolute(path: str) -> bool:
    """Whether a text is an absolute path of any system."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _refused(path: str, found: dict[str, str]) -> ShardError | None:
    """Why a reader refuses the file; None if it does not, or if that is unknown."""
    try:
        requires = json.loads(found.get("requires", "[]"))
        if _is_list_of_texts(requires):
            kind = found.get("format", "")
            check_version(path, kind, found["format_version"] if kind == FORMAT else "", requires)
    except ShardError as error:
        return error
    except DAMAGE:
        pass
    return None


def _check_attributes(found: dict[str, str]) -> tuple[PrepSettings | None, list[tuple[str, str]]]:
    problems, settings = [], None
    try:
        problems += [
            ("I1", f"the attribute {name} is not a JSON list of texts")
            for name in _JSON_LISTS
            if name in found and not _is_list_of_texts(json.loads(found[name]))
        ]
        if "settings" in found:
            settings, digest = _settings_of(found["settings"])
            if digest != found.get("settings_digest"):
                problems.append(("I1", "settings_digest is not the digest of the settings"))
            problems += _check_settings(settings, found)
            # Raises if the section of a stage is not what the stage expects.
            columns_of(settings)
    except (*DAMAGE, SettingsError) as error:
        sentence = f"an attribute does not contain the expected JSON: {words_of(error)}"
        problems.append(("I1", sentence))
    return settings, problems


@functools.lru_cache(maxsize=16)
def _settings_of(text: str) -> tuple[PrepSettings, str]:
    """Parse stored settings, with their digest; all shards of a dataset have the same."""
    stored = json.loads(text)
    return PrepSettings.from_json(stored), digest_of(stored)


def _check_settings(settings: PrepSettings, found: dict[str, str]) -> Iterator[tuple[str, str]]:
    if is_absolute(settings.text.tokenizer):
        yield "I17", f"the settings name the path {settings.text.tokenizer}"
    if json.loads(found.get("stages", "null")) not in (None, list(settings.stages)):
        yield "I26", f"stages is {found['stages']}, its settings have {settings.stages}"
    for stage in settings.stages:
        if not is_installed(stage):
            yield "stage", f"the stage {stage} is not installed: install its package"
    needed = features_of(settings)
    if "requires" in found and json.loads(found["requires"]) != needed:
        yield "I25", f"requires is {found['requires']}, its settings need {needed}"


def _read_attributes(file: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Name -> root attribute, and name of a malformed attribute -> its problem."""
    found, wrong = {}, {}
    for name in ATTRIBUTES:
        try:
            attribute = file.attrs.get_id(name)
            kind = attribute.dtype
            if kind.kind != "S" or attribute.shape != ():
                raise TypeError("it is not fixed-length UTF-8 text")
            if kind.itemsize > _MOST_ATTRIBUTE_BYTES:
                raise ValueError(
                    f"it has {kind.itemsize} bytes, expected at most {_MOST_ATTRIBUTE_BYTES}"
                )
            value = np.empty((), kind)
            attribute.read(value)
            found[name] = bytes(value[()]).decode()
            if not _is_fixed_text(kind):
                # Its text is kept, since it may be of another version.
                raise TypeError("it is not fixed-length UTF-8 text")
        except DAMAGE as error:
            wrong[name] = words_of(error)
    return found, wrong


def _is_fixed_text(dtype: Any) -> bool:
    import h5py

    kind = h5py.check_string_dtype(dtype)
    return kind is not None and kind.length is not None and kind.encoding == "utf-8"


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _walk(group: Any, prefix: str, left: list[int]) -> Iterator[tuple[str, Any]]:
    """Path and `h5py.h5d.DatasetID` of everything in a group; None for anything but a hard link."""
    from h5py import h5d, h5g, h5l, h5o

    for encoded in group:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"there are more than {_MOST_OBJECTS} objects")
        path = prefix + encoded.decode()
        is_hard = group.links.get_info(encoded).type == h5l.TYPE_HARD
        if path.count("/") > _DEEPEST or not is_hard:
            yield path, None
            continue
        item = h5o.open(group, encoded)
        if isinstance(item, h5g.GroupID):
            yield from _walk(item, f"{path}/", left)
        elif isinstance(item, h5d.DatasetID):
            yield path, item


def _stored(
    path: str, data: Any, size_bytes: int
) -> tuple[StoredColumn | None, list[tuple[str, str]]]:
    """Location of a column, and a problem if it must not be read."""
    from h5py import h5d, h5t

    if data is None:
        return None, [("I16", f"{path} is a link, expected data in the file")]
    plan = data.get_create_plist()
    contiguous = plan.get_layout() == h5d.CONTIGUOUS
    if not contiguous or plan.get_nfilters() or plan.get_external_count():
        return None, [("I16", f"{path} is chunked, filtered or external, expected contiguous data")]
    kind = data.get_type()
    plain = kind.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM)
    if not plain or (kind.get_class() == h5t.STRING and kind.is_variable_str()):
        sentence = f"{path} has an unknown type, expected numbers or fixed-length text"
        return None, [("I16", sentence)]
    offset = data.get_offset()
    found = StoredColumn(kind.dtype, tuple(map(int, data.shape)), offset or 0)
    if found.size_bytes and (offset is None or offset + found.size_bytes > size_bytes):
        return None, [("unreadable", f"{path} lies past the end of the file")]
    if plan.get_obj_track_times():
        return found, [("I17", f"{path} stores creation times, expected none")]
    return found, []


def _check_columns(
    columns: dict[str, StoredColumn], settings: PrepSettings, attributes: dict[str, str]
) -> Iterator[tuple[str, str]]:
    widths = [len(json.loads(attributes[name])) for name in ("label_classes", "rating_names")]
    for column in columns_of(settings):
        found = columns.get(column.path)
        if found is None:
            yield "I2", f"the column {column.path} is missing"
            continue
        if column.kind == "text" and not _is_fixed_text(found.dtype):
            expected = "fixed-length UTF-8"
            yield "I2", f"{column.path} has the type {found.dtype}, expected {expected}"
        elif column.kind != "text" and found.dtype.str != column.dtype:
            yield "I2", f"{column.path} has the type {found.dtype.str}, expected {column.dtype}"
        row = row_shape(column, *widths)
        if len(found.shape) != 1 + len(row) or found.shape[1:] != row:
            yield "I2", f"{column.path} has the shape {found.shape}, expected (rows, *{row})"
        elif (rows := _rows(column, columns)) is not None and found.shape[0] != rows:
            yield "I4", f"{column.path} has {found.shape[0]} row(s), expected {rows}"


def _rows(column: Column, columns: dict[str, StoredColumn]) -> int | None:
    """Number of rows that a column must have; None if only its offsets decide it."""
    ids = columns.get("id")
    if column.kind in ("ragged", "bytes") or column.path in LISTS or ids is None or not ids.shape:
        return None
    return ids.shape[0] + (column.kind == "offsets")
