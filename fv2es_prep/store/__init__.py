"""Object stores, e.g. S3: raw corpora read from one, datasets read from one and written to one."""
