"""A local page that shows the utterances of a dataset, and lets a person mark them."""
