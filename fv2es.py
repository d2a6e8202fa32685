"""fv2es in one import: the public names of ``fv2es_prep`` and ``fv2es_train``.

>>> import fv2es
>>> train_set = fv2es.ShardDataset("shards", fv2es.read_split("split.json").ids("train"))

Names are imported when they are first used. `main` is the command ``fv2es``.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import fv2es_prep
import fv2es_train
from fv2es_prep import __version__
from fv2es_prep.utils.private_modules import find_private_modules

if TYPE_CHECKING:
    from fv2es_prep import *  # noqa: F403  # for type checkers and editors
    from fv2es_train import *  # noqa: F403  # for type checkers and editors

__all__ = ["__version__", *fv2es_prep.__all__, *fv2es_train.__all__]  # noqa: PLE0604  # all are str


def main() -> None:
    """Run the command line; Ctrl-C ends the process silently until its modules are imported."""
    # Where a shell lets the process ignore it, it stays ignored.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    find_private_modules()
    from cli import app  # noqa: TID251  # the floor above this one does not exist

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


def __getattr__(name: str) -> Any:
    home = fv2es_train if name in fv2es_train.__all__ else fv2es_prep
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__


if __name__ == "__main__":
    main()
