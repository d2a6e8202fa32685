"""MTCNN's three networks in OpenVINO, with the weights of facenet-pytorch's wheel.

Owns the graphs and their compilation, for one thread. Leaves the first network's use to `pyramid`.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import openvino as ov
import torch
from openvino import opset1, opset13

from fv2es_prep.utils.openvino_core import core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = tuple[NDArray[np.float32], NDArray[np.float32]]

_OPTIONS = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # With pinning, all processes of a machine would share its first core.
    "ENABLE_CPU_PINNING": False,
}
_PARTS = ("weight", "bias")


class CropNetwork:
    """The second network (``rnet``) or the third (``onet``): input of ``side`` x ``side`` pixels.

    The regression has ``width`` outputs: 4 corrections of the box; of ``onet`` also x of five
    points and y of five points, as shares of the box.
    """

    def __init__(self, name: Literal["rnet", "onet"]) -> None:
        self.side, self.width = {"rnet": (24, 4), "onet": (48, 14)}[name]
        self._request = _crop_network(name, self.side).create_infer_request()

    def run(self, crops: NDArray[np.float32]) -> Map:
        """From float32 (N, side, side, 3), N > 0, to probability (N,) and regression (N, width).

        The probability is valid until the next run.
        """
        self._request.set_input_tensor(0, ov.Tensor(crops, shared_memory=True))
        self._request.infer()
        count = len(self._request.model_outputs)
        probability, *regression = (self._request.get_output_tensor(i).data for i in range(count))
        return probability[:, 1], np.hstack(regression)


def _compile(model: Any, precision: str = "f32") -> Any:
    return core().compile_model(model, "CPU", {**_OPTIONS, "INFERENCE_PRECISION_HINT": precision})


def first_network(sizes: Sequence[tuple[int, int]], rough: bool) -> Any:
    """Compile the first network for levels of these heights and widths.

    The rough one has one output per level: logarithm of the odds of a face, in bfloat16. The other
    has two: the probabilities of none and of a face, and the correction, in float32.
    """
    inputs, outputs = [], []
    for height, width in sizes:
        level, x = _pixels([1, height, width, 3])
        inputs.append(level)
        outputs += [_odds(x)] if rough else _first(x)
    return _compile(ov.Model(outputs, inputs), "bf16" if rough else "f32")


@functools.cache
def window_network(count: int, height: int, width: int) -> Any:
    """Compile the exact first network for single windows, once per process."""
    windows, x = _pixels([count, height, width, 3])
    return _compile(ov.Model(_first(x), [windows]))


def _first(x: Any) -> list[Any]:
    x, weights = _first_features(x), _weights("pnet")
    return [_softmax(_conv(x, weights, "conv4_1")), _conv(x, weights, "conv4_2")]


def _odds(x: Any) -> Any:
    """The softmax of two values is the sigmoid of their difference, which is one convolution."""
    stored = _weights("pnet")
    weights = {f"odds.{key}": np.diff(stored[f"conv4_1.{key}"], axis=0) for key in _PARTS}
    return _conv(_first_features(x), weights, "odds")


def _first_features(x: Any) -> Any:
    weights = _weights("pnet")
    x = _pool(_conv(x, weights, "conv1", "prelu1"), 2)
    x = _conv(x, weights, "conv2", "prelu2")
    return _conv(x, weights, "conv3", "prelu3")


@functools.cache
def _crop_network(name: str, side: int) -> Any:
    """Compile once per process; each user makes its own request."""
    graph = {"rnet": ((3, 3), 576, 2), "onet": ((3, 3, 2), 1152, 3)}
    pools, features, heads = graph[name]
    weights, last = _weights(name), len(pools) + 1
    crops, x = _pixels([-1, side, side, 3])
    for i, pool in enumerate(pools, 1):
        x = _pool(_conv(x, weights, f"conv{i}", f"prelu{i}"), pool)
    x = _flat(_conv(x, weights, f"conv{last}", f"prelu{last}"), features)
    x = _dense(x, weights, f"dense{last + 1}", f"prelu{last + 1}")
    outputs = [_dense(x, weights, f"dense{last + 2}_{i + 1}") for i in range(heads)]
    return _compile(ov.Model([_softmax(outputs[0]), *outputs[1:]], [crops]))


@functools.cache
def _weights(name: str) -> dict[str, NDArray[np.float32]]:
    spec = importlib.util.find_spec("facenet_pytorch")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / f"{name}.pt"
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return {key: value.numpy() for key, value in stored.items()}


def _constant(values: Any) -> Any:
    return opset13.constant(np.ascontiguousarray(values))


def _pixels(shape: list[int]) -> tuple[Any, Any]:
    """An input of pictures (N, H, W, 3), and the same transposed to (N, 3, H, W)."""
    pictures = opset13.parameter(ov.PartialShape(shape), np.float32)
    return pictures, opset13.transpose(pictures, _constant(np.array([0, 3, 1, 2])))


def _conv(x: Any, weights: dict[str, Any], name: str, prelu: str = "") -> Any:
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"].reshape(1, -1, 1, 1)
    x = opset13.convolution(x, _constant(kernel), [1, 1], [0, 0], [0, 0], [1, 1])
    return _prelu(opset13.add(x, _constant(bias)), weights, prelu)


def _dense(x: Any, weights: dict[str, Any], name: str, prelu: str = "") -> Any:
    x = opset13.matmul(x, _constant(weights[f"{name}.weight"]), False, True)
    return _prelu(opset13.add(x, _constant(weights[f"{name}.bias"][None])), weights, prelu)


def _prelu(x: Any, weights: dict[str, Any], name: str) -> Any:
    return opset13.prelu(x, _constant(weights[f"{name}.weight"])) if name else x


def _pool(x: Any, side: int) -> Any:
    return opset1.max_pool(x, [2, 2], [0, 0], [0, 0], [side, side], "ceil")


def _softmax(x: Any) -> Any:
    return opset13.softmax(x, 1)


def _flat(x: Any, features: int) -> Any:
    """(N, C, H, W) to (N, features) in the order W, H, C of the trained weights."""
    x = opset13.transpose(x, _constant(np.array([0, 3, 2, 1])))
    return opset13.reshape(x, _constant(np.array([-1, features])), False)
