"""Cross-validation: one run for each fold, and statistics over the folds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import Fv2esError, StoppedError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import read_index
from fv2es_prep.splits import read_split
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.configuration import differences, flat_values
from fv2es_prep.utils.files import make_directory, whole_path, write_json
from fv2es_train.config import TrainConfig
from fv2es_train.evaluation.agreement import agreement_of
from fv2es_train.evaluation.measurement import Bootstrap, measurement, numbers
from fv2es_train.evaluation.predictions import file_of, join, read_predictions
from fv2es_train.models.checkpoint import CONFIG
from fv2es_train.training.run_config import resumed, stored_config
from fv2es_train.training.run_names import METRICS_FILE, STATE
from fv2es_train.training.slurm_step import is_restarted

if TYPE_CHECKING:
    from fv2es_train.training.progress import Progress

SUMMARY = "folds.json"
# Fields that do not change the result of a run.
_SAME_RESULT = ("shards", "out", "overwrite", "device", "threads", "workers", "save_every")


def train_folds(
    config: TrainConfig,
    progress: Callable[[], Progress | None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train on each fold, into OUT/fold-0, OUT/fold-1 ... and write OUT/folds.json.

    A fold that finished with the same configuration is skipped; an interrupted one continues. If
    one fails, the others still run.

    Args:
        config: the training; its ``split`` is a directory with fold-0.json, fold-1.json ...
        progress: returns a new progress display for one training.
        say: receives a line about each fold.

    Returns:
        JSON-ready: ``folds``, with for each ``fold``, ``run``, ``split_digest``, ``trained`` (False
        if it was finished before), ``error`` (empty if none), and ``test`` (``n``, ``average``,
        ``single_label``; None if it failed); ``mean`` and ``standard_deviation`` (of the sample, n
        - 1) over the folds that have a value; ``pooled``, the measurement of all test utterances
        together, each as its own fold predicted it; ``raters`` of these (see
        `agreement.agreement`), or None; ``failed``, the names of failed folds.

    Raises:
        UsageError: the directory has no folds, another process trains on them, or a run in OUT
            has another configuration.
        SplitError: a manifest is damaged.
        OutputError: the directory cannot be written.
    """
    manifests = manifests_of(config.split)
    mine = [replace(config, split=m, out=config.out / m.stem) for m in manifests]
    # Check all manifests and directories before the first epoch.
    digests = [read_split(manifest).digest() for manifest in manifests]
    done = [is_finished(fold, digest) for fold, digest in zip(mine, digests, strict=True)]
    make_directory(config.out)
    found = []
    with locked(config.out, is_restarted()):
        for fold, digest, finished in zip(mine, digests, done, strict=True):
            say(f"{fold.out.name} of {len(mine)}" + (": already finished" if finished else ""))
            error = "" if finished else train_or_continue(fold, progress, say)
            found.append(_record(fold, digest, not finished, error))
    failed = [fold["fold"] for fold in found if fold["error"]]
    result = {"folds": found, **_statistics(found, config.shards), "failed": failed}
    write_json(config.out / SUMMARY, result)
    return result


def manifests_of(folds: Path) -> list[Path]:
    """The manifests fold-0.json, fold-1.json ... of a directory; UsageError if there are none."""
    found = [p for p in folds.glob("fold-*.json") if re.fullmatch(r"fold-\d+", p.stem)]
    if not found:
        raise UsageError(
            f"{folds} contains no fold-0.json",
            f"make folds: fv2es splits build SHARDS --recipe session --folds 5 --out {folds}",
        )
    return sorted(found, key=lambda path: int(path.stem.removeprefix("fold-")))


def train_or_continue(
    config: TrainConfig,
    progress: Callable[[], Progress | None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Train, or continue a run that began with the same configuration.

    Returns:
        Why it failed, or an empty string.

    Raises:
        StoppedError: a signal stopped a training.
    """
    from fv2es_train.training.loop import train

    try:
        train(_continued(config), progress())
    except StoppedError:
        raise
    except Fv2esError as error:
        say(f"{config.out.name} failed: {error.sentence}")
        return error.sentence
    return ""


def _continued(config: TrainConfig) -> TrainConfig:
    """The configuration that continues the run if it is the same; else that of a new run."""
    if not config.overwrite and (config.out / STATE).is_file():
        begun = resumed(config.out)
        places: dict[str, Any] = {
            name: whole_path(getattr(config, name)) for name in ("shards", "split")
        }
        if begun == replace(config, **places, resume=True):
            return begun
    return replace(config, overwrite=True)


def _record(config: TrainConfig, digest: str, trained: bool, error: str) -> dict[str, Any]:
    measured = None
    if not error:
        measured = json.loads((config.out / METRICS_FILE).read_text(encoding="utf-8"))["test"]
    return {
        "fold": config.out.name,
        "run": str(config.out),
        "split_digest": digest,
        "trained": trained,
        "error": error,
        "test": {"n": measured["n"], **numbers(measured)} if measured else None,
    }


def is_finished(config: TrainConfig, split_digest: str) -> bool:
    """Whether the run is complete; UsageError if it was trained with another configuration."""
    if config.overwrite or not (config.out / METRICS_FILE).is_file():
        return False
    stored = json.loads((config.out / "best" / CONFIG).read_text(encoding="utf-8"))
    classes = read_index(config.shards).label_classes
    wanted = {**flat_values(config), "split": split_digest, "classes": list(classes)}
    made = flat_values(stored_config(config.out))
    made |= {"split": stored["split_digest"], "classes": stored["label_classes"]}
    differ = {k: v for k, v in differences(made, wanted).items() if k not in _SAME_RESULT}
    for name, (found, expected) in differ.items():
        raise UsageError(
            f"{config.out} contains a run with {name} = {found!r}, expected {expected!r}",
            "choose another --out, or pass --overwrite to train all folds again",
        )
    return True


def _statistics(folds: Sequence[dict[str, Any]], shards: Path) -> dict[str, Any]:
    done = [fold for fold in folds if fold["test"]]
    parts = [read_predictions(file_of(Path(fold["run"]), "test")) for fold in done]
    every = [name for part in parts for name in part.ids]
    # No pooled result if an utterance is in two test subsets: it would count twice.
    pooled = (
        measurement(join(parts), Bootstrap()) if parts and len(set(every)) == len(every) else None
    )
    result: dict[str, Any] = {"mean": {}, "standard_deviation": {}, "pooled": pooled}
    result["raters"] = agreement_of(read_catalogue(shards), every) if pooled else None
    for kind in ("average", "single_label"):
        measured = [fold["test"][kind] for fold in done if fold["test"][kind]]
        names = measured[0] if measured else ()
        values = {name: [m[name] for m in measured if m[name] is not None] for name in names}
        mean = {k: float(np.mean(v)) if v else None for k, v in values.items()}
        deviation = {k: float(np.std(v, ddof=1)) if v[1:] else None for k, v in values.items()}
        result["mean"][kind], result["standard_deviation"][kind] = mean or None, deviation or None
    return result
