"""Rows of image encoders, one for each face: the state of the class token, or CLIP's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fv2es_prep.stages.encoders.encoder_loading import exact, hidden_state, load_processor
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Faces in a batch.
_FACES = 16


class PictureEncoder:
    """From the faces of utterances to rows, float32 (F, D) each."""

    def __init__(
        self, directory: Path, network: Any, settings: EncoderSettings, batch: int = 0
    ) -> None:
        self._network, self._settings, self._batch = network, settings, batch or _FACES
        self._device = next(network.parameters()).device
        self._processor = load_processor(directory, "AutoImageProcessor")

    def __call__(self, utterances: Sequence[Faces]) -> list[NDArray[np.float32]]:
        ends = np.cumsum([0, *(len(faces.times_s) for faces in utterances)]).tolist()
        rgb = [face for faces in utterances for face in faces.rgb]
        with exact():
            rows = [
                self._rows(rgb[first : first + self._batch])
                for first in range(0, len(rgb), self._batch)
            ]
        joined = np.concatenate([np.zeros((0, self._settings.width), np.float32), *rows])
        return [joined[begin:end] for begin, end in pairwise(ends)]

    def _rows(self, rgb: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pictures = torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2)
        inputs = self._processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        inputs = inputs.to(self._device)
        found = hidden_state(
            self._network, self._settings.layer, self._settings, lambda: self._run(inputs)
        )
        rows: NDArray[np.float32] = (found if found.ndim == 2 else found[:, 0]).cpu().numpy()
        return rows

    def _run(self, inputs: Tensor) -> Tensor:
        if hasattr(self._network, "get_image_features"):
            found = self._network.get_image_features(pixel_values=inputs)
            states: Tensor = getattr(found, "pooler_output", found)
            return states
        hidden: Tensor = self._network(pixel_values=inputs).last_hidden_state
        return hidden
