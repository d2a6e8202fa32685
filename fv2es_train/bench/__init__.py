"""One table of many models: trained by one protocol, measured on the same utterances."""
