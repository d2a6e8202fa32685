"""Tools for finished datasets: info, show, merge, prune, export, report."""
