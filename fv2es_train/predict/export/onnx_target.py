"""Export as ONNX; the check runs the file in OpenVINO, so that no ONNX runtime is needed."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import UsageError
from fv2es_train.predict.export.openvino_target import load
from fv2es_train.predict.export.targets import ExportTarget

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from fv2es_train.models.branches import BranchInput


def _write(program: ExportedProgram, given: BranchInput, path: Path) -> None:
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--to onnx needs the package {error.name}, which is not installed",
            "install the extra: pip install 'fv2es[export]'",
        ) from error
    # The exporter prints its steps and warns of its own deprecations.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        names = {"input_names": [given.name], "output_names": ["logits"]}
        torch.onnx.export(program, (), path, dynamo=True, external_data=False, **names)  # type: ignore[arg-type]


TARGET = ExportTarget(
    "onnx",
    ".onnx",
    _write,
    load,
    """import onnxruntime

session = onnxruntime.InferenceSession("FILE")
logits = session.run(["logits"], {session.get_inputs()[0].name: x})[0]
""",
)
