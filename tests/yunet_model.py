"""A model file with YuNet's inputs and outputs that takes bright squares for faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
# Outputs of the network at each stride, and their width. The last two are in strides; the box's
# size is given by its logarithm.
_OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_BRIGHT = 200.0


def write_yunet(path: Path, size: int | None = None) -> Path:
    """Write the model; ``size`` fixes the sides of its input, as the file of 2023 does.

    A cell is a face if the square of three cells about it is bright. The face is that square.
    """
    nodes, constants = list[Any](), list[Any]()

    def constant(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    for s in STRIDES:
        mean = constant(f"mean{s}", np.full((1, 3, 3 * s, 3 * s), 1 / (27 * s * s), np.float32))
        x = node("Conv", ["input", mean], f"bright{s}", strides=[s, s], pads=[s] * 4)
        x = node("Sub", [x, constant(f"level{s}", np.float32([_BRIGHT]))], f"over{s}")
        x = node("Sigmoid", [x], f"sure{s}")
        # From the cell's left and top to its centre; the side is three cells.
        box = constant(f"box{s}", np.float32([0.5, 0.5, np.log(3), np.log(3)]))
        points = constant(f"points{s}", np.float32([0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]))
        for name, width in _OUTPUTS.items():
            rows = node("Reshape", [x, constant(f"rows{name}{s}", [1, -1, 1])], f"{name}rows{s}")
            if width > 1:
                none = node(
                    "Mul", [rows, constant(f"zero{name}{s}", np.float32([0]))], f"no{name}{s}"
                )
                node("Add", [none, box if name == "bbox" else points], f"{name}_{s}")
            else:
                node("Identity", [rows], f"{name}_{s}")
    shape = [1, 3, size or "height", size or "width"]
    outputs = [
        helper.make_tensor_value_info(f"{name}_{s}", TensorProto.FLOAT, [1, None, width])
        for name, width in _OUTPUTS.items()
        for s in STRIDES
    ]
    pictures = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "yunet", [pictures], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
