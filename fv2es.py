"""fv2es in one import: the public names of ``fv2es_prep`` and ``fv2es_train``.

>>> import fv2es
>>> train_set = fv2es.ShardDataset("shards", fv2es.read_split("split.json").ids("train"))

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fv2es_prep
import fv2es_train
from fv2es_prep import __version__

if TYPE_CHECKING:
    from fv2es_prep import *  # noqa: F403  # for type checkers and editors
    from fv2es_train import *  # noqa: F403  # for type checkers and editors

__all__ = ["__version__", *fv2es_prep.__all__, *fv2es_train.__all__]  # noqa: PLE0604  # all are str


def __getattr__(name: str) -> Any:
    home = fv2es_train if name in fv2es_train.__all__ else fv2es_prep
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
