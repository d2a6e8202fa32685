"""Training on the device: utterances per second, memory, and waits of the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.kit import UTTERANCE_S, Kit, model_and_batch
from benchmarks.results import Section, Table, Verdict
from fv2es_train.training.optimization import autocast, make_optimizer, set_training
from fv2es_train.training.speed import usual_loss

TITLE = "training steps"
# Operations that make the host wait for the device.
_SYNCS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")
# The loop reads each batch's loss, to stop before it saves a bad step; transformers asks whether
# any text is padded.
_EXPECTED = 2


def measure(kit: Kit) -> Section:
    """A row for each model, batch size and precision, and for compiled encoders."""
    rows: list[tuple[Any, ...]] = []
    waits: dict[str, dict[str, int]] = {}
    for preset in kit.presets:
        for size in kit.batch_sizes:
            for amp in ("off", "bf16"):
                compiled = (
                    (False, True) if size == kit.batch_sizes[-1] and amp == "bf16" else (False,)
                )
                for each in compiled:
                    kit.say(f"training: {preset}, batch {size}, amp {amp}, compile {each}")
                    try:
                        row, found = _row(kit, preset, size, amp, each)
                    except torch.OutOfMemoryError:
                        row, found = (None, None, None, None), {}
                    rows.append((preset, size, amp, "yes" if each else "no", *row))
                    if not each:
                        waits[preset] = found
    columns = ("model", "batch", "amp", "compiled", "utterances/s", "ms a step", "compute share")
    table = Table(
        f"utterances of {UTTERANCE_S} s on average; a dash: out of memory, or a CPU",
        (*columns, "peak GB"),
        tuple(rows),
    )
    most = max((sum(found.values()) for found in waits.values()), default=0)
    verdict = Verdict("waits for the device in a step", float(most), _EXPECTED, "at most")
    notes = (
        "compute share: forward, backward and optimizer; the rest joins, pins and copies the batch "
        "(--workers moves joining into other processes)",
    )
    return Section((table,), (verdict,), notes, {"waits": waits})


def _row(
    kit: Kit, preset: str, size: int, amp: str, compiled: bool
) -> tuple[tuple[float | None, ...], dict[str, int]]:
    config, model, joined = model_and_batch(kit, preset, size)
    set_training(model)
    if compiled:
        for encoder in model.encoders():
            encoder.compile(dynamic=True)
    optimizer = make_optimizer(model, config)
    loss_of = usual_loss()
    held = joined().to(kit.device)

    def gradients(batch: Any) -> Tensor:
        with autocast(amp, kit.device):
            logits = model(batch)
        loss: Tensor = loss_of.of_each(logits, batch.label, batch.ratings).sum()
        (loss / size).backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        return loss

    def step(batch: Any) -> None:
        loss = gradients(batch)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    compute_s = kit.seconds(lambda: step(held))
    whole_s = kit.seconds(lambda: step(joined().to(kit.device)))
    peak = kit.peak_bytes(lambda: step(held))
    # The optimizer's step numbers are on the CPU: reading them waits for no GPU.
    found = _waits(lambda: gradients(held).item())
    optimizer.zero_grad()
    share = min(1.0, compute_s / whole_s)
    return (size / whole_s, whole_s * 1e3, share, None if peak is None else peak / 1e9), found


def _waits(work: Any) -> dict[str, int]:
    """Count the operations of ``work`` that make the host wait, by name."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    return {e.key: e.count for e in found.key_averages() if e.key in _SYNCS}
