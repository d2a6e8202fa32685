"""Pack a run into one file for prediction, serving and evaluation on other machines."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from fv2es_prep.errors import UsageError
from fv2es_prep.stages.tokens import TOKENIZER_DIR, copy_tokenizer, tokenize
from fv2es_prep.utils.files import whole_file
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.run_files import FAMILIARITY, IDS, tokenizer_of, unpacked

# Left out: state and configuration have local paths; predictions name utterances of a corpus.
_PACKED = ("best", TOKENIZER_DIR, IDS, FAMILIARITY, "metrics.json", "README.md")
# A fixed time, so that equal runs give equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


def pack(run: Path, out: Path, tokenizer: str | None = None) -> dict[str, Any]:
    """Write a run as one file, which predict, serve and eval accept in its place.

    Args:
        run: directory of the run.
        out: new file, a zip archive without compression.
        tokenizer: directory or hub name, for a run without its tokenizer.

    Returns:
        JSON-ready: ``file``, ``size_bytes`` and ``files``, the names inside.

    Raises:
        UsageError: the run does not exist, ``out`` exists, or the run lacks its tokenizer.
        TokenizerError: the tokenizer differs from that of the run.
        OutputError: the file cannot be written.
    """
    if out.exists():
        raise UsageError(f"{out} already exists", "choose another file")
    if run.is_file():
        raise UsageError(
            f"{run} is a file, expected the directory of a run",
            "pass a directory; a packed run needs no packing",
        )
    with tempfile.TemporaryDirectory() as place:
        files = files_of(run, Path(place), tokenizer)
        with whole_file(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, path in sorted(files.items()):
                with path.open("rb") as source:
                    archive.writestr(zipfile.ZipInfo(name, _TIME), source.read())
    return {"file": str(out), "size_bytes": out.stat().st_size, "files": sorted(files)}


def files_of(run: Path, place: Path, tokenizer: str | None = None) -> dict[str, Path]:
    """Find the files of a run that predict, serve and eval need: name -> path.

    Args:
        run: directory of the run, or a packed run.
        place: an empty directory, to which a tokenizer is copied if the run lacks it.
        tokenizer: directory or hub name of the tokenizer.

    Raises:
        UsageError: the run does not exist or lacks its tokenizer.
        TokenizerError: the tokenizer differs from that of the run.
    """
    checkpoint = load_checkpoint(run)
    run = unpacked(run)
    text = checkpoint.settings.text
    files = {name: run / name for name in _PACKED if (run / name).is_file()}
    folders = {name: run / name for name in _PACKED if (run / name).is_dir()}
    if "t" in checkpoint.model.modalities and text.is_known:
        if tokenizer is None and tokenizer_of(run) is None:
            raise UsageError(
                f"{run} does not contain its tokenizer {text.tokenizer!r}",
                "pass the tokenizer that made its shards: --tokenizer DIR",
            )
        if tokenizer is not None:
            tokenize("", tokenizer, text)
            folders[TOKENIZER_DIR] = place / TOKENIZER_DIR
            copy_tokenizer(tokenizer, folders[TOKENIZER_DIR])
    for name, folder in folders.items():
        inside = [path for path in folder.rglob("*") if path.is_file()]
        files |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in inside}
    return files
