"""Executors: where the tasks of a plan run; see `base`."""
