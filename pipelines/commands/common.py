"""What the commands share: the dataset argument, the command as typed, pandas out of the way."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated, Any

import typer

Dataset = Annotated[
    Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
]


def said() -> str:
    """The arguments of this command as they can be typed again."""
    return shlex.join(sys.argv[1:])


@contextmanager
def without_pandas() -> Iterator[None]:
    """Let pyarrow not find pandas, which it looks for as soon as it is used.

    Where pandas is installed, loading it takes longer than all that a command does with pyarrow.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(MetaPathFinder):
    """Makes as if pandas were not installed."""

    def find_spec(self, fullname: str, *_: Any) -> None:
        """Refuse pandas, and leave every other name to the finders behind."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)
