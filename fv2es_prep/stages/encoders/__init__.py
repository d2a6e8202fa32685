"""Stages made by pretrained encoders in transformers' format: ``audio:``, ``video:``, ``text:``."""
