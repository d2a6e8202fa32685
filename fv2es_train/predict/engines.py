"""Which library runs the encoders of faces and sound on a CPU: torch or OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fv2es_prep.errors import UsageError
from fv2es_train.models.encoders import MelEncoder

if TYPE_CHECKING:
    from fv2es_train.models.branches import BranchInput
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.predict.request import Engine

# Converting NesT takes as long as OpenVINO saves on about so many chunks (docs/performance.md).
CHUNKS_TO_CONVERT = 500


def use_engine(
    model: EmotionModel, engine: Engine, device: torch.device, at_once: bool = False
) -> None:
    """Replace encoders of a model for inference by ones that OpenVINO runs.

    ``auto`` replaces the published sound encoder on a CPU, after so many chunks that the
    conversion has paid off, counted over all videos of the process. ``openvino`` replaces all
    encoders of faces and mel chunks before the first.

    Args:
        model: the copy that `EmotionModel.for_inference` made.
        engine: the choice.
        device: the device of the model.
        at_once: ``auto`` does not wait for these chunks, as for a server.

    Raises:
        UsageError: OpenVINO is asked for, and the model is on another device or has no such
            encoder.
    """
    encoders = model.picture_encoders()
    if engine == "openvino" and (device.type != "cpu" or not encoders):
        found = f"is on {device}" if encoders else "has no encoder that OpenVINO runs"
        raise UsageError(
            f"the engine openvino cannot run the model {model.config.name}: it {found}",
            "pass --engine auto" if not encoders else "pass --device cpu, or --engine auto",
        )
    if engine == "torch" or device.type != "cpu":
        return
    for name, given in encoders.items():
        encoder = getattr(model, name)
        if engine == "openvino":
            setattr(model, name, CompiledEncoder(encoder, given))
        elif isinstance(encoder, MelEncoder):
            after = 0 if at_once else CHUNKS_TO_CONVERT
            setattr(model, name, CompiledEncoder(encoder, given, after))


class CompiledEncoder(nn.Module):
    """An encoder that OpenVINO runs in float32, after torch has run its first rows.

    Args:
        encoder: the encoder, in eval mode on the CPU.
        given: its input.
        after: number of rows that torch runs before the conversion.
    """

    def __init__(self, encoder: nn.Module, given: BranchInput, after: int = 0) -> None:
        super().__init__()
        self.encoder: nn.Module | None = encoder
        self.given, self.left = given, after
        self._network: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """The rows (N, ...) to vectors, float32 (N, width)."""
        if self.left > 0 and self.encoder is not None:
            self.left -= len(x)
            vectors: Tensor = self.encoder(x)
            return vectors
        if self._network is None:
            self._network = self._compiled()
        return torch.from_numpy(self._network(x.contiguous().numpy())[0].copy())

    def _compiled(self) -> Any:
        import openvino as ov

        from fv2es_train.predict.export.openvino_target import EXACT, converted
        from fv2es_train.predict.export.tracing import traced

        assert self.encoder is not None, "it is converted once"
        model = converted(traced(self.encoder, self.given), self.given)
        # Pinned threads of several processes would share the first cores.
        options = {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, **EXACT}
        options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
        # OpenVINO has the weights now.
        self.encoder = None
        return ov.Core().compile_model(model, "CPU", options)
