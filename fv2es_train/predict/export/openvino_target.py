"""Export as OpenVINO IR: an XML file and a .bin file with the float32 weights beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.utils.openvino_core import core
from fv2es_train.engines.openvino_model import HINTS, converted
from fv2es_train.predict.export.targets import ExportTarget

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput
    from fv2es_train.predict.export.targets import Runner


def load(path: Path) -> Runner:
    """A function that runs a file that OpenVINO reads (its own or ONNX) in float32."""
    network = core().compile_model(path, "CPU", HINTS["float32"])
    return lambda x: network(x)[0]


def _write(program: ExportedProgram, given: BranchInput, path: Path) -> None:
    import openvino as ov

    ov.save_model(converted(program, given), path, compress_to_fp16=False)


TARGET = ExportTarget(
    "openvino",
    ".xml",
    _write,
    load,
    """import openvino

network = openvino.compile_model("FILE", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
logits = network(x)[0]
""",
)
