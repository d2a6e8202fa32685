"""Checks a dataset against the shard format."""
