"""Datasets of a stranger who wants to harm: each changes a shard, and index.json agrees with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fv2es_prep.config import digest_of
from fv2es_prep.shards.index import read_index, write_index
from fv2es_prep.utils.files import sha256_of

SECRET = b"SECRET-of-the-machine-"
# What is done to a shard; the second path is a file that is none of the dataset's.
Edit = Callable[[h5py.File, Path], None]
# What is put in the place of a shard.
Swap = Callable[[Path, Path], None]
_HUGE = 1 << 34


def _replace(file: h5py.File, path: str, **options: Any) -> None:
    del file[path]
    file.create_dataset(path, track_times=False, **options)


def _external(path: str) -> Edit:
    def edit(file: h5py.File, secret: Path) -> None:
        shape, dtype = file[path].shape, file[path].dtype
        size = file[path].nbytes
        _replace(file, path, shape=shape, dtype=dtype, external=[(str(secret), 0, size)])

    return edit


def _linked(path: str, kind: str) -> Edit:
    def edit(file: h5py.File, secret: Path) -> None:
        del file[path]
        target: Any = h5py.SoftLink("/digest/row")
        if kind == "external":
            target = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/secret")
        file[path] = target

    return edit


def _virtual(path: str) -> Edit:
    def edit(file: h5py.File, secret: Path) -> None:
        shape, dtype = file[path].shape, file[path].dtype
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "secret", shape, dtype)
        del file[path]
        file.create_virtual_dataset(path, layout)

    return edit


def _bomb(path: str, **options: Any) -> Edit:
    """Nothing is stored, but values are claimed: 16 G rows of them."""

    def edit(file: h5py.File, _: Path) -> None:
        shape, dtype = (_HUGE, *file[path].shape[1:]), file[path].dtype
        _replace(file, path, shape=shape, dtype=dtype, **options)

    return edit


def _typed(path: str, dtype: Any) -> Edit:
    def edit(file: h5py.File, _: Path) -> None:
        shape, kind = file[path].shape, np.dtype(dtype)
        stored = {} if kind.hasobject else {"data": np.zeros(shape, kind)}
        _replace(file, path, **(stored or {"shape": shape, "dtype": kind}))

    return edit


def _set(path: str, place: Any, value: Any) -> Edit:
    def edit(file: h5py.File, _: Path) -> None:
        file[path][place] = value

    return edit


def _hard_cycle(file: h5py.File, _: Path) -> None:
    file["faces/again"] = file["faces"]


def _soft_cycle(file: h5py.File, _: Path) -> None:
    file["faces/again"] = h5py.SoftLink("/faces/again")


def _many_groups(file: h5py.File, _: Path) -> None:
    for number in range(2000):
        file.create_group(f"many/{number}")


def _settings(change: Callable[[dict[str, Any]], object]) -> Edit:
    def edit(file: h5py.File, _: Path) -> None:
        settings = json.loads(file.attrs["settings"])
        change(settings)
        _text(file, "settings", json.dumps(settings))
        _text(file, "settings_digest", digest_of(settings))

    return edit


def _attribute(name: str, text: str) -> Edit:
    return lambda file, _: _text(file, name, text)


def _text(file: h5py.File, name: str, text: str) -> None:
    data = text.encode()
    file.attrs.create(name, np.array(data, h5py.string_dtype("utf-8", len(data))))


def _instead(make: Callable[[Path], object]) -> Swap:
    def swap(path: Path, _: Path) -> None:
        path.unlink()
        make(path)

    return swap


def _sparse(path: Path, _: Path) -> None:
    """Columns of 2 GiB, all within a file that takes no room."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        rows = len(file["text"])
        del file["text"]
        kind = h5py.string_dtype("utf-8", (1 << 31) // rows)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        space = h5py.h5s.create_simple((rows,))
        h5py.h5d.create(file.id, b"text", h5py.h5t.py_create(np.dtype(kind)), space, plan)


def _user_block(path: Path, secret: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(secret.read_bytes()[:512].ljust(512, b"\0") + content)


_COLUMNS = ("id", "text", "label", "start_s", "faces/values", "mel/values", "tokens/values")
_RAGGED = ("faces", "mel", "tokens")


def _encoder_of_words(settings: dict[str, Any]) -> None:
    settings["stages"] = {"names": ["faces", "mel", "tokens", "audio-x"]}
    settings["audio-x"] = {"width": "wide"}


EDITS: dict[str, Edit] = {
    **{f"external storage of {c}": _external(c) for c in (*_COLUMNS, "digest/row")},
    **{f"soft link at {c}": _linked(c, "soft") for c in (*_COLUMNS, "faces")},
    **{f"external link at {c}": _linked(c, "external") for c in (*_COLUMNS, "mel")},
    **{f"virtual {c}": _virtual(c) for c in ("text", "label", "mel/values")},
    **{f"unstored {c}": _bomb(c) for c in ("id", "label", "mel/values", "faces/offsets")},
    **{f"chunked bomb {c}": _bomb(c, chunks=True) for c in ("faces/values", "mel/offsets")},
    "compressed bomb": _bomb("tokens/values", chunks=True, compression="gzip"),
    **{f"{c} as float64": _typed(c, "f8") for c in ("label", "faces/offsets", "digest/row")},
    **{f"{c} as long text": _typed(c, h5py.string_dtype()) for c in ("id", "mel/values")},
    "a compound type": _typed("start_s", [("a", "f4"), ("b", "f4")]),
    "references": _typed("label", h5py.ref_dtype),
    **{f"{g} beyond the end": _set(f"{g}/offsets", -1, 1 << 40) for g in _RAGGED},
    **{f"{g} negative": _set(f"{g}/offsets", 1, -(1 << 40)) for g in _RAGGED},
    **{f"{g} backwards": _set(f"{g}/offsets", 2, 0) for g in _RAGGED},
    "token beyond the vocabulary": _set("tokens/values", 1, 1 << 30),
    "negative token": _set("tokens/values", 1, -5),
    "label of 7": _set("label", 0, 7),
    "span without end": _set("end_s", 0, np.inf),
    "hard cycle": _hard_cycle,
    "soft cycle": _soft_cycle,
    "many groups": _many_groups,
    "faces of a kilometre": _settings(lambda s: s["faces"].update(image_size_px=1 << 30)),
    "a vocabulary of its own": _settings(lambda s: s["text"].update(vocabulary_size=1 << 30)),
    "an encoder of words": _settings(_encoder_of_words),
    "settings of no kind": _settings(lambda s: s.update(mel=5)),
    "deep JSON": _attribute("label_classes", "[" * 100_000),
    "another version": _attribute("format_version", "7.0"),
    "unknown feature": _attribute("requires", '["sparse-mel"]'),
}
SWAPS: dict[str, Swap] = {
    "pipe": _instead(os.mkfifo),
    "directory": _instead(Path.mkdir),
    "device": _instead(lambda path: path.symlink_to("/dev/zero")),
    "dead link": _instead(lambda path: path.symlink_to("nowhere")),
    "no HDF5": _instead(lambda path: path.write_bytes(SECRET * 1000)),
    "empty": _instead(lambda path: path.write_bytes(b"")),
    "user block": _user_block,
    "sparse": _sparse,
}
NAMES = (*EDITS, *SWAPS)


def spoil(directory: Path, name: str, secret: Path) -> None:
    """Do one of `NAMES` to the first shard; ``secret`` is written beside the dataset."""
    path = directory / read_index(directory).shards[0].name
    secret.write_bytes(SECRET * 40_000)
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["secret"] = np.frombuffer(secret.read_bytes(), np.uint8)
    if name in SWAPS:
        SWAPS[name](path, secret)
    else:
        with h5py.File(path, "r+", libver=("v110", "v110")) as file:
            EDITS[name](file, secret)
    _agree(directory, path)


def _agree(directory: Path, path: Path) -> None:
    index = read_index(directory)
    known = path.is_file() and path.stat().st_size < 1 << 24
    first = replace(
        index.shards[0],
        sha256=sha256_of(path) if known else "0" * 64,
        size_bytes=path.stat().st_size if path.is_file() else index.shards[0].size_bytes,
    )
    write_index(directory, replace(index, shards=(first, *index.shards[1:])))


def commands(directory: Path, split: Path, run: Path, place: Path) -> Iterator[list[str]]:
    """What a user does with a dataset; each reads the first shard."""
    shards = str(directory)
    yield ["shards", "info", shards]
    yield ["shards", "show", shards, "utt000"]
    yield ["shards", "export", shards, "--format", "parquet", "--out", str(place / "exported")]
    yield ["splits", "build", shards, "--recipe", "random", "--out", str(place / "new.json")]
    data = ["--shards", shards, "--split", str(split)]
    options = ["--model", "fv2es-tiny", "--epochs", "1", "--out", str(place / "run")]
    yield ["train", *data, *options]
    yield ["eval", "--run", str(run), *data, "--subset", "train", "--allow-seen"]
