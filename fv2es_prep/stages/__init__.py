"""Stages: what is made of every utterance, one file for each."""
