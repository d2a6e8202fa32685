"""Splits of a dataset: manifests, recipes, imports, audits and comparisons.

Shards do not depend on splits, so a new split needs no rebuild.
"""

from __future__ import annotations

from fv2es_prep.splits.manifest import SUBSETS, Split, read_split, write_split
from fv2es_prep.splits.recipes import RECIPES, SHARES, build_split

__all__ = ["RECIPES", "SHARES", "SUBSETS", "Split", "build_split", "read_split", "write_split"]
