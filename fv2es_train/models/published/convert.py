"""Convert a published weight file to a run, and a run to a published weight file.

Owns what a published file lacks (classes, settings, thresholds), the formats of torch and
safetensors, and wrappers around the state dict. Never executes code from a file.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fv2es_prep.config import PrepSettings
from fv2es_prep.corpora import CORPORA, PUBLISHED
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.utils.files import refuse_full, whole_file
from fv2es_train.config import EARLIER, TrainConfig
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint, load_rest, save_checkpoint
from fv2es_train.models.decision import Decision
from fv2es_train.models.published.mapping import from_published, to_published
from fv2es_train.models.published.sizes import config_of, modalities_of

_THRESHOLD = 0.5
_SAFETENSORS = ".safetensors"
# Prefix of each name if the network was wrapped in torch's DataParallel.
_PARALLEL = "module."
_SAVE_HINT = "save the weights only: torch.save(model.state_dict(), FILE)"


def convert_file(
    file: Path,
    out: Path,
    modalities: str | None = None,
    heads: int = 4,
    labels: str | None = None,
    shards: Path | None = None,
) -> dict[str, Any]:
    """Convert a published file to a run, with thresholds of 0.5.

    Args:
        file: file of torch.save or safetensors.
        out: new run directory.
        modalities: modalities that the weights were trained with; None means ``tav``.
        heads: attention heads of each sequence encoder (``--trans-nheads`` there).
        labels: a corpus (its classes are in the order of the published logits), or the classes,
            separated by commas; None takes the classes of ``shards``, or of the corpus
            `PUBLISHED`.
        shards: shards that provide settings and classes; None takes the published settings, with an
            unknown tokenizer.

    Returns:
        JSON-ready: ``run``, ``modalities``, ``label_classes``, ``fused`` (whether the V blocks
        are), ``tokenizer_known``, ``thresholds_fitted``, ``parameters`` by part, and ``kept``: the
        number of weights that are stored although the network lacks them.

    Raises:
        UsageError: the published code does not write such a file, or ``out`` contains a run.
    """
    refuse_full(out)
    state = read_state(file)
    settings, classes = _context(labels, shards)
    modalities = modalities_of(state, modalities)
    config = config_of(state, modalities, heads, classes)
    model, rest = from_published(state, config)
    config.check(settings)
    checkpoint = Checkpoint(
        model=model,
        train=TrainConfig(**EARLIER),
        settings=settings,
        decision=Decision(thresholds=dict.fromkeys(classes, _THRESHOLD)),
        split_digest="",
        epoch=0,
        thresholds_fitted=False,
    )
    save_checkpoint(out, checkpoint, rest)
    return {
        "run": str(out),
        "modalities": modalities,
        "label_classes": list(classes),
        "fused": config.face_fused,
        "tokenizer_known": "t" not in modalities or settings.text.is_known,
        "thresholds_fitted": False,
        "parameters": {name: count(part) for name, part in model.named_children()},
        "kept": len(rest),
    }


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Convert the best checkpoint of a run to a file of torch.save, or .safetensors by its suffix.

    Returns:
        JSON-ready: ``file`` and the number of ``weights``.

    Raises:
        UsageError: the run does not exist or has another architecture, or ``out`` exists.
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save_file

    state = to_published(load_checkpoint(run).model, load_rest(run))
    if out.exists():
        raise UsageError(f"{out} already exists", "choose another file with --out")
    with whole_file(out) as temporary:
        (save_file if out.suffix == _SAFETENSORS else torch.save)(state, temporary)
    return {"file": str(out), "weights": len(state)}


def count(part: nn.Module) -> int:
    """Number of parameters, without the statistics of batch norms."""
    return sum(parameter.numel() for parameter in part.parameters())


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU; removes ``module.`` if all names begin with it.

    Args:
        path: a file of ``torch.save`` (a state dict, or a dict that has it as ``state_dict``) or a
            ``.safetensors`` file.

    Raises:
        UsageError: the file is missing or damaged, would execute code, or has other content.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UsageError(f"the file {path} does not exist", "pass a file that torch.save wrote")
    damage = (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError)
    try:
        if path.suffix == _SAFETENSORS:
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is not loaded: {_found(str(error))}, expected only tensors",
            f"if you trust the file, load it with the program that wrote it, then {_SAVE_HINT}",
        ) from error
    except (*damage, SafetensorError) as error:
        raise UsageError(
            f"{path} cannot be read as weights: {(str(error) or repr(error)).splitlines()[0]}",
            "the file is damaged or has another format; download or write it again",
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    _refuse_other_content(state, path)
    prefix = _PARALLEL if all(name.startswith(_PARALLEL) for name in state) else ""
    return {name.removeprefix(prefix): value.detach() for name, value in state.items()}


def _context(labels: str | None, shards: Path | None) -> tuple[PrepSettings, tuple[str, ...]]:
    settings, classes = PrepSettings(), CORPORA.load(PUBLISHED).classes
    if shards is not None:
        index = read_index(shards)
        settings, classes = index.settings, tuple(index.label_classes)
    if labels is not None:
        known = CORPORA.load(labels).classes if labels in CORPORA.names() else ()
        classes = known or tuple(labels.split(","))
    if len(set(classes)) != len(classes) or "" in classes:
        raise UsageError(
            f"the classes {', '.join(classes)} contain an empty or duplicate name",
            "pass each class once, in the order of the logits: --labels NAME,NAME,...",
        )
    return settings, classes


def _found(message: str) -> str:
    """Extract the rejected object from the long message of torch."""
    if match := re.search(r"(?:GLOBAL|Unsupported class) +`?(?!GLOBAL)([\w.]+)", message):
        return f"its pickle contains the Python object {match[1]}"
    return "its pickle contains objects other than tensors"


def _refuse_other_content(state: Any, path: Path) -> None:
    wrong = ""
    if not isinstance(state, Mapping) or not state:
        size = len(state) if hasattr(state, "__len__") else 1
        wrong = f"{type(state).__name__} of {size} entries"
    else:
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                wrong = f"{type(value).__name__} under {name!r}"
                break
    if wrong:
        raise UsageError(
            f"{path} contains a {wrong}, expected a dict of tensors by name", _SAVE_HINT
        )
