"""A web page and an HTTP API that predict the emotions of videos, for a lab's own machine.

Owns uploads, jobs and the server. Predictions are made by `fv2es_train.predict`.
"""
