"""Which shards are built, where and in what order; the only importer of Dask."""
