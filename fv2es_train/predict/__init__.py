"""Emotions of new video with a trained run, on the road that made its shards.

The only part of fv2es_train that sees media. `predictor` is the way in: a `Request` goes in,
utterances come out as they are done. Nothing here prints.
"""
