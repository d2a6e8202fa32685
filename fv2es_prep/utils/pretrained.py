"""Checks that the directory of a pretrained tokenizer or model holds data only, and no code.

Leaves the hub to `hub`, and loading to the callers.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fv2es_prep.errors import TokenizerError

# The largest vocabularies of today take 35 MB as JSON.
_LARGEST_BYTES = 100 << 20
_LARGEST_SIZE, _MOST_LAYERS = 10_000_000, 1000
_WEIGHTS = ".safetensors"
_ADAPTER = "adapter_config.json"
# sentence-transformers' record of the training data: a list that nothing reads.
_UNREAD = ("data_config.json",)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")


def check_pretrained(directory: Path, what: str, option: str) -> None:
    """Check that a directory holds data only, before a library reads it.

    Args:
        directory: directory in transformers' format.
        what: for the message, e.g. ``tokenizer``.
        option: for the hint, e.g. ``--tokenizer``.

    Raises:
        TokenizerError: a file is not a regular file, is too large or links out of the directory, or
            a configuration names code, files elsewhere or another model.
    """
    try:
        for folder, _, names in os.walk(directory):
            for name in names:
                _check_file(Path(folder, name), _home(directory))
        for path in sorted(directory.glob("*.json")):
            # A vocabulary cannot name code, and is read only once.
            if path.name.endswith(("config.json", "index.json")):
                _check_config(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise TokenizerError(
            f"the {what} {str(directory)!r} is refused: {error}",
            f"pass a directory that holds data only, as save_pretrained writes it: {option} DIR",
        ) from error


def refuse_code(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration; ValueError if they name code to fetch or run."""
    if "auto_map" in values:
        raise ValueError("it names Python code to run (auto_map), expected no code")
    for name, value in values.items():
        # Other values name kernels, which transformers downloads from the hub.
        if name.endswith("_implementation") and value not in (None, "eager", "sdpa"):
            raise ValueError(f"{name} is {value!r}, expected 'eager' or 'sdpa'")
    return dict(values)


def load_network(name: str, config: Any, local: bool, dtype: Any = None, **options: Any) -> Any:
    """The network of a directory or hub name, from safetensors; no code of its own is run.

    Args:
        name: directory, or name at the hub.
        config: its configuration, of transformers.
        local: whether to read local files only, without a request to the hub.
        dtype: type of the weights; None takes that of `AutoModel.from_pretrained`.
        options: options of the network, such as ``add_pooling_layer``.

    Returns:
        The network, and transformers' report of missing and unexpected weights.

    Raises:
        ValueError: the configuration describes more weights than the directory has bytes. On
            damaged files, errors of transformers and safetensors pass through.
    """
    import torch
    from transformers import AutoModel

    if Path(name).is_dir():
        with torch.device("meta"):
            sketch = AutoModel.from_config(config, trust_remote_code=False, **options)
        refuse_larger(sum(p.numel() for p in sketch.parameters()), Path(name))
    return AutoModel.from_pretrained(
        name,
        output_loading_info=True,
        local_files_only=local,
        trust_remote_code=False,
        use_safetensors=True,
        **({} if dtype is None else {"dtype": dtype}),
        **options,
    )


def refuse_larger(values: int, directory: Path) -> None:
    """Raise ValueError if a model has more values than its safetensors have bytes, or none."""
    files = list(directory.glob(f"*{_WEIGHTS}"))
    if not files:
        pickles = sorted(p.name for p in directory.glob("*") if p.suffix in _PICKLES)
        found = f"{pickles[0]}, a pickle, which can run code" if pickles else "no weights"
        raise ValueError(f"it holds {found}, expected model.safetensors")
    size = sum(path.stat().st_size for path in files)
    if values > size:
        raise ValueError(
            f"its config.json describes {values} weights, but its files have {size} bytes"
        )


def refuse_absurd(values: Mapping[str, Any]) -> None:
    """Raise ValueError for model sizes that would take unreasonable time to build."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            refuse_absurd(value)
        elif isinstance(value, list | tuple):
            if len(value) > _MOST_LAYERS:
                raise ValueError(f"its {name} has {len(value)} values, at most {_MOST_LAYERS}")
            for each in value:
                refuse_absurd({name: each})
        counts = any(word in str(name) for word in ("layer", "depth"))
        limit = _MOST_LAYERS if counts else _LARGEST_SIZE
        if isinstance(value, int | float) and not abs(value) <= limit:
            raise ValueError(f"its {name} is {value}, expected {limit} at most")


def _home(directory: Path) -> Path:
    """The directory that links may point into: a download of the hub links to ../../blobs."""
    place = directory.resolve()
    return place.parent.parent if place.parent.name == "snapshots" else place


def _check_file(path: Path, home: Path) -> None:
    if not path.resolve(strict=True).is_relative_to(home):
        raise ValueError(f"{path.name} is a link to a file outside the directory")
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path.name} is a pipe, socket or device, expected a file")
    if path.suffix in (".json", ".model", ".txt", ".jinja") and found.st_size > _LARGEST_BYTES:
        raise ValueError(
            f"{path.name} has {found.st_size} bytes, expected {_LARGEST_BYTES} at most"
        )
    if path.name == _ADAPTER:
        raise ValueError(f"{_ADAPTER} makes it an adapter, expected a complete model")


def _check_config(path: Path) -> None:
    try:
        # The hook receives every object, nested ones too.
        values = json.loads(path.read_text(encoding="utf-8"), object_hook=refuse_code)
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not valid JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(values, dict):
        if path.name in _UNREAD:
            return
        raise ValueError(f"{path.name} holds a {type(values).__name__}, expected an object")
    if path.name.endswith(f"{_WEIGHTS}.index.json"):
        files = values.get("weight_map", {})
        strange = [n for n in files.values() if Path(str(n)).name != n or not n.endswith(_WEIGHTS)]
        if strange:
            raise ValueError(f"{path.name} names the file {strange[0]!r}, expected *{_WEIGHTS}")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bar and its report on omitted weights."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
