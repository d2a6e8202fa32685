"""Utterances that look wrong in a dataset that is not damaged: `fv2es shards check`."""
