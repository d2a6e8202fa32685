"""From a network of one input to a program of torch.export with a dynamic axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput

# Rows of the input that traces a network; 0 and 1 would be taken for constants.
_TRACED = 4


def traced(network: nn.Module, given: BranchInput) -> ExportedProgram:
    """The program of a network in eval mode, which takes any size of the dynamic axis."""
    shape = [size if isinstance(size, int) else _TRACED for size in given.shape]
    example = torch.zeros(shape, dtype=getattr(torch, given.dtype))
    dim = torch.export.Dim(str(given.shape[given.dynamic]), max=given.limit)
    shapes = ({given.dynamic: dim},)
    # Gradients would be part of the program, and tensors of inference mode cannot be traced.
    with torch.inference_mode(False), torch.no_grad(), _without_fast_path():
        return torch.export.export(network.eval(), (example,), dynamic_shapes=shapes, strict=False)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Attention as plain operators: no other runtime knows torch's fused layer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
