"""The shard format as data: every column, root attribute and version; see docs/shard-format.md."""

from __future__ import annotations

import functools

from fv2es_prep.config import MODALITIES, MODALITY_NAMES, PrepSettings
from fv2es_prep.errors import ShardError
from fv2es_prep.stages.base import Column
from fv2es_prep.stages.fingerprint import FINGERPRINT_BYTES
from fv2es_prep.stages.registry import stages_of

FORMAT = "fv2es-shard"
FORMAT_VERSION = "1.2"
DIGEST_BYTES = FINGERPRINT_BYTES
# Text columns without a row for each example.
LISTS = ("source", "dropped")
# Features that a reader must understand; a reader refuses a shard with an unknown one.
KNOWN_FEATURES: frozenset[str] = frozenset({"compact", "missing"})

_BEFORE: tuple[Column, ...] = (
    Column("id", "text", meaning="utterance id, unique in the dataset"),
    Column("recording_id", "text", meaning="the recording that holds the utterance"),
    Column("speaker", "text", meaning="speaker id, empty where unknown"),
    Column("session", "text", meaning="recordings made together, empty where unknown"),
    Column("start_s", "row", "<f8", (), "s", "start of the utterance in its recording"),
    Column("end_s", "row", "<f8", (), "s", "end of the utterance in its recording"),
    Column("text", "text", meaning="the transcript as the corpus has it"),
    Column("label", "row", "|u1", ("C",), "", "1 where the class of that column holds"),
    Column(
        "ratings", "row", "<f4", ("R",), "", "values such as valence and votes; NaN where absent"
    ),
)
MISSING = {letter: f"missing/{name}" for letter, name in MODALITY_NAMES.items()}
"""Letter of a modality -> column of why it is missing; only where ``require`` is not all."""
_AFTER: tuple[Column, ...] = (
    Column("clamped", "row", "|u1", (), "", "1 where the span was cut to lie within the media"),
    Column(
        "source", "text", "", (), "", "JSON object: a recording's id, SHA-256 of its files", "K"
    ),
    Column("dropped", "text", "", (), "", "JSON object for each utterance that was dropped", "D"),
)


@functools.lru_cache(maxsize=16)
def columns_of(settings: PrepSettings) -> tuple[Column, ...]:
    """The columns of a shard; those of a stage that is not installed are left out."""
    stages = {stage.name: stage for stage in stages_of(settings)}
    nouns = {name: stages[name].noun if name in stages else name for name in settings.stages}
    digests = [("row", "the example's other columns"), *((n, f"its {w}") for n, w in nouns.items())]
    meaning = "empty where the example has {}, else the code of the reason"
    missing = [
        Column(path, "text", meaning=meaning.format(MODALITY_NAMES[letter]))
        for letter, path in MISSING.items()
        if settings.require != MODALITIES
    ]
    return (
        *_BEFORE,
        *(column for stage in stages.values() for column in stage.stored_columns(settings)),
        *(_digest(f"digest/{name}", f"BLAKE2b-128 of {what}") for name, what in digests),
        *(_digest(f"origin/{n}", f"digest of all that decides its {w}") for n, w in nouns.items()),
        *missing,
        *_AFTER,
    )


def _digest(path: str, meaning: str) -> Column:
    return Column(path, "row", "|u1", (DIGEST_BYTES,), "", meaning)


def row_shape(column: Column, classes: int, ratings: int) -> tuple[int, ...]:
    """Shape of one row of a column, for a number of classes and ratings."""
    widths = {"C": classes, "R": ratings}
    return tuple(widths[size] if isinstance(size, str) else size for size in column.row)


def features_of(settings: PrepSettings) -> list[str]:
    """The features that a reader must understand for a shard with these settings."""
    needed = {"compact": settings.storage.compact, "missing": settings.require != MODALITIES}
    return [feature for feature, needs in needed.items() if needs]


ATTRIBUTES: dict[str, str] = {
    "format": f"always `{FORMAT}`",
    "format_version": "MAJOR.MINOR of the format",
    "requires": "JSON list: features that a reader must understand",
    "corpus": "name of the corpus",
    "label_classes": "JSON list: names of the label columns",
    "rating_names": "JSON list: names of the rating columns",
    "stages": "JSON list: names of the stages; new in 1.2, without it `faces`, `mel`, `tokens`",
    "settings": "JSON object: the settings of every stage",
    "settings_digest": "SHA-256 of the settings in canonical JSON",
    "task_digest": "SHA-256 of what the shard was made from: utterances, media files, settings",
}


def attributes_of(version: str) -> list[str]:
    """The root attributes of a shard of a format version."""
    return [name for name in ATTRIBUTES if name != "stages" or version not in ("1.0", "1.1")]


def check_version(name: str, found_format: str, version: str, requires: list[str]) -> None:
    """Refuse a file that this reader cannot understand, by its root attributes.

    Raises:
        ShardError: another format, another major version, or an unknown required feature.
    """
    if found_format != FORMAT:
        raise ShardError(
            f"{name} has the format {found_format!r}, expected {FORMAT!r}",
            "remove the file: it is not a shard of fv2es",
        )
    major, ours = version.split(".")[0], FORMAT_VERSION.split(".")[0]
    if major != ours:
        remedy = "install a newer fv2es" if major > ours else "prepare the corpus again"
        raise ShardError(f"{name} has the format version {version}, expected {ours}.x", remedy)
    if unknown := sorted(set(requires) - KNOWN_FEATURES):
        raise ShardError(
            f"{name} requires the feature(s) {', '.join(unknown)}, which this fv2es does not know",
            "install a newer fv2es",
        )
