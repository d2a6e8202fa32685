"""A local page that shows the utterances of a dataset, and takes marks of a person."""
