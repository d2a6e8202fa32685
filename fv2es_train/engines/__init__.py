"""Which library runs the encoders of a model on a CPU, and in which precision."""
