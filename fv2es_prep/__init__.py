"""From raw corpora to shards, splits and audits: the public API.

Names are imported on first use, so ``import fv2es_prep`` loads neither NumPy nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fv2es_prep.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings as PrepSettings
    from fv2es_prep.corpora.base import Corpus as Corpus
    from fv2es_prep.corpora.inventory import LabelChoice as LabelChoice
    from fv2es_prep.corpora.inventory import make_inventory as make_inventory
    from fv2es_prep.errors import DropReason as DropReason
    from fv2es_prep.errors import Fv2esError as Fv2esError
    from fv2es_prep.errors import UtteranceError as UtteranceError
    from fv2es_prep.example import prepare_example as prepare_example
    from fv2es_prep.media.recording import OpenRecording as OpenRecording
    from fv2es_prep.shards.catalogue import read_catalogue as read_catalogue
    from fv2es_prep.shards.index import Index as Index
    from fv2es_prep.shards.index import read_index as read_index
    from fv2es_prep.shards.reader import ShardReader as ShardReader
    from fv2es_prep.shards.tools.export import export as export
    from fv2es_prep.shards.verify.checks import verify as verify
    from fv2es_prep.shards.writer import ShardHeader as ShardHeader
    from fv2es_prep.shards.writer import ShardWriter as ShardWriter
    from fv2es_prep.splits.audit import Audit as Audit
    from fv2es_prep.splits.audit import audit_split as audit_split
    from fv2es_prep.splits.manifest import Split as Split
    from fv2es_prep.splits.manifest import read_split as read_split
    from fv2es_prep.splits.manifest import write_split as write_split
    from fv2es_prep.splits.recipes import Rule as Rule
    from fv2es_prep.splits.recipes import build_splits as build_splits
    from fv2es_prep.stages.base import Check as Check
    from fv2es_prep.stages.base import Column as Column
    from fv2es_prep.stages.base import Pictures as Pictures
    from fv2es_prep.stages.base import Stage as Stage
    from fv2es_prep.stages.registry import StageContext as StageContext
    from fv2es_prep.types import Dropped as Dropped
    from fv2es_prep.types import Example as Example
    from fv2es_prep.types import Faces as Faces
    from fv2es_prep.types import Inventory as Inventory
    from fv2es_prep.types import MelSpectrum as MelSpectrum
    from fv2es_prep.types import Recording as Recording
    from fv2es_prep.types import Utterance as Utterance
    from fv2es_prep.types import View as View
    from fv2es_prep.types import Waveform as Waveform

__version__ = "0.1.0"
__all__, __getattr__, __dir__ = lazy_exports(__name__, __file__)
