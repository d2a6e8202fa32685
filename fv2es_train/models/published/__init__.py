"""The published FV2ES model: its state dict turned into a run of ours, and back.

`names` knows how things are called, `sizes` reads the configuration off the shapes, `mapping` moves
the weights, `files` reads and writes what torch saved, `convert` is the command.
"""
