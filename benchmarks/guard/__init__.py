"""The guard: records what fv2es produces, and compares two revisions value by value."""
