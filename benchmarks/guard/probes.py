"""Probes that run inside the recorded revision, for values that no command prints.

Run as ``python probes.py NAME ARGUMENTS`` with the checkout of the revision on PYTHONPATH. Owns the
names of the Python API over time: each import tries the current place first, then earlier ones.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np


def found(*places: str) -> Any:
    """Import the first ``module:name`` that exists."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"none of {', '.join(places)} exists; add its new place to {__file__}")


def demo(folder: str) -> None:
    """Make a small corpus in IEMOCAP's layout, a text model and a video."""
    from fv2es_prep.demo import make_corpus, make_talk, make_text_model

    root = Path(folder)
    make_corpus(root / "corpus", sessions=5, dialogues=2, turns=4)
    make_text_model(root / "albert")
    make_talk(root / "talk.avi", turns=4)


def mosei(tree: str, folder: str) -> None:
    """Make the corpus in CMU-MOSEI's layout that the tests use."""
    (path,) = Path(tree, "tests").rglob("mosei_corpus.py")
    spec = importlib.util.spec_from_file_location("mosei_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.make_mosei(Path(folder))


def fixture(directory: str) -> None:
    """Print the values that the reader and the dataset find in the shards of a directory."""
    dataset_type = found(
        "fv2es_train.data.dataset:ShardDataset", "fv2es_train.dataset:ShardDataset"
    )
    collate = found("fv2es_train.data.batches:collate", "fv2es_train.batch:collate")
    dataset = dataset_type(Path(directory))
    examples = [dataset[number] for number in range(len(dataset))]
    values: dict[str, Any] = {"label_classes": dataset.index.label_classes, "ids": dataset.ids}
    for number, one in enumerate(examples):
        said, faces = one.utterance, one.faces
        values |= {
            f"{number}.utterance": [
                *(said.id, said.recording_id, said.start_s, said.end_s, said.transcript),
                *(said.labels, said.speaker, said.session, said.ratings),
            ],
            **{
                f"{number}.{n}": getattr(faces, n)
                for n in ("rgb", "times_s", "found", "box", "prob")
            },
            f"{number}.mel": one.mel.log_power,
            f"{number}.hop_s": one.mel.hop_s,
            f"{number}.tokens": one.tokens,
            f"{number}.label": one.label,
        }
    batch = collate(examples)
    for name in ("faces", "mel", "tokens", "attention_mask", "label"):
        values[f"batch.{name}"] = getattr(batch, name).contiguous().numpy()
    print(json.dumps({name: _plain(value) for name, value in values.items()}))


def train(*arguments: str) -> None:
    """Run `fv2es` with these arguments and without any dropout."""
    import torch
    from timm.layers import DropPath
    from torch import nn

    def without(kind: Any, name: str) -> None:
        begin = kind.__init__

        def init(self: Any, *given: Any, **named: Any) -> None:
            begin(self, *given, **named)
            setattr(self, name, 0.0)

        kind.__init__ = init

    without(nn.modules.dropout._DropoutNd, "p")
    without(nn.MultiheadAttention, "dropout")
    without(DropPath, "drop_prob")
    torch.use_deterministic_algorithms(True)
    command(*arguments)


def command(*arguments: str) -> None:
    """Run `fv2es` of the checkout with these arguments."""
    sys.argv = ["fv2es", *arguments]
    runpy.run_module("cli", run_name="__main__")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        from hashlib import sha256

        array = np.ascontiguousarray(value)
        return sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()[:32]
    return json.dumps(value) if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    {"demo": demo, "mosei": mosei, "fixture": fixture, "train": train, "command": command}[
        sys.argv[1]
    ](*sys.argv[2:])
