"""Small helpers that every package shares: files, the hub, pages, compiled loops."""
