"""Turn numbers in utterance ids: how far apart two turns are where turns between them are lacking.

Owns one compiled loop. Import it only when it is needed: it loads Numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.splits.near import bytes_of
from fv2es_prep.utils.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


def steps_between(ids: Any, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """By how much the number at the end of an id grows to the next one.

    Args:
        ids: `pyarrow.LargeStringArray`, N ids without nulls.
        order: int64 (N,), in which order they are looked at.

    Returns:
        int64 (N - 1,): ``..._M003`` to ``..._M005`` gives 2; 0 where the ids do not differ in
        their last number alone, or it has more than nine digits.
    """
    data, offsets = bytes_of(ids)
    steps = np.zeros(max(len(order) - 1, 0), np.int64)
    _steps(data, offsets, order, steps)
    return steps


@compiled
def _steps(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    order: NDArray[np.int64],
    steps: NDArray[np.int64],
) -> None:
    past, past_head, past_begin = 0, -1, 0
    for place in range(len(order)):
        begin, end = offsets[order[place]], offsets[order[place] + 1]
        head, number, scale = end, 0, 1
        while head > begin and 48 <= data[head - 1] <= 57 and end - head < 10:
            head -= 1
            number += (data[head] - 48) * scale
            scale *= 10
        length = head - begin
        if 0 < end - head < 10 and length == past_head:
            same = True
            for i in range(length):
                if data[begin + i] != data[past_begin + i]:
                    same = False
                    break
            if same:
                steps[place - 1] = number - past
        past, past_begin = number, begin
        past_head = length if 0 < end - head < 10 else -1
