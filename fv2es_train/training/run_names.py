"""Names of files of a run that are read without its model; importing them imports no torch."""

from __future__ import annotations

# The state from which `--resume` continues.
STATE = "state.pt"
HISTORY, EVENTS, METRICS_FILE = "history.jsonl", "tensorboard", "metrics.json"
# Why a training failed; removed when it continues.
FAILED = "failed.json"
