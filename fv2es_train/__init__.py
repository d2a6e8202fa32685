"""Shards to a trained, measured model.

Owns the network, its training, its metrics and its checkpoints. Leaves the making of shards and
splits to fv2es_prep. Import the module you need: this file stays empty so that nothing heavy loads.
"""
