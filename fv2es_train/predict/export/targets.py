"""The registry of export targets (entry-point group ``fv2es.export_targets``); imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.utils.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput

    # The input of one utterance to its logits, float32 (1, C + R).
    Runner = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class ExportTarget:
    """A file format of networks.

    Attributes:
        name: its name on the command line.
        suffix: suffix of its files.
        write: writes a program under a path; the input is that of the program.
        load: reads the file and returns a function that runs it on the CPU.
        usage: lines of Python that run FILE on the array x, for the README of an export.
    """

    name: str
    suffix: str
    write: Callable[[ExportedProgram, BranchInput, Path], None]
    load: Callable[[Path], Runner]
    usage: str


TARGETS: Registry[ExportTarget] = Registry(
    "fv2es.export_targets",
    "export target",
    {
        "onnx": "fv2es_train.predict.export.onnx_target:TARGET",
        "openvino": "fv2es_train.predict.export.openvino_target:TARGET",
        "torch-export": "fv2es_train.predict.export.torch_target:TARGET",
    },
)
