"""Data-parallel training in the processes that `torchrun` or `srun` starts.

Owns the process group, collectives, the division of batches, the gathering of outputs, and batch
norm over the whole batch. Gradients and statistics equal those of one process; only dropout
differs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from fv2es_prep.errors import TrainError, UsageError
from fv2es_train.evaluation.inference import Outputs, choose_device, loader_of
from fv2es_train.training.stopping import SIGNALS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch.utils.data import DataLoader

    from fv2es_prep.types import Example
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.emotion_model import EmotionModel

Value = TypeVar("Value")
# The other ranks wait while rank 0 evaluates or writes.
_TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """The processes of a run: rank and device of this process, and the number of processes."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: Sequence[int]) -> list[int]:
        """The part of a batch that this process computes; all of it if it has too few rows."""
        return list(rows[self.rank :: self.size] if len(rows) >= self.size else rows)

    def weight(self, rows: int) -> float:
        """The factor of a loss over `share` that makes the processes' sum the loss of the batch."""
        return 1.0 if rows >= self.size else 1.0 / self.size

    def seed(self, seed: int, step: int) -> None:
        """Give each of several processes its own random stream from optimizer step ``step`` on."""
        if self.size > 1:
            torch.manual_seed(hash((seed, step, self.rank)))

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(summed)
        return [float(value) for value in summed]

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap the model for training, so that gradients are averaged over all processes."""
        if self.size == 1:
            return model
        cuda = self.device.type == "cuda"
        if cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # torch
        # Statistics are computed over all processes, so buffers stay equal without a broadcast.
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[self.device] if cuda else None, forward_sync_buffers=False
        )

    def sync_norms(self, model: nn.Module, rows: int) -> None:
        """Synchronize batch norms, unless each process computes the whole batch (see `share`)."""
        if self.size == 1:
            return
        synced = nn.SyncBatchNorm if self.device.type == "cuda" else CpuSyncBatchNorm
        for module in model.modules():
            if type(module) in (nn.BatchNorm2d, synced):
                module.__class__ = synced if rows >= self.size else nn.BatchNorm2d

    def no_sync(self, wrapped: nn.Module, ready: bool) -> AbstractContextManager[None]:
        """Context of a batch: average gradients of the wrapped module only if ``ready``."""
        if ready or self.size == 1:
            return nullcontext()
        return wrapped.no_sync()  # type: ignore[operator,no-any-return]  # DDP's


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the world that torchrun's environment describes; without torchrun, one process.

    Several processes take one GPU each. Raises UsageError if two would share a GPU or the device is
    unavailable.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, choose_device(device))
        return
    place = choose_device(_local_device(device))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    backend = "nccl" if place.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield World(int(os.environ["RANK"]), size, place)
    finally:
        torch.distributed.destroy_process_group()


def sum_loss(
    world: World, loss: Tensor, epoch: int, batch: Batch, received: int
) -> tuple[float, int]:
    """Sum a batch's loss over all processes; fail in all of them if it is not finite.

    Args:
        world: the processes.
        loss: the loss of this process's part, scaled so that the sum is the batch's loss.
        epoch: number of the epoch.
        batch: this process's part.
        received: the signal that this process received, or 0; see `stopping`.

    Returns:
        The loss of the batch, and the signal that any process received, or 0.

    Raises:
        TrainError: the loss is not finite; the message names the utterances of the batch.
    """
    value = loss.item()
    diverged = not math.isfinite(value)
    total, failed, *asked = world.total(value, diverged, *_asked(received))
    if failed:
        ids = [name for part in world.gather(batch.ids if diverged else ()) for name in part]
        raise TrainError(
            f"training diverged in epoch {epoch}: the loss is {total} for the batch with the "
            f"utterances {', '.join(ids)}",
            "check the faces and spectra of these utterances, or train with a smaller --lr",
        )
    return total, _signal(asked)


def any_signal(world: World, received: int) -> int:
    """The signal that any process received, or 0; ``received`` is that of this process."""
    return _signal(world.total(*_asked(received)))


def valid_loader(
    dataset: ShardDataset, model: EmotionModel, world: World, config: TrainConfig
) -> tuple[list[int], DataLoader[Example]]:
    """The rows of a dataset that this process evaluates, and their batches; both keep the order."""
    rows = range(len(dataset))
    size = config.batch_size
    batches = [list(rows[begin : begin + size]) for begin in rows[::size]]
    mine = [batches[number] for number in world.share(range(len(batches)))]
    loader = loader_of(
        *(dataset, model, size, config.workers), batches=mine, unverified=config.unverified_faces
    )
    return [row for batch in mine for row in batch], loader


def gather_outputs(outputs: Outputs, rows: list[int], world: World) -> Outputs:
    """Gather the outputs of all processes in dataset order; ``rows`` are those of this process."""
    parts = world.gather((rows, outputs.raw, outputs.label, outputs.rated))
    place = torch.tensor([row for part, *_ in parts for row in part])
    # If several processes computed a row, the last one wins; all are equal.
    count = int(place.max()) + 1
    _, *columns = zip(*parts, strict=True)
    whole = []
    for column in columns:
        values = torch.cat(column)
        whole.append(values.new_empty((count, values.shape[1])))
        whole[-1][place] = values
    raw, label, rated = whole
    return Outputs(raw, label, rated)


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the images of all processes; torch's SyncBatchNorm rejects CPU tensors."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch's
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        # Mean, then variance, in two passes: the result equals that of one process up to rounding.
        ones = wide.new_full((1,), x.numel() / x.shape[1])
        sums = _sum(torch.cat([ones, wide.sum((0, 2, 3))]))
        # A process may have no image; all of them may have none.
        count = sums[0].detach().clamp_min(1)
        mean = sums[1:] / count
        var = _sum((wide - mean[:, None, None]).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            keep = (self.momentum or 0.0) if sums[0] else 0.0
            self.get_buffer("running_mean").lerp_(mean, keep)
            self.get_buffer("running_var").lerp_(var * count / (count - 1).clamp_min(1), keep)
            self.get_buffer("num_batches_tracked").add_(int(sums[0] > 0))
        scale = self.weight * torch.rsqrt(var + self.eps)
        normed = (wide - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return normed.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes, in the forward and in the backward pass."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        summed = value.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return _sum(grad)


def _sum(value: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(value)
    return summed


def _local_device(device: str) -> str:
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if device.startswith("cuda:"):
        raise UsageError(
            f"{device} names one GPU for several processes, expected one GPU per process",
            "pass --device cuda and select GPUs with CUDA_VISIBLE_DEVICES",
        )
    return device


def _asked(received: int) -> list[bool]:
    return [received == number for number in SIGNALS]


def _signal(asked: Sequence[float]) -> int:
    return next((int(number) for number, count in zip(SIGNALS, asked, strict=True) if count), 0)
