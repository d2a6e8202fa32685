"""The small columns of every export: ids, times, words, ratings, missing modalities."""

from __future__ import annotations

from typing import Any

from fv2es_prep.config import MODALITIES, MODALITY_NAMES
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.export.source import ExportedField
from fv2es_prep.shards.tools.show import Shown, example_values

TEXTS = {
    "id": "utterance id",
    "recording_id": "recording that it is from",
    "speaker": "speaker; empty where unknown",
    "session": "recordings made together; empty where unknown",
    "text": "transcript",
}
TIMES = {
    "start_s": "start in its recording, in seconds",
    "end_s": "end in its recording, in seconds",
}
CLAMPED = "true if the span was cut to lie within its recording"


def small_fields() -> list[ExportedField]:
    """The fields of ids, times and words."""
    return [
        *(ExportedField(name, "Text", meaning) for name, meaning in TEXTS.items()),
        *(ExportedField(name, "Float", meaning) for name, meaning in TIMES.items()),
        ExportedField("clamped", "Boolean", CLAMPED),
    ]


def missing_columns(index: Index) -> list[str]:
    """Names of the columns that say why a modality is missing, if any can be."""
    if index.settings.require == MODALITIES:
        return []
    return [f"missing_{name}" for name in MODALITY_NAMES.values()]


def small_values(shown: Shown) -> dict[str, Any]:
    """Column -> value, for all of `small_fields` and `missing_columns`, and for ``ratings``."""
    values = example_values(shown)
    missing = values.get("missing", {})
    return {
        **shown.example.utterance.to_json(),
        "text": values["text"],
        "clamped": values["clamped"],
        "ratings": values["ratings"],
        **{f"missing_{name}": code for name, code in missing.items()},
    }
