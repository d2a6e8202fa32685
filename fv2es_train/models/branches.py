"""The branches of a model as networks of their own: tensors of one utterance to logits.

Export writes them as files. Owns their inputs; leaves the fusion to `emotion_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch


@dataclass(frozen=True)
class BranchInput:
    """The input of a branch.

    Attributes:
        name: name of the tensor.
        dtype: ``float32`` or ``int64``.
        shape: its sizes; a name where the size is that of the utterance.
        meaning: content, axis order and unit.
        limit: largest size of the last dynamic axis; None for no limit.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str
    limit: int | None = None

    @property
    def dynamic_axes(self) -> dict[int, str]:
        """Axis -> name of its size, for the axes whose size depends on the utterance."""
        return {axis: size for axis, size in enumerate(self.shape) if isinstance(size, str)}

    @property
    def dynamic(self) -> int:
        """The last axis whose size depends on the utterance."""
        return max(self.dynamic_axes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "shape": list(self.shape)}


class Branch(nn.Module):
    """One modality of a model, from the tensor of an utterance to its logits.

    Args:
        network: encoder, sequence encoder and head, in eval mode.
        run: what they compute of the input: logits, float32 (1, C + R).
        given: the input.
        column: the field of `Batch` that holds it.
    """

    def __init__(
        self, network: nn.Module, run: Callable[[Tensor], Tensor], given: BranchInput, column: str
    ) -> None:
        super().__init__()
        self.network, self.given, self.column = network, given, column
        self._run = run

    def forward(self, x: Tensor) -> Tensor:
        """The input of one utterance to its logits, float32 (1, C + R)."""
        return self._run(x)

    def of(self, batch: Batch) -> Tensor:
        """The input in a batch of one utterance."""
        assert len(batch) == 1, "a branch takes one utterance"
        found: Tensor = getattr(batch, self.column)
        return found.contiguous()
