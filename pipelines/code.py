"""The code that makes shards: a digest of our sources, and the versions of what decides bits.

A worker with other code would make other bytes silently, so it refuses the tasks of a plan.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fv2es_prep
from fv2es_prep.errors import ExecutorError
from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version

# Packages that compute stored values or write files.
_DECISIVE = (
    *("numpy", "torch", "torchaudio", "opencv-python-headless", "openvino", "facenet-pytorch"),
    *("numba", "h5py", "pillow", "transformers", "tokenizers", "opensmile"),
)


@functools.cache
def code_here() -> dict[str, str]:
    """Name -> digest or version: ``fv2es``, our sources; ``ffmpeg``; the decisive packages."""
    versions = {name: _version(name) for name in _DECISIVE}
    ffmpeg = ".".join(map(str, ffmpeg_version(ffmpeg_path())))
    return {"fv2es": _sources(), "ffmpeg": ffmpeg, **versions}


def check_code(planned: Mapping[str, str]) -> None:
    """Raise ExecutorError if this process has other code than the plan was made with."""
    here = code_here()
    for name, expected in planned.items():
        if here.get(name) != expected:
            raise ExecutorError(
                f"the worker on {platform.node()} has {name} {here.get(name)}, and the run was "
                f"planned with {name} {expected}",
                "install the same fv2es and packages for every worker; nothing was built there",
            )


def _sources() -> str:
    """A digest of the Python files of this package and of fv2es_prep, whatever their place."""
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
