"""A run as networks for other runtimes, each checked against PyTorch before it is written."""
