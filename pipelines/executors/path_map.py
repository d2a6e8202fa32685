"""Maps directories that workers see under another path than the planning process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fv2es_prep.errors import SettingsError


@dataclass(frozen=True)
class PathMap:
    """Pairs of a directory of the planning process and its path on workers, deepest first."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Sequence[str]) -> Self:
        """Make the map from pairs ``/here=/there``.

        Raises:
            SettingsError: a pair is not of this form.
        """
        split = [pair.partition("=")[::2] for pair in pairs]
        for pair, (here, there) in zip(pairs, split, strict=True):
            if not (here.startswith("/") and there.startswith("/")):
                raise SettingsError(
                    f"invalid path_map {pair!r}", "write two absolute paths, e.g. /data=/mnt/data"
                )
        return cls(tuple(sorted(split, key=lambda pair: -len(Path(pair[0]).parts))))

    def there(self, path: str) -> str:
        """The path on a worker; names, and paths outside the map's directories, stay."""
        for here, there in self.pairs:
            if Path(path).is_relative_to(here):
                return str(Path(there, Path(path).relative_to(here)))
        return path


SAME_PATHS = PathMap()
