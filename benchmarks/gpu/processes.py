"""Training in several processes, one GPU each, against one process; run by torchrun for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.kit import Kit, model_and_batch
from benchmarks.results import Section, Table
from fv2es_train.training.distributed import join_world
from fv2es_train.training.optimization import make_optimizer, set_training
from fv2es_train.training.speed import usual_loss

TITLE = "several processes"
_TIMEOUT_S = 900


def measure(kit: Kit) -> Section:
    """Utterances a second of one process and of two; two need two GPUs, or the CPU."""
    if kit.device.type == "cuda" and torch.cuda.device_count() < 2:
        return Section(notes=("not measured: there is one GPU",))
    rows = []
    for preset in kit.presets:
        for processes in (1, 2):
            kit.say(f"processes: {preset}, {processes}")
            found = _torchrun(kit, preset, processes)
            rows.append((preset, processes, found["utterances_per_s"]))
    columns = ("model", "processes", "utterances/s")
    return Section((Table(f"{kit.batch_sizes[-1]} utterances each", columns, tuple(rows)),))


def _torchrun(kit: Kit, preset: str, processes: int) -> dict[str, Any]:
    answer = kit.out / "processes.json"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc-per-node", str(processes), "-m", "benchmarks.gpu.processes"]
    words += [preset, kit.device.type, str(int(kit.small)), str(answer)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise RuntimeError(f"torchrun ended with status {done.returncode}:\n{said}")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def main(preset: str, device: str, small: str, answer: str) -> None:
    """The work of one process; the first one writes the answer."""
    with join_world(device) as world:
        kit = Kit(world.device, small == "1", Path(answer).parent)
        size = kit.batch_sizes[-1]
        config, model, joined = model_and_batch(kit, preset, size)
        set_training(model)
        network = world.wrap(model)
        world.sync_norms(model, size * world.size)
        optimizer = make_optimizer(model, config)
        loss_of = usual_loss()
        batch = joined().to(kit.device)

        def step() -> None:
            loss = loss_of.of_each(network(batch), batch.label, batch.ratings).sum()
            (loss / size).backward()
            optimizer.step()
            optimizer.zero_grad()

        seconds = kit.seconds(step)
        if world.first:
            found = {"utterances_per_s": size * world.size / seconds}
            Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
