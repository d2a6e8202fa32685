"""What stages load once per process: settings, tokenizer, face detector, makers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.base import Stage
from fv2es_prep.stages.registry import stages_of

if TYPE_CHECKING:
    from fv2es_prep.detectors.detector import FaceDetector


@dataclass(frozen=True)
class StageContext:
    """What the stages of a dataset have loaded, for any number of utterances.

    Attributes:
        tokenizer: name at the hub or directory of the tokenizer.
        label_classes: the classes, in the order of the label columns.
        device: where networks run, ``cpu`` or torch's name of a GPU.
    """

    settings: PrepSettings
    tokenizer: str
    label_classes: tuple[str, ...]
    device: str = "cpu"

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in the order in which they are made."""
        return stages_of(self.settings)

    @functools.cached_property
    def detector(self) -> FaceDetector:
        """The face detector."""
        from fv2es_prep.detectors.detector import FaceDetector

        return FaceDetector(self.settings.faces, self.device)

    def maker(self, stage: Stage) -> Callable[..., Any]:
        """The maker of a stage, loaded on first use."""
        if stage.name not in self._makers:
            self._makers[stage.name] = stage.load(self)
        return self._makers[stage.name]

    @functools.cached_property
    def _makers(self) -> dict[str, Callable[..., Any]]:
        return {}
