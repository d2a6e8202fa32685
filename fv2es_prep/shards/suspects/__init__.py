"""Finds utterances that look wrong in an undamaged dataset: `fv2es shards check`."""
