"""Export a run: a file for each modality, checked against PyTorch, with metadata and a README."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep import __version__
from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.errors import UsageError, WorkError
from fv2es_prep.stages.tokens import TOKENIZER_DIR, copy_tokenizer
from fv2es_prep.utils.files import (
    TEMPORARY_SUFFIX,
    cannot_write,
    refuse_full,
    refuse_url,
    write_json,
)
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.run_files import tokenizer_of
from fv2es_train.predict.export.readme import readme_of
from fv2es_train.predict.export.targets import TARGETS

if TYPE_CHECKING:
    from fv2es_train.models.branches import Branch
    from fv2es_train.models.checkpoint import Checkpoint
    from fv2es_train.predict.export.examples import Inputs
    from fv2es_train.predict.export.targets import ExportTarget

FORMAT, FORMAT_VERSION = "fv2es-export", "1.0"
METADATA = "metadata.json"
# Largest difference of a logit between the exported network and PyTorch.
MOST_DIFFERENCE = 1e-3
_SETTINGS = {"t": "text", "a": "mel", "v": "faces"}


@dataclass(frozen=True)
class Exported:
    """An export that is written.

    Attributes:
        files: names in the directory.
        difference: modality -> largest absolute difference of a logit to PyTorch.
        checked_on: the inputs of the check.
    """

    files: tuple[str, ...]
    difference: dict[str, float]
    checked_on: str


def export(
    run: Path, target: str, out: Path, shards: Path | None = None, examples: int = 20
) -> Exported:
    """Write the networks of a run for another runtime, after a check of each against PyTorch.

    Args:
        run: directory of the run, or a packed run.
        target: name of one of `TARGETS`.
        out: new directory.
        shards: dataset for the check; None for that of the run, or generated inputs.
        examples: number of examples for the check.

    Raises:
        UsageError: no such run or target, ``out`` is not empty, the model cannot be exported, or a
            package of the target is missing.
        WorkError: a logit differs by more than 1e-3; nothing is written.
        OutputError: the directory cannot be written.
    """
    from fv2es_train.engines.tracing import traced
    from fv2es_train.predict.export.examples import inputs_of

    chosen = TARGETS.load(target)
    refuse_url(out)
    refuse_full(out)
    checkpoint = load_checkpoint(run)
    model = checkpoint.model.for_inference()
    branches = model.export_branches()
    if not branches:
        raise UsageError(
            f"the model {model.config.name} cannot be exported: it has no branches",
            "export a run of fv2es, fv2es-lite, fv2es-tiny or mme2e",
        )
    inputs, checked_on = inputs_of(run, checkpoint, shards, examples)
    with _whole_directory(out) as place:
        difference = {}
        for letter, branch in branches.items():
            file = place / f"{MODALITY_NAMES[letter]}{chosen.suffix}"
            chosen.write(traced(branch, branch.given), branch.given, file)
            difference[letter] = _checked(chosen, branch, inputs, file)
        if "t" in branches and (tokenizer := tokenizer_of(run)):
            copy_tokenizer(tokenizer, place / TOKENIZER_DIR)
        described = _describe(checkpoint, branches, chosen, difference, checked_on)
        write_json(place / METADATA, described)
        (place / "README.md").write_text(readme_of(described, chosen.usage), encoding="utf-8")
    files = tuple(sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()))
    return Exported(files, difference, checked_on)


@contextmanager
def _whole_directory(out: Path) -> Iterator[Path]:
    """A temporary directory, renamed to ``out`` if the block succeeds, else removed."""
    place = out.with_name(f".{out.name}{TEMPORARY_SUFFIX}")
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        yield place
        if out.exists():
            out.rmdir()
        place.replace(out)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _checked(target: ExportTarget, branch: Branch, inputs: Inputs, file: Path) -> float:
    """The largest absolute difference of a logit between a file and its branch.

    Raises:
        WorkError: it is above `MOST_DIFFERENCE`, or a logit is not finite.
    """
    import numpy as np
    import torch

    run, most = target.load(file), 0.0
    for x in inputs(branch):
        with torch.no_grad():
            expected = branch(x).numpy()
        difference = np.abs(run(x.numpy()) - expected).max()
        # NaN is above no limit.
        if not difference <= MOST_DIFFERENCE:
            raise WorkError(
                f"the exported network {file.name} differs from PyTorch by {difference:.2g} in a "
                f"logit, expected {MOST_DIFFERENCE:g} at most; nothing is written",
                "choose another --to, or report the run's model and the versions of its packages",
            )
        most = max(most, float(difference))
    return most


def _describe(
    checkpoint: Checkpoint,
    branches: dict[str, Branch],
    target: ExportTarget,
    difference: dict[str, float],
    checked_on: str,
) -> dict[str, Any]:
    config, decision, settings = (
        checkpoint.model.config,
        checkpoint.decision,
        checkpoint.settings.to_json(),
    )
    weights = checkpoint.model.fusion_weights()
    networks = {
        letter: {
            "file": f"{MODALITY_NAMES[letter]}{target.suffix}",
            "input": branch.given.to_json(),
            "fusion_weight": weights[letter],
            "settings": settings[_SETTINGS[letter]],
            "max_abs_difference": difference[letter],
        }
        for letter, branch in branches.items()
    }
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fv2es_version": __version__,
        "target": target.name,
        "model": config.name,
        "label_classes": list(config.label_classes),
        "ratings": [
            {"name": name, "mean": mean, "deviation": deviation}
            for name, (mean, deviation) in zip(config.ratings, config.rating_scale, strict=True)
        ],
        "decision": {
            "rule": decision.rule,
            "exclusive": decision.exclusive,
            "temperature": dict(decision.temperature),
            "thresholds": dict(decision.thresholds),
        },
        "networks": networks,
        "checked_on": checked_on,
    }
