"""One table of many models, trained by one protocol and measured on the same utterances."""
