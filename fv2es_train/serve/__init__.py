"""A web page and an HTTP API that tell the emotions of videos, for a lab's own machine.

Owns uploads, jobs and the server. What is told of a video is `fv2es_train.predict`'s alone.
"""
