"""The commands of prep, splits and shards; nothing heavy is imported before a command runs."""
