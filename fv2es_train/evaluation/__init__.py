"""Metrics, intervals, comparison, tables, plots and the model card."""
