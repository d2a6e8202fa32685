"""The files of a run that `fv2es push` sends."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fv2es_prep.errors import TrainError
from fv2es_prep.store.publication import CARD, Publication
from fv2es_train.models.checkpoint import CONFIG
from fv2es_train.models.pack import files_of
from fv2es_train.models.run_files import unpacked

_METRICS = "metrics.json"
# The pictures of the card; a packed run has none.
_PICTURES = ("curves.png", "test.png")
_LICENCE_TITLE = "## Licence of the data\n"
_NO_CARD = """\
---
library_name: fv2es
license: other
---

# {model}

Emotion recognition: a probability for each of {classes}.
"""
_UNKNOWN = "The licence of the data that this model was trained on is unknown."
_USE = """
## Use

```sh
fv2es pull OWNER/NAME --out run
fv2es predict talk.mp4 --run run
```
"""


@contextmanager
def published_run(run: Path) -> Iterator[Publication]:
    """Collect the best checkpoint, tokenizer, metrics and card of a run or a packed run.

    Omits the configuration and state, which contain local paths, and the predictions, which name
    utterances of the corpus.

    Raises:
        UsageError: the run does not exist or lacks its tokenizer.
        TrainError: the run is damaged.
    """
    with tempfile.TemporaryDirectory() as place:
        found = files_of(run, Path(place))
        directory = unpacked(run)
        files: dict[str, Path | bytes] = {n: path for n, path in found.items() if n != CARD}
        files |= {n: directory / n for n in _PICTURES if (directory / n).is_file()}
        if _METRICS in found:
            files[_METRICS] = _without_places(found[_METRICS], run.name)
        card = _card(directory)
        licence = card.partition(_LICENCE_TITLE)[2].partition("\n## ")[0].strip() or _UNKNOWN
        yield Publication("run", files, card, licence)


def _card(directory: Path) -> str:
    if (directory / CARD).is_file():
        card = (directory / CARD).read_text(encoding="utf-8")
        # A packed run has no pictures.
        lines = card.splitlines()
        kept = [line for line in lines if not _is_missing_picture(line, directory)]
        return "\n".join(kept) + "\n" + _USE
    stored = json.loads((directory / "best" / CONFIG).read_text(encoding="utf-8"))
    given = {"model": stored["model"]["name"], "classes": ", ".join(stored["label_classes"])}
    return _NO_CARD.format(**given) + f"\n{_LICENCE_TITLE}\n{_UNKNOWN}\n" + _USE


def _is_missing_picture(line: str, directory: Path) -> bool:
    shown = [name for name in _PICTURES if line.startswith("![") and line.endswith(f"({name})")]
    return any(not (directory / name).is_file() for name in shown)


def _without_places(path: Path, run: str) -> bytes:
    """Read the measurements; replace the directory of the run by its name."""
    try:
        measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"{path} cannot be read: {error}", "evaluate the run again") from error
    for found in measured.values():
        if isinstance(found, dict) and "run" in found:
            found["run"] = run
    return (json.dumps(measured, indent=2, ensure_ascii=False) + "\n").encode()
