"""Finds the modules `cli` and `pipelines`, which the wheel keeps in the folder ``_fv2es``.

Another package in site-packages could use these names. Processes of the command ``fv2es`` put the
folder first on their path; other processes do not see it. A checkout has no such folder, and its
modules are found as usual. ``python -m fv2es_prep.utils.private_modules MODULE`` runs one of them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "_fv2es"


def find_private_modules() -> None:
    """Make these modules importable in this process, before others of the same name."""
    if _FOLDER.is_dir() and str(_FOLDER) not in sys.path:
        sys.path.insert(0, str(_FOLDER))


def call_private(function: str, *arguments: Any, **named: Any) -> Any:
    """Call ``module:function`` in a process that may not belong to the command ``fv2es``.

    Args:
        function: module and name, ``module:function``.
        arguments: its positional arguments.
        named: its keyword arguments.
    """
    find_private_modules()
    module, name = function.split(":")
    return getattr(import_module(module), name)(*arguments, **named)


if __name__ == "__main__":
    import runpy

    find_private_modules()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
