"""Several processes that train one model together, as `torchrun` starts them.

Owns who is in the run, what they tell each other, how a batch is shared, and batch norms that see
the whole batch. Leaves what is trained to `train`. Each process takes part of every batch, and
gradients and statistics are those of one process with the whole batch.
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
from fv2es_train.training.noise import sharing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Value = TypeVar("Value")
# Others wait while one measures or writes.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and shows progress."""
        return self.rank == 0

    def share(self, rows: Sequence[int]) -> list[int]:
        """This process's part of a batch.

        A batch with fewer rows than there are processes is computed whole by each of them.
        """
        return list(rows[self.rank :: self.size] if len(rows) >= self.size else rows)

    def weight(self, rows: int) -> float:
        """By how much a loss over `share` counts, so that the sum over all is the whole batch's."""
        return 1.0 if rows >= self.size else 1.0 / self.size

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
        """What to call in training: the model, its gradients averaged over all processes."""
        if self.size == 1:
            return model
        _share_statistics(model)
        devices = [self.device] if self.device.type == "cuda" else None
        # Statistics are computed over all processes, so buffers are equal without being sent.
        return nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False
        )

    def hold(self, wrapped: nn.Module, ready: bool) -> AbstractContextManager[None]:
        """Around a backward pass: gradients are averaged only when they are ready."""
        if ready or self.size == 1:
            return nullcontext()
        return wrapped.no_sync()  # type: ignore[operator,no-any-return]  # DDP's


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that torchrun's environment describes; one process where there is none.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; of several processes on GPUs each takes
            the GPU of its own number.

    Raises:
        UsageError: the device cannot be used, or several processes are to share one GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, choose_device(device))
        return
    rank = int(os.environ["RANK"])
    place = choose_device(_own(device))
    if place.type == "cuda":
        torch.cuda.set_device(place)
    backend = "nccl" if place.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield World(rank, size, place)
    finally:
        torch.distributed.destroy_process_group()


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the pictures of all processes, with gradients through the statistics.

    torch's SyncBatchNorm does the same on GPUs only. Mean and variance are summed in two passes, in
    float32, so that they are those of one process up to rounding.
    """

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch's
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None, "a batch norm that keeps statistics"
        assert self.running_var is not None, "a batch norm that keeps statistics"
        wide = x.float()
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
    """The sum over all processes; what each gets back as a gradient is summed as well."""

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


def _share_statistics(model: nn.Module) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, sharing(SharedBatchNorm, module))


def _own(device: str) -> str:
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return f"cuda:{local}"
    if device.startswith("cuda:"):
        raise UsageError(
            f"several processes cannot share the GPU {device}",
            "pass --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES",
        )
    return device
