"""A web page and an HTTP API that predict the emotions of videos, for a lab's own machine."""
