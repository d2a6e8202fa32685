"""Recipes: one file that leads from a raw corpus to a table of models.

Only this package imports both `pipelines` and `fv2es_train`.
"""
