"""Compare the logits of each model on the device with those in float32 on the CPU."""

from __future__ import annotations

from copy import deepcopy

import torch

from benchmarks.gpu.kit import Kit, model_and_batch
from benchmarks.results import Section, Table, Verdict
from fv2es_train.training.optimization import autocast

TITLE = "logits against float32 on the CPU"
# Sums in another order differ by rounding; TF32 would differ by about 1e-2.
_FLOAT32 = 1e-3


@torch.no_grad()
def measure(kit: Kit) -> Section:
    """The largest differences, and the share of utterances with the same first class."""
    rows = []
    for preset in kit.presets:
        kit.say(f"precision: {preset}")
        _, model, joined = model_and_batch(kit, preset, 4 if kit.small else 32)
        model.eval()
        batch = joined()
        exact = deepcopy(model).to("cpu")(batch)
        for amp in ("off", "bf16"):
            with autocast(amp, kit.device):
                found = model(batch.to(kit.device)).float().cpu()
            name = "float32" if amp == "off" else "bfloat16"
            same = (found.argmax(1) == exact.argmax(1)).float().mean().item()
            difference = (found - exact).abs().max().item()
            rows.append((preset, name, difference, difference / exact.abs().max().item(), same))
    columns = ("model", "precision", "largest difference", "relative", "same first class")
    worst = max(row[2] for row in rows if row[1] == "float32")
    verdict = Verdict("float32: largest difference of a logit", worst, _FLOAT32, "at most")
    notes = ("weights are random; bfloat16 is autocast, as --amp bf16",)
    return Section((Table("32 utterances", columns, tuple(rows)),), (verdict,), notes)
