"""Which library runs the encoders of a model on a CPU: torch or OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fv2es_prep.errors import UsageError
from fv2es_train.models.encoders import MelEncoder

if TYPE_CHECKING:
    from fv2es_train.engines.choice import Engine, Precision
    from fv2es_train.models.branches import BranchInput
    from fv2es_train.models.emotion_model import EmotionModel

# Converting NesT takes as long as OpenVINO saves on about so many chunks (docs/model-speed.md).
CHUNKS_TO_CONVERT = 500


def use_engine(
    model: EmotionModel,
    engine: Engine,
    device: torch.device,
    at_once: bool = False,
    precision: Precision = "float32",
) -> None:
    """Replace encoders of a model for inference by ones that OpenVINO runs.

    ``auto`` replaces the published sound encoder on a CPU, after so many chunks that the
    conversion has paid off, counted over all videos of the process. ``openvino`` replaces all
    encoders of texts, faces and mel chunks before the first, and so does ``auto`` with bfloat16.

    Args:
        model: the copy that `EmotionModel.for_inference` made.
        engine: the choice.
        device: the device of the model.
        at_once: ``auto`` does not wait for these chunks, as for a server.
        precision: precision of the replaced encoders.

    Raises:
        UsageError: OpenVINO is asked for, and the model is on another device or has no such
            encoder; bfloat16 is asked for, and the engine or this CPU cannot compute in it.
    """
    encoders = model.row_encoders()
    if precision == "bfloat16":
        _check_bfloat16(engine)
        engine = "openvino"
    if engine == "openvino" and (device.type != "cpu" or not encoders):
        found = f"is on {device}" if encoders else "has no encoder that OpenVINO runs"
        asked = "the engine openvino" if precision == "float32" else "--precision bfloat16"
        other = "--engine auto" if precision == "float32" else "--precision float32"
        raise UsageError(
            f"{asked} cannot run the model {model.config.name}: it {found}",
            f"pass {other}" if not encoders else f"pass --device cpu, or {other}",
        )
    if engine == "torch" or device.type != "cpu":
        return
    for name, given in encoders.items():
        encoder = getattr(model, name)
        if engine == "openvino":
            setattr(model, name, CompiledEncoder(encoder, given, precision=precision))
        elif isinstance(encoder, MelEncoder):
            after = 0 if at_once else CHUNKS_TO_CONVERT
            setattr(model, name, CompiledEncoder(encoder, given, after))


def _check_bfloat16(engine: Engine) -> None:
    from fv2es_train.engines.openvino_model import check_bfloat16

    if engine == "torch":
        raise UsageError(
            "the engine torch computes in float32 only, but the precision is bfloat16",
            "pass --engine openvino, or remove --precision",
        )
    check_bfloat16()


class CompiledEncoder(nn.Module):
    """An encoder that OpenVINO runs, after torch has run its first rows.

    Args:
        encoder: the encoder, in eval mode on the CPU.
        given: its inputs.
        after: number of rows that torch runs before the conversion.
        precision: precision of OpenVINO.

    Attributes:
        width: length of its vectors; None if the encoder does not tell.
    """

    def __init__(
        self,
        encoder: nn.Module,
        given: Sequence[BranchInput],
        after: int = 0,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.encoder: nn.Module | None = encoder
        self.given, self.left, self.precision = given, after, precision
        self.width: int | None = getattr(encoder, "width", None)
        self._network: Any = None

    def forward(self, *inputs: Tensor) -> Tensor:
        """The rows (N, ...) of each input to vectors, float32 (N, width)."""
        if self.left > 0 and self.encoder is not None:
            self.left -= len(inputs[0])
            vectors: Tensor = self.encoder(*inputs)
            return vectors
        if self._network is None:
            self._network = self._compiled()
        arrays = [x.contiguous().numpy() for x in inputs]
        return torch.from_numpy(self._network(arrays)[0].copy())

    def _compiled(self) -> Any:
        from fv2es_train.engines.openvino_model import compiled, converted
        from fv2es_train.engines.tracing import traced

        assert self.encoder is not None, "it is converted once"
        model = converted(traced(self.encoder, *self.given), *self.given)
        # OpenVINO has the weights now.
        self.encoder = None
        return compiled(model, self.precision, torch.get_num_threads())
