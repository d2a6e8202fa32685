"""Comparing two datasets: what is stored of each part, what differs, how it is told."""
