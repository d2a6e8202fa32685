"""Emotion prediction for raw video with a trained run and the stages that made its shards.

The only part of fv2es_train that decodes media. `predictor` is the entry point: it takes a
`Request` and yields utterances as they are scored. This package prints nothing.
"""
