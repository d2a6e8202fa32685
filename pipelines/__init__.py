"""Plans and builds shards: which, where and in what order. The only importer of Dask."""
