"""The modules `cli` and `pipelines`, which the wheel keeps in the folder ``_fv2es``.

Under these names, site-packages could hold another package's modules. Processes of the command
``fv2es`` put the folder first on their path; nobody else sees it. In a checkout there is no such
folder, and the modules are where they are. ``python -m fv2es_prep.utils.private_modules MODULE``
runs one of them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "_fv2es"


def find_private_modules() -> None:
    """Let imports in this process find them, before others of the same name."""
    if _FOLDER.is_dir() and str(_FOLDER) not in sys.path:
        sys.path.insert(0, str(_FOLDER))


def call_private(function: str, *arguments: Any, **named: Any) -> Any:
    """Call ``module:function`` in a process that may not be one of the command ``fv2es``.

    Args:
        function: Its module and its name.
        arguments: What it is called with.
        named: The same, by name.
    """
    find_private_modules()
    module, name = function.split(":")
    return getattr(import_module(module), name)(*arguments, **named)


if __name__ == "__main__":
    import runpy

    find_private_modules()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
