"""What two subsets share in words: transcripts that are identical, or nearly so.

Owns how a transcript is normalised and both measures. Leaves finding near ones to `near`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.splits.shared import Shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.shared import Mask

# Shorter ones ("yeah", "i don't know") come again by themselves.
LEAST_WORDS = 5
_BLANKS = r"[\s\v\x{1c}-\x{1f}\x{85}\p{Z}]+"
# From so many on, those in ASCII are normalised by a loop of our own, twenty times as fast.
_MANY = 100_000


class Transcripts:
    """The transcripts of a dataset, normalised, each once; N utterances, D transcripts.

    Args:
        texts: `pyarrow.LargeStringArray`, N rows.
    """

    def __init__(self, texts: Any) -> None:
        import pyarrow.compute as pc

        encoded = normalised(texts).dictionary_encode()
        # int32 (N,), the transcript of each utterance, and the transcripts themselves.
        self.codes: NDArray[np.int32] = encoded.indices.to_numpy()
        self.texts = encoded.dictionary
        spaces = pc.count_substring(self.texts, " ").to_numpy()
        there = pc.binary_length(self.texts).to_numpy() > 0
        # int (D,), words of each.
        self.words: NDArray[np.int64] = np.where(there, spaces + 1, 0)

    @functools.cached_property
    def known(self) -> Mask:
        """Bool (N,): where something is said."""
        return self.words[self.codes] > 0

    def holds(self, rows: Mask) -> Mask:
        """Bool (D,): which transcripts these utterances have."""
        there = np.zeros(len(self.words), np.bool_)
        there[self.codes[rows]] = True
        return there

    def identical(self, of: Mask, within: Mask) -> Shared:
        """Utterances whose normalised transcript is equal to one of the other subset."""
        hit = self.holds(within)[self.codes] & of & self.known
        long = int(np.count_nonzero(self.words[self.codes[hit]] >= LEAST_WORDS))
        unknown = int(np.count_nonzero(of & ~self.known))
        detail: dict[str, float] = {"five_words": long}
        return Shared(
            "transcript",
            int(np.count_nonzero(hit)),
            int(np.count_nonzero(of)),
            unknown,
            detail,
        )

    def nearly(self, pairs: Sequence[tuple[Mask, Mask]]) -> list[Shared]:
        """Utterances whose transcript is near to one of the other subset, identical to none of it.

        Args:
            pairs: of subsets, bool (N,) each; all at once, for finding takes a while.
        """
        from fv2es_prep.splits.near import find_near

        long = self.words >= LEAST_WORDS
        held = [(self.holds(of) & long, self.holds(within) & long) for of, within in pairs]
        found = find_near(self.texts, [(of & ~within, within) for of, within in held])
        return [self._near(of, near) for (of, _), near in zip(pairs, found, strict=True)]

    def _near(self, of: Mask, near: Mask) -> Shared:
        count = int(np.count_nonzero(near[self.codes] & of))
        unknown = int(np.count_nonzero(of & ~self.known))
        return Shared("near_transcript", count, int(np.count_nonzero(of)), unknown)


def normalised(texts: Any) -> Any:
    """Transcripts in lower case, without punctuation and symbols, their blanks joined.

    Args:
        texts: `pyarrow.LargeStringArray`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(texts) < _MANY:
        return _by_expressions(texts)
    from fv2es_prep.splits.ascii import normalised_ascii

    plain = pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    parts = [
        normalised_ascii(texts.filter(pa.array(plain))),
        _by_expressions(texts.filter(pa.array(~plain))),
    ]
    back = np.empty(len(texts), np.int64)
    back[np.concatenate([np.flatnonzero(plain), np.flatnonzero(~plain)])] = np.arange(len(texts))
    return pa.concat_arrays(parts).take(pa.array(back)) if (~plain).any() else parts[0]


def _by_expressions(texts: Any) -> Any:
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(pc.utf8_lower(texts), r"[\p{P}\p{S}]+", "")
    return pc.utf8_trim(pc.replace_substring_regex(bare, _BLANKS, " "), " ")
