"""What processes that tests fork have loaded when they start: libraries, none of our own code."""

from __future__ import annotations

import gc
import importlib

gc.disable()
for name in (
    "h5py",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "numba",
    "openvino",
    "pyarrow.parquet",
    "scipy.signal",
    "timm.models.nest",
    "torch._dynamo",
    "torchaudio",
    "transformers.models.albert.modeling_albert",
    "typer.rich_utils",
):
    importlib.import_module(name)
# A collection in a forked process leaves these objects alone, so their pages stay shared.
gc.freeze()
gc.enable()
