"""Whether the words of a transcript are those that are heard: `fv2es shards check --words`."""
