"""Catalogues without shards, for tests of splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fv2es_prep.config import PrepSettings
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.catalogue_file import COUNT, LABEL, column_names
from fv2es_prep.shards.index import Index, ShardEntry
from fv2es_prep.shards.schema import MISSING


def table_from(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Catalogue:
    """A catalogue of rows with id, recording, speaker, session, text, start, end, labels, faces.

    ``missing`` is letter -> code.
    """
    columns = {
        "id": [row["id"] for row in rows],
        "recording_id": [row["recording"] for row in rows],
        "speaker": [row["speaker"] for row in rows],
        "session": [row["session"] for row in rows],
        "text": [row["text"] for row in rows],
        "start_s": [row["start"] for row in rows],
        "end_s": [row["end"] for row in rows],
        **{LABEL + name: [name in row["labels"] for row in rows] for name in classes},
        "faces": [row["faces"].to_bytes(16, "big") for row in rows],
        "mel": [row["mel"].to_bytes(16, "big") for row in rows],
    }
    gone = [row.get("missing", {}) for row in rows]
    columns |= {path: [codes.get(key, "") for codes in gone] for key, path in MISSING.items()}
    shard = ShardEntry("made.h5", "", 0, len(rows), "")
    settings = PrepSettings(require="" if any(gone) else "tav")
    index = Index("made", "1.2", tuple(classes), (), settings, (shard,))
    schema = pa.schema(column_names(index))
    counts = {name: [1] * len(rows) for name in schema.names if name.startswith(COUNT)}
    return Catalogue(index, pa.table({**columns, **counts}, schema).column)


CLASSES = ("ang", "exc", "fru", "hap", "neu", "sad")
_TALK = (
    "yeah okay what why no it is not that i am so happy for you don't know where the line was we "
    "have to talk about this right now because she left him alone in a house by the sea with me"
)
_WORDS = _TALK.split()


def dialogue_rows(ids: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Rows in IEMOCAP's shape for ids such as ``Ses01F_impro01_F003``.

    Turns of a dialogue start in the order of their ids, some before the other ends; texts
    come from few words, so that short ones come again; every 50th differs by a word from another.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    clock: dict[str, tuple[float, float]] = {}
    for name in sorted(ids, key=lambda name: (name.rpartition("_")[0], name[-3:], name)):
        recording, _, turn = name.rpartition("_")
        end_before, start_before = clock.get(recording, (1.0, 0.0))
        start = round(max(end_before + rng.normal(0.3, 1.2), start_before + 0.05), 4)
        end = round(start + 0.6 + rng.gamma(2.0, 2.0), 4)
        clock[recording] = end, start
        words = [_WORDS[k] for k in rng.integers(0, len(_WORDS), 1 + int(rng.gamma(1.3, 6.0)))]
        text = " ".join(words).capitalize() + rng.choice([".", "?", "!", "...", ""])
        if rows and rng.random() < 0.05:
            text = rows[int(rng.integers(len(rows)))]["text"].upper() + " !"
        if rows and rng.random() < 0.02:
            text = rows[int(rng.integers(len(rows)))]["text"] + " well"
        number = len(rows) if rng.random() > 0.01 else 0
        rows.append(
            {
                "id": name,
                "recording": recording,
                "speaker": name[:5] + turn[0],
                "session": f"Session{int(name[3:5])}",
                "text": text,
                "start": start,
                "end": end,
                "labels": (CLASSES[int(rng.integers(len(CLASSES)))],),
                "faces": number,
                "mel": number,
            }
        )
    return rows


def dialogue_ids(dialogues: int = 30, turns: int = 24, seed: int = 0) -> list[str]:
    """Ids of dialogues of two speakers in five sessions; some numbers are left out."""
    rng = np.random.default_rng(seed)
    return [
        f"Ses{1 + d % 5:02d}{'FM'[d % 2]}_impro{d // 5:02d}_{gender}{turn:03d}"
        for d in range(dialogues)
        for turn in range(turns)
        for gender in "FM"
        if rng.random() < 0.8
    ]
