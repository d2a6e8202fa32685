"""The shard format: its schema as data, its writer, its reader, its index and its report."""
