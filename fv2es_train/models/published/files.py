"""Files of weights that other programs wrote: read without running anything that is in them.

Owns torch's and safetensors' formats, and what the file's author may have wrapped the state dict
in. Leaves what the weights mean to `mapping`.
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

SAFETENSORS = ".safetensors"
# Around the state dict where more than it was saved, and before each name where the network was
# wrapped in torch's DataParallel.
_WRAPPER = "state_dict"
_PARALLEL = "module."


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU.

    Args:
        path: what ``torch.save`` wrote (a state dict, or a dict that has it as ``state_dict``), or
            a file that ends in ``.safetensors``.

    Returns:
        Weight by name; ``module.`` is taken off the names if all have it.

    Raises:
        UsageError: there is no such file, it is damaged, it is a pickle that would run code, or it
            holds something else than weights.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "pass the file that torch.save wrote")
    read = _read_safetensors if path.suffix == SAFETENSORS else _read_torch
    state = read(path)
    if isinstance(state, Mapping) and isinstance(state.get(_WRAPPER), Mapping):
        state = state[_WRAPPER]
    _refuse_other_content(state, path)
    if all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return {name: value.detach() for name, value in state.items()}


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict as ``torch.save`` does, or as safetensors where the name ends so.

    Raises:
        UsageError: there is such a file.
        OutputError: it cannot be written.
    """
    from safetensors.torch import save_file

    if path.exists():
        raise UsageError(f"{path} exists already", "choose another file with --out")
    with whole_file(path) as temporary:
        if path.suffix == SAFETENSORS:
            save_file(dict(state), temporary)
        else:
            torch.save(dict(state), temporary)


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: {_found(str(error))}, expected tensors only",
            "where you trust the file, load it with the program that wrote it and save its weights "
            "alone: torch.save(model.state_dict(), FILE)",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path} cannot be read as saved weights: {(str(error) or repr(error)).splitlines()[0]}",
        "it is damaged or of another format; fetch or write it again",
    )


def _found(message: str) -> str:
    """What torch's message of many lines says that it met."""
    if match := re.search(r"(?:GLOBAL|Unsupported class) +`?(?!GLOBAL)([\w.]+)", message):
        return f"its pickle holds the Python object {match[1]}"
    return "its pickle holds something else than weights"


def _refuse_other_content(state: Any, path: Path) -> None:
    if not isinstance(state, Mapping) or not state:
        raise UsageError(
            f"{path} holds a {type(state).__name__} of {_size(state)} entries, expected a state "
            "dict: weights by name",
            "save the weights with torch.save(model.state_dict(), FILE)",
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UsageError(
                f"{path} holds a {type(value).__name__} under {name!r}, expected weights by name",
                "save the weights with torch.save(model.state_dict(), FILE)",
            )


def _size(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0
