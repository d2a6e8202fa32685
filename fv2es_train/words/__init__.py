"""Check whether a transcript matches the sound: `fv2es shards check --words`."""
