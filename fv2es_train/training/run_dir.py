"""The directory of a run: make it, clear or reject an earlier run, write history and results.

Owns which files belong to a run. Leaves checkpoints and the state to `checkpoint` and `state`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import OutputError, StoppedError, TrainError, UsageError, words_of
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.utils.claims import Claim, locked
from fv2es_prep.utils.files import cannot_write, make_directory, whole_file, write_json
from fv2es_train.evaluation.breakdown import metadata_of
from fv2es_train.evaluation.evaluate import Opened, measure_opened, predict, predictions_of
from fv2es_train.evaluation.measurement import Bootstrap
from fv2es_train.evaluation.model_card import write_card
from fv2es_train.evaluation.plots import draw_curves, draw_predictions
from fv2es_train.evaluation.predictions import FOLDER, file_of, write_predictions
from fv2es_train.models.checkpoint import REST, settle
from fv2es_train.models.run_files import FAMILIARITY, IDS, write_ids
from fv2es_train.training import run_config, shard_hashes
from fv2es_train.training.run_names import EVENTS, FAILED, HISTORY, METRICS_FILE, STATE
from fv2es_train.training.slurm_step import is_restarted

if TYPE_CHECKING:
    import torch

    from fv2es_prep.splits import Split
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.evaluation.inference import Outputs
    from fv2es_train.models.checkpoint import Checkpoint

INIT, CURVES, TEST, CARD = "init.json", "curves.png", "test.png", "README.md"
_RESULTS = (METRICS_FILE, FOLDER, CURVES, TEST, CARD)
_KEPT = ("best", "last")
# The files that a run continues from go first: a directory without them is no run.
_BEGUN = (STATE, run_config.NAME, run_config.OLD_NAME)
PARTS = (
    *_BEGUN,
    *_KEPT,
    shard_hashes.NAME,
    IDS,
    FAMILIARITY,
    TOKENIZER_DIR,
    INIT,
    REST,
    HISTORY,
    EVENTS,
    FAILED,
    *_RESULTS,
)


def refuse_existing(config: TrainConfig) -> None:
    """Raise UsageError if ``out`` holds a run and ``overwrite`` is off, or ``out`` is a file."""
    if config.out.exists() and not config.out.is_dir():
        raise UsageError(f"{config.out} is a file, expected a directory", "choose another --out")
    found = [part for part in PARTS if (config.out / part).exists()]
    if found and not config.overwrite:
        raise UsageError(
            f"{config.out} already contains a run ({', '.join(found)})",
            f"continue it with --resume {config.out}, choose another --out, or pass --overwrite "
            "to replace it",
        )


@contextlib.contextmanager
def held(config: TrainConfig) -> Iterator[Claim]:
    """Create and lock the directory of a run; remove it at the end if it is still empty.

    Once the run has begun, an error that is not a signal is written to RUN/failed.json.

    A requeued batch job waits for the lock of its former process, which died with its node.

    Raises:
        UsageError: another process trains in it, or it contains a run; see `refuse_existing`.
        OutputError: the directory cannot be written.
    """
    new = not config.out.exists()
    make_directory(config.out)
    try:
        with locked(config.out, is_restarted()) as claim:
            if not config.resume:
                # Another process may have trained here since the first check.
                refuse_existing(config)
            try:
                yield claim
            except StoppedError:
                raise
            except Exception as error:
                _note_failure(config.out, error)
                raise
    finally:
        if new:
            with contextlib.suppress(OSError):
                config.out.rmdir()


def _note_failure(run: Path, error: Exception) -> None:
    # The original error matters more than a full disk.
    with contextlib.suppress(OutputError):
        if (run / run_config.NAME).exists():
            write_json(run / FAILED, {"error": words_of(error)})


def check_held(claim: Claim) -> None:
    """Raise TrainError if another process took over the run, e.g. after a long suspension."""
    if not claim.held:
        raise TrainError(
            f"another process has taken over the run {claim.path.parent}",
            "wait until it ends; this process was suspended or could not renew its lock",
        )


def make_run_dir(config: TrainConfig, split: Split) -> None:
    """Make the directory, clear it unless the run continues, store configuration and ids."""
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        for which in _KEPT:
            settle(config.out, which)
        parts = [config.out / part for part in PARTS]
        left = (*config.out.glob(".*.tmp"), config.out / FAILED)
        for path in left if config.resume else parts:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        tokenizer = dataset_directory(config.shards) / TOKENIZER_DIR
        if not config.resume and tokenizer.is_dir():
            shutil.copytree(tokenizer, config.out / TOKENIZER_DIR)
    except OSError as error:
        raise cannot_write(config.out, error) from error
    run_config.store(config)
    write_ids(config.out, {name: split.ids(name) for name in ("train", "valid")})


def write_init(run: Path, begun: dict[str, Any], rest: dict[str, torch.Tensor] | None) -> None:
    """Write RUN/init.json, and the weights of a published file that the model lacks.

    With these weights `fv2es convert-checkpoint --to published` restores the whole file.

    Raises:
        OutputError: a file cannot be written.
    """
    from safetensors.torch import save_file

    write_json(run / INIT, begun)
    if rest:
        with whole_file(run / REST) as temporary:
            save_file({name: value.contiguous() for name, value in rest.items()}, temporary)


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write RUN/history.jsonl, one line per epoch; OutputError if it cannot be written."""
    with whole_file(run / HISTORY) as temporary:
        lines = (json.dumps(record, allow_nan=False) + "\n" for record in history)
        temporary.write_text("".join(lines), encoding="utf-8")


def write_results(
    checkpoint: Checkpoint,
    split: Split,
    subsets: dict[str, ShardDataset | None],
    valid: Outputs,
    summary: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Evaluate the best checkpoint, as read back, and write the files of `_RESULTS`.

    metrics.json comes last, so a run that has it is complete.

    Args:
        checkpoint: the best checkpoint.
        split: split of the training.
        subsets: ``valid`` and ``test``; None for a subset that the split lacks.
        valid: outputs of the checkpoint on valid, see `evaluate.outputs_of`.
        summary: summary of the training, see `loop.train`.
        device: device to compute on.

    Returns:
        For each subset, the result of `evaluate`, or None.

    Raises:
        TrainError: a logit is not finite.
        OutputError: a file cannot be written.
    """
    run = Path(summary["run"])
    some = next(found for found in subsets.values() if found is not None)
    shards, catalogue = some.directory, some.catalogue
    make_directory(run / FOLDER)
    measured: dict[str, Any] = dict.fromkeys(subsets)
    for subset, dataset in subsets.items():
        if dataset is None:
            continue
        metadata = metadata_of(catalogue, dataset.ids)
        opened = Opened(checkpoint, dataset, metadata, split, subset, run, device)
        found = predictions_of(opened, valid) if subset == "valid" else predict(opened)
        write_predictions(file_of(run, subset), found)
        measured[subset] = measure_opened(opened, found, Bootstrap())
        if subset == "test":
            draw_predictions(found, run / TEST)
    lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
    draw_curves([json.loads(line) for line in lines], checkpoint.epoch, run / CURVES)
    write_card(run / CARD, checkpoint, shards, catalogue, split, {**summary, **measured})
    write_json(run / METRICS_FILE, measured)
    return measured
