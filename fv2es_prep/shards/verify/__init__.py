"""Checks of a dataset against the shard format."""
