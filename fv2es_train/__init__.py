"""From shards to a trained and evaluated model: the public API.

Names are imported when they are first used, so ``import fv2es_train`` is cheap and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fv2es_prep.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.batches import Batch, collate
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.evaluation.comparison import compare
    from fv2es_train.evaluation.evaluate import evaluate
    from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.models.families import ModelConfig, ModelFamily, Preset, build, preset
    from fv2es_train.predict.predictor import Predictor
    from fv2es_train.training.loop import train
    from fv2es_train.training.run_config import resumed, train_config

__all__ = [
    "Batch",
    "Checkpoint",
    "EmotionModel",
    "ModelConfig",
    "ModelFamily",
    "Predictor",
    "Preset",
    "ShardDataset",
    "TrainConfig",
    "build",
    "collate",
    "compare",
    "evaluate",
    "load_checkpoint",
    "preset",
    "resumed",
    "train",
    "train_config",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "config": ("TrainConfig",),
        "data.batches": ("Batch", "collate"),
        "data.dataset": ("ShardDataset",),
        "evaluation.comparison": ("compare",),
        "evaluation.evaluate": ("evaluate",),
        "models.checkpoint": ("Checkpoint", "load_checkpoint"),
        "models.emotion_model": ("EmotionModel",),
        "models.families": ("ModelConfig", "ModelFamily", "Preset", "build", "preset"),
        "predict.predictor": ("Predictor",),
        "training.loop": ("train",),
        "training.run_config": ("resumed", "train_config"),
    },
)
