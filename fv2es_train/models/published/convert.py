"""Convert a published file to a run, and a run to a published file.

Owns what a run needs and a published file lacks: classes, settings, thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.corpora import CORPORA, PUBLISHED
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import read_index
from fv2es_train.config import TrainConfig
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint, load_rest, save_checkpoint
from fv2es_train.models.published.mapping import from_published, to_published
from fv2es_train.models.published.sizes import config_of, modalities_of
from fv2es_train.models.published.weight_files import read_state, write_state

if TYPE_CHECKING:
    from torch import nn

THRESHOLD = 0.5


@dataclass(frozen=True)
class ConvertOptions:
    """A published file and what it does not contain.

    Attributes:
        file: file of torch.save or safetensors.
        out: run directory, created.
        modalities: modalities that it was trained with, some of ``tav``; None means all three.
        heads: attention heads of each sequence encoder (``--trans-nheads`` there).
        labels: a corpus, whose classes are in the order of the published logits, or the classes
            themselves, with commas; None takes the classes of ``shards``, or of the corpus
            `PUBLISHED`.
        shards: shards whose settings and classes the run takes; None takes the published settings,
            without a known tokenizer.
    """

    file: Path
    out: Path
    modalities: str | None = None
    heads: int = 4
    labels: str | None = None
    shards: Path | None = None


def convert_file(options: ConvertOptions) -> dict[str, Any]:
    """Convert a published file to a run, with thresholds of 0.5.

    Returns:
        JSON-ready: ``run``, ``modalities``, ``label_classes``, ``fused`` (whether the V blocks
        are), ``tokenizer_known``, ``thresholds_fitted``, ``parameters`` by part, and ``kept``: the
        number of weights stored beside the network's own.

    Raises:
        UsageError: the file is not what the published code writes, or ``out`` holds a run.
    """
    _refuse_run(options.out)
    state = read_state(options.file)
    settings, classes = _context(options)
    modalities = modalities_of(state, options.modalities)
    config = config_of(state, modalities, options.heads, classes)
    model, rest = from_published(state, config)
    config.check(settings)
    checkpoint = Checkpoint(
        model=model,
        train=TrainConfig(),
        settings=settings,
        thresholds=dict.fromkeys(classes, THRESHOLD),
        split_digest="",
        epoch=0,
        thresholds_fitted=False,
    )
    save_checkpoint(options.out, checkpoint, rest)
    return {
        "run": str(options.out),
        "modalities": modalities,
        "label_classes": list(classes),
        "fused": config.face_fused,
        "tokenizer_known": "t" not in modalities or settings.text.is_known,
        "thresholds_fitted": False,
        "parameters": {name: count(part) for name, part in model.named_children()},
        "kept": len(rest),
    }


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Convert a run's best checkpoint to a published file.

    Args:
        run: run directory.
        out: the file, in torch's format, or in safetensors' if its name ends so.

    Returns:
        JSON-ready: ``file`` and the number of ``weights``.

    Raises:
        UsageError: there is no such run, it has another architecture, or ``out`` exists.
    """
    checkpoint = load_checkpoint(run)
    state = to_published(checkpoint.model, load_rest(run))
    write_state(out, state)
    return {"file": str(out), "weights": len(state)}


def count(part: nn.Module) -> int:
    """Number of parameters, without statistics of batch norms."""
    return sum(parameter.numel() for parameter in part.parameters())


def _context(options: ConvertOptions) -> tuple[PrepSettings, tuple[str, ...]]:
    settings, classes = PrepSettings(), CORPORA.load(PUBLISHED).classes
    if options.shards is not None:
        index = read_index(options.shards)
        settings, classes = index.settings, tuple(index.label_classes)
    if options.labels is not None:
        known = options.labels in CORPORA.names()
        classes = CORPORA.load(options.labels).classes if known else ()
        classes = classes or tuple(options.labels.split(","))
    if len(set(classes)) != len(classes) or "" in classes:
        raise UsageError(
            f"the classes {', '.join(classes)} are not all different names",
            "name each once, in the order of the logits: --labels NAME,NAME,...",
        )
    return settings, classes


def _refuse_run(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(f"{out} is not empty", "choose a new directory with --out")
