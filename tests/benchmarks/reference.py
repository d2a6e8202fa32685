"""A small reference for the parity table, in the published manner; built without code of ours."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torchaudio
from facenet_pytorch import MTCNN
from PIL import Image
from sklearn import metrics
from torch import nn

from tests.train.published_net import PublishedNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES: dict[str, Any] = {
    "stem": 8,
    "stages": ((8, 8, 16), (24,), (32,)),
    "dims": (32, 32, 64),
    "depths": (1, 1, 2),
    "hidden": 48,
    "width": 32,
    "layers": 2,
    "vocabulary": 40,
    "inner": 64,
}


class Small:
    """See `benchmarks.parity.Reference`."""

    slow: Sequence[str] = ("T", "t_out")

    def __init__(self, modalities: str = "tv") -> None:
        self.modalities = modalities
        self.network = PublishedNet(modalities, **SIZES)
        first = self.network.A[0].patch_embed.proj
        nn.init.trunc_normal_(first.weight, std=0.02)
        nn.init.zeros_(first.bias)

    def inputs(self, batch: Any) -> tuple[Any, ...]:
        missing = 100 - batch.tokens.shape[1]
        text = {
            "input_ids": nn.functional.pad(batch.tokens, (0, missing)),
            "attention_mask": nn.functional.pad(batch.attention_mask, (0, missing)),
        }
        text["token_type_ids"] = torch.zeros_like(text["input_ids"])
        return batch.faces, batch.face_counts, batch.mel, batch.chunk_counts, text

    def optimizer(self, lr: float) -> torch.optim.Adam:
        parts = dict(self.network.named_children())
        parts.pop("v_out")
        groups = [
            {"params": list(part.parameters()), "lr": lr / 10 if name in self.slow else lr}
            for name, part in parts.items()
        ]
        return torch.optim.Adam([group for group in groups if group["params"]])

    def mel(self, sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            # Some of the published filters are empty.
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            transform = torchaudio.transforms.MelSpectrogram(sample_rate=rate_hz, win_length=400)
        return transform(torch.from_numpy(sound)).T.numpy()

    def faces(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any] | None]:
        detector = MTCNN(image_size=48, margin=2, post_process=False)
        found: list[NDArray[Any] | None] = []
        for rgb in pictures:
            top, left = ((length - 224) // 2 for length in rgb.shape[:2])
            bgr = np.ascontiguousarray(rgb[top : top + 224, left : left + 224, ::-1])
            _, file = cv2.imencode(".jpg", bgr)
            face = detector(np.float32(Image.open(io.BytesIO(file.tobytes()))))
            found.append(None if face is None else face.permute(1, 2, 0).numpy())
        return found

    def metrics(
        self, label: NDArray[np.uint8], probability: NDArray[np.float64]
    ) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for truth, chance in zip(label.T, probability.T, strict=True):
            grid = [round(0.05 * step, 2) for step in range(1, 20)]
            scores = [metrics.f1_score(truth, chance > t, zero_division=0) for t in grid]
            said = chance > grid[int(np.argmax(scores))]
            for name, value in (
                ("accuracy", metrics.accuracy_score(truth, said)),
                ("precision", metrics.precision_score(truth, said, zero_division=0)),
                ("recall", metrics.recall_score(truth, said)),
                ("f1_binary", metrics.f1_score(truth, said)),
                ("auc", metrics.roc_auc_score(truth, chance)),
            ):
                found.setdefault(name, []).append(float(value))
        return {name: float(np.mean(values)) for name, values in found.items()}


def audio() -> Small:
    return Small("a")


class LogPower(Small):
    """A spectrum in decibels, and faces that are brighter."""

    def mel(self, sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        return 10 * np.log10(super().mel(sound, rate_hz) + 1e-6)

    def faces(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any] | None]:
        return [None if face is None else face + 3 for face in super().faces(pictures)]


class EqualGroups(Small):
    """The output layer of text learns at the full rate."""

    slow = ("T",)


class OtherStart(Small):
    """The first convolution of NesT starts as torch's."""

    def __init__(self) -> None:
        super().__init__("a")
        self.network.A[0].patch_embed.proj.reset_parameters()
