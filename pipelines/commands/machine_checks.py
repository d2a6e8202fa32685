"""What `fv2es doctor` looks for on this machine: one line for each thing, and how to get it.

Names no host, user or token, and shortens the home directory, so that all can be pasted anywhere.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fv2es_prep import __version__
from fv2es_prep.errors import Fv2esError
from fv2es_prep.utils.processes import cores

State = Literal["ok", "missing", "optional", "low"]
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "h5py", "pyarrow", "openvino", "dask")
# Extra -> a module of its, and what it is for.
_EXTRAS = {
    "serve": ("fastapi", "the web page and the HTTP API"),
    "asr": ("faster_whisper", "words of videos without a transcript"),
    "check": ("cleanlab", "doubtful labels in `fv2es shards check`"),
    "egemaps": ("opensmile", "the stages egemaps and egemaps-lld"),
    "s3": ("s3fs", "corpora and shards on S3"),
}
_SLURM = ("sbatch", "squeue", "scancel")
_TOKENIZER = "albert-base-v2"
_HUB_TIMEOUT_S = 3.0
_LEAST_GB = {"memory": 4, "disk": 5}


@dataclass(frozen=True)
class Check:
    """One line.

    Attributes:
        name: what was looked for.
        state: ``ok``; ``missing``, which fv2es needs; ``optional``, which only some commands need;
            ``low``, which is there and may be too little.
        found: what was found.
        hint: what to do; empty if ok.
    """

    name: str
    state: State
    found: str
    hint: str = ""


def checks() -> Iterator[Check]:
    """All checks, in the order in which they are printed."""
    yield Check("fv2es", "ok", f"{__version__}, Python {platform.python_version()}")
    yield Check("system", "ok", platform.platform())
    yield from _packages()
    yield _ffmpeg()
    yield Check("CPU", "ok", f"{cores()} cores for fv2es, {_cpu()}")
    yield _memory()
    yield from _disks()
    yield _gpu()
    yield from _hub()
    yield from _extras()
    yield _slurm()


def _packages() -> Iterator[Check]:
    for name in _PACKAGES:
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            yield Check(name, "missing", "not installed", "pip install fv2es")


def _ffmpeg() -> Check:
    from fv2es_prep.media.ffmpeg import ENVIRONMENT, ffmpeg_path, ffmpeg_version

    try:
        path = ffmpeg_path()
        said = ".".join(map(str, ffmpeg_version(path)))
    except (Fv2esError, RuntimeError, OSError) as error:
        hint = error.hint if isinstance(error, Fv2esError) else "pip install imageio-ffmpeg"
        return Check("ffmpeg", "missing", str(error).splitlines()[0], hint)
    source = f"of {ENVIRONMENT}" if os.environ.get(ENVIRONMENT) else "bundled"
    return Check("ffmpeg", "ok", f"{said}, {source}")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # A container's limit, where it is lower.
    limit = Path("/sys/fs/cgroup/memory.max")
    said = limit.read_text(encoding="utf-8").strip() if limit.is_file() else "max"
    gb = min(total, int(said) if said.isdigit() else total) / 1e9
    if gb < _LEAST_GB["memory"]:
        hint = "prepare with --executor inline, train with a smaller --batch-size"
        return Check("memory", "low", f"{gb:.1f} GB", hint)
    return Check("memory", "ok", f"{gb:.1f} GB")


def _disks() -> Iterator[Check]:
    for name, place in (("here", Path.cwd()), ("TMPDIR", Path(tempfile.gettempdir()))):
        gb = shutil.disk_usage(place).free / 1e9
        low = gb < _LEAST_GB["disk"]
        hint = "the shards of IEMOCAP take 1.2 GB, a run up to 1 GB" if low else ""
        yield Check(f"disk, {name}", "low" if low else "ok", f"{gb:.1f} GB free", hint)


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        said = ", ".join(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in found)
        return Check("GPU", "ok", f"{said}, CUDA {torch.version.cuda}")
    slow = "on CPUs fv2es trains for hours, fv2es-tiny for minutes"
    if torch.version.cuda is None:
        hint = f"{slow}; with an NVIDIA GPU install torch from an index of pytorch.org for CUDA"
        return Check("GPU", "optional", "none: this torch is a build for CPUs", hint)
    return Check("GPU", "optional", "none", slow)


def _hub() -> Iterator[Check]:
    from huggingface_hub import HfApi, constants, get_token

    from fv2es_prep.utils.hub import is_here

    here = is_here(_TOKENIZER)
    token = "a token" if get_token() else "no token (only `fv2es push` needs one)"
    fetch = f"hf download {_TOKENIZER} --local-dir albert"
    if constants.HF_HUB_OFFLINE:
        yield Check("hub", "optional", f"HF_HUB_OFFLINE is set; {token}", "unset it for downloads")
    else:
        try:
            HfApi().model_info(_TOKENIZER, timeout=_HUB_TIMEOUT_S)
            yield Check("hub", "ok", f"{constants.ENDPOINT} answers; {token}")
        # The client's exceptions vary by version.
        except Exception as error:  # noqa: BLE001
            said = f"{constants.ENDPOINT} does not answer ({type(error).__name__}); {token}"
            hint = "check the network, the proxy and HF_ENDPOINT"
            yield Check("hub", "optional", said, hint)
    if here:
        yield Check("tokenizer", "ok", f"{_TOKENIZER} is in the cache")
    else:
        hint = f"fetched on first use; to copy it here: {fetch}"
        yield Check("tokenizer", "optional", f"{_TOKENIZER} is not in the cache", hint)


def _extras() -> Iterator[Check]:
    for extra, (module, use) in _EXTRAS.items():
        if find_spec(module):
            yield Check(f"extra {extra}", "ok", use)
        else:
            yield Check(f"extra {extra}", "optional", use, f'pip install "fv2es[{extra}]"')


def _slurm() -> Check:
    there = [name for name in _SLURM if shutil.which(name)]
    if len(there) == len(_SLURM):
        return Check("SLURM", "ok", ", ".join(there))
    lacking = ", ".join(name for name in _SLURM if name not in there)
    return Check("SLURM", "optional", f"no {lacking}", "only --executor slurm needs it")
