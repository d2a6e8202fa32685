"""Weight files of other programs, read without executing their content.

Owns torch's and safetensors' formats, and wrappers around the state dict.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import whole_file

_SAFETENSORS = ".safetensors"
# Prefix of each name in a network that was wrapped in torch's DataParallel.
_PARALLEL = "module."
_SAVE_HINT = "save the weights only: torch.save(model.state_dict(), FILE)"


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU.

    Args:
        path: a file of ``torch.save`` (a state dict, or a dict that has it as ``state_dict``) or a
            ``.safetensors`` file.

    Returns:
        Weight by name, without ``module.`` if all names begin with it.

    Raises:
        UsageError: the file is missing or damaged, would execute code, or holds other content.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UsageError(f"there is no file {path}", "pass the file that torch.save wrote")
    try:
        if path.suffix == _SAFETENSORS:
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: {_found(str(error))}, expected tensors only",
            f"if you trust the file, load it with the program that wrote it and {_SAVE_HINT}",
        ) from error
    except (
        *(OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError),
        SafetensorError,
    ) as error:
        raise UsageError(
            f"{path} cannot be read as weights: {(str(error) or repr(error)).splitlines()[0]}",
            "it is damaged or of another format; fetch or write it again",
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    _refuse_other_content(state, path)
    if all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return {name: value.detach() for name, value in state.items()}


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict as ``torch.save`` does, or as safetensors if the name ends so.

    Raises:
        UsageError: the file exists.
        OutputError: it cannot be written.
    """
    from safetensors.torch import save_file

    if path.exists():
        raise UsageError(f"{path} exists already", "choose another file with --out")
    with whole_file(path) as temporary:
        if path.suffix == _SAFETENSORS:
            save_file(dict(state), temporary)
        else:
            torch.save(dict(state), temporary)


def _found(message: str) -> str:
    """The offending object in torch's message of many lines."""
    if match := re.search(r"(?:GLOBAL|Unsupported class) +`?(?!GLOBAL)([\w.]+)", message):
        return f"its pickle holds the Python object {match[1]}"
    return "its pickle holds other objects than tensors"


def _refuse_other_content(state: Any, path: Path) -> None:
    if not isinstance(state, Mapping) or not state:
        size = len(state) if hasattr(state, "__len__") else 1
        raise UsageError(
            f"{path} holds a {type(state).__name__} of {size} entries, expected weights by name",
            _SAVE_HINT,
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UsageError(
                f"{path} holds a {type(value).__name__} under {name!r}, expected weights by name",
                _SAVE_HINT,
            )
