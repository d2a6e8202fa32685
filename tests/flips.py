"""Files with one bit flipped, for a while."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def flipped_bit(path: Path, chance: random.Random) -> Iterator[None]:
    """Flip a random bit of a file; the file is whole again afterwards."""
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    path.write_bytes(changed)
    yield
    path.write_bytes(whole)
