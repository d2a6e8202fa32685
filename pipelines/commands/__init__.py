"""The commands of prep, splits and shards: parse, call one function, print.

`cli` puts them together with those of training. Nothing heavy is imported before a command runs.
"""
