"""Finds identical and near-identical transcripts of two subsets (see `near`)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.splits.shared import Mask, Shared, count, present, shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Shorter transcripts ("yeah", "i don't know") recur by chance.
MIN_WORDS = 5
_BLANKS = r"[\s\v\x{1c}-\x{1f}\x{85}\p{Z}]+"
_ASCII_BLANKS = bytes([*range(9, 14), *range(28, 33)])
_ASCII_MARKS = bytes(code for code in range(33, 127) if not chr(code).isalnum())
_ASCII_LOWER = bytes.maketrans(_ASCII_BLANKS, b" " * len(_ASCII_BLANKS)).lower()


class Transcripts:
    """The normalised transcripts of a dataset; N utterances, D distinct transcripts.

    Args:
        texts: `pyarrow.LargeStringArray`, N rows without nulls.
    """

    def __init__(self, texts: Any) -> None:
        import pyarrow.compute as pc

        encoded = normalised(texts).dictionary_encode()
        # int32 (N,), the transcript of each utterance, and the distinct transcripts.
        self.codes: NDArray[np.int32] = encoded.indices.to_numpy()
        self.texts = encoded.dictionary
        spaces = pc.count_substring(self.texts, " ").to_numpy()
        # int (D,), number of words of each.
        self.words: NDArray[np.int64] = np.where(
            pc.binary_length(self.texts).to_numpy() > 0, spaces + 1, 0
        )

    @functools.cached_property
    def known(self) -> Mask:
        """Bool (N,), whether the transcript is not empty."""
        return self.words[self.codes] > 0

    def identical(self, of: Mask, within: Mask) -> Shared:
        """Utterances whose normalised transcript equals one of the other subset."""
        hits = self._present(within)[self.codes]
        long = count(self.words[self.codes[hits & of]] >= MIN_WORDS)
        return shared("transcript", hits, of, self.known, five_words=long)

    def near(self, pairs: Sequence[tuple[Mask, Mask]]) -> list[Shared]:
        """Utterances with a near-identical, but no identical, transcript in the other subset.

        One search serves all pairs of subsets, bool (N,) each.
        """
        from fv2es_prep.splits.near import find_near

        long = self.words >= MIN_WORDS
        held = [(self._present(of) & long, self._present(within) & long) for of, within in pairs]
        found = find_near(self.texts, [(of & ~within, within) for of, within in held])
        return [
            shared("near_transcript", near[self.codes], of, self.known)
            for (of, _), near in zip(pairs, found, strict=True)
        ]

    def _present(self, rows: Mask) -> Mask:
        """Bool (D,), whether one of these utterances has the transcript."""
        return present(self.codes, len(self.words), rows)


def normalised(texts: Any) -> Any:
    """Transcripts in lower case, without punctuation and symbols, with single blanks."""
    import pyarrow.compute as pc

    # Arrow's expressions take twenty times as long as a translation of bytes.
    beyond_ascii = pc.invert(pc.string_is_ascii(texts))
    bare = pc.utf8_lower(texts.filter(beyond_ascii))
    for pattern, instead in ((r"[\p{P}\p{S}]+", ""), (_BLANKS, " ")):
        bare = pc.replace_substring_regex(bare, pattern, instead)
    trimmed = pc.ascii_trim(pc.replace_with_mask(_translated(texts), beyond_ascii, bare), " ")
    doubled = pc.match_substring(trimmed, "  ")
    single = pc.replace_substring_regex(trimmed.filter(doubled), " +", " ")
    return pc.replace_with_mask(trimmed, doubled, single)


def _translated(texts: Any) -> Any:
    """Texts with ASCII letters in lower case, ASCII blanks as spaces, ASCII marks removed."""
    import pyarrow as pa

    data, offsets = bytes_of(texts)
    marks = np.zeros(256, np.bool_)
    marks[[*_ASCII_MARKS]] = True
    removed = np.flatnonzero(marks[data])
    places = offsets - np.searchsorted(removed, offsets)
    kept = data.tobytes().translate(_ASCII_LOWER, _ASCII_MARKS)
    buffers = [pa.py_buffer(places), pa.py_buffer(kept)]
    return pa.LargeStringArray.from_buffers(len(texts), *buffers)


def bytes_of(texts: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The UTF-8 bytes of all texts, uint8 (B,), and the start of each text, int64 (N + 1,)."""
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    used = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    return used, offsets - offsets[0]
