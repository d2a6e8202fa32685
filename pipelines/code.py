"""Identifies the code that makes shards: a digest of our sources, and versions of packages.

A worker with other code could silently make other bytes, so it refuses the tasks of a plan.
`run.json` records the code of every shard, including shards that a later run keeps.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping, Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fv2es_prep
from fv2es_prep.errors import ExecutorError
from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version
from fv2es_prep.shards.index import RUN_NAME
from fv2es_prep.utils.files import read_regular, write_json

# Packages that compute stored values or write files.
_DECISIVE = (
    *("numpy", "torch", "torchaudio", "opencv-python-headless", "openvino", "facenet-pytorch"),
    *("numba", "h5py", "pillow", "transformers", "tokenizers", "opensmile"),
)


@functools.cache
def code_here() -> dict[str, str]:
    """Name -> digest of our sources (``fv2es``), or version of ffmpeg and packages."""
    versions = {name: _version(name) for name in _DECISIVE}
    ffmpeg = ".".join(map(str, ffmpeg_version(ffmpeg_path())))
    return {"fv2es": _sources(), "ffmpeg": ffmpeg, **versions}


def check_code(planned: Mapping[str, str]) -> None:
    """Raise ExecutorError if this process has other code than the planning process."""
    here = code_here()
    for name, expected in planned.items():
        if here.get(name) != expected:
            raise ExecutorError(
                f"the worker on {platform.node()} has {name} {here.get(name)}, and the run was "
                f"planned with {name} {expected}",
                "install the same fv2es and packages on every worker; that worker built nothing",
            )


def note_code(out: Path, building: Mapping[str, Set[str]], aside: Mapping[str, str]) -> None:
    """Record in run.json, before shards are built, that this process's code makes them.

    So the record is right even if the run is killed. ``building`` maps each shard to the old shards
    whose values it keeps, and whose code it also has; ``aside`` maps each old shard to the path
    that it is moved to.
    """
    here, groups = code_here(), made_by(out)
    if not any(code == here for code, _ in groups):
        groups.append((here, set()))
    noted = []
    for code, names in groups:
        before = names | {aside[name] for name in names & aside.keys()}
        keeps = {name for name, sources in building.items() if code == here or sources & before}
        noted.append((code, (before - building.keys()) | keeps))
    try:
        about = dict(json.loads(read_regular(out / RUN_NAME)))
    except (OSError, ValueError, TypeError):
        about = {}
    write_json(out / RUN_NAME, {**about, "made_by": plain(noted)})


def made_by(out: Path) -> list[tuple[dict[str, str], set[str]]]:
    """Each code in run.json with the names of its shards; empty if there is no record."""
    try:
        noted = json.loads(read_regular(out / RUN_NAME))["made_by"]
        return [(dict(group["code"]), set(map(str, group["shards"]))) for group in noted]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def plain(groups: list[tuple[dict[str, str], set[str]]]) -> list[dict[str, Any]]:
    """The result of `made_by` in the form of run.json."""
    return [{"code": code, "shards": sorted(names)} for code, names in groups if names]


def difference(code: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the difference of two codes, e.g. ``torch 2.6.0 (now 2.7.0)``."""
    differing = [name for name in {**code, **now} if code.get(name) != now.get(name)]
    return ", ".join(f"{n} {code.get(n, 'none')} (now {now.get(n, 'none')})" for n in differing)


def _sources() -> str:
    """Digest of the Python files of this package and of fv2es_prep, whatever their location."""
    digest = hashlib.sha256()
    for root in (Path(fv2es_prep.__file__).parent, Path(__file__).parent):
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{root.name}/{path.relative_to(root)}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
