"""Data-parallel training in the processes that `torchrun` starts.

Owns the process group, collectives, how a batch is divided, and batch norms over the whole batch.
Gradients and statistics are those of one process with the whole batch; only dropout differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from fv2es_prep.errors import UsageError
from fv2es_train.evaluation.inference import choose_device

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Value = TypeVar("Value")
# The other ranks wait while one evaluates or writes.
_TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        device: device of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: Sequence[int]) -> list[int]:
        """The part of a batch that this process computes.

        Every process computes a batch with fewer rows than processes as a whole.
        """
        return list(rows[self.rank :: self.size] if len(rows) >= self.size else rows)

    def weight(self, rows: int) -> float:
        """Factor of a loss over `share`, so that the sum over all processes is the batch's loss."""
        return 1.0 if rows >= self.size else 1.0 / self.size

    def seed(self, seed: int, step: int) -> None:
        """Give each of several processes a random number stream, and so dropout masks, of its own.

        Args:
            seed: seed of the run.
            step: optimizer step at which the run starts or resumes.
        """
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
        """The module to call in training: the model, with gradients averaged over all processes."""
        if self.size == 1:
            return model
        cuda = self.device.type == "cuda"
        if cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # torch
        else:
            _sync_on_cpu(model)
        # Statistics are computed over all processes, so buffers are equal without being broadcast.
        return nn.parallel.DistributedDataParallel(
            model, device_ids=[self.device] if cuda else None, broadcast_buffers=False
        )

    def no_sync(self, wrapped: nn.Module, ready: bool) -> AbstractContextManager[None]:
        """Around forward and backward: average gradients in the last batch of a step only.

        Args:
            wrapped: what `wrap` returned.
            ready: whether the batch is the last of its optimizer step.
        """
        if ready or self.size == 1:
            return nullcontext()
        return wrapped.no_sync()  # type: ignore[operator,no-any-return]  # DDP's


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """The world that torchrun's environment describes; a single process without torchrun.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; several processes take one GPU each.

    Raises:
        UsageError: the device cannot be used, or several processes would share one GPU.
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


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the images of all processes; torch's SyncBatchNorm refuses CPU tensors."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch's
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None, "a batch norm that keeps statistics"
        assert self.running_var is not None, "a batch norm that keeps statistics"
        wide = x.float()
        # Mean and variance in two passes: equal to those of one process up to rounding.
        ones = wide.new_full((1,), x.numel() / x.shape[1])
        sums = _sum(torch.cat([ones, wide.sum((0, 2, 3))]))
        count = sums[0].detach()
        mean = sums[1:] / count
        var = _sum((wide - mean[:, None, None]).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            keep = 0.0 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, keep)
            self.running_var.lerp_(var * count / (count - 1), keep)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(var + self.eps)
        normed = (wide - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return normed.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes, in the forward and in the backward pass."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        summed = grad.contiguous().clone()
        torch.distributed.all_reduce(summed)
        return summed


def _sum(value: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(value)
    return summed


def _sync_on_cpu(model: nn.Module) -> None:
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = CpuSyncBatchNorm


def _local_device(device: str) -> str:
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if device.startswith("cuda:"):
        raise UsageError(
            f"several processes cannot share the GPU {device}",
            "pass --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES",
        )
    return device
