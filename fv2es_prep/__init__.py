"""From raw corpora to shards, splits and audits: the public API.

Names are imported when they are first used, so ``import fv2es_prep`` loads neither NumPy nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fv2es_prep.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_prep.corpora.base import Corpus
    from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
    from fv2es_prep.errors import DropReason, Fv2esError, UtteranceError
    from fv2es_prep.example import prepare_example
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.shards.index import Index, read_index
    from fv2es_prep.shards.reader import ShardReader
    from fv2es_prep.shards.tools.export import export
    from fv2es_prep.shards.verify.checks import verify
    from fv2es_prep.shards.writer import ShardHeader, ShardWriter
    from fv2es_prep.splits.audit import Audit, audit_split
    from fv2es_prep.splits.manifest import Split, read_split, write_split
    from fv2es_prep.splits.recipes import Rule, build_splits
    from fv2es_prep.stages.base import Check, Column, Pictures, Stage
    from fv2es_prep.stages.context import StageContext
    from fv2es_prep.types import (
        Dropped,
        Example,
        Faces,
        Inventory,
        MelSpectrum,
        Recording,
        Utterance,
        View,
        Waveform,
    )

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "Check",
    "Column",
    "Corpus",
    "DropReason",
    "Dropped",
    "Example",
    "Faces",
    "Fv2esError",
    "Index",
    "Inventory",
    "LabelChoice",
    "MelSpectrum",
    "OpenRecording",
    "Pictures",
    "PrepSettings",
    "Recording",
    "Rule",
    "ShardHeader",
    "ShardReader",
    "ShardWriter",
    "Split",
    "Stage",
    "StageContext",
    "Utterance",
    "UtteranceError",
    "View",
    "Waveform",
    "audit_split",
    "build_splits",
    "export",
    "make_inventory",
    "prepare_example",
    "read_catalogue",
    "read_index",
    "read_split",
    "verify",
    "write_split",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "config": ("PrepSettings",),
        "corpora.base": ("Corpus",),
        "corpora.inventory": ("LabelChoice", "make_inventory"),
        "errors": ("DropReason", "Fv2esError", "UtteranceError"),
        "example": ("prepare_example",),
        "media.recording": ("OpenRecording",),
        "shards.catalogue": ("read_catalogue",),
        "shards.index": ("Index", "read_index"),
        "shards.reader": ("ShardReader",),
        "shards.tools.export": ("export",),
        "shards.verify.checks": ("verify",),
        "shards.writer": ("ShardHeader", "ShardWriter"),
        "splits.audit": ("Audit", "audit_split"),
        "splits.manifest": ("Split", "read_split", "write_split"),
        "splits.recipes": ("Rule", "build_splits"),
        "stages.base": ("Check", "Column", "Pictures", "Stage"),
        "stages.context": ("StageContext",),
        "types": (
            "Dropped",
            "Example",
            "Faces",
            "Inventory",
            "MelSpectrum",
            "Recording",
            "Utterance",
            "View",
            "Waveform",
        ),
    },
)
