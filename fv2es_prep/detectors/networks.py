"""MTCNN's three networks in OpenVINO, with the weights of facenet-pytorch's wheel.

Owns the graphs and their inference: one thread, float32.
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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = tuple[NDArray[np.float32], NDArray[np.float32]]

_OPTIONS = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # bfloat16, the default on processors that have it, would move boxes.
    "INFERENCE_PRECISION_HINT": "f32",
    # With pinning, all processes of a machine would share its first core.
    "ENABLE_CPU_PINNING": False,
}


class PyramidNetwork:
    """The first network over all levels of a pyramid.

    Attributes:
        pyramid: float32 (h, w, 3) per level, the input, to be filled.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.pyramid = [np.empty((*size, 3), np.float32) for size in sizes]
        self._request = _compile(_first(sizes)).create_infer_request()
        for i, level in enumerate(self.pyramid):
            self._request.set_input_tensor(i, ov.Tensor(level[None], shared_memory=True))

    def run(self) -> list[Map]:
        """Per level probability float32 (y, x), correction (4, y, x); valid until the next run."""
        self._request.infer()
        maps = [self._request.get_output_tensor(i).data[0] for i in range(2 * len(self.pyramid))]
        return [(maps[i][1], maps[i + 1]) for i in range(0, len(maps), 2)]


class Pyramids:
    """First networks by pyramid; the least recently used one is removed first.

    A network takes about 110 bytes per pixel of its pyramid. At most ``most`` networks and
    ``most_pixels`` pixels are held, but always the two newest: the ``fast`` detector takes two per
    picture.
    """

    def __init__(self, most: int = 16, most_pixels: int = 4_000_000) -> None:
        self._most, self._most_pixels = most, most_pixels
        self._held: dict[tuple[tuple[int, int], ...], PyramidNetwork] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, sizes: tuple[tuple[int, int], ...]) -> PyramidNetwork:
        """The network of a pyramid, by height and width of each level."""
        network = self._held.pop(sizes, None) or PyramidNetwork(sizes)
        self._held[sizes] = network
        while len(self._held) > 2 and self._too_much():
            del self._held[next(iter(self._held))]
        return network

    def _too_much(self) -> bool:
        pixels = sum(height * width for sizes in self._held for height, width in sizes)
        return len(self._held) > self._most or pixels > self._most_pixels


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


@functools.cache
def _core() -> Any:
    """One per process, never freed: freed cores restore signal handlers in a wrong order."""
    return ov.Core()


def _compile(model: Any) -> Any:
    return _core().compile_model(model, "CPU", _OPTIONS)


def _first(sizes: Sequence[tuple[int, int]]) -> Any:
    weights, inputs, outputs = _weights("pnet"), [], []
    for height, width in sizes:
        level, x = _pixels([1, height, width, 3])
        inputs.append(level)
        x = _pool(_conv(x, weights, "conv1", "prelu1"), 2)
        x = _conv(x, weights, "conv2", "prelu2")
        x = _conv(x, weights, "conv3", "prelu3")
        outputs += [_softmax(_conv(x, weights, "conv4_1")), _conv(x, weights, "conv4_2")]
    return ov.Model(outputs, inputs)


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
