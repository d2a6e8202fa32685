"""Tools over finished datasets: info, show, merge, prune, export, report."""
