"""From raw corpora to shards: corpora, media, the shard format. Knows no Dask, no training."""

__version__ = "0.1.0"
