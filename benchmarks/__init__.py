"""Measurements of preparation, detection, storage and reading: `python -m benchmarks`."""
