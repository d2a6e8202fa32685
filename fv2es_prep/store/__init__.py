"""Object stores, e.g. S3: reads raw corpora, reads and writes datasets."""
