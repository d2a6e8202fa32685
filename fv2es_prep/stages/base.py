"""The interface of a stage: inputs, columns, invariants, and how values are made and stored.

Generic code iterates over this interface. Leaves the list of stages to `registry`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from fv2es_prep.config import LOSSLESS, PrepSettings, StorageSettings, stored
from fv2es_prep.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.stages.registry import StageContext
    from fv2es_prep.stages.stage_rows import StageRows

MEDIA = ("video", "sound")
INPUTS = (*MEDIA, "transcript")
Kind = Literal["text", "row", "ragged", "bytes", "offsets"]


@dataclass(frozen=True)
class Column:
    """One dataset of a shard, or one column of a stage.

    Attributes:
        path: its place in the file; in `Stage.columns` the part after ``STAGE/``.
        kind: ``text`` (fixed-length UTF-8, zero-padded), ``row`` (one row per example), ``ragged``
            (rows of all examples end to end), ``bytes`` (files end to end, their lengths in the
            ragged column ``sizes`` of the same stage) or ``offsets`` (where each example begins).
        dtype: NumPy's name of the type; empty for text.
        row: shape of one row; ``C`` is the number of classes, ``R`` of ratings.
        unit: unit of the values, or empty.
        meaning: one sentence.
        rows: number of rows in words.
        counted: 0 or 1 in each row; the number of ones is reported.
    """

    path: str
    kind: Kind
    dtype: str = ""
    row: tuple[int | str, ...] = ()
    unit: str = ""
    meaning: str = ""
    rows: str = "N"
    counted: bool = False

    @property
    def shape(self) -> str:
        """The shape in words; N examples."""
        return f"({', '.join(map(str, (self.rows, *self.row)))}{',' * (not self.row)})"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of numbers."""
        return math.prod(map(int, self.row)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Check:
    """Invariant ``code`` of docs/shard-format.md; ``bad`` returns its violations, bool (N,).

    ``at_open``: a reader refuses a shard that violates it.
    """

    code: str
    sentence: str
    bad: Callable[[StageRows], NDArray[np.bool_]]
    at_open: bool = False


@dataclass(frozen=True)
class Pictures:
    """Some sampled views of one utterance, uint8 (H, W, 3) each, with times in the recording.

    ``shared`` holds what several stages compute from them.
    """

    times_s: Sequence[float]
    rgb: Sequence[NDArray[np.uint8]]
    shared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NoSettings:
    """No settings."""


class Stage:
    """One thing made from every utterance. Subclass it and register an instance.

    The value of a stage is an array, or a mapping from column to array; a stage with another
    value overrides `encode`, `decode`, `join` and `arrays`.

    Attributes:
        name: its name in ``--stages``, in files and in `Example`.
        needs: ``("video",)``, or the arguments of the maker: ``sound``, ``transcript`` or names
            of other stages.
        noun: what its value is called, e.g. ``spectrum``.
        main: the column that holds the value, or its largest part.
        symbol: number of rows of its ragged columns as a symbol, e.g. ``ΣF``.
        settings: frozen dataclass of its settings; becomes a section of `PrepSettings.others`.
        section: the section of `PrepSettings` that it uses instead.
        version: increase it when the output changes, so that older values are made again.
        can_drop: whether its maker may raise `UtteranceError`.
        checks: its numbered invariants.
        drawn_height: relative height of its picture, see `draw`; 0 for no picture.
        many: whether `load_many` returns a maker for several examples at once.
        tolerance: accepted difference when a value is derived again, as a share of the largest
            magnitude in its column; 0 requires the same bits.
    """

    name: str
    needs: tuple[str, ...]
    noun: str = ""
    main: ClassVar[str] = "values"
    symbol: ClassVar[str] = ""
    settings: ClassVar[type] = NoSettings
    section: ClassVar[str] = ""
    version: ClassVar[int] = 1
    can_drop: ClassVar[bool] = True
    checks: ClassVar[tuple[Check, ...]] = ()
    drawn_height: ClassVar[float] = 0
    many: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        """The columns, without offsets; ragged ones have the same number of rows."""
        raise NotImplementedError

    def load(self, context: StageContext) -> Callable[..., Any]:
        """Load the maker of values; called once per process.

        If the stage needs video, the maker takes `Pictures` and returns their part of the value,
        see `join`. Otherwise it takes what the stage needs: `Waveform`, str, values of stages.
        """
        raise NotImplementedError

    def load_many(self, context: StageContext) -> Callable[..., list[Any]] | None:
        """Load a maker that takes a list of inputs of `load`'s maker; None unless ``many``."""
        return None

    def batch(self, context: StageContext) -> int:
        """The fastest number of pictures per call of the maker."""
        return 1

    def join(self, parts: Sequence[Any]) -> Any:
        """Join the values of consecutive pictures to the value of an utterance."""
        if isinstance(parts[0], Mapping):
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return np.concatenate(parts)

    def store(self, value: Any, settings: PrepSettings) -> Any:
        """Return the value as it is after storing, which may be lossy."""
        return value

    def encode(self, value: Any) -> Mapping[str, Any]:
        """Convert a stored value to column -> array of one example."""
        return value if isinstance(value, Mapping) else {self.main: value}

    def decode(self, columns: Mapping[str, Any], settings: PrepSettings, place: str) -> Any:
        """Convert column -> array of one example to the value; ``place`` is for messages."""
        return columns[self.main] if columns.keys() == {self.main} else columns

    def arrays(self, value: Any) -> Mapping[str, Any]:
        """Return the value as column -> array, decoded, for `describe` and export."""
        return self.encode(value)

    def settings_of(self, settings: PrepSettings) -> Any:
        """Its own settings; raises SettingsError for unknown fields."""
        if self.section:
            return getattr(settings, self.section)
        try:
            return self.settings(**settings.others.get(self.name, {}))
        except TypeError as error:
            raise SettingsError(f"settings of the stage {self.name}: {error}") from error

    def identity(self, settings: PrepSettings) -> Any:
        """The settings that decide the value, as JSON."""
        return stored(self.settings_of(settings))

    def form(self, storage: StorageSettings) -> list[Any]:
        """The storage settings that decide the stored value, as JSON."""
        return []

    def problem(self, value: Mapping[str, Any], settings: PrepSettings) -> tuple[str, str] | None:
        """Code and sentence of an invariant that the columns of one example violate; else None."""
        return None

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        """Estimate the bytes of an utterance in a shard; 0 if few."""
        return 0

    def describe(self, value: Any) -> Any:
        """The value as JSON; for a main column that is an array, only the shape."""
        arrays = {name: np.asarray(array) for name, array in self.arrays(value).items()}
        main = arrays.pop(self.main)
        if not main.ndim and not arrays:
            return main.item()
        return {"shape": list(main.shape), **{name: a.tolist() for name, a in arrays.items()}}

    def lines(self, value: Any) -> list[str]:
        """The value in words."""
        main = np.asarray(self.arrays(value)[self.main])
        return [" x ".join(map(str, main.shape)) if main.ndim else f"{main.item():g}"]

    def draw(self, axes: Any, value: Any, start_s: float) -> None:
        """Draw the value of an utterance that starts at ``start_s`` on matplotlib axes."""

    def stored_columns(self, settings: PrepSettings) -> Iterator[Column]:
        """The columns with their paths in the file, and their offsets."""
        rows = self.symbol or f"Σ{self.name}"
        where = {"row": "N", "ragged": rows, "bytes": "ΣB"}
        columns = self.columns(settings)
        for column in columns:
            yield replace(column, path=f"{self.name}/{column.path}", rows=where[column.kind])
        if any(column.kind == "ragged" for column in columns):
            path, meaning = f"{self.name}/offsets", "rows of example i: [i] to [i+1]"
            yield Column(path, "offsets", "<i8", (), "row", meaning, "N+1")

    def plain_columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        """The columns of `arrays`."""
        return self.columns(replace(settings, storage=LOSSLESS))
