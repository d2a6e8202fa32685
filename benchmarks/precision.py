"""What bfloat16 changes on a CPU: metrics, probabilities and decisions of trained runs.

Run: python -m benchmarks.precision SHARDS SPLIT RUN... [--subset test] [--metric f1_binary]

Both precisions run in OpenVINO. The difference is paired by utterance, with a 95 % interval.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from fv2es_train.engines.choice import Precision
from fv2es_train.evaluation.comparison import compare
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.evaluation.measurement import Bootstrap
from fv2es_train.evaluation.predictions import file_of, read_predictions

_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def main() -> None:
    """Print the table of F1 by precision in docs/model-speed.md: one row for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--subset", default="test")
    parser.add_argument("--metric", default="f1_binary")
    options = parser.parse_args()
    print("| run | n | float32 | interval | bfloat16 | difference | interval | p | d |")
    for run in options.runs:
        print(_row(options, run), flush=True)


def _row(options: argparse.Namespace, run: Path) -> str:
    subset, metric = options.subset, options.metric
    kind, _, name = metric.rpartition(".")
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / precision for precision in _PRECISIONS]
        for place, precision in zip(places, _PRECISIONS, strict=True):
            file = file_of(place, subset)
            file.parent.mkdir(parents=True)
            evaluate(
                *(options.shards, options.split, run, subset),
                bootstrap=Bootstrap(0),
                predictions=file,
                allow_seen=True,
                engine="openvino",
                precision=precision,
            )
        exact, rough = (read_predictions(file_of(place, subset)) for place in places)
        found = compare(places, subset, allow_seen=True)
    values = [one[kind or "average"][name] for one in found["runs"]]
    first = found["runs"][0]
    span = (first["single_label"] if kind else first)["interval"][name]
    change = found["differences"][0][kind or "average"][name]
    off = np.abs(exact.probability - rough.probability).max()
    changed = int((exact.predicted != rough.predicted).any(axis=1).sum())
    cells = (
        *(run, len(exact), f"{values[0]:.3f}", _interval(span), f"{values[1]:.3f}"),
        *(f"{change['difference']:+.3f}", _interval(change["interval"]), f"{off:.4f}", changed),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def _interval(span: tuple[float, float]) -> str:
    return f"[{span[0]:.3f}, {span[1]:.3f}]"


if __name__ == "__main__":
    main()
