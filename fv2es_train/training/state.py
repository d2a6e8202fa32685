"""The state of a run, RUN/state.pt, from which `--resume` continues.

Leaves checkpoints to `models.checkpoint`. Reads with torch's ``weights_only``, which executes no
code from the file.
"""

from __future__ import annotations

import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fv2es_prep.config import digest_of
from fv2es_prep.errors import OutputError, SplitError, TrainError, UsageError
from fv2es_prep.splits import Split
from fv2es_prep.utils.files import whole_file
from fv2es_train.training.run_names import STATE

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from fv2es_prep.shards.index import Index

_VERSION = 1


@dataclass
class State:
    """The progress of a run.

    Attributes:
        model_config: JSON form of the model's configuration.
        split_digest: digest of the split.
        shards_digest: digest of the shards' names and contents.
        epoch: number of the current epoch, from 1.
        batches: batches done in this epoch.
        steps: optimizer steps done in the run.
        total: sum of the losses of the ``seen`` utterances of this epoch so far.
        seconds: time spent in this epoch so far.
        best: highest f1_binary on valid, and the negative valid loss of that epoch.
        waited: epochs since f1_binary was highest.
        history: the lines of history.jsonl.
    """

    model_config: dict[str, Any]
    split_digest: str
    shards_digest: str
    epoch: int = 1
    batches: int = 0
    steps: int = 0
    total: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    best: tuple[float, float] = (-1.0, 0.0)
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Move to the beginning of the next epoch."""
        self.history.append(record)
        self.epoch += 1
        self.batches, self.seen, self.total, self.seconds = 0, 0, 0.0, 0.0

    def check(self, split: Split, index: Index) -> None:
        """Raise SplitError or UsageError if split or shards differ from those of the run."""
        if self.split_digest != split.digest():
            raise SplitError(
                "the run began with another split: the digest of this one begins with "
                f"{split.digest()[:12]}, expected {self.split_digest[:12]}",
                "pass the same split with --split FILE, or start a new run with another --out",
            )
        if self.shards_digest != shards_digest(index):
            raise UsageError(
                "the run began with other shards: the digest of this index begins with "
                f"{shards_digest(index)[:12]}, expected {self.shards_digest[:12]}",
                "pass the same shards with --shards SHARDS, or start a new run with another --out",
            )


def shards_digest(index: Index) -> str:
    """SHA-256 over the names and contents of a dataset's shards, in hexadecimal."""
    return digest_of([[shard.name, shard.sha256] for shard in index.shards])


def save_state(run: Path, state: State, model: nn.Module, optimizer: Optimizer) -> None:
    """Replace RUN/state.pt atomically; OutputError if it cannot be written."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    stored = {
        "version": _VERSION,
        "state": asdict(state),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": {"torch": torch.get_rng_state(), "cuda": cuda},
    }
    try:
        with whole_file(run / STATE) as temporary, temporary.open("wb") as file:
            torch.save(stored, file)
    except RuntimeError as error:
        # torch raises this when the disk is full.
        raise OutputError(
            f"cannot write {run / STATE}: {str(error).splitlines()[0]}",
            f"free some disk space, then continue from the last state: fv2es train --resume {run}",
        ) from error


@dataclass(frozen=True)
class Saved:
    """A state that `load_state` read: the progress of the run, and torch's state of each part."""

    state: State
    model: dict[str, Any]
    optimizer: dict[str, Any]
    random: dict[str, Any]

    def restore(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Restore the network, the optimizer and the random number generators.

        Raises:
            TrainError: the state belongs to another model.
        """
        try:
            model.load_state_dict(self.model)
            optimizer.load_state_dict(self.optimizer)
            torch.set_rng_state(self.random["torch"])
            # On a machine with another number of GPUs, their generators start fresh.
            if len(self.random["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self.random["cuda"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainError(
                f"{STATE} does not belong to the model of this run ({type(error).__name__})",
                "restore the file that this run wrote, or start a new run",
            ) from error


def load_state(run: Path) -> Saved:
    """Read RUN/state.pt into CPU memory.

    Raises:
        UsageError: the file is missing.
        TrainError: the file is damaged or from another version.
    """
    path = run / STATE
    if not path.is_file():
        raise UsageError(
            f"{run} contains no run to continue: {path} is missing",
            f"train one: fv2es train --shards SHARDS --split FILE --out {run}",
        )
    hint = "start a new run, or continue with the fv2es version that wrote it"
    try:
        _refuse_compressed(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        version = stored["version"]
        values = {f.name: stored["state"][f.name] for f in fields(State)} if version == 1 else {}
        parts = {name: stored[name] for name in ("model", "optimizer", "random")}
    except Exception as error:  # a damaged pickle fails in any way
        # Hide torch's message: it suggests loading the file with code execution.
        raise TrainError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged, or contains "
            "objects other than numbers, names and tensors",
            hint,
        ) from error
    if version != _VERSION:
        raise TrainError(f"{path} has version {version}, expected {_VERSION}", hint)
    return Saved(State(**values), **parts)


def _refuse_compressed(path: Path) -> None:
    """Reject a compressed file: torch writes none, and a small one may unpack to a huge one."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed")
