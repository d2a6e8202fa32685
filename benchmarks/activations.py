"""Memory of a training step: parameters, and bytes that the backward pass needs of one utterance.

Run: python -m benchmarks.activations [--seconds 1 2 4.6]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from fv2es_train.models.families import collate_of
from fv2es_train.training import speed
from fv2es_train.training.optimization import set_training


def main() -> None:
    """Print a line of the table in docs/costs.md for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 2.0, 4.6])
    lengths_s = parser.parse_args().seconds
    for name in speed.PRESETS:
        parameters, kept = activations(name, lengths_s)
        cells = " | ".join(f"{number / 1e6:.1f}" for number in kept)
        print(f"| `{name}` | {parameters:,} | {cells} |", flush=True)


def activations(name: str, lengths_s: Sequence[float]) -> tuple[int, list[int]]:
    """Parameters, and for each length of an utterance the bytes kept for the backward pass."""
    config, model = speed.usual_model(name)
    set_training(model)
    # Weights are kept too, but count once for any batch.
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    loss_of = speed.usual_loss()
    sizes = []
    for length_s in lengths_s:
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.UntypedStorage] = kept) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage
            return tensor

        batch = collate_of(config.model, 0)([speed.random_example(0, length_s)])
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = loss_of.of_each(model(batch), batch.label, batch.ratings).sum()
        sizes.append(sum(storage.nbytes() for storage in kept.values()))
        del loss
    return sum(p.numel() for p in model.parameters()), sizes


if __name__ == "__main__":
    main()
