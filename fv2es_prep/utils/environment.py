"""The environment variables that fv2es and its libraries read."""

from __future__ import annotations

import os
from collections.abc import Iterator

VARIABLES = {
    "FV2ES_FFMPEG": "ffmpeg to run, 5.1 or newer; default: the bundled one",
    "FV2ES_CACHE": "directory of cached shards of object stores; default: ~/.cache/fv2es",
    "FV2ES_CACHE_GB": "limit on the cached shards in GB (10^9 bytes); default: 50",
    "FV2ES_TOKEN": "token that `fv2es serve` requires, where --token-file is not passed",
    "NO_COLOR": "any text: print without colours",
    "COLUMNS": "width of help and tables; default: that of the terminal, or 80",
    "TMPDIR": "directory of temporary files",
    "HF_HOME": "cache of the Hugging Face Hub: tokenizers and pretrained encoders",
    "HF_ENDPOINT": "URL of the Hugging Face Hub or of a mirror",
    "HF_TOKEN": "token for the Hugging Face Hub; `fv2es push` needs one",
    "HF_HUB_OFFLINE": "1: use only what is in the cache of the Hub",
    "CUDA_VISIBLE_DEVICES": "GPUs that torch sees, e.g. 0,1",
}
_SECRET = {"FV2ES_TOKEN", "HF_TOKEN"}


def values() -> Iterator[tuple[str, str, str]]:
    """Name, value and meaning of each variable; ``-`` if unset, and no secret."""
    for name, meaning in VARIABLES.items():
        value = os.environ.get(name, "-")
        yield name, "(set)" if name in _SECRET and value != "-" else value, meaning
