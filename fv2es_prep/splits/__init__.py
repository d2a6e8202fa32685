"""Splits: how they are made, taken from elsewhere, judged and compared.

Owns what other floors call by the name of the package. Shards know nothing of it: a new split costs
no rebuild.
"""

from __future__ import annotations

from fv2es_prep.splits.manifest import SUBSETS, Split, read_split, write_split
from fv2es_prep.splits.recipes import RECIPES, SHARES, build_split

__all__ = ["RECIPES", "SHARES", "SUBSETS", "Split", "build_split", "read_split", "write_split"]
