"""Encoders of faces, mel chunks and token ids, and of the sequences of their vectors."""
