"""Metrics, intervals, comparison, tables, pictures and the model card."""
