"""Whether a file is laid out as a shard: attributes, columns, types, shapes, storage.

Owns what can be said without reading a row; nothing is read before its size is known to be within
the file. Leaves the values to `invariants`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import SettingsError, ShardError
from fv2es_prep.shards.schema import (
    DAMAGE,
    LISTS,
    attributes_of,
    check_version,
    columns_of,
    features_of,
    row_shape,
)
from fv2es_prep.shards.verify.finding import Finding, words_of
from fv2es_prep.stages.base import Column
from fv2es_prep.stages.registry import is_installed

_JSON_LISTS = ("requires", "label_classes", "rating_names", "stages")
_DEEPEST = 8


def check_layout(name: str, file: Any, size_bytes: int) -> tuple[list[Finding], dict[str, str]]:
    """Check everything of an open `h5py.File` but its rows.

    Returns:
        The findings, and the root attributes that could be read. Rows may be read only where there
        is no finding.
    """
    attributes: dict[str, str] = {}
    problems = []
    version = bytes(file.attrs.get("format_version", b"")).decode(errors="replace")
    for attribute in attributes_of(version):
        try:
            attributes[attribute] = _attribute(file, attribute)
        except DAMAGE as error:
            problems.append(("I1", f"the attribute {attribute} cannot be read: {words_of(error)}"))
    if refused := _refused(name, attributes):
        # Of another version nothing else is known.
        return [Finding("version", name, refused)], attributes
    problems += _check_attributes(attributes)
    problems += _check_storage(file, size_bytes)
    if not problems:
        problems += _check_columns(file, attributes)
    return [Finding(code, name, sentence) for code, sentence in problems], attributes


def is_absolute(path: str) -> bool:
    """Whether a text is a path from the root of some machine."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _refused(name: str, found: dict[str, str]) -> str:
    """Why a reader refuses the file; empty where it does not, or where that cannot be said."""
    try:
        requires = json.loads(found["requires"])
        if _is_list_of_texts(requires):
            check_version(name, found["format"], found["format_version"], requires)
    except ShardError as error:
        return error.sentence
    except DAMAGE:
        pass
    return ""


def _check_attributes(found: dict[str, str]) -> Iterator[tuple[str, str]]:
    try:
        for name in _JSON_LISTS:
            if name in found and not _is_list_of_texts(json.loads(found[name])):
                yield "I1", f"the attribute {name} is no JSON list of texts"
        if "settings" in found:
            stored = json.loads(found["settings"])
            settings = PrepSettings.from_json(stored)
            if digest_of(stored) != found.get("settings_digest"):
                yield "I1", "settings_digest is not the digest of the settings"
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
    except (*DAMAGE, SettingsError) as error:
        yield "I1", f"an attribute that should be JSON is none: {words_of(error)}"


def _attribute(file: Any, name: str) -> str:
    if not _is_fixed_text(file.attrs.get_id(name).dtype):
        raise TypeError("it is no fixed-length UTF-8 text")
    return bytes(file.attrs[name]).decode()


def _is_fixed_text(dtype: Any) -> bool:
    import h5py

    kind = h5py.check_string_dtype(dtype)
    return kind is not None and kind.length is not None and kind.encoding == "utf-8"


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _check_storage(file: Any, size_bytes: int) -> Iterator[tuple[str, str]]:
    """Every column there is, also those that the schema does not know."""
    try:
        for path, item in _walk(file, ""):
            if item is None:
                yield "I16", f"{path} is a link to elsewhere"
            else:
                yield from _check_dataset(path, item, size_bytes)
    except DAMAGE as error:
        yield "unreadable", f"its columns cannot be listed: {words_of(error)}"


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Path and dataset of everything in a group; None for what is no hard link."""
    import h5py

    for name in group:
        path = prefix + name
        if path.count("/") > _DEEPEST or group.get(name, getclass=True, getlink=True) is not (
            h5py.HardLink
        ):
            yield path, None
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _walk(item, f"{path}/")
        elif isinstance(item, h5py.Dataset):
            yield path, item


def _check_dataset(path: str, data: Any, size_bytes: int) -> Iterator[tuple[str, str]]:
    import h5py

    plan = data.id.get_create_plist()
    if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_nfilters() or data.external:
        yield "I16", f"{path} is chunked, filtered or kept elsewhere"
        return
    if data.dtype.kind not in "Siufb":
        yield "I16", f"{path} has the type {data.dtype}, expected numbers or fixed-length text"
        return
    if plan.get_obj_track_times():
        yield "I17", f"{path} holds the times of its making"
    bytes_ = data.dtype.itemsize * int(np.prod([int(n) for n in data.shape], dtype=object))
    offset = data.id.get_offset()
    if bytes_ and (offset is None or offset + bytes_ > size_bytes):
        yield "unreadable", f"{path} lies past the end of the file"


def _check_columns(file: Any, attributes: dict[str, str]) -> Iterator[tuple[str, str]]:
    settings = PrepSettings.from_json(json.loads(attributes["settings"]))
    widths = [len(json.loads(attributes[name])) for name in ("label_classes", "rating_names")]
    for column in columns_of(settings):
        found = file.get(column.path)
        if found is None or not hasattr(found, "dtype"):
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
        elif (rows := _rows(column, file)) is not None and len(found) != rows:
            yield "I4", f"{column.path} has {len(found)} row(s), expected {rows}"


def _rows(column: Column, file: Any) -> int | None:
    """The rows that a column must have; None where only its offsets can tell."""
    ids = file.get("id")
    if column.kind in ("ragged", "bytes") or column.path in LISTS or ids is None or not ids.shape:
        return None
    return len(ids) + (column.kind == "offsets")
