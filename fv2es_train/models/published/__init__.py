"""Convert weights of the published FV2ES model to a run, and a run to published weights."""
