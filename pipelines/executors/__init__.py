"""Where the tasks of a plan run; see `base`."""
