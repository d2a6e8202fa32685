"""What the networks of a prediction cost on a CPU: parts x engine and precision x batch.

Run: python -m benchmarks.cpu_speed [--threads 2] [--int8]   (--int8 needs the package nncf)

The weights are random: they cost as much as trained ones. All ways of a part are measured in turn,
so that their ratios belong to the same minutes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fv2es_prep.config import PrepSettings
from fv2es_train.engines.choice import Engine, Precision
from fv2es_train.engines.compiled import use_engine
from fv2es_train.engines.openvino_model import compiled, converted
from fv2es_train.engines.tracing import traced
from fv2es_train.models import text_encoder as texts
from fv2es_train.models.branches import BranchInput
from fv2es_train.models.families import build, collate_of, preset
from fv2es_train.training.speed import ALBERT, random_example, usual_model

_CLASSES = tuple("abcdef")
_ROUNDS = 3
_BATCHES = (1, 4, 16)
# Seconds of an utterance that one row covers: a chunk, a face, an utterance of 5 s of text.
_SECONDS = {"sound": 0.4, "faces": 0.5, "text": 5.0}
_TOKENS, _VOCABULARY = 16, ALBERT["vocab_size"]

_WHOLE: dict[str, tuple[Engine, Precision]] = {
    "torch, float32": ("torch", "float32"),
    "OpenVINO, float32": ("openvino", "float32"),
    "OpenVINO, bfloat16": ("openvino", "bfloat16"),
}

Ways = dict[str, Callable[[Tensor], Any]]


def main() -> None:
    """Print the tables of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="only the whole models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--int8", action="store_true", help="quantize with NNCF as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    _peak()
    if options.whole:
        _whole()
        return
    print("| part | way | " + " | ".join(f"{n} rows" for n in _BATCHES) + " | difference |")
    for part, network, given in _parts():
        ways, took = _ways_of(network, given, options)
        for way, cells in _measure(part, ways, given).items():
            print(f"| {part} | {way} | {cells} |", flush=True)
        print(f"  {part}: conversion to OpenVINO takes {took:.1f} s", flush=True)
    _whole()


def _peak() -> None:
    """GFLOP/s of the largest products of the sound encoder of `fv2es`, for its floor."""
    rows, inputs, outputs = 16 * 196, 512, 2048
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.rand(rows, inputs, dtype=dtype), torch.rand(outputs, inputs, dtype=dtype)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            nn.functional.linear(x, weight)
            times.append(time.perf_counter() - began)
        rate = 2e-9 * rows * inputs * outputs / statistics.median(times)
        print(f"a product in {dtype}: {rate:.0f} GFLOP/s", flush=True)


def _parts() -> list[tuple[str, nn.Module, BranchInput]]:
    """The encoders of `fv2es`: its sound, its faces with fused blocks, an ALBERT of its size."""
    config = replace(preset("fv2es").model, modalities="av", label_classes=_CLASSES)
    model = build(config, PrepSettings()).for_inference()
    inputs = {m: branch.given for m, branch in model.export_branches().items()}
    tokens = BranchInput("tokens", "int64", ("rows", _TOKENS), "")
    return [
        ("sound", model.get_submodule("mel"), inputs["a"]),
        ("faces", model.get_submodule("face"), inputs["v"]),
        ("text", _Words(_albert()), tokens),
    ]


class _Words(nn.Module):
    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text = text

    def forward(self, tokens: Tensor) -> Any:
        return self.text(tokens, torch.ones_like(tokens))


def _albert() -> texts.TextEncoder:
    return texts.from_config(ALBERT).eval()


def _ways_of(network: nn.Module, given: BranchInput, options: Any) -> tuple[Ways, float]:
    began = time.perf_counter()
    model = converted(traced(network, given), given)

    def of(which: Any, precision: Precision) -> Callable[[Tensor], Any]:
        made = compiled(which, precision, options.threads)
        return lambda x: made(x.numpy())[0].copy()

    exact = of(model, "float32")
    took = time.perf_counter() - began

    def half(x: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return network(x).float().numpy()

    ways: Ways = {
        "torch, float32": lambda x: network(x).numpy(),
        "OpenVINO, float32": exact,
        "torch, bfloat16": half,
        "OpenVINO, bfloat16": of(model, "bfloat16"),
    }
    if options.int8:
        import nncf

        inputs = [_input(given, 4).numpy() for _ in range(20)]
        kind = nncf.ModelType.TRANSFORMER
        made = nncf.quantize(model, nncf.Dataset(inputs), model_type=kind, subset_size=20)
        ways["OpenVINO, int8"] = of(made, "float32")
    return ways, took


def _input(given: BranchInput, rows: int) -> Tensor:
    shape = [size if isinstance(size, int) else rows for size in given.shape]
    if given.dtype == "int64":
        return torch.randint(5, _VOCABULARY, shape)
    return 255 * torch.rand(shape) if given.name == "faces" else torch.exp(-14 * torch.rand(shape))


@torch.inference_mode()
def _measure(part: str, ways: Ways, given: BranchInput) -> dict[str, str]:
    """Way -> real-time factors for each batch, and the largest relative difference."""
    cells: dict[str, list[str]] = {way: [] for way in ways}
    for rows in _BATCHES:
        x = _input(given, rows)
        times: dict[str, list[float]] = {way: [] for way in ways}
        found = {way: run(x) for way, run in ways.items()}
        for _ in range(_ROUNDS):
            for way, run in ways.items():
                began = time.perf_counter()
                run(x)
                times[way].append(time.perf_counter() - began)
        for way in ways:
            cells[way].append(f"{statistics.median(times[way]) / rows / _SECONDS[part]:.4f}")
    expected = found["torch, float32"]
    for way in ways:
        off = np.abs(found[way] - expected).max() / np.abs(expected).max()
        cells[way].append(f"{off:.1e}")
    return {way: " | ".join(values) for way, values in cells.items()}


@torch.no_grad()
def _whole() -> None:
    """The real-time factor of whole models on an utterance of 5 s, by part and way."""
    print("| model | way | all | text, alone | text, of four | sound | faces |")
    for name in ("fv2es-lite", "fv2es"):
        works = {way: _works(name, *of) for way, of in _WHOLE.items()}
        times: dict[str, dict[str, list[float]]] = {
            way: {part: [] for part in parts} for way, parts in works.items()
        }
        # The first round converts and allocates.
        for round_ in range(_ROUNDS + 1):
            for way, parts in works.items():
                for part, work in parts.items():
                    began = time.perf_counter()
                    work()
                    if round_:
                        times[way][part].append(time.perf_counter() - began)
        for way, of in times.items():
            shares = {part: statistics.median(each) / 5 for part, each in of.items()}
            shares["text, of four"] /= 4
            total = sum(share for part, share in shares.items() if part != "text, alone")
            cells = " | ".join(f"{share:.4f}" for share in shares.values())
            print(f"| {name} | {way} | {total:.4f} | {cells} |", flush=True)


def _works(name: str, engine: Engine, precision: Precision) -> dict[str, Callable[[], Any]]:
    config, made = usual_model(name)
    model = made.for_inference()
    use_engine(model, engine, torch.device("cpu"), at_once=True, precision=precision)
    join = collate_of(config.model, 0)
    four = join([random_example(n, 5.0) for n in range(4)])
    one = join([random_example(0, 5.0)])
    return {
        "text, alone": lambda: model.modality_logits(one, "t"),
        "text, of four": lambda: model.modality_logits(four, "t"),
        "sound": lambda: model.modality_logits(one, "a"),
        "faces": lambda: model.modality_logits(one, "v"),
    }


if __name__ == "__main__":
    main()
