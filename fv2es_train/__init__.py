"""From shards to a trained and evaluated model: the public API.

Names are imported when they are first used, so ``import fv2es_train`` is cheap and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fv2es_prep.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig as TrainConfig
    from fv2es_train.data.batches import Batch as Batch
    from fv2es_train.data.batches import collate as collate
    from fv2es_train.data.dataset import ShardDataset as ShardDataset
    from fv2es_train.evaluation.comparison import compare as compare
    from fv2es_train.evaluation.evaluate import evaluate as evaluate
    from fv2es_train.models.checkpoint import Checkpoint as Checkpoint
    from fv2es_train.models.checkpoint import load_checkpoint as load_checkpoint
    from fv2es_train.models.emotion_model import EmotionModel as EmotionModel
    from fv2es_train.models.families import ModelConfig as ModelConfig
    from fv2es_train.models.families import ModelFamily as ModelFamily
    from fv2es_train.models.families import Preset as Preset
    from fv2es_train.models.families import build as build
    from fv2es_train.models.families import preset as preset
    from fv2es_train.predict.predictor import Predictor as Predictor
    from fv2es_train.training.loop import train as train
    from fv2es_train.training.run_config import resumed as resumed
    from fv2es_train.training.run_config import train_config as train_config

__all__, __getattr__, __dir__ = lazy_exports(__name__, __file__)
