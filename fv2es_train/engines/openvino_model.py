"""From a program of torch.export to a model of OpenVINO, and that to a network on this CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.openvino_core import core, has_bfloat16

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from fv2es_train.engines.choice import Precision
    from fv2es_train.models.branches import BranchInput

# Always given: bfloat16, the default of some processors, changes logits by more than 1e-3.
HINTS: dict[Precision, dict[str, Any]] = {
    "float32": {"INFERENCE_PRECISION_HINT": "f32"},
    "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"},
}


def converted(program: ExportedProgram, *given: BranchInput) -> Any:
    """The OpenVINO model of a program, with the named inputs and the output ``logits``."""
    import openvino as ov

    model = ov.convert_model(program)
    sizes = {
        port: [size if isinstance(size, int) else -1 for size in one.shape]
        for port, one in zip(model.inputs, given, strict=True)
    }
    model.reshape(sizes)
    for port, one in zip(model.inputs, given, strict=True):
        port.get_tensor().set_names({one.name})
    model.outputs[0].get_tensor().set_names({"logits"})
    return model


def compiled(model: Any, precision: Precision, threads: int) -> Any:
    """A network that runs an OpenVINO model on this CPU."""
    # Pinned threads of several processes would share the first cores.
    options = {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, "INFERENCE_NUM_THREADS": threads}
    return core().compile_model(model, "CPU", {**options, **HINTS[precision]})


def check_bfloat16() -> None:
    """Raise UsageError unless this CPU has instructions for bfloat16."""
    if not has_bfloat16():
        raise UsageError(
            "this CPU has no instructions for bfloat16 (AVX512_BF16 or AMX)",
            "pass --precision float32",
        )
