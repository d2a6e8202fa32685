"""From a network to a program of torch.export with dynamic axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput

# Sizes of the dynamic axes that trace a network; 0 and 1 would be taken for constants.
_TRACED = 4


def traced(network: nn.Module, *given: BranchInput) -> ExportedProgram:
    """The program of a network in eval mode, which takes any size of the dynamic axes.

    Axes of the same name have the same size in all inputs.
    """
    names = list(dict.fromkeys(name for one in given for name in one.dynamic_axes.values()))
    sizes = {name: _TRACED + place for place, name in enumerate(names)}
    limits = {one.shape[one.dynamic]: one.limit for one in given}
    dims = {name: torch.export.Dim(name, max=limits.get(name)) for name in names}
    examples = tuple(
        torch.zeros(
            [size if isinstance(size, int) else sizes[size] for size in one.shape],
            dtype=getattr(torch, one.dtype),
        )
        for one in given
    )
    shapes: Any = tuple({a: dims[n] for a, n in one.dynamic_axes.items()} for one in given)
    # Gradients would be part of the program, and tensors of inference mode cannot be traced.
    with torch.inference_mode(False), torch.no_grad(), _without_fast_path():
        return torch.export.export(network.eval(), examples, dynamic_shapes=shapes, strict=False)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Attention as plain operators: no other runtime knows torch's fused layer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
