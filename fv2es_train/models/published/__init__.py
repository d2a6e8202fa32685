"""Weights of the published FV2ES model as a run, and a run as published weights."""
