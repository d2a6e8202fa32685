"""The guard: record the values that fv2es produces, and compare two revisions."""
