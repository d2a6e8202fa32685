"""Splits of a dataset: manifests, recipes, imports, audits and comparisons.

Shards do not depend on splits, so a new split needs no rebuild.
"""

from __future__ import annotations

from fv2es_prep.splits.manifest import SUBSETS, Split, read_split, write_split

__all__ = ["SUBSETS", "Split", "read_split", "write_split"]
