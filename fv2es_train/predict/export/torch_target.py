"""Export as programs of torch.export, which torch runs without fv2es."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_train.predict.export.targets import ExportTarget

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput
    from fv2es_train.predict.export.targets import Runner


def _write(program: ExportedProgram, given: BranchInput, path: Path) -> None:  # noqa: ARG001
    import torch

    torch.export.save(program, path)


def _load(path: Path) -> Runner:
    import torch

    network = torch.export.load(path).module()

    @torch.no_grad()
    def run(x):  # type: ignore[no-untyped-def]
        return network(torch.from_numpy(x)).numpy()

    return run


TARGET = ExportTarget(
    "torch-export",
    ".pt2",
    _write,
    _load,
    """import torch

network = torch.export.load("FILE").module()
with torch.no_grad():
    logits = network(torch.from_numpy(x)).numpy()
""",
)
