"""Names that installed packages can add: stages, corpora, models, executors.

Owns the lookup by name; an entry is imported only when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.near import meant

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Entries by name: the built-in ones, then those of installed packages.

    Args:
        group: entry-point group of other packages, e.g. ``fv2es.models``.
        noun: what messages call an entry, e.g. ``model``.
        builtin: name -> ``module:ATTRIBUTE``; cannot be replaced.
    """

    def __init__(self, group: str, noun: str, builtin: Mapping[str, str]) -> None:
        self.group, self.noun, self.builtin = group, noun, builtin

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        found = {point.name: point for point in entry_points(group=self.group)}
        ours = {name: EntryPoint(name, at, self.group) for name, at in self.builtin.items()}
        return ours | {name: point for name, point in found.items() if name not in ours}

    def names(self) -> tuple[str, ...]:
        """All names, the built-in ones first. Imports nothing."""
        return tuple(self._points)

    def load(self, name: str) -> Entry:
        """Import an entry.

        Raises:
            UsageError: the name is unknown, or the package that provides it fails to import.
        """
        if name not in self._points:
            raise UsageError(
                f"unknown {self.noun} {name!r}",
                meant(name, self.names()) + "; or install the package that provides it",
            )
        try:
            entry: Entry = self._points[name].load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the {self.noun} {name!r} ({self._points[name].value}) fails to import: {error}",
                "repair or uninstall the package that provides it",
            ) from error
        return entry
