"""The README of an export: what the files are and how to run them."""

from __future__ import annotations

from typing import Any

_HEAD = """# {model}, exported for {target}

Each file is the network of one modality. It takes one utterance and gives {outputs}.

| file | modality | input | dtype | shape | content | fusion weight |
|---|---|---|---|---|---|---|
{rows}

`metadata.json` has the classes, the thresholds, the fusion weights and the settings of preparation.
The networks were compared with PyTorch on {checked_on}; the largest difference of a logit is
{most:.1e}.

## Run a network

With `x` as a NumPy array of the shape above:

```python
{usage}```

## From logits to classes

The fused logits are the sum of each network's logits times its fusion weight. Where a modality is
missing, leave its term out and multiply the others by sum(|w|) over all networks / sum(|w|) over
those used.

Divide the fused logits by `decision.temperature[LETTERS]`, with the letters of the used modalities
in the order of `tav`; the divisor is 1 where the letters are not listed.

{rule}
"""
_RULES = {
    "thresholds": "The probability of a class is the sigmoid of its logit. A class is decided if "
    "its probability is above its threshold.",
    "largest": "The probabilities are the softmax of the logits. The most probable class is "
    "decided.",
}


def readme_of(described: dict[str, Any], usage: str) -> str:
    """The text of README.md.

    Args:
        described: the content of metadata.json.
        usage: see `ExportTarget`.
    """
    rows, most, networks = [], 0.0, described["networks"]
    for letter, one in networks.items():
        given = one["input"]
        shape = f"({', '.join(map(str, given['shape']))})"
        cells = (f"`{one['file']}`", letter, f"`{given['name']}`", given["dtype"], shape)
        rows.append(f"| {' | '.join(cells)} | {given['meaning']} | {one['fusion_weight']:.6g} |")
        most = max(most, one["max_abs_difference"])
    outputs = f"the logits of {len(described['label_classes'])} classes"
    if ratings := described["ratings"]:
        names = ", ".join(one["name"] for one in ratings)
        outputs += f", then {names} in units of `deviation` from `mean`"
    first = next(iter(networks.values()))["file"]
    return _HEAD.format(
        model=described["model"],
        target=described["target"],
        outputs=outputs,
        rows="\n".join(rows),
        checked_on=described["checked_on"],
        most=most,
        usage=usage.replace("FILE", first),
        rule=_RULES[described["decision"]["rule"]],
    )
