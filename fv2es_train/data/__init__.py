"""Shards as batches: the dataset, samplers, collation and augmentation."""
