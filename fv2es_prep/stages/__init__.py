"""What is made of an utterance: one file for each stage."""
