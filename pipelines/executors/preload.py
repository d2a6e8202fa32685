"""Imports what local workers need; `fork_server` runs it once, in the process that it forks.

It must start no thread, since a fork copies only one: so it imports no OpenVINO, and torch computes
nothing here.
"""

from __future__ import annotations

import gc
from importlib import import_module

_MODULES = (
    "torchaudio",
    "cv2",
    "distributed.nanny",
    "fv2es_prep.detectors.compiled",
    "pipelines.executors.cluster",
    "transformers.tokenization_utils_tokenizers",
)

# The collector finds little in modules and takes a tenth of the time of importing them.
gc.disable()
for _name in _MODULES:
    import_module(_name)
# Otherwise each collection in a worker would copy the pages of all of these objects.
gc.freeze()
gc.enable()
