"""Networks, their encoders, and checkpoints."""
