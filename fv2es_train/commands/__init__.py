"""The commands that train: parse, call one function, print. `cli.py` takes them from here."""
