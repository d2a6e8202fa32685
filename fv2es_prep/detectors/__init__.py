"""Face detectors: the MTCNN cascade in two implementations."""
