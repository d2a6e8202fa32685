"""Prepare a corpus with our preset and the published one, and compare the results.

Owns the comparison that gives the figures in docs/differences.md. Run it as
``python -m benchmarks.differences demo/corpus demo/albert``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.types import Example
from pipelines.config import prep_config
from pipelines.plan import plan_corpus
from pipelines.run import run

PRESETS = ("ours", "published")


def main() -> None:
    """Print the comparison as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, help="a raw IEMOCAP tree, such as the demo's")
    parser.add_argument("tokenizer", help="a tokenizer's name or directory")
    parser.add_argument("--corpus", default="iemocap")
    parser.add_argument("--executor", default="inline")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {preset: _prepare(asked, Path(folder) / preset, preset) for preset in PRESETS}
    json.dump(compare(found["ours"], found["published"]), sys.stdout, indent=2)
    print()


def _prepare(asked: argparse.Namespace, out: Path, preset: str) -> dict[str, Example]:
    given = {"raw": asked.raw, "out": out, "tokenizer": asked.tokenizer, "shard_mb": 2}
    config = prep_config(asked.corpus, **given, preset=preset)
    run(plan_corpus(config), config.out, asked.executor, lambda _: None)
    return read_all(out)


def read_all(directory: Path) -> dict[str, Example]:
    """Read all examples of a dataset: id -> example."""
    found = {}
    for entry in read_index(directory).shards:
        with ShardReader(directory / entry.name) as reader:
            for row in range(entry.examples):
                example = reader.read(row)
                found[example.utterance.id] = example
    return found


def compare(ours: dict[str, Example], theirs: dict[str, Example]) -> dict[str, Any]:
    """Count the differences between two preparations of one corpus.

    Faces are compared by position, as a model sees them: the k-th face of an utterance with the
    k-th, if both exist and both are detected faces.
    """
    both = [(ours[name], theirs[name]) for name in sorted(ours.keys() & theirs.keys())]
    pairs = [pair for one, other in both for pair in _faces(one, other)]
    grey = [np.abs(a.astype(int) - b).mean() for a, b, _, _, seen in pairs if seen]
    early_s = [b - a for _, _, a, b, _ in pairs]
    return {
        "utterances": {"ours": len(ours), "published": len(theirs)},
        "lost_by_published": sorted(ours.keys() - theirs.keys()),
        "frames": _counts(ours, theirs, lambda e: len(e.faces.found)),
        "faces_found": _counts(ours, theirs, lambda e: int(e.faces.found.sum())),
        "utterances_with_fewer_frames": sum(
            len(b.faces.found) < len(a.faces.found) for a, b in both
        ),
        "pairs_of_frames": len(pairs),
        "pairs_that_differ": sum(not np.array_equal(a, b) for a, b, *_ in pairs),
        "mean_difference_grey_levels": round(float(np.mean(grey)), 2),
        "largest_mean_difference": round(float(np.max(grey)), 2),
        "published_is_earlier_by_s": {
            "mean": round(-float(np.mean(early_s)), 4),
            "most": round(-float(np.min(early_s)), 4),
        },
        "spectra_that_differ": sum(
            not np.array_equal(a.mel.log_power, b.mel.log_power) for a, b in both
        ),
        "tokens_that_differ": sum(not np.array_equal(a.tokens, b.tokens) for a, b in both),
    }


def _faces(one: Example, other: Example) -> list[tuple[Any, ...]]:
    a, b = one.faces, other.faces
    return [
        (a.rgb[k], b.rgb[k], a.times_s[k], b.times_s[k], bool(a.found[k] and b.found[k]))
        for k in range(min(len(a.found), len(b.found)))
    ]


def _counts(ours: dict[str, Example], theirs: dict[str, Example], count: Any) -> dict[str, int]:
    return {
        name: sum(count(example) for example in examples.values())
        for name, examples in (("ours", ours), ("published", theirs))
    }


if __name__ == "__main__":
    main()
