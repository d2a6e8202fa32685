"""The shard format as data: every column and root attribute, shared by writer, reader and docs.

Owns names, dtypes and versions. docs/shard-format.md is the contract that this file states.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from fv2es_prep.config import PrepSettings, StorageSettings
from fv2es_prep.errors import ShardError

FORMAT = "fv2es-shard"
FORMAT_VERSION = "1.1"
DIGEST_BYTES = 16
# Text columns that do not have a row for each example.
LISTS = ("source", "dropped")
# Features that a reader must understand. An unknown one is refused by name.
KNOWN_FEATURES: frozenset[str] = frozenset({"compact"})
# What h5py, NumPy and json raise on damaged files: it depends on where the damage is.
DAMAGE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    SystemError,
)

Kind = Literal["text", "row", "ragged", "bytes", "offsets"]


@dataclass(frozen=True)
class Column:
    """One dataset of a shard.

    Attributes:
        path: its place in the file.
        kind: ``text`` (fixed-length UTF-8, zero-padded), ``row`` (one row per example),
            ``ragged`` (rows of all examples end to end), ``bytes`` (files of all faces end to
            end) or ``offsets`` (where each example begins).
        dtype: NumPy's name of the type; empty for text.
        shape: the shape in words; N examples, ΣF faces, ΣB bytes of their files, ΣT spectrum
            rows, ΣL tokens.
        unit: unit of the values, empty where there is none.
        meaning: one sentence.
    """

    path: str
    kind: Kind
    dtype: str
    shape: str
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("id", "text", "", "(N,)", "", "utterance id, unique in the dataset"),
    Column("recording_id", "text", "", "(N,)", "", "the recording that holds the utterance"),
    Column("speaker", "text", "", "(N,)", "", "speaker id, empty where unknown"),
    Column("session", "text", "", "(N,)", "", "recordings made together, empty where unknown"),
    Column("start_s", "row", "<f8", "(N,)", "s", "start of the utterance in its recording"),
    Column("end_s", "row", "<f8", "(N,)", "s", "end of the utterance in its recording"),
    Column("text", "text", "", "(N,)", "", "the transcript as the corpus has it"),
    Column("label", "row", "|u1", "(N, C)", "", "1 where the class of that column holds"),
    Column("ratings", "row", "<f4", "(N, R)", "", "values such as valence; NaN where absent"),
    Column("faces/values", "ragged", "|u1", "(ΣF, 48, 48, 3)", "grey level", "RGB face crops"),
    Column("faces/offsets", "offsets", "<i8", "(N+1,)", "row", "faces of example i: [i] to [i+1]"),
    Column("faces/times_s", "ragged", "<f8", "(ΣF,)", "s", "the sampled moment in the recording"),
    Column("faces/found", "ragged", "|u1", "(ΣF,)", "", "0 where the view's centre stands in"),
    Column("faces/box", "ragged", "<f4", "(ΣF, 4)", "px", "left, top, right, bottom in the view"),
    Column("faces/prob", "ragged", "<f4", "(ΣF,)", "", "detector's probability, 0 if not found"),
    Column("mel/values", "ragged", "<f2", "(ΣT, 128)", "ln power", "log-mel power spectrum"),
    Column("mel/offsets", "offsets", "<i8", "(N+1,)", "row", "spectrum of example i: [i] to [i+1]"),
    Column("tokens/values", "ragged", "<i4", "(ΣL,)", "", "token ids, special tokens included"),
    Column(
        "tokens/offsets", "offsets", "<i8", "(N+1,)", "row", "tokens of example i: [i] to [i+1]"
    ),
    Column("digest/row", "row", "|u1", "(N, 16)", "", "BLAKE2b-128 of the example's other columns"),
    Column("digest/faces", "row", "|u1", "(N, 16)", "", "BLAKE2b-128 of its faces"),
    Column("digest/mel", "row", "|u1", "(N, 16)", "", "BLAKE2b-128 of its spectrum"),
    Column("digest/tokens", "row", "|u1", "(N, 16)", "", "BLAKE2b-128 of its tokens"),
    Column("origin/faces", "row", "|u1", "(N, 16)", "", "digest of what its faces are made from"),
    Column("origin/mel", "row", "|u1", "(N, 16)", "", "digest of what its spectrum is made from"),
    Column("origin/tokens", "row", "|u1", "(N, 16)", "", "digest of what its tokens are made from"),
    Column("clamped", "row", "|u1", "(N,)", "", "1 where the span was cut to lie within the media"),
    Column("source", "text", "", "(K,)", "", "JSON object: a recording's id, SHA-256 of its files"),
    Column("dropped", "text", "", "(D,)", "", "JSON object for each utterance that was dropped"),
)


# In a compact shard these stand in the place of the columns of the same path.
COMPACT_FACES: tuple[Column, ...] = (
    Column("faces/values", "bytes", "|u1", "(ΣB,)", "byte", "a JPEG file for each face"),
    Column("faces/sizes", "ragged", "<u4", "(ΣF,)", "byte", "bytes of each face's file"),
)
COMPACT_MEL: tuple[Column, ...] = (
    Column("mel/values", "ragged", "|u1", "(ΣT, 128)", "step", "log-mel power on a fixed grid"),
)


@functools.cache
def columns_of(storage: StorageSettings) -> tuple[Column, ...]:
    """The columns of a shard whose faces and spectra are stored in that form."""
    others: dict[str, tuple[Column, ...]] = {}
    if storage.faces == "jpeg":
        others["faces/values"] = COMPACT_FACES
    if storage.mel == "uint8":
        others["mel/values"] = COMPACT_MEL
    return tuple(entry for column in COLUMNS for entry in others.get(column.path, (column,)))


def features_of(storage: StorageSettings) -> list[str]:
    """What a reader must understand to read a shard of that form."""
    return ["compact"] if storage.compact else []


def row_shape(column: Column, settings: PrepSettings) -> tuple[int, ...]:
    """The shape of one row of a ragged column under these settings; of bytes there is none."""
    if column.kind == "bytes":
        return ()
    side = settings.faces.image_size_px
    shapes = {
        "faces/values": (side, side, 3),
        "faces/box": (4,),
        "mel/values": (settings.mel.n_mels,),
    }
    return shapes.get(column.path, ())


ATTRIBUTES: dict[str, str] = {
    "format": f"always `{FORMAT}`",
    "format_version": "MAJOR.MINOR of the format",
    "requires": "JSON list: features that a reader must understand",
    "corpus": "name of the corpus",
    "label_classes": "JSON list: names of the label columns",
    "rating_names": "JSON list: names of the rating columns",
    "settings": "JSON object: the settings of every stage",
    "settings_digest": "SHA-256 of the settings in canonical JSON",
    "task_digest": "SHA-256 of what the shard was made from: utterances, sources, settings",
}


def check_version(name: str, found_format: str, version: str, requires: list[str]) -> None:
    """Refuse what this reader cannot understand.

    Args:
        name: the file, for the message.
        found_format: the root attribute ``format``.
        version: the root attribute ``format_version``.
        requires: the features that the file asks for.

    Raises:
        ShardError: another format, another major version, or an unknown required feature.
    """
    if found_format != FORMAT:
        raise ShardError(
            f"{name} has the format {found_format!r}, expected {FORMAT!r}",
            "this is no fv2es shard; was another HDF5 file copied here?",
        )
    major, ours = version.split(".")[0], FORMAT_VERSION.split(".")[0]
    if major != ours:
        remedy = "install a newer fv2es" if major > ours else "prepare the corpus again"
        raise ShardError(
            f"{name} has the format version {version}, this fv2es reads {ours}.x", remedy
        )
    if unknown := sorted(set(requires) - KNOWN_FEATURES):
        raise ShardError(
            f"{name} requires the feature(s) {', '.join(unknown)}, which this fv2es does not know",
            "install a newer fv2es",
        )
