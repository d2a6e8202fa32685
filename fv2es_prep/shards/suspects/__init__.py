"""Utterances of a sound dataset that look wrong to a person: what `fv2es shards check` finds."""
